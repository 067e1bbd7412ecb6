//! One node of the cluster: a replica while it runs, and what outlives it.

use kapu::raft::{Config, Entry, Position, Raft};
use kapu::types::{Index, NodeId};
use rand::SeedableRng;
use rand::rngs::StdRng;

use crate::disk::Disk;

/// What a cluster is made of.
#[derive(Clone, Copy, Debug)]
pub struct Shape {
    pub nodes: u64,
    pub heartbeat_ticks: u32,
    pub election_ticks: u32,
    pub seed: u64,
}

/// - `applied` is the state machine: a list of what was applied, from index 1.
/// - Everything up to `saved` is in the durable state of that machine, and the log is compacted no further.
pub struct Replica {
    pub id: NodeId,
    /// None while it is down.
    pub raft: Option<Raft>,
    pub disk: Disk,
    pub applied: Vec<Entry>,
    saved: Index,
    boots: u64,
}

impl Replica {
    /// A node that is down.
    pub fn new(id: NodeId, disk: Disk) -> Self {
        Self {
            id,
            raft: None,
            disk,
            applied: Vec::new(),
            saved: Index(0),
            boots: 0,
        }
    }

    /// Starts on what is durable. The election timers of each start are drawn anew.
    pub fn start(&mut self, shape: &Shape) {
        let config = Config {
            id: self.id,
            voters: (1..=shape.nodes).map(NodeId).collect(),
            heartbeat_ticks: shape.heartbeat_ticks,
            election_ticks: shape.election_ticks,
        };
        self.boots += 1;
        let rng = StdRng::seed_from_u64(shape.seed ^ (self.id.0 << 32) ^ (self.boots << 40));
        let (log, reader) = self.disk.recover();
        let saved = usize::try_from(self.saved.0).expect("a log fits in memory");
        self.applied.truncate(saved);
        self.raft = Some(Raft::new(config, self.disk.hard_state, log, self.saved, reader, rng));
    }

    /// Power fails. Returns how many writes were lost, or none when it was down.
    pub fn crash(&mut self, reached: usize, saved: Index) -> Option<usize> {
        let raft = self.raft.take()?;
        let floor = self.disk.base().index.max(self.saved);
        self.saved = saved.min(raft.log().applied()).max(floor);
        Some(self.disk.crash(reached))
    }

    /// The log is compacted up to `base`; the state machine is durable as far.
    pub fn compact(&mut self, base: Position) {
        self.saved = self.saved.max(base.index);
        self.disk.compact(base);
    }
}
