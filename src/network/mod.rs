//! Messages of all partitions, carried between nodes in frames.
//!
//! One stream for each ordered pair of nodes: whatever waits for a peer leaves in one frame, so that thousands of partitions cost one
//! write. Everything here may lose messages: a full queue drops them, an unreachable peer drops them, and Raft sends again.
//!
//! ```text
//! partition ─▶ Peers ─▶ outbox of a peer ─▶ sender task ─▶ env.network ··· env.network ─▶ Inbound ─▶ MessageSink
//! ```
//!
//! It does not know what a message says, keeps no order between frames, and knows partitions only as a number to hand on.

pub mod grpc;
pub mod inbound;
mod memory;
mod outbox;
pub mod peer;
mod skew;
#[cfg(test)]
mod tests;

pub use grpc::GrpcNetwork;
pub use inbound::Inbound;
pub use memory::MemoryNetwork;
pub use peer::Peers;

use crate::raft::Message;
use crate::types::{Incarnation, NodeId, PartitionId, StorageId};

/// Takes the messages that arrive.
pub trait MessageSink: Send + Sync {
    /// Takes one message. Never blocks; may drop it.
    fn deliver(&self, partition: PartitionId, message: Message);
}

/// Who this node is: said in every frame it sends, compared with every frame it gets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// The cluster's name.
    pub cluster: String,
    /// This node.
    pub node_id: NodeId,
    /// Its data directory.
    pub storage_id: StorageId,
    /// How often it has started on that.
    pub incarnation: Incarnation,
    /// The lives before.
    pub earlier: Vec<Incarnation>,
    /// Where clients reach it.
    pub client_address: String,
    /// Where its peers reach it.
    pub peer_address: String,
}

/// Who belongs to the cluster, as far as the network must know.
pub trait Roster: Send + Sync {
    /// Whether `node` was a member and is none any more, for good.
    fn was_removed(&self, node: NodeId) -> bool;
    /// A welcome frame of `node` says where its peers reach it.
    fn heard(&self, node: NodeId, address: &str);
}
