//! Who belongs to the partition and who leads it: changes of members, and leadership given away.

use super::Core;
use crate::limits;
use crate::partition::event::{AdminRefusal, AdminReply};
use crate::raft::{Change, ReconfigureError};
use crate::types::NodeId;

/// Whether and when leadership is given to another replica without being asked.
#[derive(Default)]
pub struct Balance {
    ticks: u32,
    /// After an attempt that failed, this many ticks pass before the next.
    patience: u32,
}

impl Core {
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
