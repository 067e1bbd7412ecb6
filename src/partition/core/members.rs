//! Who belongs to the partition and who leads it: changes of members, and leadership given away.

use std::sync::Arc;

use super::Core;
use crate::limits;
use crate::partition::event::{AdminRefusal, AdminReply};
use crate::raft::{Change, FollowerStatus, Membership, ReconfigureError, Standing};
use crate::types::{NodeId, Term};

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
    /// Who leads in this term was asked for, and stays.
    asked_in: Option<Term>,
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
    ///
    /// A leader that is to be removed hands over first, if anybody can take over: the next one removes it, and nobody waits for an election.
    pub(super) fn change_member(&mut self, change: &Change, reply: AdminReply<bool>) {
        let removes_leader = matches!(change, Change::Remove { node } if *node == self.raft.id());
        if removes_leader && let Some(successor) = self.begin_retirement() {
            return reply(Err(AdminRefusal::NotLeader(Some(successor))));
        }
        reply(match self.raft.change_membership(change) {
            Ok(begun) => Ok(begun.is_none() && !self.raft.change_is_under_way()),
            Err(ReconfigureError::NotLeader) => Err(AdminRefusal::NotLeader(self.other_leader())),
            Err(error) => Err(AdminRefusal::Change(error)),
        });
    }

    /// Begins to hand leadership to a voter that can take over at once, if there is one and nothing else is under way.
    fn begin_retirement(&mut self) -> Option<NodeId> {
        let may_begin = self.raft.may_serve() && !self.raft.is_handing_over() && !self.raft.change_is_under_way();
        let is_voter = |node| self.raft.membership().standing(node) == Some(Standing::Voter);
        let followers = self.raft.follower_statuses().into_iter();
        let ready = followers.filter(|follower| may_begin && is_voter(follower.node) && self.is_close(follower));
        let successor = ready.max_by_key(|follower| follower.matched)?.node;
        self.raft.transfer_leader_to(successor).then_some(successor)
    }

    /// Whether a follower is heard and lacks little.
    fn is_close(&self, follower: &FollowerStatus) -> bool {
        let last = self.raft.log().last().index;
        follower.is_live && follower.matched.0 + limits::CAUGHT_UP_ENTRIES_MAX >= last.0
    }

    /// Begins to hand leadership over, to `to` or to whoever is best; answers to whom.
    pub(super) fn transfer_leader(&mut self, to: Option<NodeId>, reply: AdminReply<NodeId>) {
        if !self.raft.may_serve() {
            return reply(Err(AdminRefusal::NotLeader(self.other_leader())));
        }
        let to = match to {
            Some(to) if to == self.raft.id() => {
                self.balance.asked_in = Some(self.raft.term());
                Some(to)
            }
            to => self.raft.transfer_leader_as_asked(to),
        };
        reply(to.ok_or(AdminRefusal::NoSuccessor));
    }

    /// The leader, when it is another replica.
    pub(super) fn other_leader(&self) -> Option<NodeId> {
        self.raft.leader().filter(|leader| *leader != self.raft.id())
    }

    /// The leader of `term` tells this replica to take over, because somebody asked for it.
    pub(super) const fn note_asked(&mut self, term: Term) {
        self.balance.asked_in = Some(term.next());
    }

    /// A replica whose role has changed leads for a while before it thinks of another: who made it lead may want something of it.
    pub(super) const fn restart_balance(&mut self) {
        self.balance.ticks = 0;
    }

    /// Now and then a leader gives way to the replica that should lead this partition, once that has everything: so leaders spread over the
    /// nodes, and a node of low priority leads only while no other can. A leader that somebody asked for stays until it leads no more.
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
        let is_asked_for = balance.asked_in == Some(self.raft.term());
        if is_asked_for || !self.raft.may_serve() || self.raft.change_is_under_way() {
            return;
        }
        let followers = self.raft.follower_statuses();
        let is_ready = |follower: &FollowerStatus| follower.node == preferred && self.is_close(follower);
        if followers.iter().any(is_ready) && self.raft.transfer_leader_to(preferred) {
            let patience = limits::BALANCE_TICKS.max(2 * self.balance.patience);
            self.balance.patience = patience.min(limits::BALANCE_TICKS_MAX);
        }
    }
}
