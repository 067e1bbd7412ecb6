//! Everything that can happen to a partition, as one closed enum, and how callers are answered.

use bytes::Bytes;

use crate::error::Overloaded;
use crate::partition::snapshots::Finished;
use crate::raft::{Change, Message, Position, ReconfigureError, SnapshotRows};
use crate::storage::StateMark;
use crate::types::{NodeId, PersistId};

/// One thing that has happened.
pub enum Event {
    /// A tick of time has passed.
    Tick,
    /// A peer's replica sent something.
    Message(Message),
    /// A write to the log is durable, and every earlier one.
    Persisted(PersistId),
    /// Rows of the state are durable up to this mark.
    StateSaved(StateMark),
    /// A caller wants a command applied.
    Propose {
        /// The command.
        command: Bytes,
        /// Who waits.
        reply: Reply,
    },
    /// A caller asks about the state.
    Query {
        /// The question.
        query: Bytes,
        /// Who waits.
        reply: Reply,
    },
    /// A caller wants to know whether this replica leads: a question to nobody but Raft.
    Confirm(Reply),
    /// The saved state is open for followers that need it, up to this entry.
    SnapshotOpened(Position),
    /// Rows of it that a follower asked for.
    SnapshotRead {
        /// Who.
        to: NodeId,
        /// Which.
        rows: SnapshotRows,
    },
    /// Rows of a snapshot are kept here durably.
    SnapshotStaged {
        /// Which snapshot.
        at: Position,
        /// Up to which key.
        after: Bytes,
        /// With the last rows.
        finished: Option<Finished>,
    },
    /// A snapshot cannot be received here and now.
    SnapshotDropped(Position),
    /// The snapshot that was received is the durable state.
    SnapshotInstalled,
    /// Somebody wants the members changed.
    ChangeMember {
        /// How.
        change: Change,
        /// Told whether it was so already.
        reply: AdminReply<bool>,
    },
    /// Somebody wants another leader.
    TransferLeader {
        /// Whom; whoever is best, if nobody is named.
        to: Option<NodeId>,
        /// Told who it will be, if all goes well.
        reply: AdminReply<NodeId>,
    },
    /// Save the state, and tell when everything that is applied by now is saved. Let go of that part of the log as soon as nobody lacks it.
    Checkpoint(Reply),
    /// The node is about to stop: hand leadership over, then tell.
    HandOver(Box<dyn FnOnce() + Send>),
    /// The node stops.
    Stop,
}

/// Answers somebody who administers.
pub type AdminReply<T> = Box<dyn FnOnce(Result<T, AdminRefusal>) + Send>;

/// Why something was not done for somebody who administers; definite, nothing has happened.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AdminRefusal {
    /// This replica does not lead, or does not serve yet.
    #[error("this replica does not lead")]
    NotLeader(Option<NodeId>),
    /// The members cannot be changed so, or not now.
    #[error(transparent)]
    Change(ReconfigureError),
    /// There is no such voter, or none that was heard.
    #[error("there is no other voter to hand leadership to, or it was not heard")]
    NoSuccessor,
    /// Too much is waiting.
    #[error(transparent)]
    Overloaded(Overloaded),
}

impl AdminRefusal {
    /// Whether it may be otherwise a moment later, without anybody doing anything.
    #[must_use]
    pub const fn is_passing(&self) -> bool {
        matches!(
            self,
            Self::NotLeader(_)
                | Self::Overloaded(_)
                | Self::Change(
                    ReconfigureError::UnderWay | ReconfigureError::CatchingUp { .. } | ReconfigureError::NotLeader
                )
        )
    }
}

/// Why a caller gets no outcome.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// Definite: this replica does not lead, or does not serve yet.
    NotLeader(Option<NodeId>),
    /// Definite: too much is waiting.
    Overloaded(Overloaded),
    /// Definite: the partition is stopping.
    Stopping,
    /// Indefinite: the entry may or may not be committed, now or later.
    Unknown(&'static str),
}

/// What a caller does with its answer.
type Answer = Box<dyn FnOnce(Result<Bytes, Refusal>) + Send>;

/// Answers one caller, exactly once: a reply that is dropped says that the outcome is unknown.
pub struct Reply(Option<Answer>);

impl Reply {
    /// A reply that calls `answer`.
    #[must_use]
    pub fn new(answer: impl FnOnce(Result<Bytes, Refusal>) + Send + 'static) -> Self {
        Self(Some(Box::new(answer)))
    }

    /// Answers.
    pub fn send(mut self, result: Result<Bytes, Refusal>) {
        if let Some(answer) = self.0.take() {
            answer(result);
        }
    }
}

impl Drop for Reply {
    fn drop(&mut self) {
        if let Some(answer) = self.0.take() {
            answer(Err(Refusal::Unknown(
                "the partition ended before the outcome was known",
            )));
        }
    }
}
