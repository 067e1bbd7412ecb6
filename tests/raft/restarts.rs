//! One story, with a crash at every point of it.
//!
//! Where a crash hurts is seldom where one would put it. The story elects, proposes, reads, hands over and elects again on slow disks; for every
//! event of it, every node, and every number of writes that just reached the disk, it is told once more with a crash there. What random
//! schedules find is found there; here nothing is left to chance.

use bytes::Bytes;
use kapu::raft::{Raft, Role};
use kapu::types::{Index, NodeId};

use crate::cluster::Cluster;
use crate::replica::Shape;

/// Rounds of the story; in each, every node has a tick, one write completed and everything delivered.
const ROUNDS: usize = 25;
/// The cluster is at rest after so many more, at the latest.
const ROUNDS_TO_REST: usize = 200;

/// Where the story is interrupted: after so many events, at which node, and how many writes reach its disk.
#[derive(Clone, Copy)]
struct Crash {
    after: usize,
    node: NodeId,
    reached: usize,
}

struct Story {
    cluster: Cluster,
    crash: Option<Crash>,
    events: usize,
    proposals: usize,
}

impl Story {
    fn new(nodes: u64, crash: Option<Crash>) -> Self {
        let shape = Shape {
            nodes,
            heartbeat_ticks: 1,
            election_ticks: 4,
            seed: 7,
        };
        Self {
            cluster: Cluster::new(shape),
            crash,
            events: 0,
            proposals: 0,
        }
    }

    /// Tells it, and returns how many events it had.
    fn tell(mut self) -> usize {
        for id in self.cluster.ids() {
            self.cluster.replica_mut(id).disk.held = true;
        }
        for round in 0..ROUNDS {
            self.round(round);
        }
        let events = self.events;
        assert!(self.crash.is_none(), "the crash came");
        assert!(
            (0..ROUNDS_TO_REST).any(|_| self.quiet_round_brings_rest()),
            "the cluster comes to rest"
        );
        assert!(self.cluster.checks.committed() > Index(1), "something was committed");
        events
    }

    fn round(&mut self, round: usize) {
        for id in self.cluster.ids() {
            self.cluster.tick(id);
            self.after_event(id);
            self.cluster.complete_writes(id, 1);
            self.after_event(id);
        }
        for message in self.cluster.network.take_all(|_| true) {
            let to = message.to;
            self.cluster.deliver(message);
            self.after_event(to);
        }
        if let Some(leader) = self.leader() {
            self.lead(leader, round);
            self.after_event(leader);
        }
    }

    fn leader(&self) -> Option<NodeId> {
        let mut all = self.cluster.ids().into_iter();
        all.find(|id| self.cluster.role(*id) == Some(Role::Leader))
    }

    fn lead(&mut self, leader: NodeId, round: usize) {
        if round % 10 == 9 {
            self.cluster.event(leader, Raft::transfer_leader);
        } else if round.is_multiple_of(2) {
            self.proposals += 1;
            self.cluster
                .propose(leader, vec![Bytes::from(self.proposals.to_string())]);
        }
    }

    /// What the event asks for is done; then comes the crash, if it is its time. The node is back at once.
    fn after_event(&mut self, id: NodeId) {
        self.cluster.flush(id);
        self.events += 1;
        let due = |crash: &mut Crash| crash.after == self.events;
        if let Some(crash) = self.crash.take_if(due) {
            self.cluster.crash(crash.node, crash.reached, Index(0));
            self.cluster.restart(crash.node);
            self.cluster.replica_mut(crash.node).disk.held = true;
            self.cluster.flush(crash.node);
        }
    }

    /// A round without proposals. Says whether all have applied the whole log of the leader.
    fn quiet_round_brings_rest(&mut self) -> bool {
        self.round(1);
        let Some(leader) = self.leader().and_then(|id| self.cluster.raft(id)) else {
            return false;
        };
        let last = leader.log().last();
        let mut rafts = self
            .cluster
            .replicas
            .values()
            .map(|replica| replica.raft.as_ref().expect("all are up"));
        rafts.all(|raft| raft.log().last() == last && raft.log().applied() == last.index)
    }
}

fn crash_everywhere(nodes: u64) {
    let events = Story::new(nodes, None).tell();
    assert!(events > 50, "the story has {events} events");
    for after in 1..=events {
        for node in (1..=nodes).map(NodeId) {
            for reached in 0..2 {
                Story::new(nodes, Some(Crash { after, node, reached })).tell();
            }
        }
    }
}

#[test]
fn one_node_may_crash_at_every_point() {
    crash_everywhere(1);
}

#[test]
fn one_of_three_nodes_may_crash_at_every_point() {
    crash_everywhere(3);
}
