//! The stores on redb: one file for the logs of all partitions, one for the rows of their state machines.
//!
//! redb gives atomic commits over a file that may lose unsynced writes; everything else (what a commit contains, in which order, and who is
//! told) is decided above it. Nothing outside of this folder names redb, except the type of an open file in [`crate::env`].

pub mod collect;
pub mod database;
mod leftovers;
pub mod log;
pub mod log_file;
pub mod meta;
pub mod scan;
mod snapshot;
pub mod state;
pub mod state_file;
mod state_writer;
mod step;

/// The name of the file with the logs.
pub const LOG_FILE: &str = "log.redb";
/// The name of the file with the rows.
pub const STATE_FILE: &str = "state.redb";
