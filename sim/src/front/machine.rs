//! The machines that clients run on: an address that nobody else ever has, and a clock of their own.
//!
//! No fault stops a client's machine but those that the workload itself chooses.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use kapu::clock::Clock;
use kapu::env::Spawn;
use rand::RngExt;

use super::SimCaller;
use crate::options::Options;
use crate::workload::{Outfit, Outfitter};
use crate::world::clock::SimClock;
use crate::world::links::{Links, Place};

/// A client's clock shows up to this at the start of the run.
const CLOCK_OFFSET_MS_MAX: u64 = 1_000_000_000;

/// Clients on machines of their own, each with a clock of its own.
pub struct SimOutfitter {
    links: Links,
    seed: u64,
    drift_ppm_max: i64,
}

impl SimOutfitter {
    /// Clients of a run with these options.
    #[must_use]
    pub fn new(links: Links, options: &Options) -> Self {
        Self {
            links,
            seed: options.seed,
            drift_ppm_max: options.drift_ppm_max,
        }
    }
}

impl Outfitter for SimOutfitter {
    fn outfit(&self, client: u64, spawn: Arc<dyn Spawn>) -> Outfit {
        let mut rng = kapu::env::rng(self.seed, &format!("machine of client {client}"));
        let offset = Duration::from_millis(rng.random_range(0..=CLOCK_OFFSET_MS_MAX));
        let ppm = rng.random_range(-self.drift_ppm_max..=self.drift_ppm_max);
        let clock: Arc<dyn Clock> = Arc::new(SimClock::new(offset, ppm));
        let port = self.links.bind(Place::Client(client), client_address(client));
        let caller = Arc::new(SimCaller::new(port, Arc::clone(&clock), &*spawn));
        Outfit { caller, clock }
    }
}

/// The address of a client: nobody else ever has it.
///
/// # Panics
/// For more clients than there are addresses.
#[must_use]
pub fn client_address(client: u64) -> SocketAddr {
    let number = u32::try_from(client).ok().filter(|number| *number < 1 << 16);
    let [_, _, high, low] = number.expect("a run has fewer than 65,536 clients").to_be_bytes();
    SocketAddr::from(([10, 9, high, low], 9))
}
