//! What a node says of itself, to people and to clients.

use crate::hlc::Hlc;
use crate::raft::Role;
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
    /// Every node with its client address, empty where it is not known yet.
    pub nodes: Vec<(NodeId, String)>,
    /// Every partition.
    pub partitions: Vec<PartitionStatus>,
    /// Peers whose clock is too far ahead of this node's to be followed, each with by how many milliseconds it was in its latest frame.
    pub clocks_ahead: Vec<(NodeId, u64)>,
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
    /// When the last applied entry was made, by its leader; none where no entry says it.
    pub applied_at: Option<Hlc>,
}
