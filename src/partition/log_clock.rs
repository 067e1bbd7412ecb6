//! Time at a leader: log time, which goes on from the last stamp by the leader's own monotonic clock, and hybrid time beside it.
//!
//! So a step of a wall clock cannot end a lease, time without a leader does not count against a holder, and of two nodes' clocks only the
//! difference of their rates matters. Hybrid time is for people. It is the node's, but for this: it grows strictly along a log, also at a leader
//! whose wall clock is behind that of the leader before it by more than any clock follows.

use std::time::Duration;

use crate::hlc::Hlc;
use crate::mutants::{self, Mutant};
use crate::types::LogTime;

/// What time it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Now {
    /// On the monotonic clock: what log time is measured by.
    pub monotonic: Duration,
    /// On the node's hybrid clock.
    pub hybrid: Hlc,
}

impl Now {
    /// What only a planted bug measures by.
    pub(super) const fn as_by_wall(self) -> Self {
        Self {
            monotonic: Duration::from_millis(self.hybrid.millis()),
            ..self
        }
    }
}

/// Stamps entries.
///
/// - What log time it returns never goes back; hybrid time grows.
/// - It runs only while this replica serves as leader.
#[derive(Clone, Copy, Debug)]
pub struct LogClock {
    from: LogTime,
    started: Duration,
    last: LogTime,
    stamped: Option<Hlc>,
}

impl LogClock {
    /// Goes on from `from`, the log time of everything applied, and after `after`, its hybrid time, at the monotonic time `now`.
    #[must_use]
    pub fn start(from: LogTime, after: Option<Hlc>, now: Duration) -> Self {
        Self {
            from,
            started: now,
            last: from,
            stamped: mutants::either(Mutant::HybridTimeForgotten, None, after),
        }
    }

    /// Log time at the monotonic time `now`.
    pub fn stamp(&mut self, now: Duration) -> LogTime {
        let passed = now.saturating_sub(self.started).as_millis();
        let stamp = self.from.after(u64::try_from(passed).unwrap_or(u64::MAX));
        self.last = self.last.max(stamp);
        self.last
    }

    /// Hybrid time of the next entry, while the node's own is `now`.
    pub fn stamp_hybrid(&mut self, now: Hlc) -> Hlc {
        let stamp = self.stamped.map_or(now, |last| now.max(last.next()));
        self.stamped = Some(stamp);
        stamp
    }

    /// The latest hybrid time that it gave or goes on from.
    #[must_use]
    pub const fn stamped(&self) -> Option<Hlc> {
        self.stamped
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn goes_on_from_the_last_stamp_at_its_own_rate() {
        let mut clock = LogClock::start(LogTime(500), None, Duration::from_secs(1000));
        assert_eq!(clock.stamp(Duration::from_secs(1000)), LogTime(500));
        assert_eq!(clock.stamp(Duration::from_millis(1_000_250)), LogTime(750));
    }

    #[test]
    fn never_goes_back_when_the_clock_does() {
        let mut clock = LogClock::start(LogTime(500), None, Duration::from_secs(10));
        let later = clock.stamp(Duration::from_secs(12));
        assert_eq!(clock.stamp(Duration::from_secs(3)), later);
    }

    #[test]
    fn hybrid_time_grows_though_the_node_is_behind() {
        let mut clock = LogClock::start(LogTime(0), Some(Hlc(900)), Duration::ZERO);
        assert_eq!(clock.stamp_hybrid(Hlc(100)), Hlc(901));
        assert_eq!(clock.stamp_hybrid(Hlc(101)), Hlc(902));
        assert_eq!(clock.stamp_hybrid(Hlc(1000)), Hlc(1000));
        assert_eq!(clock.stamp_hybrid(Hlc(1000)), Hlc(1001), "two entries of one flush");
        assert_eq!(clock.stamped(), Some(Hlc(1001)));
    }
}
