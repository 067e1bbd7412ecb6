//! What an operator may set of a node. Checked once, then never changed.
//!
//! Where a setting comes from (flag, variable, file) is the business of [`crate::cli`]. What may be set is decided here, so that every
//! way to build a node meets the same checks. Addresses are checked for their shape only: nothing here resolves a name.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::limits;
use crate::types::NodeId;

/// The cluster's name when none is given.
pub const CLUSTER_DEFAULT: &str = "kapu";
/// Where a node listens for clients, and where clients look for one, when nothing is said.
pub const CLIENT_ADDRESS_DEFAULT: &str = "127.0.0.1:2070";
/// Where a node listens for its peers when nothing is said. A single node does not listen there.
pub const PEER_ADDRESS_DEFAULT: &str = "127.0.0.1:2071";
/// How many partitions a new cluster has when nothing is said.
pub const PARTITIONS_DEFAULT: u32 = 1;
/// The priority of a node when nothing is said: that of the voters that a cluster is created with.
pub const PRIORITY_DEFAULT: u8 = 1;
/// How long a follower waits for a leader, at least, when nothing is said.
pub const ELECTION_TIMEOUT_DEFAULT: Duration = Duration::from_millis(400);
/// An election timeout has so many ticks.
pub const ELECTION_TICKS: u32 = 20;
/// A leader sends a heartbeat every so many ticks: six of them fit into the shortest wait of a follower.
pub const HEARTBEAT_TICKS: u32 = 3;

/// The settings of one node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeConfig {
    /// The cluster's name; nodes of different names refuse each other.
    pub cluster: String,
    /// This node.
    pub node_id: NodeId,
    /// The address that clients reach this node at, as it is told to them.
    pub client_address: String,
    /// Where this node listens for its peers; none for a single node to which no other will be added.
    pub peer_listen: Option<String>,
    /// The voters that the cluster is created with, each with its peer address, this node included; one entry is a single node. Empty for a
    /// node that is to be added to a cluster. Once the node has data, its log says who belongs to the cluster, and this only where else to look
    /// for them.
    pub voters: BTreeMap<NodeId, String>,
    /// Where its peers reach this node.
    pub peer_address: String,
    /// Of the voters, those of the highest priority lead where they can.
    pub priority: u8,
    /// How many partitions the cluster has. Fixed when its data is created.
    pub partitions: u32,
    /// The length of one tick.
    pub tick: Duration,
    /// A leader sends a heartbeat every so many ticks.
    pub heartbeat_ticks: u32,
    /// A follower waits this long for a leader, and at most twice as long, before it campaigns.
    pub election_ticks: u32,
    /// The log keeps so many group commits as they were written; past it the oldest are collected.
    pub log_blobs_max: usize,
    /// How much a partition keeps, and how often it saves.
    pub keeping: Keeping,
}

/// How much a partition keeps of its log, and how often it saves its state. The defaults are right for a server; simulation takes less.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Keeping {
    /// Rows are saved once so many have changed,
    pub save_rows: usize,
    /// or so many ticks after the last time, if anything was applied.
    pub save_ticks: u32,
    /// The log is compacted in steps of at least so many entries.
    pub compact_entries: u64,
    /// At most so many entries are kept for followers that are out of reach,
    pub log_entries_max: u64,
    /// and at most so many bytes of them.
    pub log_bytes_max: u64,
    /// The most bytes of rows in one message of a snapshot, though it has at least one row.
    pub snapshot_bytes_max: usize,
}

impl Default for Keeping {
    fn default() -> Self {
        Self {
            save_rows: 8 * 1024,
            save_ticks: 100,
            compact_entries: 1024,
            log_entries_max: limits::LOG_ENTRIES_KEPT_MAX,
            log_bytes_max: limits::LOG_BYTES_KEPT_MAX,
            snapshot_bytes_max: limits::SNAPSHOT_ROWS_BYTES_MAX,
        }
    }
}

/// A setting that cannot be used, with its value and what to do.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// A cluster name that is empty, too long or not printable.
    #[error("the cluster name {0:?} cannot be used; give 1 to {max} printable bytes", max = limits::CLUSTER_BYTES_MAX)]
    Cluster(String),
    /// Node id zero.
    #[error("node id 0 is reserved; number the nodes from 1")]
    NodeIdZero,
    /// An item of the peer list that is not `ID=ADDR`.
    #[error("peer {0:?} cannot be read; give ID=HOST:PORT, such as 2=10.0.0.2:2071")]
    Peer(String),
    /// A node id twice in the peer list.
    #[error("node {0} is twice in the peer list; give every node an id of its own")]
    DuplicatePeer(NodeId),
    /// An address twice in the peer list.
    #[error("nodes {0} and {1} have the same peer address {2}; give every node an address of its own")]
    DuplicateAddress(NodeId, NodeId, String),
    /// A peer list without this node.
    #[error(
        "the peer list {listed} does not contain this node, {node}; list every node, this one included, or correct --node-id"
    )]
    NotListed {
        /// This node.
        node: NodeId,
        /// The ids that are listed.
        listed: String,
    },
    /// A peer list, but no word on which of them this is.
    #[error("the peer list names {0} nodes; say with --node-id which of them this one is")]
    WhichNode(usize),
    /// Both a list of nodes and a cluster to join.
    #[error("give either the nodes that a new cluster is created with, or a cluster to join, and not both")]
    JoinWithPeers,
    /// A node that is to be added, but no word on its id.
    #[error(
        "say with --node-id which id the new node gets: ids only grow, so give one that no node of the cluster ever had"
    )]
    WhichNewNode,
    /// More nodes than a cluster may have.
    #[error("{0} nodes are too many; a cluster has at most {max}", max = limits::NODES_MAX)]
    TooManyNodes(usize),
    /// An address that is not `HOST:PORT`.
    #[error("{what} {address:?} cannot be used: {reason}; give HOST:PORT, such as {CLIENT_ADDRESS_DEFAULT}")]
    Address {
        /// Which setting.
        what: &'static str,
        /// Its value.
        address: String,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// An address that means every interface was to be told to clients.
    #[error("clients cannot be told to connect to {0}; give --advertise HOST:PORT, where they reach this node")]
    Advertise(String),
    /// A number of partitions outside of the limits.
    #[error("{0} partitions cannot be had; give 1 to {max}", max = limits::PARTITIONS_MAX)]
    Partitions(u32),
    /// An election timeout outside of the limits.
    #[error(
        "an election timeout of {0:?} cannot be used; give {min}ms to {max}ms",
        min = limits::ELECTION_TIMEOUT_MS_MIN, max = limits::ELECTION_TIMEOUT_MS_MAX
    )]
    ElectionTimeout(Duration),
    /// A number of threads outside of the limits.
    #[error("{0} threads cannot be had; give 1 to {max}", max = limits::THREADS_MAX)]
    Threads(usize),
}

impl NodeConfig {
    /// The settings of one of the `voters` that a new cluster of one partition is created with. Whatever else may be set is as it is when nothing is
    /// said; clients, where there are any, are told the peer address.
    #[must_use]
    pub fn voter(node_id: NodeId, voters: &BTreeMap<NodeId, String>) -> Self {
        let address = voters.get(&node_id).cloned().unwrap_or_default();
        Self {
            cluster: CLUSTER_DEFAULT.to_owned(),
            node_id,
            client_address: address.clone(),
            peer_listen: Some(address.clone()),
            voters: voters.clone(),
            peer_address: address,
            priority: PRIORITY_DEFAULT,
            partitions: PARTITIONS_DEFAULT,
            tick: ELECTION_TIMEOUT_DEFAULT / ELECTION_TICKS,
            heartbeat_ticks: HEARTBEAT_TICKS,
            election_ticks: ELECTION_TICKS,
            log_blobs_max: limits::WAL_BLOBS_MAX,
            keeping: Keeping::default(),
        }
    }

    /// The settings of a node at `address` that is to be added to a running cluster, by [`crate::node::NodeHandle::join`]; else as
    /// [`NodeConfig::voter`]. The name of the cluster and the number of its partitions must be the cluster's.
    #[must_use]
    pub fn newcomer(node_id: NodeId, address: &str) -> Self {
        let alone = BTreeMap::from([(node_id, address.to_owned())]);
        Self {
            voters: BTreeMap::new(),
            ..Self::voter(node_id, &alone)
        }
    }

    /// The same settings, once they are known to fit together.
    ///
    /// # Errors
    /// [`ConfigError`] for the first setting that cannot be used.
    pub fn checked(self) -> Result<Self, ConfigError> {
        check_cluster(&self.cluster)?;
        self.check_voters()?;
        self.check_addresses()?;
        if !(1..=limits::PARTITIONS_MAX).contains(&self.partitions) {
            return Err(ConfigError::Partitions(self.partitions));
        }
        let timeout = self.tick * self.election_ticks;
        let allowed = limits::ELECTION_TIMEOUT_MS_MIN..=limits::ELECTION_TIMEOUT_MS_MAX;
        if !allowed.contains(&u64::try_from(timeout.as_millis()).unwrap_or(u64::MAX)) {
            return Err(ConfigError::ElectionTimeout(timeout));
        }
        Ok(self)
    }

    fn check_voters(&self) -> Result<(), ConfigError> {
        if self.node_id == NodeId(0) || self.voters.contains_key(&NodeId(0)) {
            return Err(ConfigError::NodeIdZero);
        }
        if self.voters.len() > limits::NODES_MAX {
            return Err(ConfigError::TooManyNodes(self.voters.len()));
        }
        if !self.voters.is_empty() && !self.voters.contains_key(&self.node_id) {
            let listed: Vec<_> = self.voters.keys().map(NodeId::to_string).collect();
            let listed = format!("({})", listed.join(", "));
            return Err(ConfigError::NotListed {
                node: self.node_id,
                listed,
            });
        }
        Ok(())
    }

    fn check_addresses(&self) -> Result<(), ConfigError> {
        check_address("the client address", &self.client_address)?;
        if let Some(address) = &self.peer_listen {
            check_address("the peer address", address)?;
        }
        check_address("the peer address", &self.peer_address)?;
        let mut seen = BTreeMap::new();
        for (&node, address) in &self.voters {
            check_address("the peer address", address)?;
            if let Some(other) = seen.insert(address, node) {
                return Err(ConfigError::DuplicateAddress(other, node, address.clone()));
            }
        }
        if self.voters.len() != 1 && is_unspecified(&self.client_address) {
            return Err(ConfigError::Advertise(self.client_address.clone()));
        }
        Ok(())
    }
}

/// Reads a peer list such as `1=10.0.0.1:2071,2=10.0.0.2:2071`.
///
/// # Errors
/// [`ConfigError`] for an item that is not `ID=HOST:PORT`, id zero, or an id that comes twice.
pub fn parse_peers(list: &str) -> Result<BTreeMap<NodeId, String>, ConfigError> {
    let items = list.split(',').map(|item| {
        let (id, address) = item.split_once('=').ok_or_else(|| ConfigError::Peer(item.to_owned()))?;
        Ok((id, address))
    });
    collect_peers(items.collect::<Result<Vec<_>, _>>()?)
}

/// Builds a peer list of ids and addresses that are still text.
///
/// # Errors
/// As [`parse_peers`].
pub fn collect_peers<'a>(
    items: impl IntoIterator<Item = (&'a str, &'a str)>,
) -> Result<BTreeMap<NodeId, String>, ConfigError> {
    let mut peers = BTreeMap::new();
    let mut seen = BTreeSet::new();
    for (id, address) in items {
        let (id, address) = (id.trim(), address.trim());
        let node = id
            .parse()
            .map(NodeId)
            .map_err(|_| ConfigError::Peer(format!("{id}={address}")))?;
        if node == NodeId(0) {
            return Err(ConfigError::NodeIdZero);
        }
        check_address("the peer address", address)?;
        if !seen.insert(node) {
            return Err(ConfigError::DuplicatePeer(node));
        }
        peers.insert(node, address.to_owned());
    }
    Ok(peers)
}

/// Checks that `address` has the shape `HOST:PORT`, with a port that is not zero and IPv6 hosts in brackets.
///
/// # Errors
/// [`ConfigError::Address`], which names the setting as `what`.
pub fn check_address(what: &'static str, address: &str) -> Result<(), ConfigError> {
    let refuse = |reason| {
        Err(ConfigError::Address {
            what,
            address: address.to_owned(),
            reason,
        })
    };
    let Some((host, port)) = address.rsplit_once(':') else {
        return refuse("it has no port");
    };
    let bracketed = host.starts_with('[') && host.ends_with(']');
    match port.parse::<u16>() {
        _ if host.is_empty() => refuse("it has no host"),
        _ if host.contains(|c: char| c.is_whitespace() || c == '/') => {
            refuse("its host is not a name or an IP address")
        }
        _ if host.contains(':') && !bracketed => refuse("an IPv6 host needs brackets"),
        Ok(0) => refuse("port 0 cannot be told to others"),
        Ok(_) => Ok(()),
        Err(_) => refuse("its port is not a number from 1 to 65535"),
    }
}

fn check_cluster(name: &str) -> Result<(), ConfigError> {
    let printable = name.chars().all(|c| !c.is_control());
    if printable && (1..=limits::CLUSTER_BYTES_MAX).contains(&name.len()) {
        Ok(())
    } else {
        Err(ConfigError::Cluster(
            name.chars().take(limits::CLUSTER_BYTES_MAX).collect(),
        ))
    }
}

fn is_unspecified(address: &str) -> bool {
    address
        .parse::<std::net::SocketAddr>()
        .is_ok_and(|address| address.ip().is_unspecified())
}

#[cfg(test)]
mod tests;
