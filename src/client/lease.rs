//! How long a grant is certain, in the client's own time.
//!
//! The server counts a lease in log time from when it stamped the request; the client cannot see that moment, but it lies after the
//! moment before the request was sent. So the client counts from there, on a clock that goes on while the machine is suspended, and
//! takes off an allowance: 1 % for two clocks that do not tick alike (crystals differ by 0.01 %, a slewed clock by 0.05 %, bad virtual
//! machines by more), and 1 ms because log time is whole milliseconds. The clock itself is read elsewhere: times are values here.

use std::time::Duration;

/// The rate at which two clocks may drift apart, as a divisor: 1 %.
const DRIFT_DIVISOR: u32 = 100;
/// What rounding to whole milliseconds may hide.
const ROUNDING: Duration = Duration::from_millis(1);

/// The certain part of a lock lease.
///
/// - It ends before the lease ends at the server, as long as clocks drift by less than the allowance.
/// - The answer to an older attempt never changes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lease {
    sent: Duration,
    valid_until: Duration,
}

impl Lease {
    /// The lease of an answer that left `expires_in_ms`, to an attempt that was begun at `sent`.
    pub fn granted(sent: Duration, expires_in_ms: u64) -> Self {
        let lease = Duration::from_millis(expires_in_ms);
        let certain = lease.saturating_sub(lease / DRIFT_DIVISOR).saturating_sub(ROUNDING);
        let valid_until = sent.saturating_add(certain);
        Self { sent, valid_until }
    }

    /// Takes the answer to a later attempt; that of an older one is ignored.
    pub fn renew(&mut self, sent: Duration, expires_in_ms: u64) {
        if sent > self.sent {
            *self = Self::granted(sent, expires_in_ms);
        }
    }

    /// What is left at `now`; zero when it has ended.
    pub const fn expires_in(&self, now: Duration) -> Duration {
        self.valid_until.saturating_sub(now)
    }

    /// When to renew a lease of `ttl`: a third of it after the attempt that got it, so that two thirds are left for retries.
    pub fn renew_at(&self, ttl: Duration) -> Duration {
        self.sent.saturating_add(ttl / 3)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    #[test]
    fn a_lease_counts_from_before_the_attempt_less_the_allowance() {
        let lease = Lease::granted(ms(500), 30_000);
        assert_eq!(lease.expires_in(ms(500)), ms(29_699));
        assert_eq!(lease.expires_in(ms(30_198)), ms(1));
        assert_eq!(lease.expires_in(ms(30_199)), Duration::ZERO);
        assert_eq!(lease.expires_in(ms(99_999)), Duration::ZERO);
    }

    #[test]
    fn a_lease_that_ended_on_its_way_was_never_valid() {
        assert_eq!(Lease::granted(ms(7), 0).expires_in(ms(7)), Duration::ZERO);
        assert_eq!(Lease::granted(ms(7), 1).expires_in(ms(7)), Duration::ZERO);
    }

    #[test]
    fn the_answer_of_an_older_attempt_changes_nothing() {
        let mut lease = Lease::granted(ms(1000), 3000);
        let before = lease;
        lease.renew(ms(999), 1_000_000);
        lease.renew(ms(1000), 1_000_000);
        assert_eq!(lease, before);
        lease.renew(ms(2000), 3000);
        assert_eq!(lease, Lease::granted(ms(2000), 3000));
    }

    #[test]
    fn a_later_answer_may_shorten_a_lease() {
        let mut lease = Lease::granted(ms(0), 60_000);
        lease.renew(ms(10), 1000);
        assert_eq!(lease.expires_in(ms(10)), ms(989));
    }

    #[test]
    fn two_thirds_of_the_ttl_are_left_when_renewal_begins() {
        assert_eq!(Lease::granted(ms(100), 9000).renew_at(ms(9000)), ms(3100));
    }

    proptest! {
        /// The server stamps at some moment after `sent`, by a clock up to 0.9 % faster, and rounds down to milliseconds.
        #[test]
        fn the_certain_part_ends_before_the_lease_at_the_server(
            sent in 0_u64..1 << 40,
            delay in 0_u64..10_000_000,
            ttl_ms in 1_u64..=crate::limits::TTL_MS_MAX,
            fast in 0_u64..=9,
        ) {
            let lease = Lease::granted(Duration::from_micros(sent), ttl_ms);
            let lasts = Duration::from_millis(ttl_ms) * 1000 / u32::try_from(1000 + fast).unwrap();
            let server_end = Duration::from_micros(sent + delay) + lasts;
            let client_end = Duration::from_micros(sent) + lease.expires_in(Duration::from_micros(sent));
            prop_assert!(client_end <= server_end);
        }

        #[test]
        fn no_number_off_the_wire_overflows(sent in any::<u64>(), expires_in_ms in any::<u64>(), now in any::<u64>()) {
            let mut lease = Lease::granted(Duration::from_secs(sent), expires_in_ms);
            lease.renew(Duration::from_secs(sent.saturating_add(1)), expires_in_ms);
            let left = lease.expires_in(Duration::from_secs(now));
            prop_assert!(now < sent || left <= Duration::from_millis(expires_in_ms).saturating_add(Duration::from_secs(1)));
        }
    }
}
