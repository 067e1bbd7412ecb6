//! The leader: orders entries, replicates them, and says what is committed.
//!
//! It replicates in parallel with its own write, and counts itself only for what is durable on its own disk. It steps down when a
//! majority is silent, or its own disk is, for one election time (check-quorum).

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use bytes::Bytes;

use crate::limits;
use crate::mutants::{self, Mutant};
use crate::raft::log::Log;
use crate::raft::membership::is_membership;
use crate::raft::message::{Body, Position};
use crate::raft::node::{ProposeError, Raft, RoleState};
use crate::raft::progress::{Mode, Progress};
use crate::raft::read::Reads;
use crate::raft::transfer::Transfer;
use crate::types::{Index, NodeId};

/// What a leader remembers.
pub struct Leader {
    /// Every member but itself.
    pub(super) progress: BTreeMap<NodeId, Progress>,
    /// The entry that opened its term; what came before is committed with it.
    pub(super) opening: Index,
    pub(super) reads: Reads,
    pub(super) transfer: Option<Transfer>,
    heartbeat_elapsed: u32,
    quorum_elapsed: u32,
    /// The last index and the bytes of each own entry that is not committed yet.
    uncommitted: VecDeque<(Index, usize)>,
    uncommitted_bytes: usize,
}

impl Raft {
    /// Won: open the term with a no-op, through which all earlier entries commit (Raft section 5.4.2).
    pub(super) fn become_leader(&mut self) {
        assert_eq!(self.hard_state.vote, Some(self.id()), "a leader has its own vote");
        let durable = self.hard_state_is_durable() || mutants::on(Mutant::CandidateBeforeDurable);
        assert!(durable, "a leader's own vote is durable");
        self.leader = Some(self.id());
        let opening = self.log.append(self.term(), Bytes::new());
        self.role = RoleState::Leader(Leader {
            progress: BTreeMap::new(),
            opening,
            reads: Reads::default(),
            transfer: None,
            heartbeat_elapsed: 0,
            quorum_elapsed: 0,
            uncommitted: VecDeque::new(),
            uncommitted_bytes: 0,
        });
        self.follow_members(opening);
    }

    /// Keeps a progress for every other member, and no one else. Who is new is probed from `next`.
    pub(super) fn follow_members(&mut self, next: Index) {
        let (id, membership) = (self.id(), Arc::clone(self.membership()));
        let Some((leader, _)) = self.leader_and_log() else {
            return;
        };
        let members = membership.members();
        leader.progress.retain(|node, _| members.contains_key(node));
        for node in members.keys().filter(|node| **node != id) {
            leader.progress.entry(*node).or_insert_with(|| Progress::new(next));
        }
    }

    /// Whether this replica leads and has applied the entry that opened its term: before that, it knows too little to serve.
    #[must_use]
    pub fn may_serve(&self) -> bool {
        matches!(&self.role, RoleState::Leader(leader) if leader.opening <= self.log.applied())
    }

    pub(super) fn propose_as_leader(&mut self, payloads: Vec<Bytes>) -> Result<Index, ProposeError> {
        let (term, first) = (self.term(), self.log.last().index.next());
        let (leader, log) = self.leader_and_log().ok_or(ProposeError::NotLeader)?;
        if leader.transfer.is_some() {
            return Err(ProposeError::HandingOver);
        }
        if leader.uncommitted_bytes >= limits::UNCOMMITTED_BYTES_MAX {
            return Err(ProposeError::Overloaded);
        }
        for payload in payloads {
            assert!(
                payload.len() <= limits::ENTRY_BYTES_MAX,
                "a payload of {} bytes is over the limit",
                payload.len()
            );
            assert!(
                !is_membership(&payload),
                "a payload that begins with a zero byte is Raft's own"
            );
            let bytes = payload.len();
            let index = log.append(term, payload);
            leader.uncommitted.push_back((index, bytes));
            leader.uncommitted_bytes += bytes;
        }
        Ok(first)
    }

    pub(super) fn tick_leader(&mut self) {
        let (heartbeat_ticks, election_ticks) = (self.config.heartbeat_ticks, self.config.election_ticks);
        let Some((leader, _)) = self.leader_and_log() else {
            return;
        };
        leader.heartbeat_elapsed += 1;
        leader.quorum_elapsed += 1;
        leader.progress.values_mut().for_each(Progress::tick);
        let heartbeat = leader.heartbeat_elapsed >= heartbeat_ticks;
        let check = leader.quorum_elapsed >= election_ticks;
        if heartbeat {
            leader.heartbeat_elapsed = 0;
        }
        if check {
            leader.quorum_elapsed = 0;
        }
        if self.disk_silent >= election_ticks || check && !self.quorum_is_active() {
            return self.become_follower(self.term(), None);
        }
        self.tick_transfer();
        if heartbeat {
            self.send_heartbeats();
        }
    }

    /// Whether a majority was heard since this was last asked.
    fn quorum_is_active(&mut self) -> bool {
        let id = self.id();
        let membership = Arc::clone(self.membership());
        let Some((leader, _)) = self.leader_and_log() else {
            return false;
        };
        let active = membership.reached(|node| node == id || leader.progress[&node].active);
        leader
            .progress
            .values_mut()
            .for_each(|progress| progress.active = false);
        active
    }

    pub(super) fn send_heartbeats(&mut self) {
        self.note_held_by_live();
        let (commit, compact) = (self.log.commit(), self.held_by_live);
        let Some((leader, _)) = self.leader_and_log() else {
            return;
        };
        let round = leader.reads.round();
        let bound = |matched| mutants::either(Mutant::HeartbeatCommitsBeyondMatch, commit, commit.min(matched));
        let of = |(peer, progress): (&NodeId, &Progress)| (*peer, bound(progress.matched()));
        for (peer, commit) in leader.progress.iter().map(of).collect::<Vec<_>>() {
            self.send(peer, Body::Heartbeat { commit, round, compact });
        }
    }

    /// Sends every follower what it may be sent.
    pub(super) fn replicate(&mut self) {
        let confirm_reads = self.begin_read_round();
        for peer in self.followers() {
            let mut sent = false;
            while self.send_append(peer, false) {
                sent = true;
            }
            if confirm_reads && !sent {
                self.send_append(peer, true);
            }
        }
    }

    /// Sends one append, an empty one if `even_empty`. Says whether one went out that may be followed by another.
    fn send_append(&mut self, peer: NodeId, even_empty: bool) -> bool {
        let Some((leader, log)) = self.leader_and_log() else {
            return false;
        };
        let progress = leader.progress.get_mut(&peer).expect("every peer has a progress");
        let may_send = progress.may_send(log.last().index);
        // An entry below the base is gone: only a snapshot helps this follower.
        let Some(prev) = log.position(progress.next().prev()) else {
            // Also one whose pipeline is full: all that is in flight may be lost, and nothing here would tell.
            if may_send || progress.mode() == Mode::Replicate {
                progress.lacks_compacted();
                self.behind.push(peer);
            }
            return false;
        };
        if !may_send && !even_empty {
            return false;
        }
        let entries = if may_send {
            log.entries(prev.index.next(), limits::APPEND_BYTES_MAX)
        } else {
            Vec::new()
        };
        let bytes = entries.iter().map(|entry| entry.payload.len()).sum();
        let last = entries.last().map_or(prev.index, |entry| entry.index);
        if may_send {
            progress.sent(last, bytes);
        }
        let more = progress.mode() == Mode::Replicate && last > prev.index;
        let (commit, round) = (log.commit(), leader.reads.round());
        self.send(
            peer,
            Body::Append {
                prev,
                entries,
                commit,
                round,
            },
        );
        more
    }

    /// A follower has everything up to `matched`, durably.
    pub(super) fn handle_append_response(&mut self, from: NodeId, matched: Index, round: u64) {
        let last = self.log.last().index;
        // A leader that restarted in its term leads no more, and hears of entries that it lost.
        let Some(progress) = self.heard_follower(from, round) else {
            return;
        };
        assert!(
            matched <= last,
            "node {from} acknowledges entry {matched}, and the leader's log ends at {last}"
        );
        if progress.accepted(matched) {
            self.advance_commit();
            self.continue_transfer(from);
        }
    }

    /// A follower lacks the entry that an append was anchored at.
    pub(super) fn handle_append_rejected(&mut self, from: NodeId, prev: Index, hint: Position, round: u64) {
        let meeting = self.log.meeting_point(hint).index;
        if let Some(progress) = self.heard_follower(from, round) {
            progress.rejected(prev, meeting);
            if mutants::on(Mutant::AckFromRejection) && progress.accepted(meeting) {
                self.advance_commit();
            }
        }
    }

    /// A follower lives.
    pub(super) fn handle_heartbeat_response(&mut self, from: NodeId, round: u64) {
        let Some(progress) = self.heard_follower(from, round) else {
            return;
        };
        if progress.answered_heartbeat() {
            self.send_append(from, true);
        }
    }

    /// Any answer of this term proves that its sender still follows.
    fn heard_follower(&mut self, from: NodeId, round: u64) -> Option<&mut Progress> {
        let (leader, _) = self.leader_and_log()?;
        let progress = leader.progress.get_mut(&from)?;
        progress.active = true;
        progress.silent_ticks = 0;
        progress.round = progress.round.max(round);
        self.confirm_reads();
        let (leader, _) = self.leader_and_log()?;
        leader.progress.get_mut(&from)
    }

    /// Commits what a majority holds durably, if it is of this term (Raft section 5.4.2, figure 8).
    pub(super) fn advance_commit(&mut self) {
        let (id, term, membership) = (self.id(), self.term(), Arc::clone(self.membership()));
        let Some((leader, log)) = self.leader_and_log() else {
            return;
        };
        let matched = |node| {
            if node == id {
                mutants::either(Mutant::LeaderCountsItselfEarly, log.last().index, log.durable())
            } else {
                leader.progress[&node].matched()
            }
        };
        let held_by_majority = membership.reached(matched);
        let own = log.term_at(held_by_majority) == Some(term) || mutants::on(Mutant::CommitsEarlierTerm);
        if own && log.commit_to(held_by_majority) {
            while let Some((_, bytes)) = leader.uncommitted.pop_front_if(|(index, _)| *index <= held_by_majority) {
                leader.uncommitted_bytes -= bytes;
            }
        }
        self.confirm_reads();
        self.finish_change();
    }

    /// What every follower that was heard within two election times holds durably may be compacted by all. Who is silent for longer gets a
    /// snapshot when it returns.
    fn note_held_by_live(&mut self) {
        let patience = 2 * self.config.election_ticks;
        let own = self.log.durable().min(self.log.commit());
        let Some((leader, _)) = self.leader_and_log() else {
            return;
        };
        let live = leader
            .progress
            .values()
            .filter(|progress| progress.silent_ticks <= patience);
        let held = live.map(Progress::matched).min().map_or(own, |least| least.min(own));
        self.held_by_live = self.held_by_live.max(held);
    }

    /// Every other member.
    pub(super) fn followers(&self) -> Vec<NodeId> {
        match &self.role {
            RoleState::Leader(leader) => leader.progress.keys().copied().collect(),
            RoleState::Follower(_) | RoleState::Candidate(_) => Vec::new(),
        }
    }

    pub(super) fn leader_and_log(&mut self) -> Option<(&mut Leader, &mut Log)> {
        match &mut self.role {
            RoleState::Leader(leader) => Some((leader, &mut self.log)),
            RoleState::Follower(_) | RoleState::Candidate(_) => None,
        }
    }
}
