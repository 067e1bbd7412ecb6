//! A window into a running partition, for simulation and tests: what it is after each flush, and the state after each entry.
//!
//! Nobody looks in production, and then it costs nothing. An observer changes nothing.

use crate::hlc::Hlc;
use crate::raft::Position;
use crate::status::PartitionStatus;
use crate::types::LogTime;

/// One entry that was applied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Applied {
    /// Which entry.
    pub position: Position,
    /// Log time after it.
    pub log_time: LogTime,
    /// Hybrid time of this very entry; none where it has none, as the opening entry of a term.
    pub hlc: Option<Hlc>,
    /// A hash of the whole state after it: equal on every replica that applied the same entries.
    pub digest: u64,
    /// It was not applied but came with a snapshot, in the place of all entries up to it.
    pub is_snapshot: bool,
}

/// Looks at the partitions of one node.
pub trait Observer: Send + Sync {
    /// A partition has dealt with a batch of events; `applied` is what it applied meanwhile. Called before any message of that batch leaves.
    fn flushed(&self, status: &PartitionStatus, applied: &[Applied]);
}
