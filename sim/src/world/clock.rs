//! The clocks of one machine: they start anywhere, run at a rate of their own, and one stands still while the machine is suspended.
//!
//! True time is madsim's. A machine's time is counted piece by piece: each change of rate begins a new one where the last one ended, so it
//! never goes back. A paused process does not stop its clock; only a suspended machine does, and only the one that may. The wall clock runs at
//! the same rate, and is wrong by as much as it was stepped.

use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use kapu::clock::{BoxFuture, Clock};

use super::{true_sleep, true_time};

/// Nanoseconds of one step of a rate: parts per million.
const PPM: i128 = 1_000_000;
/// The time of day at which every run begins: 2026-01-01T00:00:00Z.
const EPOCH: Duration = Duration::from_secs(1_767_225_600);

/// One machine's clock. Clones are the same clock.
#[derive(Clone, Debug)]
pub struct SimClock(Arc<Mutex<State>>);

#[derive(Debug)]
struct State {
    /// True time at the last change.
    since: Duration,
    /// What the clock showed then, suspension counted.
    shown: Duration,
    /// How much faster than true time it runs since then.
    ppm: i64,
    /// How long the machine was suspended, up to the last change.
    asleep: Duration,
    is_suspended: bool,
    /// The time of day, less what the clock shows.
    wall: Duration,
}

impl SimClock {
    /// A clock that shows `offset` at the start of the run, and then runs faster than true time by `ppm` parts per million.
    #[must_use]
    pub fn new(offset: Duration, ppm: i64) -> Self {
        Self(Arc::new(Mutex::new(State {
            since: Duration::ZERO,
            shown: offset,
            ppm,
            asleep: Duration::ZERO,
            is_suspended: false,
            wall: EPOCH.saturating_sub(offset),
        })))
    }

    /// Moves the wall clock by so many milliseconds, in either direction.
    pub fn step_wall(&self, by_ms: i64) {
        let by = Duration::from_millis(by_ms.unsigned_abs());
        let mut state = self.lock();
        state.wall = if by_ms < 0 {
            state.wall.saturating_sub(by)
        } else {
            state.wall + by
        };
    }

    /// Runs at another rate from now on.
    pub fn set_rate(&self, ppm: i64) {
        let mut state = self.lock();
        state.settle();
        state.ppm = ppm;
    }

    /// Suspends the machine or wakes it: [`Clock::now`] stands still meanwhile.
    pub fn set_suspended(&self, is_suspended: bool) {
        let mut state = self.lock();
        state.settle();
        state.is_suspended = is_suspended;
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().expect("nobody panics while holding it")
    }
}

impl State {
    /// What has passed on this clock since the last change.
    fn passed(&self) -> Duration {
        let truly = true_time().unwrap_or(self.since).saturating_sub(self.since);
        scale(truly, PPM + i128::from(self.ppm), PPM)
    }

    fn settle(&mut self) {
        let passed = self.passed();
        self.shown += passed;
        if self.is_suspended {
            self.asleep += passed;
        }
        self.since = true_time().unwrap_or(self.since);
    }
}

/// `duration` times `times` over `over`, rounded up: a sleep is never too short.
fn scale(duration: Duration, times: i128, over: i128) -> Duration {
    let nanos = i128::try_from(duration.as_nanos()).expect("a run is short") * times;
    Duration::from_nanos(u64::try_from((nanos + over - 1) / over).unwrap_or_default())
}

impl Clock for SimClock {
    fn now(&self) -> Duration {
        let state = self.lock();
        let awake = if state.is_suspended {
            Duration::ZERO
        } else {
            state.passed()
        };
        state.shown + awake - state.asleep
    }

    fn now_with_suspend(&self) -> Duration {
        let state = self.lock();
        state.shown + state.passed()
    }

    fn wall(&self) -> Duration {
        self.now_with_suspend() + self.lock().wall
    }

    fn sleep(&self, duration: Duration) -> BoxFuture<'static, ()> {
        let clock = self.clone();
        Box::pin(async move {
            let until = clock.now() + duration;
            loop {
                let left = until.saturating_sub(clock.now());
                if left.is_zero() {
                    return;
                }
                let ppm = clock.lock().ppm;
                // As with tokio's timers, nothing is woken more often than once a millisecond.
                let truly = scale(left, PPM, PPM + i128::from(ppm)).max(Duration::from_millis(1));
                true_sleep(truly).await;
            }
        })
    }
}
