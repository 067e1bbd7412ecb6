//! A cluster of replicas in one hand: every tick, message, write, crash and restart happens when the test says so.
//!
//! It does with a [`Ready`] what a partition's shell does, and nothing more: sends, writes, applies, reports back. After every event the
//! [checks](crate::checks) look at all replicas. It draws nothing by itself, except the seeds of the replicas' election timers from its own.

use std::collections::BTreeMap;

use bytes::Bytes;
use kapu::raft::{
    Body, Change, Entry, HardState, Message, Position, ProposeError, Raft, Ready, ReconfigureError, Role, RoleChange,
};
use kapu::types::{Index, NodeId};

use crate::checks::{Before, Checks};
use crate::counts::Counts;
use crate::disk::{Disk, Saved};
use crate::network::Network;
use crate::reads::Reads;
use crate::replica::{Replica, Shape};
use crate::trace::{self, Trace};

pub struct Cluster {
    pub shape: Shape,
    pub replicas: BTreeMap<NodeId, Replica>,
    pub network: Network,
    pub checks: Checks,
    pub reads: Reads,
    pub trace: Trace,
    pub counts: Counts,
}

/// Plants the bug that `KAPU_MUTANT` names: then something here must go red.
#[cfg(feature = "mutants")]
fn plant() {
    static ONCE: std::sync::Once = std::sync::Once::new();
    ONCE.call_once(|| {
        if let Ok(name) = std::env::var("KAPU_MUTANT") {
            kapu::mutants::choose(&name).expect("it is planted");
        }
    });
}

/// More rounds than this between one event and rest are a loop.
const READY_ROUNDS_MAX: usize = 10_000;

impl Cluster {
    pub fn new(shape: Shape) -> Self {
        #[cfg(feature = "mutants")]
        plant();
        let mut cluster = Self {
            shape,
            replicas: BTreeMap::new(),
            network: Network::default(),
            checks: Checks::new(shape.founders()),
            reads: Reads::default(),
            trace: Trace::default(),
            counts: Counts::default(),
        };
        for id in (1..=shape.nodes).map(NodeId) {
            cluster.boot(id, Disk::with(shape.founders(), HardState::default(), Vec::new()));
        }
        cluster
    }

    /// Starts a node that waits to be added.
    pub fn boot_waiting(&mut self, id: NodeId) {
        self.boot(id, Disk::default());
    }

    /// Gives a node a disk, and starts it.
    pub fn boot(&mut self, id: NodeId, disk: Disk) {
        self.replicas.insert(id, Replica::new(id, disk));
        self.start(id);
    }

    fn start(&mut self, id: NodeId) {
        let shape = self.shape;
        self.replica_mut(id).start(&shape);
        self.check(id, &Before::default());
    }

    /// What happened so far.
    pub fn counts(&self) -> Counts {
        Counts {
            elections: self.checks.elections(),
            changes: self.checks.changes(),
            commits: usize::try_from(self.checks.committed().0).expect("a log fits in memory"),
            ..self.counts
        }
    }

    pub fn ids(&self) -> Vec<NodeId> {
        self.replicas.keys().copied().collect()
    }

    pub fn replica(&self, id: NodeId) -> &Replica {
        &self.replicas[&id]
    }

    pub fn replica_mut(&mut self, id: NodeId) -> &mut Replica {
        self.replicas.get_mut(&id).expect("the test names nodes of the cluster")
    }

    pub fn raft(&self, id: NodeId) -> Option<&Raft> {
        self.replicas.get(&id)?.raft.as_ref()
    }

    pub fn role(&self, id: NodeId) -> Option<Role> {
        self.raft(id).map(Raft::role)
    }

    /// Lets one running replica have an event, and checks what came of it. What it wants done waits for [`Cluster::flush`].
    pub fn event<T>(&mut self, id: NodeId, event: impl FnOnce(&mut Raft) -> T) -> Option<T> {
        let raft = self.replicas.get_mut(&id)?.raft.as_mut()?;
        let before = Before::of(raft);
        let result = event(raft);
        let commit = raft.log().commit();
        if commit > before.commit {
            self.trace.note(|| format!("{id} commits {commit}"));
        }
        self.check(id, &before);
        Some(result)
    }

    fn check(&mut self, id: NodeId, before: &Before) {
        self.checks.replica(id, before, &self.replicas);
    }

    /// Does what a replica wants done until it wants nothing. Writes complete at once, unless its disk is held.
    pub fn flush(&mut self, id: NodeId) {
        for _ in 0..READY_ROUNDS_MAX {
            let Some(ready) = self.event(id, Raft::ready) else {
                return;
            };
            if ready.is_empty() {
                return;
            }
            self.carry_out(id, ready);
            if !self.replicas[&id].disk.held {
                self.complete_writes(id, usize::MAX);
            }
        }
        panic!("node {id} never comes to rest");
    }

    fn carry_out(&mut self, id: NodeId, ready: Ready) {
        if let Some(change) = ready.role_change {
            self.trace.note(|| format!("{id} {}", describe(&change)));
        }
        for message in ready.send {
            assert_eq!(message.from, id, "a replica speaks for itself");
            self.send(message);
        }
        if let Some(persist) = ready.persist {
            self.trace.note(|| format!("{id} writes {}", trace::persist(&persist)));
            self.replica_mut(id).disk.write(persist);
        }
        for entry in ready.apply {
            self.apply(id, entry);
        }
        for read in ready.reads_confirmed {
            self.trace
                .note(|| format!("{id} confirms read {} at {}", read.context, read.index));
            self.counts.reads_confirmed += 1;
            self.reads.confirmed(read.context, read.index, self.checks.committed());
        }
        for context in ready.reads_failed {
            self.trace.note(|| format!("{id} fails read {context}"));
            self.counts.reads_failed += 1;
            self.reads.failed(context);
        }
        self.carry_snapshots(id, ready.behind, ready.offered);
    }

    /// Offers the saved state to who is behind, and begins to carry what is offered here.
    fn carry_snapshots(&mut self, id: NodeId, behind: Vec<NodeId>, offered: Option<(NodeId, Position)>) {
        for peer in behind {
            let at = self.replica(id).disk.saved.at;
            self.event(id, |raft| raft.offer_snapshot(peer, at));
        }
        let Some((from, at)) = offered else { return };
        self.trace
            .note(|| format!("{id} is offered {} by {from}", trace::position(at)));
        let snapshot = self.replica(from).snapshot(at.index);
        let snapshot = snapshot.filter(|snapshot| snapshot.saved.at == at);
        self.replica_mut(id).incoming.extend(snapshot);
    }

    /// A snapshot has arrived, the one that was offered as number `which` of those under way. If it is still needed it takes the place of the
    /// state, durably, and then of the log; `crashes` is between the two.
    pub fn install(&mut self, id: NodeId, which: usize, crashes: bool) {
        let Some(snapshot) = self.replica_mut(id).incoming.remove(which) else {
            return;
        };
        let Saved { at, membership } = snapshot.saved.clone();
        let needed = self.raft(id).is_some_and(|raft| raft.needs_snapshot(at));
        if !needed {
            self.trace.note(|| format!("{id} needs no {}", trace::position(at)));
            self.counts.snapshots_late += 1;
            return;
        }
        self.trace.note(|| format!("{id} saves {}", trace::position(at)));
        self.replica_mut(id).take_over(snapshot);
        self.counts.snapshots += 1;
        if crashes {
            self.counts.snapshots_cut_short += 1;
            return self.crash(id, 0, Index(0));
        }
        self.event(id, |raft| raft.install(at, membership));
    }

    fn send(&mut self, message: Message) {
        self.checks.sending(&message, &self.replicas);
        self.counts.handovers += usize::from(matches!(message.body, Body::TimeoutNow { .. }));
        self.trace.note(|| format!("send {}", trace::message(&message)));
        if let Some(lost) = self.network.send(message) {
            self.lose(&lost);
        }
    }

    fn apply(&mut self, id: NodeId, entry: Entry) {
        self.trace.note(|| format!("{id} applies {}", trace::entry(&entry)));
        self.checks.applying(&entry, &self.replicas[&id]);
        self.replica_mut(id).applied.push(entry);
    }

    /// Completes up to `count` of the oldest writes under way, and tells the replica.
    pub fn complete_writes(&mut self, id: NodeId, count: usize) {
        for _ in 0..count {
            let Some((write, replaced)) = self.replica_mut(id).disk.complete() else {
                return;
            };
            self.trace.note(|| format!("{id} durable #{write}"));
            self.replaced(&replaced);
            self.event(id, |raft| raft.persisted(write));
        }
    }

    fn replaced(&mut self, entries: &[Entry]) {
        self.counts.truncations += usize::from(!entries.is_empty());
        self.checks.replaced(entries, &self.replicas);
    }

    pub fn tick(&mut self, id: NodeId) {
        let led = self.role(id) == Some(Role::Leader);
        self.event(id, Raft::tick);
        self.counts.step_downs += usize::from(led && self.role(id) != Some(Role::Leader));
    }

    /// Hands a message to its receiver; one that is down loses it.
    pub fn deliver(&mut self, message: Message) {
        let to = message.to;
        if self.raft(to).is_none() {
            return self.lose(&message);
        }
        self.trace.note(|| format!("recv {}", trace::message(&message)));
        self.event(to, |raft| raft.step(message));
    }

    pub fn lose(&mut self, message: &Message) {
        self.counts.lost += 1;
        self.trace.note(|| format!("lost {}", trace::message(message)));
    }

    pub fn propose(&mut self, id: NodeId, payloads: Vec<Bytes>) -> Option<Result<Index, ProposeError>> {
        self.event(id, |raft| raft.propose(payloads))
    }

    pub fn read(&mut self, id: NodeId, context: u64) -> Option<Result<(), ProposeError>> {
        let committed = self.checks.committed();
        let result = self.event(id, |raft| raft.read_index(context))?;
        if result.is_ok() {
            assert_eq!(committed, self.checks.committed(), "a read commits nothing");
            self.reads.begins(context, id, committed);
        }
        Some(result)
    }

    /// Power fails at a node: what is not durable is gone, except the oldest `reached` writes, which just got to the disk; its state
    /// machine is found as of `saved`, at the earliest as of the compacted log, at the latest as it was.
    pub fn crash(&mut self, id: NodeId, reached: usize, saved: Index) {
        let entries_before = self.replica(id).disk.entries();
        let replica = self.replica_mut(id);
        let Some(lost) = replica.crash(reached, saved) else {
            return;
        };
        let replaced: Vec<Entry> = entries_before
            .into_iter()
            .filter(|entry| !replica.disk.holds(entry))
            .collect();
        self.trace.note(|| format!("{id} crashes, {lost} writes lost"));
        self.counts.crashes += 1;
        self.counts.lost_writes += lost;
        self.replaced(&replaced);
        self.reads.forget(id);
    }

    pub fn restart(&mut self, id: NodeId) {
        if self.raft(id).is_none() {
            self.counts.restarts += 1;
            self.start(id);
            let term = self.replica(id).disk.hard_state.term;
            self.trace.note(|| format!("{id} restarts in t{term}"));
        }
    }

    /// Compacts up to `through`, or what all live ones hold, as far as its state machine has it, which becomes durable first.
    pub fn compact(&mut self, id: NodeId, through: Option<Index>) {
        let Some(raft) = self.raft(id) else { return };
        let through = through.unwrap_or(raft.held_by_live()).min(raft.log().applied());
        if through <= raft.log().base().index {
            return;
        }
        self.replica_mut(id).save(through);
        let base = self.event(id, |raft| raft.compact(through)).expect("it runs");
        self.replica_mut(id).compact(base);
        self.counts.compactions += 1;
        self.trace
            .note(|| format!("{id} compacts up to {}", trace::position(base)));
    }
}

/// Changes of members, and what came of them.
impl Cluster {
    pub fn change(&mut self, id: NodeId, change: &Change) -> Option<Result<Option<Index>, ReconfigureError>> {
        self.event(id, |raft| raft.change_membership(change))
    }
}

fn describe(change: &RoleChange) -> String {
    let RoleChange { role, term, leader } = change;
    match (role, leader) {
        (Role::Follower, Some(leader)) => format!("follows {leader} in t{term}"),
        (Role::Follower, None) => format!("follows nobody in t{term}"),
        _ => format!("is {} in t{term}", role.as_str()),
    }
}
