//! The settings of `kapu serve`, wherever they come from.
//!
//! One list of settings for the flags, the `KAPU_*` variables and the TOML file: a flag wins over a variable, a variable over the file,
//! the file over the default. What they must be is decided by [`crate::config`].

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Deserializer, de};

use crate::cli::duration;
use crate::cli::exit::{Exit, Failure};
use crate::config::{self, ConfigError, NodeConfig};
use crate::limits;
use crate::types::NodeId;

/// Where a node keeps its data when nothing is said.
pub const DATA_DIR_DEFAULT: &str = "./kapu-data";

/// What may be set. Anything may be absent.
#[derive(Clone, Debug, Default, PartialEq, Eq, clap::Args, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// Which node this is, from 1; needed with --peers [default: 1]
    #[arg(long, env = "KAPU_NODE_ID", value_name = "N")]
    pub node_id: Option<u64>,
    /// Where to listen for clients [default: 127.0.0.1:2070]
    #[arg(long, env = "KAPU_LISTEN", value_name = "ADDR")]
    pub listen: Option<String>,
    /// Where to listen for peers [default: this node's address in --peers]
    #[arg(long, env = "KAPU_PEER_LISTEN", value_name = "ADDR")]
    pub peer_listen: Option<String>,
    /// Every node with its peer address, this one included; later, where to look for those that have moved [default: a single node]
    #[arg(long, env = "KAPU_PEERS", value_name = "1=ADDR,2=ADDR,..")]
    pub peers: Option<Peers>,
    /// Any nodes of a cluster, by the addresses for clients: this node, which has no data yet, is added to it; needs --node-id
    #[arg(long, env = "KAPU_JOIN", value_name = "ADDR,..", value_delimiter = ',')]
    pub join: Option<Vec<String>>,
    /// The address that peers reach this node at [default: its address in --peers, or --peer-listen]
    #[arg(long, env = "KAPU_PEER_ADVERTISE", value_name = "ADDR")]
    pub peer_advertise: Option<String>,
    /// Of the voters, those of the highest priority lead where they can, 0 to 255 [default: 1]
    #[arg(long, env = "KAPU_PRIORITY", value_name = "N")]
    pub priority: Option<u8>,
    /// Where the data lives [default: ./kapu-data]
    #[arg(long, env = "KAPU_DATA_DIR", value_name = "DIR")]
    pub data_dir: Option<PathBuf>,
    /// How many partitions the cluster has, fixed when its data is created [default: 1]
    #[arg(long, env = "KAPU_PARTITIONS", value_name = "N")]
    pub partitions: Option<u32>,
    /// The cluster's name; nodes of different names refuse each other [default: kapu]
    #[arg(long, env = "KAPU_CLUSTER", value_name = "NAME")]
    pub cluster: Option<String>,
    /// The address that clients are told to reach this node at [default: --listen]
    #[arg(long, env = "KAPU_ADVERTISE", value_name = "ADDR")]
    pub advertise: Option<String>,
    /// How long a follower waits for a leader before it campaigns, up to twice this [default: 400ms]
    #[arg(long, env = "KAPU_ELECTION_TIMEOUT", value_name = "TIME", value_parser = duration::parse, allow_hyphen_values = true)]
    #[serde(deserialize_with = "duration::deserialize_option")]
    pub election_timeout: Option<Duration>,
    /// How many worker threads [default: 1 on one or two cores, else one a core, at most 8]
    #[arg(long, env = "KAPU_THREADS", value_name = "N")]
    pub threads: Option<usize>,
}

/// Everything that `kapu serve` needs to know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServeConfig {
    /// The node's own settings, checked.
    pub node: NodeConfig,
    /// Where to listen for clients.
    pub listen: String,
    /// Where the data lives.
    pub data_dir: PathBuf,
    /// How many worker threads.
    pub threads: usize,
    /// Nodes of the cluster that this one is to be added to.
    pub join: Option<Vec<String>>,
}

impl Settings {
    /// Reads a TOML file's text.
    ///
    /// # Errors
    /// [`Failure`] with the place in the text.
    pub fn from_toml(text: &str) -> Result<Self, Failure> {
        toml::from_str(text).map_err(|error| Failure::new(Exit::Usage, error.to_string().trim_end()))
    }

    /// These settings, and where one is absent, that of `other`.
    #[must_use]
    pub fn or(self, other: Self) -> Self {
        Self {
            node_id: self.node_id.or(other.node_id),
            listen: self.listen.or(other.listen),
            peer_listen: self.peer_listen.or(other.peer_listen),
            peers: self.peers.or(other.peers),
            join: self.join.or(other.join),
            peer_advertise: self.peer_advertise.or(other.peer_advertise),
            priority: self.priority.or(other.priority),
            data_dir: self.data_dir.or(other.data_dir),
            partitions: self.partitions.or(other.partitions),
            cluster: self.cluster.or(other.cluster),
            advertise: self.advertise.or(other.advertise),
            election_timeout: self.election_timeout.or(other.election_timeout),
            threads: self.threads.or(other.threads),
        }
    }

    /// Fills in the defaults and checks the whole.
    ///
    /// # Errors
    /// [`ConfigError`] for the first setting that cannot be used.
    pub fn resolve(self, cores: usize) -> Result<ServeConfig, ConfigError> {
        let node_id = self.own_id()?;
        let listen = self.listen.unwrap_or_else(|| config::CLIENT_ADDRESS_DEFAULT.to_owned());
        config::check_address("the listen address", &listen)?;
        let own_address = self
            .peers
            .as_ref()
            .and_then(|Peers(peers)| peers.get(&node_id).cloned());
        let is_joining = self.join.is_some();
        let default = || is_joining.then(|| config::PEER_ADDRESS_DEFAULT.to_owned());
        let peer_listen = self.peer_listen.or_else(|| own_address.clone()).or_else(default);
        let peer_address = self.peer_advertise.or(own_address).or_else(|| peer_listen.clone());
        let peer_address = peer_address.unwrap_or_else(|| config::PEER_ADDRESS_DEFAULT.to_owned());
        let single = || BTreeMap::from([(node_id, peer_address.clone())]);
        let voters = match (self.peers, is_joining) {
            (Some(_), true) => return Err(ConfigError::JoinWithPeers),
            (Some(Peers(peers)), false) => peers,
            (None, true) => BTreeMap::new(),
            (None, false) => single(),
        };
        let threads = self.threads.unwrap_or_else(|| threads_default(cores));
        if !(1..=limits::THREADS_MAX).contains(&threads) {
            return Err(ConfigError::Threads(threads));
        }
        let node = NodeConfig {
            cluster: self.cluster.unwrap_or_else(|| config::CLUSTER_DEFAULT.to_owned()),
            node_id,
            client_address: self.advertise.unwrap_or_else(|| listen.clone()),
            voters,
            peer_listen,
            peer_address: peer_address.clone(),
            priority: self.priority.unwrap_or(config::PRIORITY_DEFAULT),
            partitions: self.partitions.unwrap_or(config::PARTITIONS_DEFAULT),
            tick: self.election_timeout.unwrap_or(config::ELECTION_TIMEOUT_DEFAULT) / config::ELECTION_TICKS,
            ..NodeConfig::newcomer(node_id, &peer_address)
        };
        let data_dir = self.data_dir.unwrap_or_else(|| DATA_DIR_DEFAULT.into());
        Ok(ServeConfig {
            join: self.join,
            node: node.checked()?,
            listen,
            data_dir,
            threads,
        })
    }

    /// A single node is node 1 unless it says otherwise; a node with peers must say, or all of them would be node 1.
    fn own_id(&self) -> Result<NodeId, ConfigError> {
        match (self.node_id, &self.peers) {
            (Some(id), _) => Ok(NodeId(id)),
            (None, _) if self.join.is_some() => Err(ConfigError::WhichNewNode),
            (None, Some(Peers(peers))) if peers.len() > 1 => Err(ConfigError::WhichNode(peers.len())),
            (None, _) => Ok(NodeId(1)),
        }
    }
}

/// One thread on small machines, where threads only take turns; else one a core, as far as that helps.
#[must_use]
pub const fn threads_default(cores: usize) -> usize {
    match cores {
        0..=2 => 1,
        3..=8 => cores,
        _ => 8,
    }
}

/// A peer list: `1=ADDR,2=ADDR` on the command line, and in a file either that or a table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Peers(pub BTreeMap<NodeId, String>);

impl FromStr for Peers {
    type Err = ConfigError;

    fn from_str(list: &str) -> Result<Self, ConfigError> {
        config::parse_peers(list).map(Self)
    }
}

impl<'de> Deserialize<'de> for Peers {
    fn deserialize<D: Deserializer<'de>>(source: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(
            untagged,
            expecting = "give peers as \"1=ADDR,2=ADDR\" or as a table of 1 = \"ADDR\""
        )]
        enum Shape {
            List(String),
            Table(BTreeMap<String, String>),
        }
        let peers = match Shape::deserialize(source)? {
            Shape::List(list) => config::parse_peers(&list),
            Shape::Table(table) => {
                config::collect_peers(table.iter().map(|(id, address)| (id.as_str(), address.as_str())))
            }
        };
        peers.map(Self).map_err(de::Error::custom)
    }
}

#[cfg(test)]
mod tests;
