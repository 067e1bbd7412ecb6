//! What a partition replicates: a deterministic state machine behind one door.
//!
//! The partition joins Raft to a `StateMachine` and knows nothing of what it does. Commands, outcomes, queries and rows are opaque bytes
//! here. Log time arrives with every entry; a machine never asks what time it is.

use std::sync::Arc;

use bytes::Bytes;

use crate::types::{LogTime, PartitionId};

/// One row of a machine's durable state: a key, and its value or none where the row was removed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// The key, unique in a partition.
    pub key: Bytes,
    /// The value; `None` removes the row.
    pub value: Option<Bytes>,
}

/// A row that cannot be read back.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a state row cannot be read: {0}")]
pub struct RestoreError(pub String);

/// Makes an empty machine for a partition, to be filled with saved rows.
pub type NewMachine = Arc<dyn Fn(PartitionId) -> Box<dyn StateMachine> + Send + Sync>;

/// A deterministic state machine.
///
/// - Every replica is given the same calls of `advance` and `apply` in the same order, and must come to the same state and outcomes.
/// - It does no I/O, reads no clock and draws no entropy.
/// - The rows that `take_changes` returned over time, applied in order to an empty set, are its whole state.
pub trait StateMachine: Send {
    /// Brings log time forward to `now`, which never goes back: whatever ends at or before `now` ends. Called before each `apply`. A machine in
    /// which nothing ends by itself needs neither this nor `next_deadline`.
    fn advance(&mut self, _now: LogTime) {}
    /// Applies one committed command at log time `now` and returns the outcome. A command that nobody should have proposed has no effect; one that
    /// only a newer version can read must stop the partition (by a panic), or replicas would diverge.
    fn apply(&mut self, now: LogTime, command: &[u8]) -> Bytes;
    /// Answers `query` from the present state, at log time `now`, which may be later than the last `advance`.
    fn query(&self, now: LogTime, query: &[u8]) -> Bytes;
    /// When `advance` would next change something: then a leader brings log time forward, though nobody proposes anything.
    fn next_deadline(&self) -> Option<LogTime> {
        None
    }
    /// How many rows changed since the last call of `take_changes`.
    fn changes(&self) -> usize;
    /// The rows that changed since the last call. Keys and values are limited as [`crate::limits`] says: `ROW_KEY_BYTES_MAX`, `ROW_VALUE_BYTES_MAX`.
    fn take_changes(&mut self) -> Vec<Row>;
    /// Puts one saved row into a fresh machine.
    ///
    /// # Errors
    /// When the row is not one that this machine wrote.
    fn restore(&mut self, key: &[u8], value: &[u8]) -> Result<(), RestoreError>;
    /// A hash of the whole state, equal on replicas that applied the same entries. Nobody asks for it but an observer, as simulation is one.
    fn digest(&self) -> u64;
}
