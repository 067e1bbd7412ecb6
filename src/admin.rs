//! What people ask of a cluster beside locks: other members, other leaders. As data, for the wire and for the client.

use crate::raft::Change;
use crate::types::{NodeId, PartitionId};

/// Something that only the leader of a partition can do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AdminRequest {
    /// Make one step towards other members. Idempotent; to be asked until it is done.
    ChangeMember(PartitionId, Change),
    /// Hand leadership over: to this voter, or to whoever is best.
    TransferLeader(PartitionId, Option<NodeId>),
}

impl AdminRequest {
    /// Which partition.
    #[must_use]
    pub const fn partition(&self) -> PartitionId {
        match self {
            Self::ChangeMember(partition, _) | Self::TransferLeader(partition, _) => *partition,
        }
    }
}

/// What came of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AdminReply {
    /// The members are as asked, and that is committed.
    Done,
    /// It has begun.
    Begun,
    /// This node will lead, if all goes well.
    HandingOverTo(NodeId),
}
