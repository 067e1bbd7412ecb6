//! How a process on a machine begins, goes on and ends.
//!
//! A life that ends by a crash ends at once: its disk and its addresses are gone before its tasks are, so that nothing they do while they are
//! dropped has any effect. A life that ends by itself is judged here: after a planned disk error, or on a damaged disk, that is right; else it is
//! a failure.

use kapu::error::AdminError;
use kapu::node::{Node, NodeFailure, NodeHandle, StartError};
use kapu::service;
use kapu::storage::StorageError;
use madsim::runtime::Handle;
use tokio::sync::oneshot;

use super::{Cluster, Life, Phase, STOP_MAX, wait_until};
use crate::world::network::{CLIENT_PORT, node_address};
use crate::world::{true_ns, true_sleep};

/// Why a life ended by itself.
pub(super) struct Ended {
    why: String,
    pub(super) cause: Cause,
}

/// What a life ended of, as far as it matters whether that was right.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Cause {
    /// The disk cannot hold what is on it.
    Corrupt,
    /// The disk is another node's.
    Mismatch,
    /// The disk failed in another way.
    Storage,
    /// Peers refuse this disk.
    Refused,
    /// The node belongs to the cluster no more.
    Removed,
    /// Anything else.
    Other,
}

impl Cause {
    const fn of_storage(error: &StorageError) -> Self {
        match error {
            StorageError::Corrupt { .. } => Self::Corrupt,
            StorageError::Mismatch { .. } => Self::Mismatch,
            StorageError::InUse { .. } | StorageError::Io { .. } => Self::Storage,
        }
    }

    const fn is_storage(self) -> bool {
        matches!(self, Self::Corrupt | Self::Mismatch | Self::Storage)
    }
}

impl Cluster {
    /// Starts a process where there is none and may be one. The node may still be recovering when this returns.
    pub fn start(&self, node: u64) {
        if !self.register(|register| register.may_run(node)) {
            return;
        }
        let machine = self.machine(node);
        let mut life = machine.lock();
        if life.phase != Phase::Off {
            return;
        }
        if life.power_cycle {
            machine.platters.crash();
        }
        let (stop, stopped) = oneshot::channel();
        *life = Life {
            boot: life.boot + 1,
            phase: Phase::Alive,
            handle: None,
            stop: Some(stop),
            errors_before: machine.platters.done().errors,
            power_cycle: false,
            kills: life.kills,
        };
        let boot = life.boot;
        drop(life);
        self.0.trace.note(true_ns(), "start", node, &boot.to_le_bytes());
        machine.clock.set_suspended(false);
        // What is left of an earlier life goes; then the host takes tasks again.
        let runtime = Handle::current();
        runtime.kill(machine.host);
        runtime.restart(machine.host);
        let host = runtime.get_node(machine.host).expect("it was created");
        let life = Box::pin(live(self.clone(), node, boot, stopped));
        host.spawn(self.0.spawn.guarded("life", node, life));
    }

    /// Kills a process together with its machine's power.
    pub fn crash(&self, node: u64) {
        let machine = self.machine(node);
        machine.platters.crash();
        self.kill(node, "crash");
    }

    /// Ends a process at once. Its disk keeps what it was given.
    fn kill(&self, node: u64, kind: &'static str) {
        let machine = self.machine(node);
        self.0.trace.note(true_ns(), kind, node, b"");
        drop(machine.platters.boot());
        self.0.links.unbind_all(machine.place());
        let mut life = machine.lock();
        life.phase = Phase::Off;
        life.power_cycle = false;
        life.kills += 1;
        let handle = life.handle.take();
        drop(life);
        let runtime = Handle::current();
        // A paused task is not dropped by a kill, only forgotten.
        runtime.resume(machine.host);
        runtime.kill(machine.host);
        drop(handle);
    }

    /// Ends a process cleanly, or by force when that takes too long.
    pub async fn stop(&self, node: u64) {
        let boot = self.boot(node);
        let Some(stop) = self.machine(node).lock().stop.take() else {
            return;
        };
        self.0.trace.note(true_ns(), "stop", node, b"");
        // A life that is over already does not listen.
        let _ = stop.send(());
        let ended = wait_until(STOP_MAX, || !self.is_alive(node) || self.boot(node) != boot).await;
        if !ended {
            self.kill(node, "kill");
        }
    }

    /// Makes the process stand still; returns its life, for [`Cluster::resume`].
    pub fn pause(&self, node: u64) -> u64 {
        self.0.trace.note(true_ns(), "pause", node, b"");
        Handle::current().pause(self.machine(node).host);
        self.boot(node)
    }

    /// Lets a process go on that was paused in this life.
    pub fn resume(&self, node: u64, boot: u64) {
        if self.boot(node) == boot {
            self.0.trace.note(true_ns(), "resume", node, b"");
            Handle::current().resume(self.machine(node).host);
        }
    }

    /// Takes away everything that is wrong with machines and links, and starts every member that is off.
    pub fn heal(&self) {
        self.0.links.heal();
        for machine in self.0.machines.values() {
            machine.platters.heal();
            machine.clock.set_suspended(false);
            Handle::current().resume(machine.host);
            if self.register(|register| register.members().contains(&machine.node)) {
                self.start(machine.node);
            }
        }
    }

    /// A life has ended by itself.
    fn ended(&self, node: u64, boot: u64, ended: Option<Ended>) {
        let machine = self.machine(node);
        let mut life = machine.lock();
        if life.boot != boot || life.phase == Phase::Off {
            return;
        }
        life.phase = Phase::Off;
        life.handle = None;
        drop(machine.platters.boot());
        self.0.links.unbind_all(machine.place());
        let had_error = machine.platters.done().errors > life.errors_before;
        let Some(Ended { why, cause }) = ended else { return };
        life.power_cycle = cause.is_storage() && had_error;
        let was_planned = life.power_cycle || self.is_due(node, cause);
        drop(life);
        self.0.trace.note(true_ns(), "ended", node, why.as_bytes());
        if !was_planned {
            self.accuse(node, why);
        }
    }
}

/// One life of a node, from the start to the end, on its host.
async fn live(cluster: Cluster, node: u64, boot: u64, stop: oneshot::Receiver<()>) {
    let machine = cluster.machine(node);
    let env = cluster.env(machine, boot);
    // What a node believes on a disk that is not its own binds nobody: it must not be heard.
    let observer = (!cluster.is_intruder(node)).then(|| cluster.0.recorder.observer(node, boot));
    let mut builder = service::builder(env, cluster.config(node));
    if let Some(observer) = observer {
        builder = builder.observer(observer);
    }
    let ended = match builder.start().await {
        Ok(running) => run(&cluster, node, running, stop).await,
        Err(error) => Some(Ended {
            cause: match &error {
                StartError::Storage(error) => Cause::of_storage(error),
                StartError::Network(_) | StartError::Config(_) => Cause::Other,
            },
            why: format!("it did not start: {error}"),
        }),
    };
    cluster.ended(node, boot, ended);
}

/// Serves until the node fails or is told to stop.
async fn run(cluster: &Cluster, node: u64, running: Node, stop: oneshot::Receiver<()>) -> Option<Ended> {
    let machine = cluster.machine(node);
    cluster.note_started(node);
    machine.lock().handle = Some(running.handle());
    let port = cluster.0.links.bind(machine.place(), node_address(node, CLIENT_PORT));
    madsim::task::spawn((cluster.0.serve)(running.handle(), port));
    let settling = settle(cluster, node, running.handle());
    let failure = tokio::select! {
        biased;
        failure = running.failed() => Some(failure),
        error = settling => {
            running.stop().await;
            let (why, cause) = (format!("it cannot take its place: {error}"), Cause::Removed);
            return Some(Ended { why, cause });
        }
        _ = stop => None,
    };
    match failure {
        None => {
            running.stop().await;
            None
        }
        Some(failure) => {
            // A disk that failed may never finish anything; the process would be ended from outside.
            tokio::select! {
                biased;
                () = running.close() => {}
                () = true_sleep(STOP_MAX) => {}
            }
            Some(Ended {
                cause: match &failure {
                    NodeFailure::Storage(error) => Cause::of_storage(error),
                    NodeFailure::Refused(_) => Cause::Refused,
                    NodeFailure::Removed => Cause::Removed,
                    NodeFailure::Panicked(_) | NodeFailure::Unreadable(_) => Cause::Other,
                },
                why: failure.to_string(),
            })
        }
    }
}

/// Takes the node's place where it has it not, as every node does when it starts. Returns only when it is refused for good.
async fn settle(cluster: &Cluster, node: u64, handle: NodeHandle) -> AdminError {
    if !handle.unsettled().is_empty() {
        let client = cluster.newcomer(node);
        let note = |words: String| tracing::info!(node, words, "settles");
        if let Err(error) = handle.join(&client, &note).await {
            return error;
        }
    }
    std::future::pending().await
}
