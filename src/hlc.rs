//! Hybrid logical time: for people and audit, when something happened, in an order that follows cause and effect.
//!
//! A stamp is the wall clock as long as that can be believed, and goes on by counting where it cannot: where the wall stands still, steps back,
//! or lags behind a stamp that has been heard of (Kulkarni et al., "Logical Physical Clocks", 2014). So a stamp is near the time of day, and what
//! was caused by a stamped event has a later one.
//!
//! No decision depends on it. Leases are measured in log time, and order is the log's. A wall clock may be wrong by an hour, and then these
//! stamps are too, and nothing else.

mod civil;
mod shared;
#[cfg(test)]
mod tests;

use std::fmt;
use std::time::Duration;

use crate::limits;

pub use shared::SharedHybridClock;

/// The bits of the counter.
const COUNTER_BITS: u32 = 16;

/// A point of hybrid time: 48 bits of milliseconds since the Unix epoch, then 16 bits of a counter within the millisecond.
///
/// They compare as they follow each other. The last one is in the year 10889; nothing comes after it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Hlc(pub u64);

impl Hlc {
    /// The first point of the millisecond in which a wall clock shows `wall`, counted from the Unix epoch.
    #[must_use]
    pub fn of_wall(wall: Duration) -> Self {
        const MILLIS_MAX: u64 = u64::MAX >> COUNTER_BITS;
        let millis = u64::try_from(wall.as_millis()).unwrap_or(MILLIS_MAX);
        Self(millis.min(MILLIS_MAX) << COUNTER_BITS)
    }

    /// Milliseconds since the Unix epoch.
    #[must_use]
    pub const fn millis(self) -> u64 {
        self.0 >> COUNTER_BITS
    }

    /// The counter within the millisecond.
    #[must_use]
    pub const fn counter(self) -> u64 {
        self.0 & ((1 << COUNTER_BITS) - 1)
    }

    /// The next point. After the last one of a millisecond comes the first one of the next.
    #[must_use]
    pub const fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }

    /// By how many milliseconds it is ahead of a wall clock; zero when it is not.
    #[must_use]
    pub fn ms_ahead_of(self, wall: Duration) -> u64 {
        self.millis().saturating_sub(Self::of_wall(wall).millis())
    }
}

impl fmt::Display for Hlc {
    /// As in RFC 3339, in UTC, and the counter: `2026-11-26T10:00:00.123Z+7`.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        civil::write_utc(formatter, self.millis())?;
        write!(formatter, "+{}", self.counter())
    }
}

/// A stamp that is too far ahead of the own wall clock to be followed: one of the two clocks is wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{by_ms} ms ahead; at most {limit} ms are followed")]
pub struct TooFarAhead {
    /// By how many milliseconds.
    pub by_ms: u64,
    /// How many are followed.
    pub limit: u64,
}

/// A hybrid logical clock: what a node makes of its own wall clock and of the stamps that it hears of.
///
/// - What `now` returns is greater than all that it returned or observed before.
/// - It is never further ahead of the highest that the own wall clock has shown than [`limits::HLC_AHEAD_MS_MAX`], but for what it counted itself.
#[derive(Clone, Copy, Debug, Default)]
pub struct HybridClock {
    last: Hlc,
}

impl HybridClock {
    /// The time of an event of this node, while its wall clock shows `wall`.
    pub fn now(&mut self, wall: Duration) -> Hlc {
        self.last = self.last.next().max(Hlc::of_wall(wall));
        self.last
    }

    /// Takes note of a stamp of another node, while the own wall clock shows `wall`. Whatever is stamped from now on comes after it.
    ///
    /// # Errors
    /// [`TooFarAhead`] when the stamp is further ahead than [`limits::HLC_AHEAD_MS_MAX`]. It is not followed: one broken clock would carry all the
    /// others along, and they could not come back.
    pub fn observe(&mut self, remote: Hlc, wall: Duration) -> Result<(), TooFarAhead> {
        let (by_ms, limit) = (remote.ms_ahead_of(wall), limits::HLC_AHEAD_MS_MAX);
        if by_ms > limit {
            return Err(TooFarAhead { by_ms, limit });
        }
        self.last = self.last.max(remote);
        Ok(())
    }
}
