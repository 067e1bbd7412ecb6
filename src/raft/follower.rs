//! The follower: takes a leader's entries, and acknowledges what is durable.
//!
//! It never acknowledges what it merely received. What it knows to be the leader's log (`matched`) and what is on its disk (`durable`)
//! are kept apart, and an acknowledgement is the lesser of the two at the moment it leaves.

use crate::mutants::{self, Mutant};
use crate::raft::message::{Body, Entry, Position};
use crate::raft::node::{Raft, RoleState};
use crate::types::{Index, NodeId};

/// What a follower remembers of the leader of this term.
#[derive(Debug, Default)]
pub struct Follower {
    /// Up to here this log is known to be the leader's.
    matched: Index,
    /// The latest read round seen.
    pub(super) round: u64,
    /// An acknowledgement is to be sent.
    acknowledge: bool,
}

impl Raft {
    /// Entries of the leader arrived (Raft section 5.3).
    pub(super) fn handle_append(
        &mut self,
        from: NodeId,
        prev: Position,
        entries: Vec<Entry>,
        commit: Index,
        round: u64,
    ) {
        self.hear_leader(from, round);
        let unanchored = mutants::on(Mutant::UnanchoredAppend) && prev.index <= self.log.last().index;
        if !self.log.matches(prev) && !unanchored {
            let bound = Position {
                index: prev.index.prev(),
                term: prev.term,
            };
            let hint = self.log.meeting_point(bound);
            let round = self.follower().round;
            return self.send(
                from,
                Body::AppendRejected {
                    prev: prev.index,
                    hint,
                    round,
                },
            );
        }
        let matched = entries.last().map_or(prev.index, |entry| entry.index);
        self.assert_committed_entries_agree(&entries);
        let news = self.log.splice(entries);
        let follower = self.follower();
        follower.matched = follower.matched.max(matched);
        follower.acknowledge |= !news || mutants::on(Mutant::AckBeforeDurable);
        let matched = mutants::either(Mutant::AppendCommitsBeyondMatch, self.log.last().index, matched);
        self.log.commit_to(commit.min(matched));
    }

    /// The leader lives. The commit index that it sends is never beyond what this replica acknowledged to it.
    pub(super) fn handle_heartbeat(&mut self, from: NodeId, commit: Index, round: u64, compact: Index) {
        self.hear_leader(from, round);
        let (matched, round) = (self.follower().matched, self.follower().round);
        self.send(from, Body::HeartbeatResponse { round });
        if commit > matched.max(self.log.commit()) {
            self.ask_for_anchor(from, round);
        }
        let matched = mutants::either(Mutant::HeartbeatCommitsBeyondMatch, self.log.last().index, matched);
        self.log.commit_to(commit.min(matched));
        self.held_by_live = self.held_by_live.max(compact);
    }

    /// A restart or a campaign forgot how far this log is the leader's, and in an idle group no append would ever tell: says that
    /// nothing follows the last entry, so that the leader anchors a new append there.
    fn ask_for_anchor(&mut self, leader: NodeId, round: u64) {
        let hint = self.log.last();
        let prev = hint.index.next();
        self.send(leader, Body::AppendRejected { prev, hint, round });
    }

    /// The leader asks this replica to take over.
    pub(super) fn handle_timeout_now(&mut self, from: NodeId) {
        let follows = matches!(self.role, RoleState::Follower(_)) && self.leader == Some(from);
        if follows && self.membership().has_vote(self.id()) {
            self.start_election(true);
        }
    }

    pub(super) fn hear_leader(&mut self, from: NodeId, round: u64) {
        assert!(
            !matches!(self.role, RoleState::Leader(_)),
            "nodes {} and {from} both lead term {}",
            self.id(),
            self.term()
        );
        assert!(
            self.leader.is_none_or(|leader| leader == from),
            "two nodes lead term {}",
            self.term()
        );
        if !matches!(self.role, RoleState::Follower(_)) {
            self.become_follower(self.term(), Some(from));
        }
        self.leader = Some(from);
        self.elapsed = 0;
        let follower = self.follower();
        follower.round = follower.round.max(round);
    }

    fn assert_committed_entries_agree(&self, entries: &[Entry]) {
        for entry in entries.iter().take_while(|entry| entry.index <= self.log.commit()) {
            let here = self.log.term_at(entry.index);
            assert!(
                here.is_none_or(|term| term == entry.term),
                "entry {} is committed here with term {here:?}, and the leader has it with term {}",
                entry.index,
                entry.term
            );
        }
    }

    /// More is durable: an acknowledgement is due, unless nothing is known to be this leader's yet (the write was an earlier one's).
    pub(super) fn acknowledge(&mut self) {
        let follower = self.follower();
        follower.acknowledge |= follower.matched > Index(0);
    }

    /// Sends the acknowledgement that is due, if one is.
    pub(super) fn send_acknowledgement(&mut self) {
        let durable = mutants::either(Mutant::AckBeforeDurable, self.log.last().index, self.log.durable());
        let follower = self.follower();
        if !std::mem::take(&mut follower.acknowledge) {
            return;
        }
        let (matched, round) = (follower.matched.min(durable), follower.round);
        if let Some(leader) = self.leader {
            self.send(leader, Body::AppendResponse { matched, round });
        }
    }

    /// Up to `matched` this log is known to be the leader's. An acknowledgement is due when that is durable, and not before: one of less
    /// would make the leader offer the same snapshot at once again.
    pub(super) fn match_leader(&mut self, matched: Index) {
        let is_durable = self.log.durable() >= matched;
        let follower = self.follower();
        follower.matched = follower.matched.max(matched);
        follower.acknowledge |= is_durable;
    }

    pub(super) fn follower(&mut self) -> &mut Follower {
        match &mut self.role {
            RoleState::Follower(follower) => follower,
            RoleState::Candidate(_) | RoleState::Leader(_) => unreachable!("only a follower listens to a leader"),
        }
    }
}
