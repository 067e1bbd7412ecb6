//! A cluster in this process, and a state machine that keeps what it was told.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::time::Duration;

use bytes::Bytes;
use kapu::clock::{Clock as _, SystemClock};
use kapu::config::NodeConfig;
use kapu::env::Env;
use kapu::error::PartitionError;
use kapu::machine::{RestoreError, Row, StateMachine};
use kapu::node::{MemoryNetwork, Node, NodeBuilder, NodeHandle};
use kapu::status::PartitionStatus;
use kapu::types::{LogTime, NodeId, PartitionId};

pub const P: PartitionId = PartitionId(0);

/// A command that makes a row which no follower could be sent.
pub const TOO_LARGE: &[u8] = b"too large";

/// Keeps every command, in order; one row a command.
#[derive(Default)]
pub struct Journal {
    commands: Vec<Bytes>,
    saved: usize,
}

impl StateMachine for Journal {
    /// Says how many there are now.
    fn apply(&mut self, _: LogTime, command: &[u8]) -> Bytes {
        self.commands.push(Bytes::copy_from_slice(command));
        self.commands.len().to_string().into()
    }

    /// Says them all, with the question before them.
    fn query(&self, _: LogTime, query: &[u8]) -> Bytes {
        let mut text = query.to_vec();
        self.commands.iter().for_each(|command| text.extend_from_slice(command));
        text.into()
    }

    fn changes(&self) -> usize {
        self.commands.len() - self.saved
    }

    fn take_changes(&mut self) -> Vec<Row> {
        let row = |at: usize| Row {
            key: Bytes::copy_from_slice(&(at as u64).to_be_bytes()),
            value: Some(match &self.commands[at] {
                command if command == TOO_LARGE => vec![0; kapu::limits::ROW_VALUE_BYTES_MAX + 1].into(),
                command => command.clone(),
            }),
        };
        let rows = (self.saved..self.commands.len()).map(row).collect();
        self.saved = self.commands.len();
        rows
    }

    fn restore(&mut self, _: &[u8], value: &[u8]) -> Result<(), RestoreError> {
        self.commands.push(Bytes::copy_from_slice(value));
        self.saved = self.commands.len();
        Ok(())
    }

    fn digest(&self) -> u64 {
        self.commands.len() as u64
    }
}

/// Nodes by id, each with the world that it lives in.
#[derive(Default)]
pub struct Cluster {
    pub network: MemoryNetwork,
    voters: BTreeMap<NodeId, String>,
    worlds: Mutex<BTreeMap<u64, Env>>,
    nodes: BTreeMap<u64, Node>,
}

impl Cluster {
    /// Settings of `voters` nodes, of which none has started.
    pub fn of(voters: u64) -> Self {
        Self {
            voters: (1..=voters).map(|id| (NodeId(id), address(id))).collect(),
            ..Self::default()
        }
    }

    /// A cluster whose every voter has started.
    pub async fn start(voters: u64) -> Self {
        let mut cluster = Self::of(voters);
        for id in 1..=voters {
            cluster.run(cluster.builder(id)).await;
        }
        cluster
    }

    /// A node that has not started: in the world that it had before, if it had one.
    pub fn builder(&self, id: u64) -> NodeBuilder {
        let mut worlds = self.worlds.lock().unwrap();
        let world = worlds.entry(id).or_insert_with(|| Env::memory(&self.network).unwrap());
        self.builder_in(id, world.clone())
    }

    pub fn builder_in(&self, id: u64, world: Env) -> NodeBuilder {
        let config = match self.voters.contains_key(&NodeId(id)) {
            true => NodeConfig::voter(NodeId(id), &self.voters),
            false => NodeConfig::newcomer(NodeId(id), &address(id)),
        };
        Node::builder(world, config, |_| Box::new(Journal::default()))
    }

    /// Starts a node.
    pub async fn run(&mut self, builder: NodeBuilder) -> NodeHandle {
        let node = builder.start().await.unwrap();
        let (NodeId(id), ..) = node.handle().own_place();
        let handle = node.handle();
        self.nodes.insert(id, node);
        handle
    }

    pub fn node(&self, id: u64) -> &Node {
        &self.nodes[&id]
    }

    pub fn handle(&self, id: u64) -> NodeHandle {
        self.node(id).handle()
    }

    pub fn handles(&self) -> Vec<NodeHandle> {
        self.nodes.values().map(Node::handle).collect()
    }

    /// Stops a node for good, or until it is run again.
    pub async fn stop(&mut self, id: u64) {
        self.nodes.remove(&id).unwrap().stop().await;
    }

    /// Waits until a node leads and serves.
    pub async fn leader(&self) -> u64 {
        let mut leader = *self.nodes.keys().next().unwrap();
        loop {
            let NodeId(now) = self.handle(leader).wait_for_leader(P).await.unwrap();
            if now == leader {
                return leader;
            }
            leader = now;
        }
    }

    /// Two nodes of which the first leads and the second does not.
    pub async fn leader_and_follower(&self) -> (NodeHandle, NodeHandle) {
        let leader = self.leader().await;
        let follower = self.nodes.keys().find(|id| **id != leader).unwrap();
        (self.handle(leader), self.handle(*follower))
    }

    /// Replicates at whoever leads.
    pub async fn replicate(&self, command: &str) -> Bytes {
        loop {
            let leader = self.handle(self.leader().await);
            match leader.replicate(P, text(command)).await {
                Err(PartitionError::NotLeader(_)) => {}
                result => return result.unwrap(),
            }
        }
    }

    /// Everything that was ever told, as the leader says.
    pub async fn journal(&self) -> Bytes {
        loop {
            let leader = self.handle(self.leader().await);
            match leader.query(P, Bytes::new()).await {
                Err(PartitionError::NotLeader(_)) => {}
                result => return result.unwrap(),
            }
        }
    }

    pub async fn close(self) {
        for node in self.nodes.into_values() {
            node.close().await;
        }
    }
}

pub fn address(id: u64) -> String {
    format!("node-{id}:1")
}

pub fn text(words: &str) -> Bytes {
    Bytes::copy_from_slice(words.as_bytes())
}

pub fn status(handle: &NodeHandle) -> PartitionStatus {
    handle.status().partitions.remove(0)
}

/// Waits until it is so, for ever if it never is.
pub async fn eventually(mut is_so: impl FnMut() -> bool) {
    while !is_so() {
        SystemClock.sleep(Duration::from_millis(1)).await;
    }
}
