//! The library's door: nodes that replicate what is no lock, in worlds in memory, by the public calls alone.
#![expect(clippy::unwrap_used, reason = "helpers of tests are tests")]

#[path = "node/bench_top.rs"]
mod bench_top;
#[path = "node/calls.rs"]
mod calls;
#[path = "node/events.rs"]
mod events;
#[path = "node/membership.rs"]
mod membership;
#[path = "node/storage.rs"]
mod storage;
