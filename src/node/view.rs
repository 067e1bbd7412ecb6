//! What a node says of itself.

use std::sync::PoisonError;

use crate::node::NodeHandle;
use crate::node::handle::Inner;
use crate::raft::Member;
use crate::status::{NodeInfo, NodeStatus};
use crate::storage::PeerLife;
use crate::types::{NodeId, PartitionId};

impl NodeHandle {
    /// This node's id, the address that its peers reach it at, and its priority.
    #[must_use]
    pub fn own_place(&self) -> (NodeId, String, u8) {
        let config = &self.0.config;
        (config.node_id, config.peer_address.clone(), config.priority)
    }

    /// The partitions in which this node is no voter yet, or one at another address or of another priority.
    #[must_use]
    pub fn unsettled(&self) -> Vec<PartitionId> {
        let (node, address, priority) = self.own_place();
        self.0.roster.unsettled(node, &address, priority)
    }

    /// Whether this node has ever been a member, as far as its own logs say.
    #[must_use]
    pub fn was_member(&self) -> bool {
        self.0.roster.was_member(self.0.config.node_id)
    }

    /// Whether this node is a member of any partition, as far as it knows.
    #[must_use]
    pub fn is_member(&self) -> bool {
        self.0.roster.members().contains_key(&self.0.config.node_id)
    }

    /// How often the node has started on its data directory.
    #[must_use]
    pub fn starts(&self) -> u64 {
        self.0.inbound.starts()
    }

    /// The life in which this node last met `peer`, as its disk knows it; none until they have met.
    #[must_use]
    pub fn peer_life(&self, peer: NodeId) -> Option<PeerLife> {
        self.0.inbound.life(peer)
    }

    /// What the node says of itself now.
    #[must_use]
    pub fn status(&self) -> NodeStatus {
        let Inner {
            config,
            inbound,
            roster,
            partitions,
            ..
        } = &*self.0;
        let info = |(node, member): (NodeId, Member)| {
            let own = (node == config.node_id).then(|| config.client_address.clone());
            let client_address = own.or_else(|| inbound.address(node)).unwrap_or_default();
            let Member { address, priority, .. } = member;
            NodeInfo {
                node,
                client_address,
                peer_address: address,
                priority,
            }
        };
        NodeStatus {
            cluster: config.cluster.clone(),
            node_id: config.node_id,
            client_address: config.client_address.clone(),
            nodes: roster.members().into_iter().map(info).collect(),
            partitions: partitions
                .iter()
                .map(|view| view.status.lock().unwrap_or_else(PoisonError::into_inner).clone())
                .collect(),
            clocks_ahead: inbound.clocks_ahead(),
        }
    }
}
