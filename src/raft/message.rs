//! What replicas say to each other, and what they say it about: entries, positions, hard state.
//!
//! One variant per message of the protocol. Encoding is the business of [`crate::wire`].

use bytes::Bytes;

use crate::hlc::Hlc;
use crate::raft::membership::Membership;
use crate::types::{Index, LogTime, NodeId, Term};

/// One entry of the log. An empty payload is the no-op of a new leader; one that begins with a zero byte is a [`Membership`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Its position.
    pub index: Index,
    /// The term of the leader that made it.
    pub term: Term,
    /// What it carries; Raft does not look inside.
    pub payload: Bytes,
}

/// What must be durable before an answer that depends on it leaves the node: one record, never two (Raft section 5.2).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HardState {
    /// The current term.
    pub term: Term,
    /// Who has this replica's vote in that term.
    pub vote: Option<NodeId>,
}

/// The place of an entry in the history of all logs: equal positions have equal prefixes (Raft section 5.3, log matching).
///
/// Ordered by term first: the greater position is the more up-to-date log (Raft section 5.4.1).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Position {
    /// The entry's term. First, so that the derived order is the order of votes.
    pub term: Term,
    /// The entry's index.
    pub index: Index,
}

/// Some consecutive rows of a snapshot, in the order of keys.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SnapshotRows {
    /// Which state.
    pub at: Position,
    /// What was asked for: the key before the first row here; empty at the beginning.
    pub after: Bytes,
    /// Keys and values. A key is never empty.
    pub rows: Vec<(Bytes, Bytes)>,
    /// xxh3-64 of `after` and these rows: [`SnapshotRows::computed_checksum`].
    pub checksum: u64,
    /// With the last rows: what else belongs to the state.
    pub end: Option<SnapshotEnd>,
}

impl SnapshotRows {
    /// The checksum that it should have: over what follows which key, each with its length.
    #[must_use]
    pub fn computed_checksum(&self) -> u64 {
        let mut hash = xxhash_rust::xxh3::Xxh3::new();
        let fields = self.rows.iter().flat_map(|(key, value)| [key, value]);
        for field in std::iter::once(&self.after).chain(fields) {
            hash.update(&(field.len() as u64).to_le_bytes());
            hash.update(field);
        }
        hash.digest()
    }
}

/// What belongs to a state beside its rows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SnapshotEnd {
    /// Log time at that entry.
    pub log_time: LogTime,
    /// The hybrid time of the last entry up to it that has one.
    pub hlc: Option<Hlc>,
    /// The membership that was in force at that entry.
    pub membership: Membership,
}

/// A message from one replica of a partition to another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// Who sends it.
    pub from: NodeId,
    /// Who gets it.
    pub to: NodeId,
    /// The sender's term; for a pre-vote and its grant, the term that the candidate would campaign in.
    pub term: Term,
    /// What it says.
    pub body: Body,
}

/// What a message says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Body {
    /// Would you vote for me? Changes nothing at the receiver (Ongaro's thesis, section 9.6).
    PreVote {
        /// The candidate's last entry.
        last: Position,
    },
    /// The answer to a pre-vote.
    PreVoteResponse {
        /// Whether the sender would vote for the candidate.
        granted: bool,
    },
    /// Vote for me (Raft section 5.2).
    Vote {
        /// The candidate's last entry.
        last: Position,
        /// The leader asked for this election, so nobody defends it.
        transfer: bool,
    },
    /// The answer to a vote request.
    VoteResponse {
        /// Whether the sender voted for the candidate.
        granted: bool,
    },
    /// Entries that follow `prev` (Raft section 5.3). Without entries, a probe of `prev`.
    Append {
        /// The entry before the first one here.
        prev: Position,
        /// Consecutive entries from `prev.index + 1`.
        entries: Vec<Entry>,
        /// The leader's commit index.
        commit: Index,
        /// The leader's latest read round: any answer proves leadership for it.
        round: u64,
    },
    /// Everything up to `matched` is the leader's log, and durable here.
    AppendResponse {
        /// The last durable entry known to be the leader's.
        matched: Index,
        /// The latest read round seen from this leader.
        round: u64,
    },
    /// The entry at `prev` is not here.
    AppendRejected {
        /// The anchor that did not match.
        prev: Index,
        /// The last entry here that may match: at or below `prev`, of a term at or below the anchor's.
        hint: Position,
        /// The latest read round seen from this leader.
        round: u64,
    },
    /// The leader lives. Does not touch the log.
    Heartbeat {
        /// What the receiver may commit: never beyond what it has acknowledged.
        commit: Index,
        /// The leader's latest read round.
        round: u64,
        /// Every replica that the leader hears holds everything up to here durably: below it the log may be compacted.
        compact: Index,
    },
    /// The answer to a heartbeat.
    HeartbeatResponse {
        /// The latest read round seen from this leader.
        round: u64,
    },
    /// Campaign now, without a pre-vote: the leader hands over (thesis, section 3.10).
    TimeoutNow {
        /// Somebody asked for it: the successor does not give leadership away by itself.
        stays: bool,
    },
    /// What follows the receiver's log is compacted here; the state up to `at` can be had instead (Raft section 7).
    Snapshot {
        /// The last entry that the offered state contains: applied at the leader, so committed.
        at: Position,
    },
    /// Send me rows of the state up to `at`. Nothing that Raft itself listens to.
    SnapshotRequest {
        /// Which state.
        at: Position,
        /// The rows after this key; empty for the first ones. A key is never empty.
        after: Bytes,
    },
    /// Rows of the state up to `at`. Nothing that Raft itself listens to.
    SnapshotRows(Box<SnapshotRows>),
}
