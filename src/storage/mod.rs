//! Durable storage: the log of all partitions, and the rows of their state machines.
//!
//! Both are traits, so that users may bring their own. Neither knows what a partition does with it: completions go to whoever gave them.
//!
//! Any storage error is fatal to the node. The store that meets one stops for good: it completes nothing more, tells its
//! [`FailureHandler`] once, and never retries a sync (a failed fsync may have dropped the very pages that a retry would report as clean).

mod committer;
pub mod file;
mod index;
pub mod memory;
mod open;
mod read;
mod record;
mod redb;

use std::sync::Arc;

pub use self::committer::Counters;
pub use self::open::{Identity, Opened, Options, open, open_with};
use crate::hlc::Hlc;
use crate::machine::Row;
use crate::raft::{DurableLog, Entry, HardState, Persist, Position};
use crate::types::{Incarnation, Index, LogTime, NodeId, PartitionId, StorageId};

/// What the log store holds of one partition.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Recovered {
    /// Term and vote.
    pub hard_state: HardState,
    /// The log.
    pub log: DurableLog,
}

/// Called once a write is durable. Never called when it failed.
pub type Completion = Box<dyn FnOnce() + Send>;

/// Which disk a peer had, and in which life it was on that.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PeerLife {
    /// Its data directory.
    pub storage_id: StorageId,
    /// Its start on that.
    pub incarnation: Incarnation,
}

/// Makes durable which life of a peer was met, and then calls the completion. Never blocks. Does not keep the store open.
pub type RememberPeer = Arc<dyn Fn(NodeId, PeerLife, Completion) + Send + Sync>;

/// Makes durable why peers refuse this disk. Never blocks. It is written before the store is closed.
pub type RememberRefusal = Arc<dyn Fn(String) + Send + Sync>;

/// Called once, with the first error, from whichever thread met it.
pub type FailureHandler = Arc<dyn Fn(StorageError) + Send + Sync>;

/// One write of one partition.
pub struct LogWrite {
    /// Whose.
    pub partition: PartitionId,
    /// What.
    pub persist: Persist,
    /// Who wants to know.
    pub done: Completion,
}

/// The logs of all partitions of a node.
///
/// - Writes complete in the order in which they were given.
/// - A read sees every write that was completed, and may see later ones.
pub trait LogStore: Send + Sync {
    /// What is durable of a partition, as found when the store was opened.
    ///
    /// # Errors
    /// When it cannot be read.
    fn recover(&self, partition: PartitionId) -> Result<Recovered, StorageError>;
    /// Takes a write. Never blocks.
    fn write(&self, write: LogWrite);
    /// The entries from `first` to `last`, both included, cut off after `bytes_max` bytes of payload but never before one entry.
    ///
    /// # Errors
    /// When they cannot be read, or one of them was compacted or never written.
    fn read(
        &self,
        partition: PartitionId,
        first: Index,
        last: Index,
        bytes_max: usize,
    ) -> Result<Vec<Entry>, StorageError>;
    /// Lets go of the entries up to `through`, at some later time. Never blocks. Keeps its position as the base.
    fn compact(&self, partition: PartitionId, through: Position);
}

/// How far a partition's durable rows have come. Written together with them, never apart.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StateMark {
    /// The last applied entry that the rows contain.
    pub applied: Position,
    /// Log time then.
    pub log_time: LogTime,
    /// The hybrid time of the last entry that has one.
    pub hlc: Option<Hlc>,
}

/// Rows that changed, up to a mark.
pub struct StateWrite {
    /// Whose.
    pub partition: PartitionId,
    /// How far.
    pub mark: StateMark,
    /// Which rows.
    pub rows: Vec<Row>,
    /// Who wants to know.
    pub done: Completion,
}

/// Takes the key and the value of one row, or says in words why it cannot be.
pub type VisitRow<'v> = dyn FnMut(&[u8], &[u8]) -> Result<(), String> + 'v;

/// The rows of the state machines of all partitions of a node.
pub trait StateStore: Send + Sync {
    /// Hands every row of a partition to `row`, in the order of keys, and returns its mark; all zero when nothing was ever written.
    ///
    /// # Errors
    /// When rows cannot be read, or `row` refuses one.
    fn load(&self, partition: PartitionId, row: &mut VisitRow<'_>) -> Result<StateMark, StorageError>;
    /// Takes a write. Never blocks. Writes of a partition are applied in the order in which they were given.
    fn write(&self, write: StateWrite);
}

/// Why storage cannot go on, with the file it happened in.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StorageError {
    /// Another process uses the directory.
    #[error("{file} is in use by another process; stop that one, or choose another --data-dir")]
    InUse {
        /// Which file.
        file: String,
    },
    /// The system refused.
    #[error("{file}: {reason}")]
    Io {
        /// Which file.
        file: String,
        /// The system's words.
        reason: String,
    },
    /// The content cannot be what was written.
    #[error(
        "{file} is corrupt: {reason}; restore this node from an intact copy or replace it, and do not delete the file before"
    )]
    Corrupt {
        /// Which file.
        file: String,
        /// What is wrong.
        reason: String,
    },
    /// The directory belongs to something else.
    #[error("{file} {reason}")]
    Mismatch {
        /// Which file.
        file: String,
        /// What differs, with both values and what to do.
        reason: String,
    },
}
