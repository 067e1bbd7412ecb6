//! How the members are changed: not a fault by itself, but what everything else must not break.
//!
//! There is one operator. He makes one change at a time, and goes on with one that was not done in time before he begins another.

use std::time::Duration;

use kapu::raft::Standing;
use kapu::status::PartitionStatus;
use kapu::types::{Index, NodeId};

use super::Evil;
use crate::cluster::{Register, Step, wait_until};
use crate::plan::{Fault, Luck};
use crate::world::true_sleep;

/// So long an operator waits for a change before he does something else.
const PATIENCE: Duration = Duration::from_secs(12);
/// So long a newcomer is kept from what concerns it.
const HIDING: Duration = Duration::from_secs(2);
/// A machine is away for so long while it moves.
const MOVE: Duration = Duration::from_millis(200);

impl Evil {
    /// Does what an operator does.
    pub(super) async fn change_members(&self, fault: Fault) {
        match fault {
            Fault::Join { ambush } => self.join(ambush).await,
            Fault::Leave(Luck { luck }) => self.change(|register| register.leave(luck)).await,
            Fault::Replace(Luck { luck }) => self.replace(luck).await,
            Fault::Move(Luck { luck }) => self.relocate(luck).await,
            Fault::MoveAll { down_ms } => self.relocate_all(Duration::from_millis(down_ms)).await,
            Fault::Transfer { partition } => self.cluster.transfer(partition).await,
            other => unreachable!("no operator does {other:?}"),
        }
    }

    /// The change that `choose` chooses, from its beginning to its end.
    async fn change(&self, choose: impl FnOnce(&mut Register) -> Option<u64>) {
        let _office = self.office.lock().await;
        if self.begin(choose).await.is_some() {
            self.cluster.operate(PATIENCE).await;
        }
    }

    /// Begins what `choose` chooses, and says whom it concerns. It is left out when another change does not come to its end.
    async fn begin(&self, choose: impl FnOnce(&mut Register) -> Option<u64>) -> Option<u64> {
        let is_free = self.cluster.operate(PATIENCE).await;
        let begun = is_free.then(|| self.cluster.register(choose)).flatten();
        if begun.is_none() {
            self.cluster.spare();
        }
        begun
    }

    /// A node joins, and may be lain in wait for.
    async fn join(&self, ambush: bool) {
        let joins = self.change(Register::join);
        if ambush {
            tokio::join!(biased; joins, self.ambush());
        } else {
            joins.await;
        }
    }

    /// Waits until a newcomer may ask for its vote in some partition, and keeps from it what its peers say. When it has the vote without knowing,
    /// the leader is lost for good, and it hears again: now the others need its vote.
    async fn ambush(&self) {
        let mut found = None;
        wait_until(PATIENCE, || {
            found = self.learner();
            found.is_some()
        })
        .await;
        let Some((node, leader, partition)) = found else { return };
        let (links, ways) = (self.cluster.links(), self.ways_from_peers(node));
        ways.iter().for_each(|(from, to)| links.cut(*from, *to));
        let has_vote = wait_until(HIDING, || self.has_vote(node, leader, partition)).await;
        if has_vote && self.cluster.register(|register| register.kill_of(leader)) {
            self.cluster.crash(leader);
            self.cluster.note_ambush();
        }
        ways.iter().for_each(|(from, to)| links.mend(*from, *to));
    }

    /// A newcomer that has something from a leader, and no vote yet: (newcomer, leader, partition).
    fn learner(&self) -> Option<(u64, u64, u32)> {
        let Some(Step::Joins(node)) = self.cluster.register(|register| register.under_way()) else {
            return None;
        };
        let statuses = self
            .cluster
            .nodes()
            .filter_map(|leader| Some((leader, self.cluster.status(leader)?)));
        let mut replicas = statuses.flat_map(|(leader, status)| {
            let partitions = status.partitions.into_iter();
            partitions.map(move |replica| (leader, replica))
        });
        let teaches = |replica: &PartitionStatus| {
            let is_learner = replica.membership.standing(NodeId(node)) == Some(Standing::Learner);
            let mut followers = replica.followers.iter();
            is_learner && followers.any(|follower| follower.node.0 == node && follower.matched > Index(0))
        };
        replicas.find_map(|(leader, replica)| teaches(&replica).then_some((node, leader, replica.partition.0)))
    }

    /// Whether the leader has made `node` a voter, and has committed that.
    fn has_vote(&self, node: u64, leader: u64, partition: u32) -> bool {
        let status = self.cluster.status(leader);
        status.is_some_and(|status| {
            let membership = &status.partitions[partition as usize].membership;
            !membership.is_joint() && membership.standing(NodeId(node)) == Some(Standing::Voter)
        })
    }

    /// A machine burns down. A new node comes, and the old one is taken out.
    async fn replace(&self, luck: u64) {
        let Some(dead) = self.cluster.register(|register| register.kill(luck)) else {
            return self.cluster.spare();
        };
        self.cluster.crash(dead);
        self.change(Register::join).await;
        self.change(|register| register.leave_of(dead)).await;
    }

    /// A node ends cleanly and comes back somewhere else.
    async fn relocate(&self, luck: u64) {
        let _office = self.office.lock().await;
        let Some(node) = self.begin(|register| register.relocate(luck)).await else {
            return;
        };
        self.cluster.stop(node).await;
        self.cluster.relocate(node);
        true_sleep(MOVE).await;
        self.cluster.start(node);
        self.cluster.operate(PATIENCE).await;
    }

    /// Nobody is where he was. The first nodes have settings that say where all of them are; those that joined later have none.
    async fn relocate_all(&self, down: Duration) {
        let _office = self.office.lock().await;
        if !self.cluster.operate(PATIENCE).await || !self.cluster.are_all_first() {
            return self.cluster.spare();
        }
        self.cluster.relocate_all();
        self.crash_all(down).await;
    }
}
