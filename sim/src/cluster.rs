//! The cluster under test: real nodes on simulated machines, which can be crashed, stopped, paused and started again.
//!
//! It builds `kapu::env::Env`, as only the binary does besides. It decides nothing about when: that is the nemesis. What ends by itself without
//! having been made to is kept as a failure, for the checkers.

mod damage;
mod inspect;
mod life;
mod operator;
mod register;
mod steward;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU16, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use kapu::clock::BoxFuture;
use kapu::config::{ELECTION_TICKS, HEARTBEAT_TICKS, Keeping, NodeConfig};
use kapu::env::Env;
use kapu::node::NodeHandle;
use kapu::status::NodeStatus;
use kapu::types::NodeId;
use rand::RngExt;
use tokio::sync::oneshot;

pub use self::damage::Damage;
use self::damage::{Damaged, Met};
pub use self::inspect::Reign;
pub use self::register::{Register, Step};
use crate::options::Options;
use crate::record::Recorder;
use crate::trace::Trace;
use crate::world::clock::SimClock;
use crate::world::disk::{Done, Platters};
use crate::world::links::{Links, Place, Port};
use crate::world::network::{CLIENT_PORT, PEER_PORT, SimNetwork, node_address};
use crate::world::spawn::SimSpawn;
use crate::world::{true_ns, true_sleep};

/// So few that every run collects garbage many times.
const LOG_BLOBS_MAX: usize = 100;
/// So little that every run compacts many times, and that who was away for long needs a snapshot of many messages.
const KEEPING: Keeping = Keeping {
    save_rows: 64,
    save_ticks: 15,
    compact_entries: 20,
    log_entries_max: 300,
    log_bytes_max: 64 * 1024,
    snapshot_bytes_max: 300,
};
/// The same for logs that are cut very short.
const KEEPING_LITTLE: Keeping = Keeping {
    save_rows: 4,
    save_ticks: 2,
    compact_entries: 2,
    ..KEEPING
};
/// A clean stop that takes longer is a kill.
const STOP_MAX: Duration = Duration::from_secs(5);

/// Serves the clients of one node on a port, for as long as the node lives.
pub type Serve = Arc<dyn Fn(NodeHandle, Port) -> BoxFuture<'static, ()> + Send + Sync>;

/// All machines. Cheap to clone.
#[derive(Clone)]
pub struct Cluster(Arc<Inner>);

struct Inner {
    options: Options,
    links: Links,
    trace: Trace,
    recorder: Recorder,
    spawn: SimSpawn,
    serve: Serve,
    machines: BTreeMap<u64, Machine>,
    failures: Mutex<Vec<(u64, String)>>,
    met: Mutex<Met>,
    register: Mutex<Register>,
}

/// One machine: what outlives the process.
struct Machine {
    node: u64,
    host: madsim::task::NodeId,
    platters: Platters,
    clock: SimClock,
    network: SimNetwork,
    /// Where it listens for peers.
    peer_port: AtomicU16,
    /// Where the settings of others say that it does.
    told_port: AtomicU16,
    life: Mutex<Life>,
    damage: Mutex<Option<Damaged>>,
}

/// The process on a machine, and how many there were.
#[derive(Default)]
struct Life {
    boot: u64,
    phase: Phase,
    handle: Option<NodeHandle>,
    stop: Option<oneshot::Sender<()>>,
    /// Planned disk errors when this life began.
    errors_before: u64,
    /// A sync failed: the next life begins with a machine that was switched on.
    power_cycle: bool,
    kills: u64,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Phase {
    #[default]
    Off,
    Alive,
}

impl Cluster {
    /// Machines that are switched off.
    #[must_use]
    pub fn new(options: &Options, links: &Links, trace: &Trace, spawn: &SimSpawn, serve: Serve) -> Self {
        let mut clocks = kapu::env::rng(options.seed, "clocks of nodes");
        let mut walls = kapu::env::rng(options.seed, "wall clocks of nodes");
        let runtime = madsim::runtime::Handle::current();
        let machine = |node: u64| {
            let offset = Duration::from_millis(clocks.random_range(1..1_000_000_000));
            let ppm = clocks.random_range(-options.drift_ppm_max..=options.drift_ppm_max);
            let clock = SimClock::new(offset, ppm);
            clock.step_wall(walls.random_range(-options.wall_error_ms_max..=options.wall_error_ms_max));
            let machine = Machine {
                node,
                host: runtime.create_node().name(format!("node {node}")).build().id(),
                platters: Platters::new(node, options.seed, trace.clone()),
                clock,
                network: SimNetwork::new(node, links.clone(), Arc::new(|_| {})),
                peer_port: AtomicU16::new(PEER_PORT),
                told_port: AtomicU16::new(PEER_PORT),
                life: Mutex::default(),
                damage: Mutex::default(),
            };
            (node, machine)
        };
        Self(Arc::new(Inner {
            machines: (1..=options.machines()).map(machine).collect(),
            register: Mutex::new(Register::new(options.nodes, options.machines())),
            options: options.clone(),
            links: links.clone(),
            trace: trace.clone(),
            recorder: Recorder::new(trace.clone()),
            spawn: spawn.clone(),
            serve,
            failures: Mutex::default(),
            met: Mutex::default(),
        }))
    }

    /// Every node for which there is a machine, in order.
    pub fn nodes(&self) -> impl Iterator<Item = u64> + use<> {
        1..=self.0.options.machines()
    }

    /// The addresses that clients are told.
    #[must_use]
    pub fn endpoints(&self) -> Vec<String> {
        self.nodes()
            .map(|node| node_address(node, CLIENT_PORT).to_string())
            .collect()
    }

    /// What was seen of it.
    #[must_use]
    pub fn recorder(&self) -> &Recorder {
        &self.0.recorder
    }

    /// The way of its datagrams.
    #[must_use]
    pub fn links(&self) -> &Links {
        &self.0.links
    }

    /// A machine's disk.
    #[must_use]
    pub fn platters(&self, node: u64) -> &Platters {
        &self.machine(node).platters
    }

    /// A machine's clock.
    #[must_use]
    pub fn clock(&self, node: u64) -> &SimClock {
        &self.machine(node).clock
    }

    /// What a live node says of itself.
    #[must_use]
    pub fn status(&self, node: u64) -> Option<NodeStatus> {
        let life = self.machine(node).lock();
        life.handle.as_ref().map(NodeHandle::status)
    }

    /// A way to ask a live node.
    #[must_use]
    pub fn handle(&self, node: u64) -> Option<NodeHandle> {
        self.machine(node).lock().handle.clone()
    }

    /// Whether there is a process on the machine.
    #[must_use]
    pub fn is_alive(&self, node: u64) -> bool {
        self.machine(node).lock().phase == Phase::Alive
    }

    /// Whether a process was told to stop, and is still there.
    #[must_use]
    pub fn is_stopping(&self, node: u64) -> bool {
        let life = self.machine(node).lock();
        life.phase == Phase::Alive && life.stop.is_none()
    }

    /// In which of its lives the node is.
    #[must_use]
    pub fn boot(&self, node: u64) -> u64 {
        self.machine(node).lock().boot
    }

    /// Nodes that ended by themselves without a planned reason, with why.
    #[must_use]
    pub fn failures(&self) -> Vec<(u64, String)> {
        self.lock_failures().clone()
    }

    /// How often nodes were started beyond the first time.
    #[must_use]
    pub fn restarts(&self) -> u64 {
        self.nodes().map(|node| self.boot(node).saturating_sub(1)).sum()
    }

    /// What all disks have done.
    #[must_use]
    pub fn disks(&self) -> Done {
        let done = self.nodes().map(|node| self.platters(node).done());
        done.fold(Done::default(), |sum, one| Done {
            syncs: sum.syncs + one.syncs,
            errors: sum.errors + one.errors,
            crashes_with_loss: sum.crashes_with_loss + one.crashes_with_loss,
            sectors_lost: sum.sectors_lost + one.sectors_lost,
        })
    }

    /// Notes something that must not have happened to a node.
    pub fn accuse(&self, node: u64, what: impl Into<String>) {
        let what = what.into();
        self.0.trace.note(true_ns(), "failure", node, what.as_bytes());
        self.lock_failures().push((node, what));
    }

    fn machine(&self, node: u64) -> &Machine {
        self.0.machines.get(&node).expect("plans name nodes that exist")
    }

    fn lock_failures(&self) -> MutexGuard<'_, Vec<(u64, String)>> {
        self.0.failures.lock().expect("nobody panics while holding it")
    }

    /// Where a node's peers reach it at present.
    fn peer_address(&self, node: u64) -> SocketAddr {
        node_address(node, self.machine(node).peer_port.load(Ordering::Relaxed))
    }

    /// The settings of a node: the first ones know each other, the others wait to be added.
    fn config(&self, node: u64) -> NodeConfig {
        let options = &self.0.options;
        let told = |node| node_address(node, self.machine(node).told_port.load(Ordering::Relaxed));
        let peer = |node| (NodeId(node), told(node).to_string());
        let first = 1..=options.nodes;
        let peer_address = self.peer_address(node).to_string();
        let config = NodeConfig {
            cluster: "sim".to_owned(),
            node_id: NodeId(node),
            client_address: node_address(node, CLIENT_PORT).to_string(),
            peer_listen: Some(peer_address.clone()),
            peer_address,
            priority: 1,
            voters: first.clone().filter(|_| first.contains(&node)).map(peer).collect(),
            partitions: options.partitions,
            tick: Duration::from_millis(options.election_ms) / ELECTION_TICKS,
            heartbeat_ticks: HEARTBEAT_TICKS,
            election_ticks: ELECTION_TICKS,
            log_blobs_max: LOG_BLOBS_MAX,
            keeping: if options.keeps_little { KEEPING_LITTLE } else { KEEPING },
        };
        config.checked().expect("options are within the limits")
    }

    /// The world as this life of a node gets it.
    fn env(&self, machine: &Machine, boot: u64) -> Env {
        let sent = self.0.recorder.sent_hook(machine.node, boot);
        let purpose = format!("life {boot} of node {}", machine.node);
        Env {
            clock: Arc::new(machine.clock.clone()),
            network: Arc::new(machine.network.watched(sent)),
            disk: Arc::new(machine.platters.boot()),
            spawn: Arc::new(self.0.spawn.clone()),
            seed: kapu::env::rng(self.0.options.seed, &purpose).random(),
        }
    }
}

impl Machine {
    fn lock(&self) -> MutexGuard<'_, Life> {
        self.life.lock().expect("nobody panics while holding it")
    }

    fn lock_damage(&self) -> MutexGuard<'_, Option<Damaged>> {
        self.damage.lock().expect("nobody panics while holding it")
    }

    const fn place(&self) -> Place {
        Place::Node(self.node)
    }
}

/// Waits in true time until `done`, for at most `patience`; says whether it came to be.
pub async fn wait_until(patience: Duration, mut done: impl FnMut() -> bool) -> bool {
    const LOOK_EVERY: Duration = Duration::from_millis(10);
    let mut waited = Duration::ZERO;
    while !done() {
        if waited >= patience {
            return false;
        }
        true_sleep(LOOK_EVERY).await;
        waited += LOOK_EVERY;
    }
    true
}
