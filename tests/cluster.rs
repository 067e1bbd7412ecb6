//! Real processes: what a cluster promises while its nodes are killed, stopped, told to go, given garbage, added and removed.
//!
//! Each scenario starts nodes of its own on free ports, in a temporary directory, and leaves nothing behind. Times are printed and never
//! asserted; what is awaited has a deadline, so that a failure says what did not happen. `KAPU_ROUNDS` sets how often the leader is killed.

#[path = "cluster/commands.rs"]
mod commands;
#[path = "cluster/data_dir.rs"]
mod data_dir;
#[path = "cluster/dev.rs"]
mod dev;
#[path = "cluster/disk_full.rs"]
mod disk_full;
#[path = "cluster/failover.rs"]
mod failover;
#[path = "cluster/garbage.rs"]
mod garbage;
#[path = "cluster/handover.rs"]
mod handover;
#[path = "cluster/harness.rs"]
#[expect(dead_code, reason = "ci/endure uses more of it")]
mod harness;
#[path = "cluster/ledger.rs"]
mod ledger;
#[path = "cluster/load.rs"]
#[expect(dead_code, reason = "ci/endure uses more of it")]
mod load;
#[path = "cluster/members.rs"]
mod members;
#[path = "cluster/pause.rs"]
mod pause;
#[path = "cluster/process.rs"]
mod process;
#[path = "cluster/requests.rs"]
mod requests;
