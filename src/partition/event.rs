//! Everything that can happen to a partition, as one closed enum, and how callers are answered.

use bytes::Bytes;

use crate::raft::Message;
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
    /// The node is about to stop: hand leadership over, then tell.
    HandOver(Box<dyn FnOnce() + Send>),
    /// The node stops.
    Stop,
}

/// Why a caller gets no outcome.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// Definite: this replica does not lead, or does not serve yet.
    NotLeader(Option<NodeId>),
    /// Definite: too much is waiting.
    Overloaded {
        /// Which queue.
        what: &'static str,
        /// Its limit.
        limit: usize,
    },
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
