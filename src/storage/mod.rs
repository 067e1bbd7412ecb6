//! Durable storage: the log of all partitions, and the rows of their state machines.
//!
//! Both are traits, so that users may bring their own. Neither knows what a partition does with it: completions go to whoever gave them.
//!
//! Any storage error is fatal to the node. The store that meets one stops for good: it completes nothing more, tells its
//! [`FailureHandler`] once, and never retries a sync (a failed fsync may have dropped the very pages that a retry would report as clean).

mod committer;
pub mod conformance;
pub mod file;
mod index;
pub mod memory;
mod memory_disk;
mod open;
mod read;
mod record;
mod redb;

use std::sync::Arc;

use bytes::Bytes;

pub use self::committer::Counters;
pub use self::memory_disk::MemoryDisk;
pub use self::open::{Identity, Opened, Options, open, open_with, stored_identity};
use crate::hlc::Hlc;
use crate::machine::Row;
use crate::raft::{DurableLog, Entry, HardState, Membership, Persist, Position};
use crate::types::{Incarnation, Index, LogTime, NodeId, PartitionId, StorageId};

/// What the log store holds of one partition.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Recovered {
    /// Term and vote.
    pub hard_state: HardState,
    /// The log.
    pub log: DurableLog,
}

/// Called once a write is durable. Dropped without being called when it failed.
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
/// - A write that cannot follow what was given before is a bug of the caller: it is refused, as an error of the store or by a panic.
pub trait LogStore: Send + Sync {
    /// What is durable of a partition, as found when the store was opened.
    ///
    /// # Errors
    /// When it cannot be read.
    fn recover(&self, partition: PartitionId) -> Result<Recovered, StorageError>;
    /// Takes a write: term and vote, then a reset, then entries, all of it or nothing. Never blocks.
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
    /// Lets go of the entries up to `through`, at some later time, and keeps its position as the base. A position at or below the base is
    /// no news; one that the log does not have is a bug of the caller, and refused. Never blocks.
    fn compact(&self, partition: PartitionId, through: Position);
}

/// How far a partition's durable rows have come, and who belonged to it then. Written together with them, never apart. The default is
/// what a partition has that was never written.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StateMark {
    /// The last applied entry that the rows contain.
    pub applied: Position,
    /// Log time then.
    pub log_time: LogTime,
    /// The hybrid time of the last entry that has one.
    pub hlc: Option<Hlc>,
    /// The membership then.
    pub membership: Membership,
}

/// What [`StateStore::load`] found beside the rows.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Loaded {
    /// How far the rows have come.
    pub mark: StateMark,
    /// The rows were installed as a whole, and not written to since: the log may be behind them.
    pub installed: bool,
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

/// A part of a snapshot that is being received.
pub struct StageWrite {
    /// Whose.
    pub partition: PartitionId,
    /// What the snapshot contains: it is known by this.
    pub at: Position,
    /// Keys and values to add; there may be none, for a snapshot that has none.
    pub rows: Vec<(Bytes, Bytes)>,
    /// Who wants to know.
    pub done: Completion,
}

/// What was staged becomes the state.
pub struct InstallWrite {
    /// Whose.
    pub partition: PartitionId,
    /// How far the staged rows have come.
    pub mark: StateMark,
    /// Who wants to know.
    pub done: Completion,
}

/// Takes the key and the value of one row, or says in words why it cannot be.
pub type VisitRow<'v> = dyn FnMut(&[u8], &[u8]) -> Result<(), String> + 'v;

/// The rows of the state machines of all partitions of a node.
///
/// - The writes of a partition, of all three kinds, are applied and completed in the order in which they were given.
/// - What is staged is no part of the state until it is installed, and is replaced as a whole.
pub trait StateStore: Send + Sync {
    /// Hands every row of a partition to `row`, in the order of keys, and returns its mark.
    ///
    /// # Errors
    /// When rows cannot be read, or `row` refuses one.
    fn load(&self, partition: PartitionId, row: &mut VisitRow<'_>) -> Result<Loaded, StorageError>;
    /// Takes a write. Never blocks.
    fn write(&self, write: StateWrite);
    /// A view of what is durable at this moment, which nothing changes any more. It holds the store open, and the room of every row that
    /// is replaced meanwhile: let go of it soon.
    ///
    /// # Errors
    /// When it cannot be read.
    fn snapshot(&self, partition: PartitionId) -> Result<Box<dyn StateSnapshot>, StorageError>;
    /// Adds to what is staged. Whatever was staged for another position is thrown away first. Never blocks.
    fn stage(&self, write: StageWrite);
    /// Hands every staged row of a partition to `row`, in the order of keys, and returns the position that they are staged for; none when
    /// nothing is staged. It survives restarts, so that a transfer can go on.
    ///
    /// # Errors
    /// When rows cannot be read, or `row` refuses one.
    fn staged(&self, partition: PartitionId, row: &mut VisitRow<'_>) -> Result<Option<Position>, StorageError>;
    /// Makes what is staged the state, as a whole and at once, whatever its size. A mark of another position than what is staged, or behind
    /// the one that is there, is a bug of the caller: it is refused, as an error of the store or by a panic. Never blocks.
    fn install(&self, write: InstallWrite);
}

/// The state of one partition at one moment.
pub trait StateSnapshot: Send {
    /// How far it had come.
    fn mark(&self) -> &StateMark;
    /// Rows in the order of keys, from the first that follows `after`, or from the very first: as many as fit in `bytes_max` bytes of keys
    /// and values, but at least one. None left is the end.
    ///
    /// # Errors
    /// When they cannot be read.
    fn rows(&self, after: Option<&[u8]>, bytes_max: usize) -> Result<Vec<(Bytes, Bytes)>, StorageError>;
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
