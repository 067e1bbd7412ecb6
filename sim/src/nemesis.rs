//! The nemesis: does what the plan says, when it says so.
//!
//! Each fault is a task that waits for its time, does harm, and takes it back when its span is over. The plan may put faults on top of each
//! other; each takes back only what it did itself. It draws nothing and decides nothing: a run with the same plan has the same nemesis.

mod coup;
mod damage;
mod faults;
mod members;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use madsim::task::JoinHandle;

use crate::cluster::Cluster;
use crate::plan::{Fault, Plan};
use crate::trace::Trace;
use crate::world::links::Weather;
use crate::world::{true_ns, true_sleep};

/// Faults under way.
pub struct Nemesis {
    tasks: Vec<JoinHandle<()>>,
    done: Arc<Mutex<BTreeMap<&'static str, u64>>>,
}

impl Nemesis {
    /// Sets every fault of the plan on its way. Times count from now.
    #[must_use]
    pub fn start(cluster: &Cluster, plan: &Plan, trace: &Trace) -> Self {
        let done = Arc::default();
        let (throne, office) = <(Arc<tokio::sync::Mutex<()>>, Arc<tokio::sync::Mutex<()>>)>::default();
        let number = |number: usize| u64::try_from(number).expect("a plan is short");
        let tasks = plan.faults.iter().enumerate().map(|(at, planned)| {
            let evil = Evil {
                number: number(at),
                cluster: cluster.clone(),
                throne: Arc::clone(&throne),
                office: Arc::clone(&office),
            };
            let (fault, trace, done) = (planned.fault.clone(), trace.clone(), Arc::clone(&done));
            let begin = Duration::from_millis(planned.at_ms);
            madsim::task::spawn(async move {
                true_sleep(begin).await;
                let words = format!("{fault:?}");
                trace.note(true_ns(), "fault", evil.number, words.as_bytes());
                tracing::info!(at_ms = true_ns() / 1_000_000, fault = words, "fault");
                count(&done, fault.kind().name());
                evil.act(fault).await;
            })
        });
        Self {
            tasks: tasks.collect(),
            done,
        }
    }

    /// Ends what is under way. What it did stays done: heal the cluster after it.
    pub fn stop(&self) {
        self.tasks.iter().for_each(JoinHandle::abort);
    }

    /// How often each kind of fault has struck.
    #[must_use]
    pub fn done(&self) -> BTreeMap<&'static str, u64> {
        self.done.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

fn count(done: &Mutex<BTreeMap<&'static str, u64>>, kind: &'static str) {
    *done
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .entry(kind)
        .or_default() += 1;
}

/// One fault's way to the world.
struct Evil {
    number: u64,
    cluster: Cluster,
    /// Held during a coup.
    throne: Arc<tokio::sync::Mutex<()>>,
    /// Held during a change of members.
    office: Arc<tokio::sync::Mutex<()>>,
}

/// So many milliseconds.
const fn ms(milliseconds: u64) -> Duration {
    Duration::from_millis(milliseconds)
}

impl Evil {
    /// Does one fault from its beginning to its end.
    async fn act(&self, fault: Fault) {
        match fault {
            Fault::Crash { node, down_ms } => self.crash(node, ms(down_ms)).await,
            Fault::CrashTwice {
                node,
                down_ms,
                again_ms,
            } => self.crash_twice(node, ms(down_ms), ms(again_ms)).await,
            Fault::CrashAll { down_ms } => self.crash_all(ms(down_ms)).await,
            Fault::Pause { node, for_ms } => self.pause(node, ms(for_ms), false).await,
            Fault::Suspend { node, for_ms } => self.pause(node, ms(for_ms), true).await,
            Fault::Restart { node, down_ms } => self.restart(node, ms(down_ms)).await,
            Fault::RollingRestart { down_ms, between_ms } => self.restart_each(ms(down_ms), ms(between_ms)).await,
            Fault::Cut { from, to, for_ms } => self.cut(vec![self.way(from, to)], ms(for_ms)).await,
            Fault::Isolate { node, for_ms } => self.cut(self.around(node), ms(for_ms)).await,
            Fault::Split { side, for_ms } => self.cut(self.between(&side, None), ms(for_ms)).await,
            Fault::Bridge { side, bridge, for_ms } => self.cut(self.between(&side, Some(bridge)), ms(for_ms)).await,
            Fault::Ring { for_ms } => self.cut(self.chords(), ms(for_ms)).await,
            Fault::Flap {
                from,
                to,
                period_ms,
                for_ms,
            } => self.flap(from, to, ms(period_ms), ms(for_ms)).await,
            Fault::Delay {
                from,
                to,
                by_ms,
                for_ms,
            } => self.delay(vec![self.way(from, to)], ms(by_ms), ms(for_ms)).await,
            Fault::Weather {
                loss,
                duplicate,
                reorder,
                for_ms,
            } => {
                let weather = Weather::new(loss, duplicate, reorder);
                self.weather(weather, ms(for_ms)).await;
            }
            Fault::SlowDisk { node, by_ms, for_ms } => self.slow_disk(node, ms(by_ms), ms(for_ms)).await,
            Fault::StallDisk { node, for_ms } => self.stall_disk(node, ms(for_ms)).await,
            Fault::SyncError { node, down_ms } => self.fail_sync(node, ms(down_ms)).await,
            Fault::DiskFull { node, for_ms } => self.fill_disk(node, ms(for_ms)).await,
            Fault::Deaf { node, for_ms } => self.cut(self.ways_from_peers(node), ms(for_ms)).await,
            Fault::LateRequests { node, by_ms, for_ms } => {
                self.delay(self.ways_from_clients(node), ms(by_ms), ms(for_ms)).await
            }
            Fault::LateReplies { node, by_ms, for_ms } => {
                self.delay(self.ways_to_clients(node), ms(by_ms), ms(for_ms)).await
            }
            Fault::Drift { node, ppm } => self.cluster.clock(node).set_rate(ppm),
            Fault::Coup(coup) => self.coup(&coup).await,
            Fault::StallSync { node, for_ms } => self.stall_sync(node, ms(for_ms)).await,
            Fault::Rot { node, down_ms, luck } => self.rot(node, ms(down_ms), luck).await,
            Fault::Wipe {
                node,
                down_ms,
                blackout,
            } => self.wipe(node, ms(down_ms), blackout).await,
            Fault::RollBack(old) => self.roll_back(&old).await,
            Fault::Swap { node, with, for_ms } => self.swap(node, with, ms(for_ms)).await,
            Fault::WallStep { node, by_ms } => self.cluster.clock(node).step_wall(by_ms),
            fault => self.change_members(fault).await,
        }
    }
}
