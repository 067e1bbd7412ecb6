//! The simulated world: what a node or a client gets in place of the operating system.
//!
//! Each file is one seam of `kapu::env`, with the faults that the real thing has. Who suffers which fault, and when, is the nemesis's
//! business; here are only the means.

pub mod clock;
pub mod disk;
pub mod links;
pub mod network;
pub mod spawn;

use std::time::Duration;

/// True time since the start of the run: what no node and no client can read. None once the run is over.
#[must_use]
pub fn true_time() -> Option<Duration> {
    madsim::time::TimeHandle::try_current().map(|time| time.elapsed())
}

/// As [`true_time`], in nanoseconds; the last moment once the run is over.
#[must_use]
pub fn true_ns() -> u64 {
    true_time().map_or(u64::MAX, |time| u64::try_from(time.as_nanos()).unwrap_or(u64::MAX))
}

/// Waits for true time to pass, to the nanosecond, as only the harness can. madsim alone would wait for a millisecond at least.
pub async fn true_sleep(duration: Duration) {
    let time = madsim::time::TimeHandle::current();
    let mut sleep = std::pin::pin!(time.sleep(duration));
    sleep.as_mut().reset(time.now_instant() + duration);
    sleep.await;
}
