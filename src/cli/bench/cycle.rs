//! The closed loop: each worker locks and unlocks a name of its own.
//!
//! A second of warm-up is not counted. A cycle counts when it ends within the measured time.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use tokio::task::JoinSet;

use crate::cli::bench::report::{CycleReport, Errors, Latencies, add_errors, rate};
use crate::cli::bench::{Names, kind};
use crate::cli::duration::millis;
use crate::cli::exit::{Exit, Failure};
use crate::cli::ops::text_owner;
use crate::cli::output::{Output, progress, progress_end};
use crate::client::{Client, ClientError};
use crate::clock::{Clock, SystemClock};
use crate::lock::{Command, Outcome, Request};
use crate::types::{Owner, Resource};

/// How long the loop runs before it is measured: connections, leaders and caches are found in it.
const WARM_UP: Duration = Duration::from_secs(1);
const SECOND: Duration = Duration::from_secs(1);

/// What the workers and the one who measures share.
#[derive(Debug, Default)]
struct Phase {
    measuring: AtomicBool,
    stopped: AtomicBool,
    cycles: AtomicU64,
}

/// What one worker found.
#[derive(Default)]
struct Tally {
    lock: Latencies,
    unlock: Latencies,
    errors: Errors,
    last_error: Option<ClientError>,
}

/// Measures for `length` and prints the result.
pub(super) async fn run(
    client: &Client,
    names: &Names,
    workers: usize,
    length: Duration,
    ttl: Duration,
    output: Output,
) -> Result<Exit, Failure> {
    let phase = Arc::new(Phase::default());
    let mut tasks = JoinSet::new();
    for number in 0..workers as u64 {
        let worker = Worker {
            client: client.clone(),
            phase: phase.clone(),
            resource: names.resource(number),
            owner: text_owner(client),
            ttl_ms: millis(ttl),
        };
        tasks.spawn(worker.run());
    }
    let (cycles, took) = measure(&phase, length).await;
    let mut all = Tally::default();
    for tally in tasks.join_all().await {
        all.add(tally);
    }
    if let (0, Some(error)) = (cycles, all.last_error) {
        return Err(error.into());
    }
    output.print(&CycleReport {
        workers,
        seconds: took.as_secs_f64(),
        cycles,
        cycles_per_s: rate(cycles, took),
        lock: all.lock.summary(),
        unlock: all.unlock.summary(),
        errors: all.errors,
    })?;
    Ok(if cycles == 0 { Exit::No } else { Exit::Yes })
}

/// Lets the workers run: warm-up, measurement, end. Returns how many cycles ended in the measured time, and how long that was.
async fn measure(phase: &Phase, length: Duration) -> (u64, Duration) {
    let clock = SystemClock;
    progress("warming up");
    clock.sleep(WARM_UP).await;
    phase.measuring.store(true, Ordering::Relaxed);
    let start = clock.now();
    let mut before = 0;
    while let Some(left) = length.checked_sub(clock.now() - start).filter(|left| !left.is_zero()) {
        clock.sleep(left.min(SECOND)).await;
        let cycles = phase.cycles.load(Ordering::Relaxed);
        let seconds = (clock.now() - start).as_secs();
        progress(format_args!(
            "{seconds} of {} s: {} cycles/s",
            length.as_secs(),
            cycles - before
        ));
        before = cycles;
    }
    phase.measuring.store(false, Ordering::Relaxed);
    let took = clock.now() - start;
    phase.stopped.store(true, Ordering::Relaxed);
    progress_end();
    (phase.cycles.load(Ordering::Relaxed), took)
}

struct Worker {
    client: Client,
    phase: Arc<Phase>,
    resource: Resource,
    owner: Owner,
    ttl_ms: u64,
}

impl Worker {
    async fn run(self) -> Tally {
        let mut tally = Tally::default();
        while !self.phase.stopped.load(Ordering::Relaxed) {
            let start = SystemClock.now();
            let locked = tally.sort(self.client.request(self.lock()).await);
            let middle = SystemClock.now();
            // Also after a failure: it may have taken effect.
            let unlocked = tally.sort(self.client.request(self.unlock()).await);
            if locked && unlocked && self.phase.measuring.load(Ordering::Relaxed) {
                tally.lock.record(middle - start);
                tally.unlock.record(SystemClock.now() - middle);
                self.phase.cycles.fetch_add(1, Ordering::Relaxed);
            }
        }
        tally
    }

    fn lock(&self) -> Request {
        let (resource, owner) = (self.resource.clone(), self.owner.clone());
        Request::Command(Command::TryLock {
            resource,
            owner,
            ttl_ms: self.ttl_ms,
        })
    }

    fn unlock(&self) -> Request {
        let (resource, owner) = (self.resource.clone(), self.owner.clone());
        Request::Command(Command::Unlock { resource, owner })
    }
}

impl Tally {
    /// Whether the answer is the one that was wanted; counts it as an error when not.
    fn sort(&mut self, answer: Result<Outcome, ClientError>) -> bool {
        let kind = match answer {
            Ok(Outcome::Locked { .. } | Outcome::Unlocked) => return true,
            Ok(Outcome::Busy { .. }) => "busy",
            Ok(Outcome::LockDoesNotExist) => "lock_does_not_exist",
            Ok(_) => "other_outcome",
            Err(error) => {
                let kind = kind(&error);
                self.last_error = Some(error);
                kind
            }
        };
        *self.errors.entry(kind).or_default() += 1;
        false
    }

    fn add(&mut self, other: Self) {
        self.lock.merge(&other.lock);
        self.unlock.merge(&other.unlock);
        add_errors(&mut self.errors, &other.errors);
        self.last_error = other.last_error.or_else(|| self.last_error.take());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_not_wanted_is_counted_by_kind() {
        let mut tally = Tally::default();
        assert!(tally.sort(Ok(Outcome::Unlocked)));
        assert!(!tally.sort(Ok(Outcome::Busy { expires_in_ms: 1 })));
        assert!(!tally.sort(Ok(Outcome::LockDoesNotExist)));
        for _ in 0..2 {
            assert!(!tally.sort(Err(ClientError::Unknown { last: String::new() })));
        }
        let mut all = Tally::default();
        all.add(tally);
        assert_eq!(
            all.errors,
            Errors::from([("busy", 1), ("lock_does_not_exist", 1), ("unknown", 2)])
        );
        assert!(all.last_error.is_some());
    }

    #[tokio::test]
    async fn cycles_of_the_warm_up_are_not_measured() {
        let phase = Phase::default();
        let (cycles, took) = measure(&phase, Duration::from_millis(1)).await;
        assert_eq!(cycles, 0);
        assert!(took >= Duration::from_millis(1));
        assert!(phase.stopped.into_inner() && !phase.measuring.into_inner());
    }
}
