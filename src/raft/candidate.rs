//! Elections: pre-vote, vote, and who deserves one.
//!
//! A pre-vote asks every question that a vote asks and changes nothing (thesis, section 9.6); both go through `Raft::would_vote`, so
//! neither can be weaker than the other. A candidate counts its own vote when that is durable, like any other voter's.

use std::collections::BTreeMap;

use crate::mutants::{self, Mutant};
use crate::raft::message::{Body, Position};
use crate::raft::node::{Raft, RoleState};
use crate::raft::quorum::Tally;
use crate::types::{NodeId, Term};

/// What a candidate remembers of its campaign.
#[derive(Debug)]
pub struct Candidate {
    /// It only asks whether it would be elected.
    pub pre: bool,
    /// Who said what.
    votes: BTreeMap<NodeId, bool>,
}

impl Raft {
    /// No leader was heard for too long: ask whether an election would be won.
    pub(super) fn campaign(&mut self) {
        self.leader = None;
        self.restart_election_timer();
        self.role = RoleState::Candidate(Candidate {
            pre: true,
            votes: BTreeMap::from([(self.id(), true)]),
        });
        let (term, last) = (self.term().next(), self.log.last());
        for peer in self.other_voters() {
            self.send_unbound(peer, term, Body::PreVote { last });
        }
        self.decide();
    }

    /// Asks for votes in a new term (Raft section 5.2).
    pub(super) fn start_election(&mut self, transfer: bool) {
        self.leader = None;
        self.restart_election_timer();
        self.enter_next_term();
        self.role = RoleState::Candidate(Candidate {
            pre: false,
            votes: BTreeMap::new(),
        });
        if mutants::on(Mutant::CandidateBeforeDurable) {
            self.count_vote(self.id(), false, true);
        }
        let last = self.log.last();
        for peer in self.other_voters() {
            self.send(peer, Body::Vote { last, transfer });
        }
    }

    /// A write is durable: if the own vote was in it, it counts.
    pub(super) fn count_own_vote(&mut self) {
        if self.hard_state_is_durable() {
            let id = self.id();
            if let RoleState::Candidate(Candidate { pre: false, votes }) = &mut self.role {
                votes.insert(id, true);
                self.decide();
            }
        }
    }

    /// Somebody asks whether it would get this vote in `term`. An answer promises nothing, and is no sign of a leader.
    pub(super) fn handle_pre_vote(&mut self, from: NodeId, term: Term, last: Position) {
        let granted = self.would_vote(from, term, last, false);
        let answer = if granted { term } else { self.term() };
        self.send_unbound(from, answer, Body::PreVoteResponse { granted });
    }

    /// Somebody asks for this vote in the present term.
    pub(super) fn handle_vote(&mut self, from: NodeId, last: Position, transfer: bool) {
        let granted = self.would_vote(from, self.term(), last, transfer);
        if granted {
            self.hard_state.vote = Some(from);
            self.restart_election_timer();
        }
        if mutants::on(Mutant::VoteBeforeDurable) {
            return self.send_unbound(from, self.term(), Body::VoteResponse { granted });
        }
        self.send(from, Body::VoteResponse { granted });
    }

    /// Whether `candidate`, with a log that ends at `last`, deserves this vote in `term` (Raft sections 5.2, 5.4.1 and 6).
    ///
    /// Whether this replica has a vote is not asked: one that was just promoted may not know it yet, and must vote. Whose votes count is known
    /// to the candidate.
    fn would_vote(&self, candidate: NodeId, term: Term, last: Position, transfer: bool) -> bool {
        if mutants::on(Mutant::LearnerRefusesVotes) && !self.membership().has_vote(self.id()) {
            return false;
        }
        let free = term > self.term()
            || term == self.term()
                && self
                    .hard_state
                    .vote
                    .map_or(self.leader.is_none(), |voted_for| voted_for == candidate);
        let undisturbed = transfer || !self.hears_leader();
        let up_to_date = last >= self.log.last() || mutants::on(Mutant::VoteIgnoresLog);
        let longer = last.index >= self.log.last().index;
        let up_to_date = mutants::either(Mutant::VoteComparesLength, longer, up_to_date);
        free && undisturbed && up_to_date
    }

    /// A voter says what it would do. A late yes to an earlier question does not count.
    pub(super) fn handle_pre_vote_response(&mut self, from: NodeId, term: Term, granted: bool) {
        if !granted || term == self.term().next() {
            self.count_vote(from, true, granted);
        }
    }

    /// A voter answered.
    pub(super) fn handle_vote_response(&mut self, from: NodeId, granted: bool) {
        self.count_vote(from, false, granted);
    }

    fn count_vote(&mut self, from: NodeId, pre: bool, granted: bool) {
        if let RoleState::Candidate(candidate) = &mut self.role
            && candidate.pre == pre
        {
            candidate.votes.entry(from).or_insert(granted);
            self.decide();
        }
    }

    fn decide(&mut self) {
        let RoleState::Candidate(candidate) = &self.role else {
            return;
        };
        match (self.membership().tally(&candidate.votes), candidate.pre) {
            (Tally::Won, true) => self.start_election(false),
            (Tally::Won, false) if self.hard_state_is_durable() || mutants::on(Mutant::CandidateBeforeDurable) => {
                self.become_leader();
            }
            (Tally::Lost, _) => self.become_follower(self.term(), None),
            (Tally::Won | Tally::Open, _) => {}
        }
    }
}
