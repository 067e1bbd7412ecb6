//! Who belongs to the partition and who leads it: changes of members, and leadership given away.

use std::sync::Arc;

use super::Core;
use crate::limits;
use crate::partition::event::{AdminRefusal, AdminReply};
use crate::raft::{Change, Membership, ReconfigureError};
use crate::types::NodeId;

/// The memberships of a partition that count at the moment.
#[derive(Clone, Debug)]
pub struct Members {
    /// The one in force, committed or not: whoever is in it must be reached.
    pub newest: Arc<Membership>,
    /// The last one that is applied: whoever was removed by it is gone for good.
    pub applied: Arc<Membership>,
}

impl Members {
    fn is(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.newest, &other.newest) && Arc::ptr_eq(&self.applied, &other.applied)
    }
}

/// Whether and when leadership is given to another replica without being asked.
#[derive(Default)]
pub struct Balance {
    ticks: u32,
    /// After an attempt that failed, this many ticks pass before the next.
    patience: u32,
}

impl Core {
    /// The memberships that count now.
    #[must_use]
    pub fn members(&self) -> Members {
        let memberships = self.raft.log().memberships();
        Members {
            newest: Arc::clone(memberships.newest()),
            applied: Arc::clone(memberships.applied()),
        }
    }

    /// The same, if they were not told yet.
    pub(super) fn members_to_tell(&mut self) -> Option<Members> {
        let now = self.members();
        if self.members_told.as_ref().is_some_and(|told| told.is(&now)) {
            return None;
        }
        self.members_told = Some(now.clone());
        Some(now)
    }

    /// Makes a change of members, or begins to; answers whether it is made already.
    pub(super) fn change_member(&mut self, change: &Change, reply: AdminReply<bool>) {
        reply(match self.raft.change_membership(change) {
            Ok(begun) => Ok(begun.is_none() && !self.raft.change_is_under_way()),
            Err(ReconfigureError::NotLeader) => Err(AdminRefusal::NotLeader(self.other_leader())),
            Err(error) => Err(AdminRefusal::Change(error)),
        });
    }

    /// Begins to hand leadership over, to `to` or to whoever is best; answers to whom.
    pub(super) fn transfer_leader(&mut self, to: Option<NodeId>, reply: AdminReply<NodeId>) {
        if !self.raft.may_serve() {
            return reply(Err(AdminRefusal::NotLeader(self.other_leader())));
        }
        let to = match to {
            Some(to) if to == self.raft.id() => Some(to),
            Some(to) => self.raft.transfer_leader_to(to).then_some(to),
            None => self.raft.transfer_leader(),
        };
        reply(to.ok_or(AdminRefusal::NoSuccessor));
    }

    /// The leader, when it is another replica.
    pub(super) fn other_leader(&self) -> Option<NodeId> {
        self.raft.leader().filter(|leader| *leader != self.raft.id())
    }

    /// Now and then a leader gives way to the replica that should lead this partition, once that has everything: so leaders spread over the
    /// nodes, and a node of low priority leads only while no other can.
    pub(super) fn balance(&mut self) {
        let balance = &mut self.balance;
        balance.ticks += 1;
        if balance.ticks < limits::BALANCE_TICKS.max(balance.patience) {
            return;
        }
        balance.ticks = 0;
        let preferred = self.raft.membership().preferred_leader(self.partition);
        let Some(preferred) = preferred.filter(|node| *node != self.raft.id()) else {
            balance.patience = 0;
            return;
        };
        if !self.raft.may_serve() || self.raft.change_is_under_way() {
            return;
        }
        let last = self.raft.log().last().index;
        let followers = self.raft.follower_statuses();
        let is_ready = followers.iter().any(|follower| {
            follower.node == preferred
                && follower.is_live
                && follower.matched.0 + limits::CAUGHT_UP_ENTRIES_MAX >= last.0
        });
        if is_ready && self.raft.transfer_leader_to(preferred) {
            let patience = limits::BALANCE_TICKS.max(2 * balance.patience);
            balance.patience = patience.min(limits::BALANCE_TICKS_MAX);
        }
    }
}
