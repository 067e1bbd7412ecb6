//! Log time at a leader: it goes on from the last stamp, by the leader's own monotonic clock.
//!
//! So a step of a wall clock cannot end a lease, time without a leader does not count against a holder, and of two nodes' clocks only the
//! difference of their rates matters.

use std::time::Duration;

use crate::types::LogTime;

/// Stamps entries.
///
/// - What it returns never goes back.
/// - It runs only while this replica serves as leader.
#[derive(Clone, Copy, Debug)]
pub struct LogClock {
    from: LogTime,
    started: Duration,
    last: LogTime,
}

impl LogClock {
    /// Goes on from `from`, the log time of everything applied, at the monotonic time `now`.
    #[must_use]
    pub const fn start(from: LogTime, now: Duration) -> Self {
        Self {
            from,
            started: now,
            last: from,
        }
    }

    /// Log time at the monotonic time `now`.
    pub fn stamp(&mut self, now: Duration) -> LogTime {
        let passed = now.saturating_sub(self.started).as_millis();
        let stamp = self.from.after(u64::try_from(passed).unwrap_or(u64::MAX));
        self.last = self.last.max(stamp);
        self.last
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn goes_on_from_the_last_stamp_at_its_own_rate() {
        let mut clock = LogClock::start(LogTime(500), Duration::from_secs(1000));
        assert_eq!(clock.stamp(Duration::from_secs(1000)), LogTime(500));
        assert_eq!(clock.stamp(Duration::from_millis(1_000_250)), LogTime(750));
    }

    #[test]
    fn never_goes_back_when_the_clock_does() {
        let mut clock = LogClock::start(LogTime(500), Duration::from_secs(10));
        let later = clock.stamp(Duration::from_secs(12));
        assert_eq!(clock.stamp(Duration::from_secs(3)), later);
    }
}
