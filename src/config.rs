//! What an operator may set. Checked once, then never changed.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::types::NodeId;

/// The settings of one node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeConfig {
    /// The cluster's name; nodes of different names refuse each other.
    pub cluster: String,
    /// This node.
    pub node_id: NodeId,
    /// The address that clients reach this node at, as it is told to them.
    pub client_address: String,
    /// Where this node listens for its peers; not used by a single node.
    pub peer_listen: String,
    /// Every voter of the cluster with its peer address, this node included. One entry is a single node.
    pub voters: BTreeMap<NodeId, String>,
    /// How many partitions the cluster has. Fixed when its data is created.
    pub partitions: u32,
    /// The length of one tick.
    pub tick: Duration,
    /// A leader sends a heartbeat every so many ticks.
    pub heartbeat_ticks: u32,
    /// A follower waits this long for a leader, and at most twice as long, before it campaigns.
    pub election_ticks: u32,
}
