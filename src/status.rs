//! What a node says of itself, to people and to clients.

use std::sync::Arc;

use crate::hlc::Hlc;
use crate::raft::{FollowerStatus, Membership, Role};
use crate::types::{Index, NodeId, PartitionId, Term};

/// What a node says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeStatus {
    /// The cluster's name.
    pub cluster: String,
    /// Which node.
    pub node_id: NodeId,
    /// Its client address.
    pub client_address: String,
    /// Every member of any partition.
    pub nodes: Vec<NodeInfo>,
    /// Every partition.
    pub partitions: Vec<PartitionStatus>,
    /// Peers whose clock is too far ahead of this node's to be followed, each with by how many milliseconds it was in its latest frame.
    pub clocks_ahead: Vec<(NodeId, u64)>,
}

/// What a node knows of a member.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeInfo {
    /// Which node.
    pub node: NodeId,
    /// Where clients reach it; empty where it is not known yet.
    pub client_address: String,
    /// Where its peers reach it, as the membership says.
    pub peer_address: String,
    /// Of the voters, those of the highest priority lead where they can.
    pub priority: u8,
}

/// What a node says of one partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PartitionStatus {
    /// Which.
    pub partition: PartitionId,
    /// The role of this node's replica.
    pub role: Role,
    /// Its term.
    pub term: Term,
    /// The leader, when known.
    pub leader: Option<NodeId>,
    /// The last entry.
    pub last: Index,
    /// The last committed entry.
    pub commit: Index,
    /// The last applied entry.
    pub applied: Index,
    /// The last durable entry.
    pub durable: Index,
    /// The last compacted entry.
    pub base: Index,
    /// The members, as this replica knows them.
    pub membership: Arc<Membership>,
    /// What this replica knows of the others, if it leads.
    pub followers: Arc<[FollowerStatus]>,
    /// When the last applied entry was made, by its leader; none where no entry says it.
    pub applied_at: Option<Hlc>,
}
