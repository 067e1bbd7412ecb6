//! What is known of a peer's clock: whether it is too far ahead to be followed.
//!
//! It begins where the limit is passed and ends at half of it, so that a clock that is just there is not told of with every frame.

use crate::hlc::TooFarAhead;
use crate::limits;

/// A peer's clock, by what its frames say.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Skew {
    ahead_ms: Option<u64>,
}

impl Skew {
    /// By how many milliseconds the clock is ahead, while it is too far.
    pub const fn ahead_ms(self) -> Option<u64> {
        self.ahead_ms
    }

    /// Takes note of how far the latest frame was ahead. Says whether that begins or ends.
    pub fn note(&mut self, seen: Result<u64, TooFarAhead>) -> bool {
        let was_ahead = self.ahead_ms.is_some();
        self.ahead_ms = match seen {
            Err(TooFarAhead { by_ms, .. }) => Some(by_ms),
            Ok(by_ms) => (was_ahead && by_ms > limits::HLC_AHEAD_MS_MAX / 2).then_some(by_ms),
        };
        was_ahead != self.ahead_ms.is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: u64 = limits::HLC_AHEAD_MS_MAX;

    #[test]
    fn it_is_told_when_it_begins_and_when_it_ends() {
        let far = |by_ms| Err(TooFarAhead { by_ms, limit: LIMIT });
        let mut skew = Skew::default();
        assert!(!skew.note(Ok(LIMIT)));
        assert!(skew.note(far(LIMIT + 1)), "it begins");
        assert!(!skew.note(far(LIMIT + 2)));
        assert!(!skew.note(Ok(LIMIT)), "it is still near the limit");
        assert_eq!(skew.ahead_ms(), Some(LIMIT));
        assert!(skew.note(Ok(LIMIT / 2)), "it ends");
        assert_eq!(skew.ahead_ms(), None);
        assert!(!skew.note(Ok(LIMIT)), "within the limit nothing begins");
    }
}
