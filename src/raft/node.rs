//! One replica: the state that all roles share, the entrances, and the exit.
//!
//! Events come in through the public methods, one at a time; [`Raft::ready`] then says what to do. What a role does with an event is in
//! the file of that role; here is only what must hold for all of them: terms, the hard state and when it is durable, the log.

use std::sync::Arc;

use bytes::Bytes;
use rand::RngExt;
use rand::rngs::StdRng;

use crate::mutants::{self, Mutant};
use crate::raft::candidate::Candidate;
use crate::raft::follower::Follower;
use crate::raft::leader::Leader;
use crate::raft::log::{DurableLog, EntryReader, Log};
use crate::raft::membership::Membership;
use crate::raft::message::{Body, HardState, Message, Position};
use crate::raft::ready::{Persist, ReadState, Ready, Role, RoleChange};
use crate::types::{Index, NodeId, PersistId, Term};

/// What a replica is told once.
#[derive(Clone, Debug)]
pub struct Config {
    /// This replica's node.
    pub id: NodeId,
    /// A leader sends heartbeats every so many ticks.
    pub heartbeat_ticks: u32,
    /// A follower campaigns after this many ticks without a leader, and at most twice as many (drawn anew each time).
    pub election_ticks: u32,
}

/// Why a proposal was refused; definite, nothing was appended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProposeError {
    /// Another replica leads, or none.
    #[error("this replica does not lead")]
    NotLeader,
    /// Leadership is being handed over.
    #[error("leadership is being handed over")]
    HandingOver,
    /// Too many bytes wait to be committed.
    #[error("too many bytes wait to be committed")]
    Overloaded,
}

/// What a role remembers.
pub(super) enum RoleState {
    Follower(Follower),
    /// Before and during an election.
    Candidate(Candidate),
    Leader(Leader),
}

/// One replica of a partition.
///
/// - Term and vote only leave this node once they are durable.
/// - It acts as leader of a term at most while it is the only one.
pub struct Raft {
    pub(super) config: Config,
    pub(super) rng: StdRng,
    pub(super) hard_state: HardState,
    /// The hard state that was last handed out to be written, and in which write.
    hard_state_written: (PersistId, HardState),
    last_persisted: PersistId,
    last_write: PersistId,
    pub(super) log: Log,
    pub(super) role: RoleState,
    pub(super) leader: Option<NodeId>,
    /// Ticks since the leader was heard, a vote was given, or a campaign began.
    pub(super) elapsed: u32,
    pub(super) timeout: u32,
    /// Ticks since a write was completed while one was under way.
    pub(super) disk_silent: u32,
    /// Messages that may leave when the hard state is durable.
    held: Vec<Message>,
    out: Vec<Message>,
    told: Option<RoleChange>,
    pub(super) reads_confirmed: Vec<ReadState>,
    pub(super) reads_failed: Vec<u64>,
    /// Every replica that the leader hears holds everything up to here durably, as far as this one knows.
    pub(super) held_by_live: Index,
    pub(super) behind: Vec<NodeId>,
    pub(super) offered: Option<(NodeId, Position)>,
}

impl Raft {
    /// A replica as it was found on disk, with everything up to `applied` in its state machine, and `membership` in force there.
    ///
    /// # Panics
    /// When log and state are not of one node.
    #[must_use]
    pub fn new(
        config: Config,
        hard_state: HardState,
        log: DurableLog,
        applied: Index,
        membership: Membership,
        reader: Box<dyn EntryReader>,
        rng: StdRng,
    ) -> Self {
        assert!(
            config.heartbeat_ticks > 0 && config.heartbeat_ticks < config.election_ticks,
            "heartbeats come first"
        );
        assert!(
            log.last.term <= hard_state.term,
            "the log has an entry of a term that this replica never knew"
        );
        let mut raft = Self {
            config,
            rng,
            hard_state,
            hard_state_written: (PersistId(0), hard_state),
            last_persisted: PersistId(0),
            last_write: PersistId(0),
            log: Log::new(log, applied, Arc::new(membership), reader),
            role: RoleState::Follower(Follower::default()),
            leader: None,
            elapsed: 0,
            timeout: 0,
            disk_silent: 0,
            held: Vec::new(),
            out: Vec::new(),
            told: None,
            reads_confirmed: Vec::new(),
            reads_failed: Vec::new(),
            held_by_live: Index(0),
            behind: Vec::new(),
            offered: None,
        };
        raft.restart_election_timer();
        if raft.membership().is_alone(raft.id()) {
            raft.timeout = 1;
        }
        raft
    }

    /// This replica's node.
    #[must_use]
    pub const fn id(&self) -> NodeId {
        self.config.id
    }

    /// The term.
    #[must_use]
    pub const fn term(&self) -> Term {
        self.hard_state.term
    }

    /// The leader of this term, when known.
    #[must_use]
    pub const fn leader(&self) -> Option<NodeId> {
        self.leader
    }

    /// Ticks without a leader after which this replica campaigns; drawn anew whenever it begins to wait.
    #[must_use]
    pub const fn election_timeout_ticks(&self) -> u32 {
        self.timeout
    }

    /// The log, to look at.
    #[must_use]
    pub const fn log(&self) -> &Log {
        &self.log
    }

    /// The role.
    #[must_use]
    pub const fn role(&self) -> Role {
        match &self.role {
            RoleState::Follower(_) => Role::Follower,
            RoleState::Candidate(candidate) if candidate.pre => Role::PreCandidate,
            RoleState::Candidate(_) => Role::Candidate,
            RoleState::Leader(_) => Role::Leader,
        }
    }

    /// The membership in force: that of the newest entry that names one, committed or not.
    #[must_use]
    pub fn membership(&self) -> &Arc<Membership> {
        self.log.memberships().newest()
    }

    /// Every replica that the leader hears holds everything up to here durably: below it the log may be compacted.
    #[must_use]
    pub const fn held_by_live(&self) -> Index {
        self.held_by_live
    }

    /// Forgets the entries up to `through`, which must be applied and in a durable snapshot, and returns the last one's position.
    pub fn compact(&mut self, through: Index) -> Position {
        self.log.compact(through)
    }

    /// One tick of time.
    pub fn tick(&mut self) {
        let before = self.snapshot();
        self.disk_silent = if self.log.is_writing() {
            self.disk_silent.saturating_add(1)
        } else {
            0
        };
        match self.role {
            RoleState::Leader(_) => self.tick_leader(),
            RoleState::Follower(_) | RoleState::Candidate(_) => {
                self.elapsed += 1;
                if self.elapsed >= self.timeout {
                    self.time_out();
                }
            }
        }
        self.check(&before);
    }

    /// A message of a peer.
    pub fn step(&mut self, message: Message) {
        let before = self.snapshot();
        // Whoever sends: a replica may not know yet that the sender belongs here, or that itself does. Whose vote counts is decided by the
        // membership of whoever counts.
        if message.to == self.id() && message.from != self.id() {
            self.step_from_peer(message);
        }
        self.check(&before);
    }

    fn step_from_peer(&mut self, message: Message) {
        if message.term > self.term() {
            match message.body {
                // Asking, and being told yes, changes nobody's term.
                Body::PreVote { .. } | Body::PreVoteResponse { granted: true } => {}
                // Somebody who lost touch wants votes while the leader lives: it may not disturb.
                Body::Vote { transfer: false, .. } if self.hears_leader() => return,
                Body::Append { .. } | Body::Heartbeat { .. } | Body::Snapshot { .. } => {
                    self.become_follower(message.term, Some(message.from));
                }
                _ => self.become_follower(message.term, None),
            }
        } else if message.term < self.term() {
            return self.answer_stale(&message);
        }
        self.dispatch(message);
    }

    fn dispatch(&mut self, message: Message) {
        let Message { from, term, body, .. } = message;
        match body {
            Body::PreVote { last } => self.handle_pre_vote(from, term, last),
            Body::Vote { last, transfer } => self.handle_vote(from, last, transfer),
            Body::PreVoteResponse { granted } => self.handle_pre_vote_response(from, term, granted),
            Body::VoteResponse { granted } => self.handle_vote_response(from, granted),
            Body::Append {
                prev,
                entries,
                commit,
                round,
            } => self.handle_append(from, prev, entries, commit, round),
            Body::Heartbeat { commit, round, compact } => self.handle_heartbeat(from, commit, round, compact),
            Body::AppendResponse { matched, round } => self.handle_append_response(from, matched, round),
            Body::AppendRejected { prev, hint, round } => self.handle_append_rejected(from, prev, hint, round),
            Body::HeartbeatResponse { round } => self.handle_heartbeat_response(from, round),
            Body::TimeoutNow { .. } => self.handle_timeout_now(from),
            Body::Snapshot { at } => self.handle_snapshot(from, at),
            // The shell's own.
            Body::SnapshotRequest { .. } | Body::SnapshotRows(_) => {}
        }
    }

    /// Tells a sender of an old term which term it is, so that a deposed leader steps down and a lone candidate catches up.
    fn answer_stale(&mut self, message: &Message) {
        let body = match message.body {
            Body::PreVote { .. } => Body::PreVoteResponse { granted: false },
            Body::Vote { .. } => Body::VoteResponse { granted: false },
            Body::Append { .. } | Body::Heartbeat { .. } | Body::Snapshot { .. } => {
                Body::HeartbeatResponse { round: 0 }
            }
            _ => return,
        };
        self.send(message.from, body);
    }

    /// Write `id`, and every one before it, is durable.
    pub fn persisted(&mut self, id: PersistId) {
        let before = self.snapshot();
        assert!(id <= self.last_write, "write {id} was never asked for");
        self.last_persisted = self.last_persisted.max(id);
        self.disk_silent = 0;
        let moved = self.log.persisted(id);
        if self.hard_state_is_durable() {
            self.out.append(&mut self.held);
        }
        match self.role {
            RoleState::Follower(_) if moved => self.acknowledge(),
            RoleState::Follower(_) => {}
            RoleState::Candidate(_) => self.count_own_vote(),
            RoleState::Leader(_) => self.advance_commit(),
        }
        self.check(&before);
    }

    /// Appends payloads, one entry each, and returns the index of the first.
    ///
    /// # Errors
    /// [`ProposeError`]; nothing was appended then.
    pub fn propose(&mut self, payloads: Vec<Bytes>) -> Result<Index, ProposeError> {
        let before = self.snapshot();
        let result = self.propose_as_leader(payloads);
        self.check(&before);
        result
    }

    /// What is to be done now. Empty when nothing is.
    #[must_use]
    pub fn ready(&mut self) -> Ready {
        let before = self.snapshot();
        self.fill_role_messages();
        let persist = self.take_persist();
        let apply = self.log.take_unapplied();
        let role_change = self.take_role_change();
        self.check(&before);
        Ready {
            persist,
            send: std::mem::take(&mut self.out),
            apply,
            role_change,
            reads_confirmed: std::mem::take(&mut self.reads_confirmed),
            reads_failed: std::mem::take(&mut self.reads_failed),
            behind: std::mem::take(&mut self.behind),
            offered: self.offered.take(),
        }
    }

    fn fill_role_messages(&mut self) {
        match self.role {
            RoleState::Follower(_) => self.send_acknowledgement(),
            RoleState::Candidate(_) => {}
            RoleState::Leader(_) => self.replicate(),
        }
    }

    fn take_persist(&mut self) -> Option<Persist> {
        let hard_state = (self.hard_state_written.1 != self.hard_state).then_some(self.hard_state);
        if hard_state.is_none() && !self.log.has_unwritten() {
            return None;
        }
        let id = PersistId(self.last_write.0 + 1);
        self.last_write = id;
        if let Some(hard_state) = hard_state {
            self.hard_state_written = (id, hard_state);
        }
        Some(Persist {
            id,
            hard_state,
            reset: self.log.take_reset(),
            entries: self.log.take_unwritten(id),
        })
    }

    fn take_role_change(&mut self) -> Option<RoleChange> {
        let now = RoleChange {
            role: self.role(),
            term: self.term(),
            leader: self.leader,
        };
        (self.told.replace(now) != Some(now)).then_some(now)
    }

    /// Whether the present term and vote are on disk.
    #[must_use]
    pub fn hard_state_is_durable(&self) -> bool {
        self.hard_state_written.1 == self.hard_state && self.hard_state_written.0 <= self.last_persisted
    }

    /// Sends `body` in the present term, as soon as that term is durable.
    pub(super) fn send(&mut self, to: NodeId, body: Body) {
        let message = Message {
            from: self.id(),
            to,
            term: self.term(),
            body,
        };
        let early = mutants::on(Mutant::CandidateBeforeDurable) && self.hard_state.vote == Some(self.id());
        if self.hard_state_is_durable() || early {
            self.out.push(message);
        } else {
            self.held.push(message);
        }
    }

    /// Sends a message that promises nothing: a pre-vote, or the answer to one.
    pub(super) fn send_unbound(&mut self, to: NodeId, term: Term, body: Body) {
        self.out.push(Message {
            from: self.id(),
            to,
            term,
            body,
        });
    }

    /// The other voters, new and old.
    pub(super) fn other_voters(&self) -> Vec<NodeId> {
        self.membership().voters().filter(|node| *node != self.id()).collect()
    }

    /// Follows `leader`, or nobody yet, in `term`. A vote given in the same term stays given.
    pub(super) fn become_follower(&mut self, term: Term, leader: Option<NodeId>) {
        assert!(term >= self.term(), "the term never goes back");
        self.fail_reads();
        if term > self.term() {
            self.hard_state = HardState { term, vote: None };
            self.held.clear();
        }
        if mutants::on(Mutant::StepDownClearsVote) {
            self.hard_state.vote = None;
        }
        self.role = RoleState::Follower(Follower::default());
        self.leader = leader;
        self.restart_election_timer();
    }

    /// Takes the next term and votes for itself in it.
    pub(super) fn enter_next_term(&mut self) {
        self.hard_state = HardState {
            term: self.term().next(),
            vote: Some(self.id()),
        };
        self.held.clear();
    }

    /// No leader was heard for too long. Who has no vote waits on; but one whose removal is not applied yet may be the only one left whose log
    /// wins, and must campaign, though its own vote counts no more (thesis section 4.2.2).
    fn time_out(&mut self) {
        let memberships = self.log.memberships();
        if memberships.newest().has_vote(self.id()) || memberships.applied().has_vote(self.id()) {
            self.campaign();
        } else {
            self.leader = None;
            self.restart_election_timer();
        }
    }

    /// Waits for between one and two election times before the next campaign; for twice as long when others are preferred as leaders.
    pub(super) fn restart_election_timer(&mut self) {
        let patience = if self.is_preferred() { 1 } else { 2 };
        let shortest = patience * self.config.election_ticks;
        self.elapsed = 0;
        self.timeout = self.rng.random_range(shortest..2 * shortest);
    }

    /// Whether a leader was heard within the shortest election time: then nobody needs another one.
    pub(super) fn hears_leader(&self) -> bool {
        match self.role {
            RoleState::Leader(_) => true,
            _ => self.leader.is_some() && self.elapsed < self.config.election_ticks,
        }
    }
}
