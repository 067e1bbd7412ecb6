//! Random schedules: everything that can go wrong, in any order, from one number.
//!
//! A schedule is drawn from its number alone. All [checks](crate::checks) hold after every event; then everything is healed, and the
//! cluster must come to rest: one leader, equal logs, every proposal applied everywhere.
//!
//! Which schedules run, and how one is seen again, is for [the sweep](crate::sweep) to say.

use bytes::Bytes;
use kapu::raft::{Raft, Role};
use kapu::types::{Index, NodeId};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use crate::cluster::Cluster;
use crate::replica::Shape;

/// The most events of one schedule before everything is healed.
const EVENTS_MAX: usize = 600;
/// The sizes of clusters; five-node ones are where minorities differ most.
const NODES: [u64; 6] = [1, 3, 3, 4, 5, 5];
/// Schedules differ in character, so that some go deep where others go wide.
const LARGE_SHARES: [f64; 3] = [0.0, 0.1, 0.9];
const COUP_SHARES: [f64; 3] = [0.0, 0.01, 0.1];
const CHANGE_SHARES: [f64; 3] = [0.0, 0.02, 0.2];
const HARSH_SHARES: [f64; 3] = [0.0, 0.5, 0.9];
const SNAPSHOT_SHARES: [f64; 3] = [0.01, 0.1, 0.5];
/// Rounds of delivery in one tick; more are a loop.
const ROUNDS_MAX: usize = 1_000;

pub struct Schedule {
    pub cluster: Cluster,
    pub rng: StdRng,
    /// How many of the payloads are so large that appends must be split.
    large_share: f64,
    /// How many of the events are elections under the worst circumstances.
    coup_share: f64,
    /// How many of the events are changes of members.
    pub change_share: f64,
    /// How many of the compactions ask nobody who may still want the entries.
    harsh_share: f64,
    /// How many of the events are the arrival of a snapshot, if one is under way.
    snapshot_share: f64,
    proposed: u64,
    pub reads: u64,
}

impl Schedule {
    pub fn new(number: u64) -> Self {
        let mut rng = StdRng::seed_from_u64(number);
        let shape = Shape {
            nodes: NODES[rng.random_range(0..NODES.len())],
            heartbeat_ticks: 1,
            election_ticks: rng.random_range(3..6),
            seed: number,
        };
        Self {
            cluster: Cluster::new(shape),
            large_share: LARGE_SHARES[rng.random_range(0..LARGE_SHARES.len())],
            coup_share: COUP_SHARES[rng.random_range(0..COUP_SHARES.len())],
            change_share: CHANGE_SHARES[rng.random_range(0..CHANGE_SHARES.len())],
            harsh_share: HARSH_SHARES[rng.random_range(0..HARSH_SHARES.len())],
            snapshot_share: SNAPSHOT_SHARES[rng.random_range(0..SNAPSHOT_SHARES.len())],
            rng,
            proposed: 0,
            reads: 0,
        }
    }

    pub fn run(&mut self) {
        for _ in 0..self.rng.random_range(50..EVENTS_MAX) {
            self.event();
        }
        self.heal();
        self.demand("elects a leader, and all learn what is committed", Self::is_at_rest);
        let confirmed = self.cluster.counts.reads_confirmed;
        let payloads: Vec<Bytes> = (0..3).map(|_| self.payload()).collect();
        self.demand("takes proposals and reads", |schedule| {
            schedule.propose_and_read(&payloads)
        });
        self.demand("applies what is proposed, everywhere", |schedule| {
            schedule.is_at_rest()
                && payloads
                    .iter()
                    .all(|payload| schedule.cluster.checks.has_committed(payload))
        });
        assert!(
            self.cluster.counts.reads_confirmed > confirmed,
            "the healed cluster confirms a read"
        );
        assert_eq!(self.cluster.reads.under_way(), 0, "every read comes back");
        self.demand_stability();
    }

    /// One event of any kind. What it wants done is mostly done at once; else it waits for the next event at that node.
    fn event(&mut self) {
        let id = self.any_node();
        if self.rng.random_bool(self.coup_share) {
            self.coups();
        }
        if self.rng.random_bool(self.change_share) {
            self.change();
        }
        if self.rng.random_bool(self.snapshot_share) {
            self.deliver_snapshot();
        }
        match self.rng.random_range(0..1000) {
            0..450 => self.deliver(),
            450..600 => self.cluster.tick(id),
            600..625 => self.tick_until_campaign(id),
            625..725 => self.complete_writes(id),
            725..805 => self.propose(),
            805..845 => self.read(),
            845..865 => self.lose(),
            865..885 => self.duplicate(),
            885..897 => self.crash(id),
            897..920 => self.cluster.restart(id),
            920..928 => self.cut(id),
            928..936 => self.isolate(id),
            936..948 => self.cluster.network.heal(),
            948..963 => self.hold_or_release(id),
            963..970 => self.transfer(),
            970..980 => self.compact(id),
            _ => self.calm_tick(),
        }
        if self.rng.random_bool(0.8) {
            self.cluster.flush(id);
        }
    }

    pub fn any_node(&mut self) -> NodeId {
        let all = self.cluster.ids();
        all[self.rng.random_range(0..all.len())]
    }

    /// A place in the queue, more likely near its head.
    fn any_message(&mut self) -> usize {
        let under_way = self.cluster.network.len().max(1);
        self.rng
            .random_range(0..under_way)
            .min(self.rng.random_range(0..under_way))
    }

    fn deliver(&mut self) {
        let at = self.any_message();
        if let Some(message) = self.cluster.network.take(at) {
            let to = message.to;
            self.cluster.deliver(message);
            if self.rng.random_bool(0.8) {
                self.cluster.flush(to);
            }
        }
    }

    fn lose(&mut self) {
        let at = self.any_message();
        if let Some(message) = self.cluster.network.take(at) {
            self.cluster.lose(&message);
        }
    }

    fn duplicate(&mut self) {
        let at = self.any_message();
        self.cluster.counts.duplicated += usize::from(at < self.cluster.network.len());
        self.cluster.network.duplicate(at);
    }

    fn tick_until_campaign(&mut self, id: NodeId) {
        for _ in 0..2 * self.cluster.shape.election_ticks {
            self.cluster.tick(id);
            self.cluster.flush(id);
            if self.cluster.role(id) == Some(Role::PreCandidate) {
                return;
            }
        }
    }

    fn complete_writes(&mut self, id: NodeId) {
        let count = self.rng.random_range(1..4);
        self.cluster.complete_writes(id, count);
    }

    pub fn any_leader(&mut self) -> Option<NodeId> {
        let all = self.cluster.ids().into_iter();
        let leaders: Vec<_> = all.filter(|id| self.cluster.role(*id) == Some(Role::Leader)).collect();
        (!leaders.is_empty()).then(|| leaders[self.rng.random_range(0..leaders.len())])
    }

    fn propose(&mut self) {
        let Some(id) = self.any_leader() else { return };
        let payloads = (0..self.rng.random_range(1..4)).map(|_| self.payload()).collect();
        self.cluster.propose(id, payloads);
        if self.rng.random_bool(0.8) {
            self.cluster.flush(id);
        }
    }

    /// A payload that is proposed once.
    pub fn payload(&mut self) -> Bytes {
        self.proposed += 1;
        let mut payload = self.proposed.to_string().into_bytes();
        if self.rng.random_bool(self.large_share) {
            payload.resize(kapu::limits::ENTRY_BYTES_MAX, b'.');
        }
        payload.into()
    }

    fn read(&mut self) {
        if let Some(id) = self.any_leader() {
            self.reads += 1;
            self.cluster.read(id, self.reads);
        }
    }

    fn crash(&mut self, id: NodeId) {
        let reached = self
            .rng
            .random_range(0..=self.cluster.replica(id).disk.writes_under_way());
        let saved = Index(self.rng.random_range(0..=self.cluster.replica(id).applied.len() as u64));
        self.cluster.crash(id, reached, saved);
    }

    fn cut(&mut self, id: NodeId) {
        let other = self.any_node();
        self.cluster.network.cut(id, other);
        if self.rng.random_bool(0.5) {
            self.cluster.network.cut(other, id);
        }
    }

    fn isolate(&mut self, id: NodeId) {
        for other in self.cluster.ids() {
            self.cluster.network.cut(id, other);
            self.cluster.network.cut(other, id);
        }
    }

    /// Again and again the leader is cut off with entries that few others have, and what the rest does about it is interrupted
    /// somewhere. This is how the logs of figures 7 and 8 come about.
    fn coups(&mut self) {
        for _ in 0..self.rng.random_range(1..5) {
            let Some(leader) = self.any_leader() else { return };
            self.propose();
            self.deliver_some(5);
            self.isolate(leader);
            for other in self.cluster.ids().into_iter().filter(|other| *other != leader) {
                self.forget_leader(other);
            }
            let usurper = self.any_node();
            self.tick_until_campaign(usurper);
            self.deliver_some(80);
            self.cluster.network.heal();
        }
    }

    fn forget_leader(&mut self, id: NodeId) {
        for _ in 0..self.cluster.shape.election_ticks {
            self.cluster.tick(id);
            self.cluster.flush(id);
        }
    }

    fn deliver_some(&mut self, most: usize) {
        for _ in 0..self.rng.random_range(0..most) {
            self.deliver();
        }
    }

    fn hold_or_release(&mut self, id: NodeId) {
        let disk = &mut self.cluster.replica_mut(id).disk;
        disk.held = !disk.held;
    }

    /// Up to what the live ones hold, or up to anything that is applied.
    fn compact(&mut self, id: NodeId) {
        let applied = self.cluster.replica(id).applied.len() as u64;
        let harsh = self.rng.random_bool(self.harsh_share);
        let through = harsh.then(|| Index(self.rng.random_range(0..=applied)));
        self.cluster.compact(id, through);
    }

    /// Any snapshot under way to any node arrives there; sometimes power fails when it is half done.
    fn deliver_snapshot(&mut self) {
        let mut waiting = self.cluster.ids();
        waiting.retain(|id| !self.cluster.replica(*id).incoming.is_empty());
        if waiting.is_empty() {
            return;
        }
        let id = waiting[self.rng.random_range(0..waiting.len())];
        let which = self.rng.random_range(0..self.cluster.replica(id).incoming.len());
        let crashes = self.rng.random_bool(0.2);
        self.cluster.install(id, which, crashes);
        if self.rng.random_bool(0.5) {
            self.cluster.flush(id);
        }
    }

    fn transfer(&mut self) {
        let Some(id) = self.any_leader() else { return };
        if self.rng.random_bool(0.5) {
            let to = self.any_node();
            self.cluster.event(id, |raft| raft.transfer_leader_to(to));
        } else {
            self.cluster.event(id, Raft::transfer_leader);
        }
        self.cluster.flush(id);
    }

    /// A tick for everybody, with everything delivered: the world is not always bad.
    pub fn calm_tick(&mut self) {
        for id in self.cluster.ids() {
            self.cluster.tick(id);
            self.cluster.flush(id);
        }
        for _ in 0..ROUNDS_MAX {
            let round = self.cluster.network.take_all(|_| true);
            if round.is_empty() {
                return;
            }
            for message in round {
                let to = message.to;
                self.cluster.deliver(message);
                self.cluster.flush(to);
            }
        }
        panic!("the cluster never comes to rest");
    }
}
