//! A node: its partitions, its storage, its peers, one ticker; built, run and stopped here. The library that embeds it in a program of yours.
//!
//! [`Node::start`] puts the parts together around any [`StateMachine`](crate::machine::StateMachine); a [`NodeHandle`] is the door. The lock service
//! uses this door and no other. A node decides nothing about what it replicates. Any storage error ends it: it answers nothing more and says why.
//!
//! # Example
//! A counter, replicated on three nodes in this process. On machines of their own, the world is [`Env::system`](crate::env::Env::system) and the rest
//! stays as it is.
//!
//! ```
//! use std::collections::BTreeMap;
//!
//! use bytes::Bytes;
//! use kapu::config::NodeConfig;
//! use kapu::env::Env;
//! use kapu::error::PartitionError;
//! use kapu::machine::{RestoreError, Row, StateMachine};
//! use kapu::node::{MemoryNetwork, Node};
//! use kapu::types::{LogTime, NodeId, PartitionId};
//!
//! /// Counts. Every replica applies the same commands in the same order, and so comes to the same count.
//! #[derive(Default)]
//! struct Counter {
//!     count: u64,
//!     is_changed: bool,
//! }
//!
//! impl StateMachine for Counter {
//!     fn apply(&mut self, _now: LogTime, _command: &[u8]) -> Bytes {
//!         self.count += 1;
//!         self.is_changed = true;
//!         Bytes::copy_from_slice(&self.count.to_be_bytes())
//!     }
//!
//!     fn query(&self, _now: LogTime, _query: &[u8]) -> Bytes {
//!         Bytes::copy_from_slice(&self.count.to_be_bytes())
//!     }
//!
//!     fn changes(&self) -> usize {
//!         usize::from(self.is_changed)
//!     }
//!
//!     fn take_changes(&mut self) -> Vec<Row> {
//!         let is_changed = std::mem::take(&mut self.is_changed);
//!         let value = Bytes::copy_from_slice(&self.count.to_be_bytes());
//!         Vec::from_iter(is_changed.then(|| Row { key: "count".into(), value: Some(value) }))
//!     }
//!
//!     fn restore(&mut self, _key: &[u8], value: &[u8]) -> Result<(), RestoreError> {
//!         let bytes = value.try_into().map_err(|_| RestoreError("a count has 8 bytes".to_owned()))?;
//!         self.count = u64::from_be_bytes(bytes);
//!         Ok(())
//!     }
//!
//!     fn digest(&self) -> u64 {
//!         self.count
//!     }
//! }
//!
//! /// Counts one more at whoever leads. Only what surely did not count is tried again.
//! async fn count(nodes: &BTreeMap<NodeId, Node>, partition: PartitionId) -> Result<Bytes, PartitionError> {
//!     let mut leader = NodeId(1);
//!     loop {
//!         leader = nodes[&leader].handle().wait_for_leader(partition).await?;
//!         match nodes[&leader].handle().replicate(partition, "one more".into()).await {
//!             Err(PartitionError::NotLeader(_)) => {}
//!             result => return result,
//!         }
//!     }
//! }
//!
//! #[tokio::main]
//! async fn main() -> Result<(), Box<dyn std::error::Error>> {
//!     let network = MemoryNetwork::default();
//!     let voters: BTreeMap<_, _> = (1..=3).map(|id| (NodeId(id), format!("node-{id}:1"))).collect();
//!     let mut nodes = BTreeMap::new();
//!     for &id in voters.keys() {
//!         let (world, config) = (Env::memory(&network)?, NodeConfig::voter(id, &voters));
//!         nodes.insert(id, Node::start(world, config, |_| Box::new(Counter::default())).await?);
//!     }
//!     let partition = nodes[&NodeId(1)].handle().partition_of(b"visitors");
//!     for expected in 1..=3_u64 {
//!         assert_eq!(count(&nodes, partition).await?[..], expected.to_be_bytes());
//!     }
//!     for node in nodes.into_values() {
//!         node.stop().await;
//!     }
//!     Ok(())
//! }
//! ```

mod administer;
mod builder;
mod failure;
mod handle;
mod join;
mod recover;
mod roster;
mod router;
mod start;
mod ticker;
mod view;
mod world;

use std::sync::Arc;

use tokio::sync::oneshot;

use crate::clock::{BoxFuture, Clock};
use crate::config::ConfigError;
use crate::env::NetworkError;
use crate::partition::{Event, Mailbox};
use crate::storage::StorageError;
use crate::types::PartitionId;

pub use crate::events::{Events, Lagged, NodeEvent};
pub use crate::network::MemoryNetwork;
pub use builder::{NodeBuilder, OpenStorage};
pub use handle::NodeHandle;
pub use join::{Leaders, Note};

/// How long a stopping node waits for its successors.
const HAND_OVER_PATIENCE: std::time::Duration = std::time::Duration::from_secs(1);

/// A running node. Call [`Node::stop`] or [`Node::close`]: one that is only dropped keeps its files open for as long as a handle lives.
pub struct Node {
    handle: NodeHandle,
    running: Running,
}

/// What ends when the node does.
struct Running {
    mailboxes: Vec<Mailbox>,
    /// Dropped to end the ticker, the listener and the peers' streams.
    stop: tokio::sync::watch::Sender<bool>,
    /// Completes when an actor has ended.
    actors: Vec<oneshot::Receiver<()>>,
    /// Completes when nobody listens for peers any more.
    listener: oneshot::Receiver<()>,
    /// Completes when the files are closed.
    storage: BoxFuture<'static, ()>,
}

/// Why a node did not start.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StartError {
    /// The settings.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The data directory.
    #[error(transparent)]
    Storage(#[from] StorageError),
    /// The network.
    #[error(transparent)]
    Network(#[from] NetworkError),
}

/// Why a running node ended by itself.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NodeFailure {
    /// Storage failed; nothing more is answered.
    #[error(transparent)]
    Storage(#[from] StorageError),
    /// A peer says that this node's disk is not the one it knew.
    #[error("a peer refuses this node: {0}")]
    Refused(String),
    /// This node was removed from its cluster: nothing is wrong, and nothing is left to do.
    #[error("this node was removed from its cluster; it serves nothing any more, and its id is never used again")]
    Removed,
    /// A partition broke one of its invariants.
    #[error("partition {0} broke an invariant and stopped; the log says which")]
    Panicked(PartitionId),
    /// The log holds an entry that this version cannot read.
    #[error("{0}; a newer version may have written it")]
    Unreadable(String),
}

impl Node {
    /// A way to ask this node.
    #[must_use]
    pub fn handle(&self) -> NodeHandle {
        self.handle.clone()
    }

    /// Completes when the node has failed and answers nothing more.
    pub fn failed(&self) -> impl Future<Output = NodeFailure> + Send + use<> {
        let failure = self.handle.0.failure.clone();
        async move { failure.wait().await }
    }

    /// Hands leadership over where it can, stops, and returns when everything is closed.
    pub async fn stop(self) {
        if !self.handle.0.failure.is_set() {
            hand_over(self.running.mailboxes.clone(), Arc::clone(&self.handle.0.clock)).await;
        }
        self.close().await;
    }

    /// Stops without handing over; returns when everything is closed.
    pub async fn close(self) {
        let Running {
            mailboxes,
            stop,
            actors,
            listener,
            storage,
        } = self.running;
        self.handle.0.failure.close();
        mailboxes.iter().for_each(|mailbox| mailbox.push(Event::Stop));
        for actor in actors {
            // An actor that panicked has dropped its end; it is gone either way.
            drop(actor.await);
        }
        drop(stop);
        storage.await;
        // Only now may somebody else listen there.
        drop(listener.await);
        self.handle.0.feed.end();
    }
}

async fn hand_over(mailboxes: Vec<Mailbox>, clock: Arc<dyn Clock>) {
    let mut waiting = Vec::new();
    for mailbox in &mailboxes {
        let (done, handed_over) = oneshot::channel();
        mailbox.push(Event::HandOver(Box::new(move || done.send(()).unwrap_or_default())));
        waiting.push(handed_over);
    }
    let all = async {
        for handed_over in waiting {
            // An actor that is gone has nothing to hand over.
            drop(handed_over.await);
        }
    };
    tokio::select! {
        biased;
        () = all => {}
        () = clock.sleep(HAND_OVER_PATIENCE) => tracing::warn!("no successor took over every partition in time"),
    }
}
