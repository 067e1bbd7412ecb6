//! What a partition replicates: a deterministic state machine behind one door.
//!
//! The partition joins Raft to a `StateMachine` and knows nothing of what it does. Commands, outcomes, queries and rows are opaque bytes
//! here. Log time arrives with every entry; a machine never asks what time it is.

use std::sync::Arc;

use bytes::Bytes;

use crate::types::LogTime;

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

/// Makes an empty machine, to be filled with the rows of a snapshot.
pub type NewMachine = Arc<dyn Fn() -> Box<dyn StateMachine> + Send + Sync>;

/// A deterministic state machine.
///
/// - Every replica is given the same calls of `advance` and `apply` in the same order, and must come to the same state and outcomes.
/// - It does no I/O, reads no clock and draws no entropy.
/// - The rows that `take_changes` returned over time, applied in order to an empty set, are its whole state.
pub trait StateMachine: Send {
    /// Brings log time forward to `now`, which never goes back: whatever ends at or before `now` ends.
    fn advance(&mut self, now: LogTime);
    /// Applies one committed command at log time `now` and returns the outcome. A command that it cannot read has no effect.
    fn apply(&mut self, now: LogTime, command: &[u8]) -> Bytes;
    /// Answers `query` from the present state, at log time `now`, which may be later than the last `advance`.
    fn query(&self, now: LogTime, query: &[u8]) -> Bytes;
    /// When `advance` would next change something.
    fn next_deadline(&self) -> Option<LogTime>;
    /// How many rows changed since the last call of `take_changes`.
    fn changes(&self) -> usize;
    /// The rows that changed since the last call.
    fn take_changes(&mut self) -> Vec<Row>;
    /// Puts one saved row into a fresh machine.
    ///
    /// # Errors
    /// When the row is not one that this machine wrote.
    fn restore(&mut self, key: &[u8], value: &[u8]) -> Result<(), RestoreError>;
    /// A hash of the whole state, equal on replicas that applied the same entries.
    fn digest(&self) -> u64;
}
