//! Handing leadership over (thesis, section 3.10).
//!
//! The leader takes no more proposals, waits until the successor has everything, and tells it to campaign at once. If that does not
//! come about within one election time, the leader goes on as before.

use std::sync::Arc;

use crate::raft::message::Body;
use crate::raft::node::{Raft, RoleState};
use crate::raft::progress::Progress;
use crate::types::NodeId;

/// A handover under way.
#[derive(Clone, Copy, Debug)]
pub struct Transfer {
    to: NodeId,
    ticks: u32,
    stays: bool,
}

impl Raft {
    /// Begins to hand leadership to the voter that is preferred and furthest, and returns who that is; none when this replica does not lead
    /// or no other voter has been heard.
    pub fn transfer_leader(&mut self) -> Option<NodeId> {
        let to = self.best_successor()?;
        self.begin_transfer(to, false).then_some(to)
    }

    /// Begins to hand leadership to `to`. Says whether it did: not when this replica does not lead, or `to` is no other voter.
    pub fn transfer_leader_to(&mut self, to: NodeId) -> bool {
        self.begin_transfer(to, false)
    }

    /// Begins to hand leadership over because somebody asked for it: to `to`, or to whoever is best. The successor is told so. Returns who that is;
    /// none as in [`Raft::transfer_leader`] and [`Raft::transfer_leader_to`].
    pub fn transfer_leader_as_asked(&mut self, to: Option<NodeId>) -> Option<NodeId> {
        let to = to.or_else(|| self.best_successor())?;
        self.begin_transfer(to, true).then_some(to)
    }

    /// Whether a handover is under way.
    #[must_use]
    pub fn is_handing_over(&self) -> bool {
        matches!(&self.role, RoleState::Leader(leader) if leader.transfer.is_some())
    }

    fn best_successor(&mut self) -> Option<NodeId> {
        let membership = Arc::clone(self.membership());
        let (leader, _) = self.leader_and_log()?;
        let members = membership.members();
        let of_voter = |(node, progress)| {
            let member = members.get(node).filter(|member| member.is_voter)?;
            Some((node, progress, member.priority))
        };
        let voters = leader.progress.iter().filter_map(of_voter);
        let alive = voters.filter(|(_, progress, _): &(_, &Progress, _)| progress.active || progress.matched().0 > 0);
        let (to, ..) = alive.max_by_key(|(_, progress, priority)| (progress.active, *priority, progress.matched()))?;
        Some(*to)
    }

    fn begin_transfer(&mut self, to: NodeId, stays: bool) -> bool {
        let is_voter = self
            .membership()
            .members()
            .get(&to)
            .is_some_and(|member| member.is_voter);
        let Some((leader, _)) = self.leader_and_log().filter(|_| is_voter) else {
            return false;
        };
        if !leader.progress.contains_key(&to) {
            return false;
        }
        leader.transfer = Some(Transfer { to, ticks: 0, stays });
        self.continue_transfer(to);
        true
    }

    /// The follower `from` has come further: if it is the successor and has everything, it may campaign.
    pub(super) fn continue_transfer(&mut self, from: NodeId) {
        let Some((leader, log)) = self.leader_and_log() else {
            return;
        };
        let complete = leader
            .progress
            .get(&from)
            .is_some_and(|progress| progress.matched() == log.last().index);
        let transfer = leader.transfer.filter(|transfer| complete && transfer.to == from);
        if let Some(Transfer { stays, .. }) = transfer {
            self.send(from, Body::TimeoutNow { stays });
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
