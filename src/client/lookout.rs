//! When to ask a cluster who belongs to it.
//!
//! Nodes come and go while a client lives, until none of those that it was given is left. Hints name leaders only, and a client whose leader never
//! changes hears none: so one that is in use asks now and then. One that is not in use sends nothing, and may have to be given new endpoints.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::status::NodeStatus;

/// Between two questions.
pub const LOOK_EVERY: Duration = Duration::from_secs(10);

/// Says when a look is due. Cheap to ask with every answer.
pub struct Lookout {
    next_ms: AtomicU64,
}

impl Lookout {
    /// The first look is due [`LOOK_EVERY`] after `now`: a client that lives for one request asks nothing.
    pub fn new(now: Duration) -> Self {
        let next_ms = AtomicU64::new(millis(now + LOOK_EVERY));
        Self { next_ms }
    }

    /// Whether a look is due at `now`. Then the next one is due [`LOOK_EVERY`] later; of many who ask at once, one is told.
    pub fn is_due(&self, now: Duration) -> bool {
        let next = self.next_ms.load(Ordering::Relaxed);
        let later = || millis(now + LOOK_EVERY);
        millis(now) >= next
            && self
                .next_ms
                .compare_exchange(next, later(), Ordering::Relaxed, Ordering::Relaxed)
                .is_ok()
    }
}

/// Where clients reach the nodes that `status` tells of, as far as it knows.
pub fn addresses(status: &NodeStatus) -> impl Iterator<Item = &str> {
    let addresses = status.nodes.iter().map(|info| info.client_address.as_str());
    addresses.filter(|address| !address.is_empty())
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_look_is_due_once_in_a_while_and_not_at_first() {
        let start = Duration::from_secs(5);
        let lookout = Lookout::new(start);
        assert!(!lookout.is_due(start));
        assert!(lookout.is_due(start + LOOK_EVERY));
        assert!(!lookout.is_due(start + LOOK_EVERY));
        assert!(lookout.is_due(start + 2 * LOOK_EVERY));
    }
}
