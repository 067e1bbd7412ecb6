//! A cluster of either side's replicas, to which a schedule happens.
//!
//! Nothing happens by itself. Both sides get the same events; where an event picks one of several (messages under way, leaders, writes), it
//! does so by a share of how many there are, for the two sides do not send equally many messages.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;

use crate::checks::Checks;
use crate::replica::{Durable, Letter, Replica, Role, Shape, View};

/// Rounds of delivery in one tick; more are a loop.
const ROUNDS_MAX: usize = 1_000;

/// How often what happened on one side.
#[derive(Clone, Copy, Debug, Default)]
pub struct Counts {
    pub proposals: usize,
    pub lost: usize,
    pub duplicated: usize,
    pub crashes: usize,
    pub lost_writes: usize,
}

enum Node<R> {
    Up(R),
    Down(Durable),
}

pub struct Cluster<R: Replica> {
    pub shape: Shape,
    nodes: BTreeMap<u64, Node<R>>,
    boots: BTreeMap<u64, u64>,
    pub network: Vec<Letter<R::Message>>,
    cut: BTreeSet<(u64, u64)>,
    pub checks: Checks,
    pub counts: Counts,
}

/// The place that a share (of 2^32) picks out of `count`.
pub fn pick(share: u32, count: usize) -> usize {
    let picked = (u64::from(share) * count as u64) >> 32;
    usize::try_from(picked).expect("less than the count")
}

impl<R: Replica> Cluster<R> {
    pub fn new(shape: Shape) -> Self {
        let ids = 1..=shape.nodes;
        let mut cluster = Self {
            shape,
            nodes: ids.clone().map(|id| (id, Node::Down(Durable::default()))).collect(),
            boots: BTreeMap::new(),
            network: Vec::new(),
            cut: BTreeSet::new(),
            checks: Checks::default(),
            counts: Counts::default(),
        };
        ids.for_each(|id| cluster.restart(id));
        cluster
    }

    pub fn ids(&self) -> std::ops::RangeInclusive<u64> {
        1..=self.shape.nodes
    }

    /// The replica of a node, while it runs.
    pub fn up(&self, id: u64) -> Option<&R> {
        match &self.nodes[&id] {
            Node::Up(replica) => Some(replica),
            Node::Down(_) => None,
        }
    }

    pub fn up_mut(&mut self, id: u64) -> Option<&mut R> {
        match self.nodes.get_mut(&id) {
            Some(Node::Up(replica)) => Some(replica),
            Some(Node::Down(_)) | None => None,
        }
    }

    pub fn view(&self, id: u64) -> Option<View> {
        self.up(id).map(R::view)
    }

    fn event<T>(&mut self, id: u64, event: impl FnOnce(&mut R) -> T) -> Option<T> {
        let result = event(self.up_mut(id)?);
        self.check(id);
        Some(result)
    }

    fn check(&mut self, id: u64) {
        let Node::Up(replica) = &self.nodes[&id] else { return };
        let disks: Vec<&Durable> = self.nodes.values().map(durable).collect();
        self.checks.replica(id, replica, &disks);
    }

    pub fn tick(&mut self, id: u64) {
        self.event(id, R::tick);
    }

    pub fn flush(&mut self, id: u64) {
        let mut out = Vec::new();
        self.event(id, |replica| replica.flush(&mut out));
        self.send(out);
    }

    fn send(&mut self, letters: Vec<Letter<R::Message>>) {
        for letter in letters {
            if self.cut.contains(&(letter.from, letter.to)) {
                self.counts.lost += 1;
            } else {
                self.network.push(letter);
            }
        }
    }

    /// Hands a message to its receiver; one that is down loses it.
    pub fn deliver(&mut self, letter: Letter<R::Message>) {
        let delivered = self.event(letter.to, |replica| replica.step(letter.message));
        self.counts.lost += usize::from(delivered.is_none());
    }

    pub fn complete_writes(&mut self, id: u64, count: usize) {
        let mut out = Vec::new();
        self.event(id, |replica| replica.complete_writes(count, &mut out));
        self.send(out);
    }

    pub fn leaders(&self) -> Vec<u64> {
        let leads = |id: &u64| self.view(*id).is_some_and(|view| view.role == Role::Leader);
        self.ids().filter(leads).collect()
    }

    pub fn propose(&mut self, id: u64, payloads: Vec<Bytes>) -> bool {
        let count = payloads.len();
        let taken = self.event(id, |replica| replica.propose(payloads)) == Some(true);
        self.counts.proposals += if taken { count } else { 0 };
        taken
    }

    /// Power fails: a share of the writes under way got to the disk, and the state machine kept a share of what it had applied.
    pub fn crash(&mut self, id: u64, reached: u32, kept: u32) {
        let node = match self.nodes.remove(&id) {
            Some(Node::Up(replica)) => {
                let writes = replica.writes_under_way();
                let reached = pick(reached, writes + 1);
                let mut durable = replica.crash(reached);
                durable.applied = pick(kept, durable.applied + 1);
                self.counts.crashes += 1;
                self.counts.lost_writes += writes - reached;
                if R::LEADS_ALONE_AT_ONCE && self.shape.nodes == 1 {
                    self.checks.forget_what_was_not_durable(&durable);
                }
                Node::Down(durable)
            }
            Some(Node::Down(durable)) => Node::Down(durable),
            None => panic!("there is no node {id}"),
        };
        self.nodes.insert(id, node);
    }

    pub fn restart(&mut self, id: u64) {
        if let Node::Down(durable) = &self.nodes[&id] {
            let boots = self.boots.entry(id).or_default();
            *boots += 1;
            let replica = R::start(&self.shape, id, *boots, durable.clone());
            self.nodes.insert(id, Node::Up(replica));
            self.check(id);
        }
    }

    /// Whether nothing gets from one node to the other.
    pub fn is_cut(&self, from: u64, to: u64) -> bool {
        self.cut.contains(&(from, to))
    }

    pub fn cut(&mut self, from: u64, to: u64) {
        self.cut.insert((from, to));
    }

    pub fn isolate(&mut self, id: u64) {
        for other in self.ids() {
            self.cut(id, other);
            self.cut(other, id);
        }
    }

    pub fn mend(&mut self) {
        self.cut.clear();
    }

    /// Mends every link, starts every node, lets every disk go on.
    pub fn heal(&mut self) {
        self.mend();
        for id in self.ids() {
            self.restart(id);
            self.event(id, |replica| replica.hold(false));
            self.complete_writes(id, usize::MAX);
            self.flush(id);
        }
    }

    /// A tick for everybody, and everything delivered, in an order that does not depend on who sends more.
    pub fn calm_tick(&mut self) {
        for id in self.ids() {
            self.tick(id);
            self.flush(id);
        }
        self.settle();
    }

    /// Delivers until nothing is under way.
    pub fn settle(&mut self) {
        for _ in 0..ROUNDS_MAX {
            let mut round = std::mem::take(&mut self.network);
            if round.is_empty() {
                return;
            }
            round.sort_by_key(|letter| (letter.to, letter.from));
            for letter in round {
                let to = letter.to;
                self.deliver(letter);
                self.flush(to);
            }
        }
        panic!("the cluster never comes to rest");
    }

    /// One leader that all know, and all have committed its whole log.
    pub fn is_at_rest(&self) -> bool {
        let views: Vec<View> = self.ids().filter_map(|id| self.view(id)).collect();
        let [leader] = self.leaders()[..] else { return false };
        let Some(last) = self.view(leader).map(|view| view.last) else {
            return false;
        };
        let settled = |view: &View| view.leader == leader && view.last == last && view.commit == last.0;
        views.len() == self.nodes.len() && views.iter().all(settled)
    }
}

fn durable<R: Replica>(node: &Node<R>) -> &Durable {
    match node {
        Node::Up(replica) => replica.durable(),
        Node::Down(durable) => durable,
    }
}
