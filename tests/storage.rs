//! What storage promises, on real files and on a simulated disk that loses power.
//!
//! The conformance suite on every store of ours, what is refused at the door, and crashes at every sync.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "storage/collect.rs"]
mod collect;
#[path = "storage/conformance.rs"]
mod conformance;
#[path = "storage/crash.rs"]
mod crash;
#[path = "storage/disk.rs"]
mod disk;
#[path = "storage/expectation.rs"]
mod expectation;
#[path = "storage/failure.rs"]
mod failure;
#[path = "storage/leftovers.rs"]
mod leftovers;
#[path = "storage/model.rs"]
mod model;
#[path = "storage/refusal.rs"]
mod refusal;
#[path = "storage/snapshots.rs"]
mod snapshots;
#[path = "storage/state_model.rs"]
mod state_model;
#[path = "storage/support.rs"]
mod support;
