//! Time as a value that is passed in: the seam, and the system's clock behind it.
//!
//! Nothing below [`crate::env::Env`] reads time in any other way. There is a wall clock, for people alone: no decision may depend on it.

use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

/// A future that owns what it needs.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// A source of time.
///
/// - `now` never goes back, and may stand still while the machine is suspended.
/// - `now_with_suspend` never goes back, and goes on while the machine is suspended.
/// - `wall` may be wrong by any amount, and step in any direction at any time.
pub trait Clock: Send + Sync {
    /// Time since an arbitrary start. For servers: one that stands still holds leases longer, which is safe.
    fn now(&self) -> Duration;
    /// Time since an arbitrary start, suspension counted. For clients: a lease that ends while one sleeps must be seen to have ended.
    fn now_with_suspend(&self) -> Duration;
    /// What the machine takes for the time of day, since the Unix epoch, for [`crate::hlc`] and so for people. No decision may depend on it: no
    /// lease, no timeout, no order.
    fn wall(&self) -> Duration;
    /// Completes after `duration` of [`Clock::now`].
    fn sleep(&self, duration: Duration) -> BoxFuture<'static, ()>;
}

/// The clock of the operating system (Linux: `CLOCK_MONOTONIC`, `CLOCK_BOOTTIME` and `CLOCK_REALTIME`) with tokio's timers.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> Duration {
        read_clock(rustix::time::ClockId::Monotonic)
    }

    fn now_with_suspend(&self) -> Duration {
        #[cfg(target_os = "linux")]
        return read_clock(rustix::time::ClockId::Boottime);
        #[cfg(not(target_os = "linux"))]
        return self.now();
    }

    fn wall(&self) -> Duration {
        read_clock(rustix::time::ClockId::Realtime)
    }

    #[expect(
        clippy::disallowed_methods,
        reason = "the production clock is the one place that owns a timer"
    )]
    fn sleep(&self, duration: Duration) -> BoxFuture<'static, ()> {
        Box::pin(tokio::time::sleep(duration))
    }
}

/// A wall clock that is before the epoch reads as the epoch.
fn read_clock(id: rustix::time::ClockId) -> Duration {
    let time = rustix::time::clock_gettime(id);
    let seconds = u64::try_from(time.tv_sec).unwrap_or_default();
    let nanoseconds = u32::try_from(time.tv_nsec).unwrap_or_default();
    Duration::new(seconds, nanoseconds)
}
