//! The one hybrid clock of a node, for its partitions and its streams of frames.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::{Hlc, HybridClock, TooFarAhead};
use crate::clock::Clock;

/// A [`HybridClock`] on a wall clock, for everybody on the node.
pub struct SharedHybridClock {
    clock: Arc<dyn Clock>,
    hybrid: Mutex<HybridClock>,
}

impl SharedHybridClock {
    /// A clock that has heard of nothing.
    #[must_use]
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        let hybrid = Mutex::default();
        Self { clock, hybrid }
    }

    /// As [`HybridClock::now`].
    pub fn now(&self) -> Hlc {
        let wall = self.clock.wall();
        self.lock().now(wall)
    }

    /// As [`HybridClock::observe`]. Returns by how many milliseconds the stamp was ahead of the own wall clock.
    ///
    /// # Errors
    /// As [`HybridClock::observe`].
    pub fn observe(&self, remote: Hlc) -> Result<u64, TooFarAhead> {
        let wall = self.clock.wall();
        self.lock().observe(remote, wall)?;
        Ok(remote.ms_ahead_of(wall))
    }

    fn lock(&self) -> MutexGuard<'_, HybridClock> {
        self.hybrid.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
