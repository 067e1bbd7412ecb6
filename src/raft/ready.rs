//! What a replica wants done after a batch of events, in an order that is part of the type.

use crate::raft::message::{Entry, HardState, Message, Position};
use crate::types::{Index, NodeId, PersistId, Term};

/// One write to the log store.
///
/// Writes of a partition complete in the order of their ids. An entry at index i replaces everything at i and above: truncation is
/// never a record of its own, and never takes what a leader committed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Persist {
    /// Comes back in `Raft::persisted`.
    pub id: PersistId,
    /// The new term and vote, when they changed.
    pub hard_state: Option<HardState>,
    /// When set, the log is replaced as a whole: it is empty, and begins after this position.
    pub reset: Option<Position>,
    /// Consecutive entries, which follow `reset` where it is set; may be empty.
    pub entries: Vec<Entry>,
}

/// What this replica is at the moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Role {
    /// Takes entries of a leader, or waits for one.
    Follower,
    /// Asks whether it would be elected.
    PreCandidate,
    /// Asks to be elected.
    Candidate,
    /// Orders the entries.
    Leader,
}

impl Role {
    /// The word for people.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Follower => "follower",
            Self::PreCandidate => "pre-candidate",
            Self::Candidate => "candidate",
            Self::Leader => "leader",
        }
    }
}

/// A change of role, term or leader.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RoleChange {
    /// The role now.
    pub role: Role,
    /// The term now.
    pub term: Term,
    /// The leader of that term, when known.
    pub leader: Option<NodeId>,
}

/// A read that a quorum has confirmed: it may be answered from any state that has applied `index`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReadState {
    /// What `Raft::read_index` was given.
    pub context: u64,
    /// The commit index when the read began.
    pub index: Index,
}

/// What is to be done after a batch of events.
///
/// - `send` may leave at once, in parallel with `persist`: a message whose truth rests on a write (a vote, an acknowledgement) is only
///   made when that write is durable, so the shell cannot get the order wrong.
/// - `apply` is durable here and committed.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Ready {
    /// To be made durable; its id comes back in `Raft::persisted`.
    pub persist: Option<Persist>,
    /// To be sent now.
    pub send: Vec<Message>,
    /// Committed entries to apply, consecutive from the last applied one.
    pub apply: Vec<Entry>,
    /// The latest change of role, term or leader.
    pub role_change: Option<RoleChange>,
    /// Reads that a quorum confirmed.
    pub reads_confirmed: Vec<ReadState>,
    /// Reads that will never be confirmed: this replica leads no more.
    pub reads_failed: Vec<u64>,
}

impl Ready {
    /// Whether there is nothing to do.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}
