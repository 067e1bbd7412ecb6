//! Handing leadership over (thesis, section 3.10).
//!
//! The leader takes no more proposals, waits until the successor has everything, and tells it to campaign at once. If that does not
//! come about within one election time, the leader goes on as before.

use crate::raft::message::Body;
use crate::raft::node::Raft;
use crate::types::NodeId;

/// A handover under way.
#[derive(Clone, Copy, Debug)]
pub struct Transfer {
    to: NodeId,
    ticks: u32,
}

impl Raft {
    /// Begins to hand leadership to the follower that is furthest, and returns who that is; none when this replica does not lead or
    /// no follower has been heard.
    pub fn transfer_leader(&mut self) -> Option<NodeId> {
        let (leader, _) = self.leader_and_log()?;
        let alive = leader
            .progress
            .iter()
            .filter(|(_, progress)| progress.active || progress.matched().0 > 0);
        let to = alive
            .max_by_key(|(_, progress)| (progress.active, progress.matched()))
            .map(|(node, _)| *node)?;
        leader.transfer = Some(Transfer { to, ticks: 0 });
        self.continue_transfer(to);
        Some(to)
    }

    /// The follower `from` has come further: if it is the successor and has everything, it may campaign.
    pub(super) fn continue_transfer(&mut self, from: NodeId) {
        let Some((leader, log)) = self.leader_and_log() else {
            return;
        };
        let complete = leader.progress[&from].matched() == log.last().index;
        if complete && leader.transfer.is_some_and(|transfer| transfer.to == from) {
            self.send(from, Body::TimeoutNow);
        }
    }

    /// One tick of a handover, if there is one: gives up after an election time.
    pub(super) fn tick_transfer(&mut self) {
        let patience = self.config.election_ticks;
        let Some((leader, _)) = self.leader_and_log() else {
            return;
        };
        if let Some(transfer) = &mut leader.transfer {
            transfer.ticks += 1;
            if transfer.ticks >= patience {
                leader.transfer = None;
            }
        }
    }
}
