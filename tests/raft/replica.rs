//! One node of the cluster: a replica while it runs, and what outlives it.

use std::collections::VecDeque;

use kapu::raft::{Config, Entry, Membership, Position, Raft, is_membership};
use kapu::types::{Index, NodeId};
use rand::SeedableRng;
use rand::rngs::StdRng;

use crate::disk::{Disk, Saved, position};

/// What a cluster is made of.
#[derive(Clone, Copy, Debug)]
pub struct Shape {
    pub nodes: u64,
    pub heartbeat_ticks: u32,
    pub election_ticks: u32,
    pub seed: u64,
}

impl Shape {
    /// The members that the cluster begins with.
    pub fn founders(&self) -> Membership {
        Membership::of_voters((1..=self.nodes).map(|node| (NodeId(node), address(NodeId(node)))))
    }
}

/// Where a node is reached. Nothing here listens.
pub fn address(node: NodeId) -> String {
    format!("node-{node}:2071")
}

/// A state on its way to a replica: what was applied, and the rest of it.
#[derive(Clone)]
pub struct Snapshot {
    pub saved: Saved,
    pub applied: Vec<Entry>,
}

/// - `applied` is the state machine: a list of what was applied, from index 1.
/// - The disk's saved state is durable, and the log is compacted no further.
/// - `floor` is the state that it began with, or was last given: memberships are known from there on.
pub struct Replica {
    pub id: NodeId,
    /// None while it is down.
    pub raft: Option<Raft>,
    pub disk: Disk,
    pub applied: Vec<Entry>,
    /// Snapshots that arrived, or may have.
    pub incoming: VecDeque<Snapshot>,
    floor: Saved,
    boots: u64,
}

fn count(index: Index) -> usize {
    usize::try_from(index.0).expect("a log fits in memory")
}

impl Replica {
    /// A node that is down.
    pub fn new(id: NodeId, disk: Disk) -> Self {
        Self {
            id,
            raft: None,
            floor: disk.saved.clone(),
            disk,
            applied: Vec::new(),
            incoming: VecDeque::new(),
            boots: 0,
        }
    }

    /// Starts on what is durable. The election timers of each start are drawn anew.
    pub fn start(&mut self, shape: &Shape) {
        let config = Config {
            id: self.id,
            heartbeat_ticks: shape.heartbeat_ticks,
            election_ticks: shape.election_ticks,
        };
        self.boots += 1;
        let rng = StdRng::seed_from_u64(shape.seed ^ (self.id.0 << 32) ^ (self.boots << 40));
        let given = self.disk.saved.at == self.floor.at;
        assert!(given || !self.disk.begins_anew(), "node {} lost its log", self.id);
        let (log, reader) = self.disk.recover();
        let Saved { at, membership } = self.disk.saved.clone();
        self.applied.truncate(count(at.index));
        let raft = Raft::new(config, self.disk.hard_state, log, at.index, membership, reader, rng);
        self.raft = Some(raft);
    }

    /// Power fails. Returns how many writes were lost, or none when it was down.
    pub fn crash(&mut self, reached: usize, saved: Index) -> Option<usize> {
        let raft = self.raft.take()?;
        self.save(saved.min(raft.log().applied()));
        self.incoming.clear();
        Some(self.disk.crash(reached))
    }

    /// The state as of `index` becomes durable, unless a later one is.
    pub fn save(&mut self, index: Index) {
        if index > self.disk.saved.at.index {
            self.disk.saved = self.snapshot(index).expect("it is applied").saved;
        }
    }

    /// The state as of `index`, if it is at hand.
    pub fn snapshot(&self, index: Index) -> Option<Snapshot> {
        if index < self.floor.at.index {
            return None;
        }
        let applied = self.applied.get(..count(index))?;
        let at = applied.last().map_or(Position::default(), position);
        let since = applied.iter().skip(count(self.floor.at.index));
        let newest = since.rev().find(|entry| is_membership(&entry.payload));
        let membership = newest.map_or_else(
            || self.floor.membership.clone(),
            |entry| Membership::decode(&entry.payload).expect("it was applied"),
        );
        Some(Snapshot {
            saved: Saved { at, membership },
            applied: applied.to_vec(),
        })
    }

    /// A state takes the place of the one that was here, durably.
    pub fn take_over(&mut self, snapshot: Snapshot) {
        self.floor = snapshot.saved.clone();
        self.disk.saved = snapshot.saved;
        self.applied = snapshot.applied;
    }

    /// The log is compacted up to `base`.
    pub fn compact(&mut self, base: Position) {
        assert!(
            base.index <= self.disk.saved.at.index,
            "what is compacted was saved first"
        );
        self.disk.compact(base);
    }
}
