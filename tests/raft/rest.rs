//! The end of a schedule: everything is healed, and the cluster must come to rest.
//!
//! Safety without liveness is easy: do nothing. Time is counted in election times here, never by a clock.

use bytes::Bytes;
use kapu::raft::Raft;

use crate::schedules::Schedule;

/// A healed cluster is at rest after so many election times.
const ELECTION_TIMES_TO_REST: u32 = 30;
/// So long is watched whether it stays so.
const ELECTION_TIMES_OF_PEACE: u32 = 8;

impl Schedule {
    /// Mends every link, starts every node, lets every disk go on.
    pub fn heal(&mut self) {
        self.cluster.network.heal();
        for id in self.cluster.ids() {
            self.cluster.restart(id);
            self.cluster.replica_mut(id).disk.held = false;
            self.cluster.complete_writes(id, usize::MAX);
            self.cluster.flush(id);
        }
    }

    /// A tick after which every snapshot has arrived too.
    fn quiet_tick(&mut self) {
        self.calm_tick();
        for id in self.cluster.ids() {
            while !self.cluster.replica(id).incoming.is_empty() {
                self.cluster.install(id, 0, false);
                self.cluster.flush(id);
            }
        }
    }

    /// Lets time pass, with everything delivered, until something is so.
    pub fn demand(&mut self, what: &str, mut reached: impl FnMut(&mut Self) -> bool) {
        for _ in 0..ELECTION_TIMES_TO_REST * self.cluster.shape.election_ticks {
            self.quiet_tick();
            if reached(self) {
                return;
            }
        }
        panic!("in its time a healed cluster {what}; this one did not");
    }

    /// One leader that serves, known to all members; everything in its log is applied by all of them, and no change is under way. Who was
    /// removed may have missed that.
    pub fn is_at_rest(&mut self) -> bool {
        let rafts = self
            .cluster
            .replicas
            .values()
            .filter_map(|replica| replica.raft.as_ref());
        let leaders = rafts.filter(|raft| raft.may_serve() && !raft.change_is_under_way());
        let Some(leader) = leaders.max_by_key(|raft| raft.term()) else {
            return false;
        };
        let last = leader.log().last();
        let settled = |raft: &Raft| {
            raft.leader() == Some(leader.id()) && raft.log().last() == last && raft.log().applied() == last.index
        };
        let mut members = leader.membership().members().keys();
        members.all(|node| self.cluster.raft(*node).is_some_and(settled))
    }

    /// Who is left outside campaigns as long as it likes, and deposes nobody.
    pub fn demand_stability(&mut self) {
        let elections = self.cluster.checks.elections();
        for _ in 0..ELECTION_TIMES_OF_PEACE * self.cluster.shape.election_ticks {
            self.quiet_tick();
        }
        assert_eq!(
            self.cluster.checks.elections(),
            elections,
            "a healed cluster keeps its leader"
        );
    }

    /// Says whether the leader took them: one that is handing over does not, and for a moment there may be none.
    pub fn propose_and_read(&mut self, payloads: &[Bytes]) -> bool {
        let Some(leader) = self.any_leader() else { return false };
        let accepted = self.cluster.propose(leader, payloads.to_vec());
        if !matches!(accepted, Some(Ok(_))) {
            return false;
        }
        self.reads += 1;
        self.cluster.read(leader, self.reads);
        self.cluster.flush(leader);
        true
    }
}
