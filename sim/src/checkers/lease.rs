//! How long a lease lasts, in true time: at least, and at most while somebody leads.
//!
//! A lease is counted in log time from when its request was stamped, which is after the request was sent. Log time never runs faster than a
//! node's clock, stands still while nobody leads, and is whole milliseconds. So a lease may last longer
//! than its least time, and never shorter.

use crate::evidence::Evidence;

/// What rounding to whole milliseconds may hide.
const ROUNDING_NS: u64 = 1_000_000;

/// The true time before which a lease cannot end.
#[derive(Clone, Copy, Debug)]
pub struct LeaseTime {
    drift_ppm_max: u64,
}

impl LeaseTime {
    /// With the drift that was allowed in a run.
    pub fn of(evidence: &Evidence) -> Self {
        let drift_ppm_max = evidence.drift_ppm_max.min(1_000_000);
        Self { drift_ppm_max }
    }

    /// The first true nanosecond at which a lease of `lease_ms` may have ended whose request was sent at `call_ns`.
    pub fn end_ns(self, call_ns: u64, lease_ms: u64) -> u64 {
        let least = lease_ms.saturating_mul(1_000_000 - self.drift_ppm_max);
        call_ns.saturating_add(least.saturating_sub(ROUNDING_NS))
    }

    /// The true nanosecond by which a lease has ended that had `lease_ms` left at `seen_ns`, if somebody leads all the time.
    pub fn last_ns(self, seen_ns: u64, lease_ms: u64) -> u64 {
        let most = lease_ms.saturating_mul(1_000_000 + self.drift_ppm_max);
        seen_ns.saturating_add(most).saturating_add(ROUNDING_NS)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checkers::samples::{MS, cluster};

    #[test]
    fn a_lease_lasts_its_time_less_drift_and_rounding() {
        let time = LeaseTime::of(&cluster());
        assert_eq!(time.end_ns(5 * MS, 1000), 5 * MS + 998 * MS);
        assert_eq!(time.end_ns(5 * MS, 1), 5 * MS, "never before it was asked for");
        assert_eq!(time.last_ns(5 * MS, 1000), 5 * MS + 1002 * MS);
    }
}
