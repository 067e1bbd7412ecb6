//! The watchdog: ends a run that stands still or never ends, and says where it stands.
//!
//! A task that blocks stands still for ever, and one that spins never lets go; nobody inside of the simulation could tell. So a thread
//! outside of it looks once a second. It counts its looks and the processor time of the process, and never asks a wall clock: a machine with
//! other things to do, or a sweep that was stopped for minutes and continued, makes no run hang. Nothing in a run depends on it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

use crate::process::HUNG;
use crate::trace::Trace;

/// Between two looks.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// A simulation in which so many looks see no new event is stuck.
const STILL_LOOKS_MAX: u32 = 20;

/// A thread that looks after one run. It ends with the process.
#[derive(Debug)]
pub struct Watchdog {
    is_simulating: Arc<AtomicBool>,
}

impl Watchdog {
    /// Starts it: the process ends when it has used `limit` of processor time, or when no event passes through `trace` any more.
    #[must_use]
    #[expect(
        clippy::disallowed_methods,
        reason = "only a thread of the system can see that the simulation stands still"
    )]
    pub fn start(trace: Trace, limit: Duration) -> Self {
        let is_simulating = Arc::new(AtomicBool::new(true));
        let watched = Arc::clone(&is_simulating);
        std::thread::spawn(move || {
            let mut stillness = Stillness::default();
            loop {
                std::thread::sleep(LOOK_EVERY);
                let events = watched.load(Ordering::Relaxed).then(|| trace.events());
                if let Some(why) = stillness.look(events).or_else(|| overrun(processor_time(), limit)) {
                    end(&why, &trace);
                }
            }
        });
        Self { is_simulating }
    }

    /// From now on no event is expected: the checkers are at work.
    pub fn simulation_is_over(&self) {
        self.is_simulating.store(false, Ordering::Relaxed);
    }
}

/// Processor time that this process has used.
#[must_use]
pub fn processor_time() -> Duration {
    clock_gettime(ClockId::ProcessCPUTime).try_into().unwrap_or_default()
}

/// Says why a run is ended, in which task, and after which events; and ends it.
fn end(why: &str, trace: &Trace) -> ! {
    eprintln!("kapu-sim: {why}");
    eprintln!("the task at work: {}", trace.task());
    eprintln!("the last events:");
    trace.last().iter().for_each(|line| eprintln!("{line}"));
    std::process::exit(i32::from(HUNG));
}

fn overrun(used: Duration, limit: Duration) -> Option<String> {
    (used >= limit).then(|| format!("not at its end after {} s of processor time", used.as_secs()))
}

/// How long nothing has happened.
#[derive(Default)]
struct Stillness {
    events: u64,
    looks: u32,
}

impl Stillness {
    /// Looks once at how many events there were, when any are expected.
    fn look(&mut self, events: Option<u64>) -> Option<String> {
        match events {
            Some(events) if events == self.events => self.looks += 1,
            events => {
                self.events = events.unwrap_or_default();
                self.looks = 0;
            }
        }
        (self.looks >= STILL_LOOKS_MAX).then(|| format!("no event in {STILL_LOOKS_MAX} looks, one a second"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_simulation_without_events_is_stuck_after_some_looks() {
        let mut stillness = Stillness::default();
        let looks = (0..100).position(|_| stillness.look(Some(7)).is_some());
        assert_eq!(looks, Some(STILL_LOOKS_MAX as usize));
    }

    #[test]
    fn an_event_now_and_then_is_enough() {
        let mut stillness = Stillness::default();
        assert!((0..1000).all(|look| stillness.look(Some(look / 19)).is_none()));
    }

    #[test]
    fn checkers_make_no_events() {
        let mut stillness = Stillness::default();
        assert!((0..100).all(|_| stillness.look(None).is_none()));
    }

    #[test]
    fn the_limit_is_of_processor_time() {
        let limit = Duration::from_secs(120);
        assert!(overrun(Duration::from_secs(119), limit).is_none());
        assert!(overrun(limit, limit).is_some());
    }
}
