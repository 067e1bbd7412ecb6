//! Changing the members, one step at a time (Raft section 6; thesis, chapter 4).
//!
//! The leader appends a membership like any other entry; it is in force from then on. A change of voters is two entries: a joint membership
//! and, as soon as that is committed, the one that it leads to, appended by whoever leads then. The next change waits until the last
//! one is committed, and the first of a term until that term has committed something: else two leaders could bring in memberships whose
//! majorities do not overlap. Which steps are legal is the business of [`super::membership`].

use std::sync::Arc;

use crate::limits;
use crate::mutants::{self, Mutant};
use crate::raft::membership::{Change, ChangeError, Membership};
use crate::raft::message::Body;
use crate::raft::node::{Raft, RoleState};
use crate::raft::progress::Progress;
use crate::types::{Index, NodeId};

/// Why a change was refused; definite, nothing was appended.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReconfigureError {
    /// Another replica leads, or this one does not serve yet.
    #[error("this replica does not lead")]
    NotLeader,
    /// Another change is not done yet.
    #[error("another change of the members is under way; try again")]
    UnderWay,
    /// The learner lacks too much to vote.
    #[error("node {node} lacks {entries} entries and is catching up; try again")]
    CatchingUp {
        /// Who.
        node: NodeId,
        /// How many it lacks.
        entries: u64,
    },
    /// It is no legal step.
    #[error(transparent)]
    Illegal(#[from] ChangeError),
}

/// What a leader knows of a follower.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FollowerStatus {
    /// Who.
    pub node: NodeId,
    /// The last entry known to be durable there.
    pub matched: Index,
    /// Whether it was heard within the last two election times.
    pub is_live: bool,
}

impl Raft {
    /// Makes `change`, or begins to. Returns the index of the entry that brings it, or none when it is made already.
    ///
    /// # Errors
    /// [`ReconfigureError`]; nothing was appended then.
    pub fn change_membership(&mut self, change: &Change) -> Result<Option<Index>, ReconfigureError> {
        let before = self.snapshot();
        let result = self.change_as_leader(change);
        self.check(&before);
        result
    }

    fn change_as_leader(&mut self, change: &Change) -> Result<Option<Index>, ReconfigureError> {
        let RoleState::Leader(leader) = &self.role else {
            return Err(ReconfigureError::NotLeader);
        };
        if leader.transfer.is_some() || !self.may_serve() && !mutants::on(Mutant::ChangeBeforeOpening) {
            return Err(ReconfigureError::NotLeader);
        }
        if self.change_is_under_way() {
            return Err(ReconfigureError::UnderWay);
        }
        let Some(next) = self.membership().after(change)? else {
            return Ok(None);
        };
        if let Change::Promote { node } = change {
            self.check_caught_up(*node)?;
        }
        Ok(Some(self.append_membership(&next)))
    }

    /// Whether the newest membership is joint, or not committed.
    #[must_use]
    pub fn change_is_under_way(&self) -> bool {
        let is_open = self.log.memberships().newest_index() > self.log.commit();
        self.membership().is_joint() || is_open && !mutants::on(Mutant::ChangesOverlap)
    }

    fn check_caught_up(&self, node: NodeId) -> Result<(), ReconfigureError> {
        let RoleState::Leader(leader) = &self.role else {
            return Err(ReconfigureError::NotLeader);
        };
        let matched = leader.progress.get(&node).map_or(Index(0), Progress::matched);
        let entries = self.log.last().index.0.saturating_sub(matched.0);
        if entries > limits::CAUGHT_UP_ENTRIES_MAX || matched == Index(0) {
            return Err(ReconfigureError::CatchingUp { node, entries });
        }
        Ok(())
    }

    fn append_membership(&mut self, membership: &Membership) -> Index {
        let index = self.log.append(self.term(), membership.encode());
        self.follow_members(index);
        index
    }

    /// Something was committed: a joint membership leads on, and a leader that is no voter any more leads no more.
    pub(super) fn finish_change(&mut self) {
        let RoleState::Leader(_) = self.role else { return };
        let is_committed = self.log.memberships().newest_index() <= self.log.commit();
        if !is_committed && !mutants::on(Mutant::JointLeftEarly) {
            return;
        }
        let membership = Arc::clone(self.membership());
        if membership.is_joint() {
            self.append_membership(&membership.after_joint());
            self.advance_commit();
        } else if !membership.has_vote(self.id()) {
            self.leave_office();
        }
    }

    /// This leader is no voter any more: somebody who has everything takes over at once, if anybody has.
    fn leave_office(&mut self) {
        let last = self.log.last().index;
        let successor = match &self.role {
            RoleState::Leader(leader) => leader
                .progress
                .iter()
                .find(|(node, progress)| progress.matched() == last && self.membership().has_vote(**node))
                .map(|(node, _)| *node),
            RoleState::Follower(_) | RoleState::Candidate(_) => None,
        };
        if let Some(successor) = successor {
            self.send(successor, Body::TimeoutNow { stays: false });
        }
        self.become_follower(self.term(), None);
    }

    /// Whether nobody else is to be preferred as leader.
    pub(super) fn is_preferred(&self) -> bool {
        let members = self.membership().members();
        let own = members.get(&self.id()).map_or(0, |member| member.priority);
        members
            .values()
            .filter(|member| member.is_voter)
            .all(|member| member.priority <= own)
    }

    /// What this leader knows of its followers; empty when it does not lead.
    #[must_use]
    pub fn follower_statuses(&self) -> Vec<FollowerStatus> {
        let RoleState::Leader(leader) = &self.role else {
            return Vec::new();
        };
        let patience = 2 * self.config.election_ticks;
        let status = |(node, progress): (&NodeId, &Progress)| FollowerStatus {
            node: *node,
            matched: progress.matched(),
            is_live: progress.silent_ticks <= patience,
        };
        leader.progress.iter().map(status).collect()
    }
}
