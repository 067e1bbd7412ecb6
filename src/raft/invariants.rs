//! What must hold after every event, checked after every event, in release builds too: everything here is O(1).
//!
//! What needs more than one replica to check (log matching, one leader per term) is the business of tests and simulation.

use crate::raft::message::{HardState, Position};
use crate::raft::node::{Raft, RoleState};
use crate::types::Index;

/// What a replica was before an event.
#[derive(Clone, Copy, Debug)]
pub(super) struct Snapshot {
    hard_state: HardState,
    leading: bool,
    last: Position,
    commit: Index,
    applied: Index,
}

impl Raft {
    pub(super) fn snapshot(&self) -> Snapshot {
        Snapshot {
            hard_state: self.hard_state,
            leading: matches!(self.role, RoleState::Leader(_)),
            last: self.log.last(),
            commit: self.log.commit(),
            applied: self.log.applied(),
        }
    }

    /// Asserts every local invariant.
    pub(super) fn check(&self, before: &Snapshot) {
        self.check_hard_state(before);
        self.check_log(before);
        self.check_leader(before);
    }

    /// After a snapshot the log begins and ends with it: what was there before may conflict with what follows.
    pub(super) fn check_installed(&self, at: Position) {
        let (base, last) = (self.log.base(), self.log.last());
        assert!(
            base == at && last == at,
            "after a snapshot up to {at:?} the log goes from {base:?} to {last:?}"
        );
    }

    fn check_hard_state(&self, before: &Snapshot) {
        let (was, is) = (before.hard_state, self.hard_state);
        assert!(
            is.term >= was.term,
            "the term went back from {} to {}",
            was.term,
            is.term
        );
        let kept = is.term > was.term || was.vote.is_none() || is.vote == was.vote;
        assert!(kept, "the vote of term {} was taken back", is.term);
    }

    fn check_log(&self, before: &Snapshot) {
        let log = &self.log;
        let (base, last) = (log.base().index, log.last().index);
        let (applied, commit, durable) = (log.applied(), log.commit(), log.durable());
        assert!(
            commit >= before.commit,
            "the commit index went back from {} to {commit}",
            before.commit
        );
        assert!(
            applied >= before.applied,
            "the applied index went back from {} to {applied}",
            before.applied
        );
        assert!(
            base <= applied,
            "entries up to {base} are compacted, and only {applied} is applied"
        );
        assert!(
            applied <= commit,
            "entry {applied} is applied, and only {commit} is committed"
        );
        assert!(
            applied <= durable,
            "entry {applied} is applied, and only {durable} is durable here"
        );
        assert!(
            commit <= last && durable <= last,
            "commit {commit} or durable {durable} is beyond the last entry {last}"
        );
        assert!(log.last().term <= self.hard_state.term, "the log is ahead of the term");
    }

    fn check_leader(&self, before: &Snapshot) {
        let RoleState::Leader(leader) = &self.role else {
            return;
        };
        assert_eq!(self.leader, Some(self.id()), "a leader knows itself");
        assert_eq!(self.hard_state.vote, Some(self.id()), "a leader has its own vote");
        assert!(
            self.membership().members().len() - usize::from(self.membership().members().contains_key(&self.id()))
                == leader.progress.len(),
            "a leader knows the progress of every other member"
        );
        self.check_changes(leader.opening);
        if before.leading && before.hard_state.term == self.hard_state.term {
            assert!(self.log.last() >= before.last, "a leader never truncates its own log");
        }
    }

    /// A leader begins a change of voters only when its term has committed something, and brings in a membership only when the one before is committed:
    /// the rules that keep majorities overlapping (thesis, section 4.1, and Ongaro's note of 2015 on it). What a joint membership leads to needs no
    /// more than that this is committed: every other leader would bring in the same.
    fn check_changes(&self, opening: Index) {
        let (commit, memberships) = (self.log.commit(), self.log.memberships());
        let newest = memberships.newest_index();
        if newest <= opening {
            return;
        }
        assert!(
            opening <= commit || !memberships.newest().is_joint(),
            "membership {newest} was brought in before entry {opening}, the first of the term, was committed"
        );
        let previous = memberships.previous_index().unwrap_or(commit);
        assert!(
            previous <= commit,
            "membership {newest} was brought in before membership {previous} was committed"
        );
    }
}
