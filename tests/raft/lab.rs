//! A cluster as a course in distributed systems has it: nodes that are connected or not, crash or not, on a network that may be unreliable.
//!
//! It is the [cluster](crate::cluster) of the scripts, with its checks after every event; here are only the words that the
//! [labs](crate::labs) are told in. Time is counted in ticks.

use std::collections::BTreeSet;

use bytes::Bytes;
use kapu::raft::{Change, Message, Raft, Role};
use kapu::types::{Index, NodeId, Term};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use crate::cluster::Cluster;
use crate::replica::{Shape, address};
use crate::trace;

pub const ELECTION_TICKS: u32 = 10;
/// A leader is there, and an entry is agreed on, within so many ticks.
const PATIENCE_TICKS: u32 = 30 * ELECTION_TICKS;
/// Rounds of delivery in one tick; more are a loop.
const ROUNDS_MAX: usize = 1_000;

pub struct Lab {
    pub cluster: Cluster,
    pub rng: StdRng,
    /// Messages are lost, doubled, and delayed beyond later ones.
    pub unreliable: bool,
    /// Each node saves its state and cuts its log when so many entries of it are applied.
    pub compact_every: Option<u64>,
    /// Nodes whose links are all cut.
    away: BTreeSet<NodeId>,
    proposed: u64,
    /// Messages, and bytes of payload in them, that went over a link.
    pub messages: usize,
    pub bytes: usize,
}

impl Lab {
    pub fn new(nodes: u64) -> Self {
        let shape = Shape {
            nodes,
            heartbeat_ticks: 1,
            election_ticks: ELECTION_TICKS,
            seed: nodes,
        };
        Self {
            cluster: Cluster::new(shape),
            rng: StdRng::seed_from_u64(nodes),
            unreliable: false,
            compact_every: None,
            away: BTreeSet::new(),
            proposed: 0,
            messages: 0,
            bytes: 0,
        }
    }

    pub fn ids(&self) -> Vec<NodeId> {
        self.cluster.ids()
    }

    pub fn is_up(&self, id: NodeId) -> bool {
        self.cluster.raft(id).is_some()
    }

    /// Nodes that run and are connected.
    pub fn present(&self) -> Vec<NodeId> {
        let all = self.ids().into_iter();
        all.filter(|id| self.is_up(*id) && !self.away.contains(id)).collect()
    }

    pub fn disconnect(&mut self, id: NodeId) {
        self.away.insert(id);
        self.set_links();
    }

    pub fn connect(&mut self, id: NodeId) {
        self.away.remove(&id);
        self.set_links();
    }

    fn set_links(&mut self) {
        self.cluster.network.heal();
        for id in self.away.clone() {
            for other in self.ids() {
                self.cluster.network.cut(id, other);
                self.cluster.network.cut(other, id);
            }
        }
    }

    /// Power fails; the state machine starts empty again.
    pub fn crash(&mut self, id: NodeId) {
        self.cluster.crash(id, 0, Index(0));
    }

    pub fn restart(&mut self, id: NodeId) {
        self.cluster.restart(id);
    }

    pub fn wait(&mut self, ticks: u32) {
        (0..ticks).for_each(|_| self.tick());
    }

    pub fn tick(&mut self) {
        for id in self.ids() {
            self.cluster.tick(id);
            self.cluster.flush(id);
        }
        let mut delayed = Vec::new();
        for _ in 0..ROUNDS_MAX {
            let round = self.cluster.network.take_all(|_| true);
            if round.is_empty() {
                self.cluster.network.put_back(delayed);
                return self.snapshots();
            }
            for message in round {
                self.carry(message, &mut delayed);
            }
        }
        panic!("the cluster never comes to rest");
    }

    /// Snapshots that were offered arrive, and logs are cut.
    fn snapshots(&mut self) {
        for id in self.ids() {
            while !self.cluster.replica(id).incoming.is_empty() {
                self.cluster.install(id, 0, false);
                self.cluster.flush(id);
            }
            let (Some(every), Some(raft)) = (self.compact_every, self.cluster.raft(id)) else {
                continue;
            };
            let (applied, base) = (raft.log().applied(), raft.log().base().index);
            if applied.0 - base.0 >= every {
                self.cluster.compact(id, Some(applied));
            }
        }
    }

    /// Where a node's log begins.
    pub fn base(&self, id: NodeId) -> Index {
        self.cluster.raft(id).expect("it runs").log().base().index
    }

    /// A change is asked of whoever leads, until it is made and committed.
    pub fn change(&mut self, change: &Change) {
        for _ in 0..PATIENCE_TICKS {
            let leader = self.leader();
            let asked = self.cluster.change(leader, change);
            let is_made = matches!(asked, Some(Ok(None)));
            self.cluster.flush(leader);
            let is_open = |raft: &Raft| raft.change_is_under_way();
            if is_made && !self.cluster.raft(leader).is_some_and(is_open) {
                return;
            }
            self.tick();
        }
        panic!("{change:?} comes to no end");
    }

    /// A new node joins, and becomes a voter.
    pub fn join(&mut self, node: NodeId) {
        self.cluster.boot_waiting(node);
        self.change(&Change::AddLearner {
            node,
            address: address(node),
            priority: 1,
        });
        self.change(&Change::Promote { node });
    }

    /// A member is removed, and its machine switched off.
    pub fn leave(&mut self, node: NodeId) {
        self.change(&Change::Remove { node });
        self.disconnect(node);
    }

    fn carry(&mut self, message: Message, delayed: &mut Vec<Message>) {
        self.messages += 1;
        self.bytes += trace::bytes(&message.body);
        if self.unreliable {
            match self.rng.random_range(0..10) {
                0 => return self.cluster.lose(&message),
                1 => delayed.push(message.clone()),
                2..4 => return delayed.push(message),
                _ => {}
            }
        }
        let to = message.to;
        self.cluster.deliver(message);
        self.cluster.flush(to);
    }

    /// Leaders among the nodes that are present.
    pub fn leaders(&self) -> Vec<NodeId> {
        let leads = |id: &NodeId| self.cluster.role(*id) == Some(Role::Leader);
        self.present().into_iter().filter(leads).collect()
    }

    pub fn term(&self, id: NodeId) -> Term {
        self.cluster.raft(id).expect("it runs").term()
    }

    /// The leader of the latest term, as soon as one is present.
    pub fn leader(&mut self) -> NodeId {
        for _ in 0..PATIENCE_TICKS {
            if let Some(leader) = self.leaders().into_iter().max_by_key(|id| self.term(*id)) {
                return leader;
            }
            self.tick();
        }
        panic!("nobody leads");
    }

    /// A payload that was never proposed.
    pub fn payload(&mut self, bytes: usize) -> Bytes {
        self.proposed += 1;
        let mut payload = self.proposed.to_string().into_bytes();
        payload.resize(bytes.max(payload.len()), b'.');
        payload.into()
    }

    /// Gives a node one entry, if it takes it.
    pub fn start(&mut self, id: NodeId) -> Option<Bytes> {
        let payload = self.payload(0);
        let taken = self.cluster.propose(id, vec![payload.clone()]);
        self.cluster.flush(id);
        taken.is_some_and(|taken| taken.is_ok()).then_some(payload)
    }

    pub fn has_applied(&self, id: NodeId, payload: &Bytes) -> bool {
        let applied = &self.cluster.replica(id).applied;
        applied.iter().rev().any(|entry| entry.payload == payload)
    }

    pub fn is_committed(&self, payload: &Bytes) -> bool {
        self.cluster.checks.has_committed(payload)
    }

    /// All that are present agree on an entry, proposed again when its leader lost it.
    pub fn agree(&mut self) -> Bytes {
        for _ in 0..PATIENCE_TICKS / ELECTION_TICKS {
            let leader = self.leader();
            let Some(payload) = self.start(leader) else {
                self.tick();
                continue;
            };
            for _ in 0..4 * ELECTION_TICKS {
                self.tick();
                if self.present().into_iter().all(|id| self.has_applied(id, &payload)) {
                    return payload;
                }
            }
        }
        panic!("no agreement");
    }

    /// Whoever leads is given one entry. Returns those that were taken.
    pub fn start_everywhere(&mut self) -> Vec<Bytes> {
        self.ids().into_iter().filter_map(|id| self.start(id)).collect()
    }
}
