//! The partition's decisions: Raft, the state machine and the callers that wait, joined in one plain struct.
//!
//! Events go in one at a time; [`Core::flush`] then says everything that is to be done for all of them. It does no I/O and is told the time.

mod keeping;
mod members;
mod serving;

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::Bytes;

use self::keeping::Checkpoints;
use self::members::Balance;
pub use self::members::Members;
use crate::config::Keeping;
use crate::hlc::Hlc;
use crate::machine::{Row, StateMachine};
use crate::mutants::{self, Mutant};
use crate::partition::event::{Event, Reply};
use crate::partition::log_clock::{LogClock, Now};
use crate::partition::observer::Applied;
use crate::partition::pending::{Pending, Question};
use crate::partition::snapshots::{self, Snapshots, Step};
use crate::raft::{Body, Entry, FollowerStatus, Message, Persist, Position, Raft, Ready, Role, is_membership};
use crate::status::PartitionStatus;
use crate::storage::StateMark;
use crate::types::{Index, LogTime, NodeId, PartitionId};
use crate::wire::batch::{self, Batch};

/// What is to be done for a batch of events.
#[derive(Default)]
pub struct Effects {
    /// Writes to the log, in order.
    pub persist: Vec<Persist>,
    /// Messages to peers.
    pub send: Vec<Message>,
    /// Rows to be saved.
    pub save: Option<(StateMark, Vec<Row>)>,
    /// The log may be let go of up to here.
    pub compact: Option<Position>,
    /// What is to be done for snapshots, in order.
    pub snapshots: Vec<Step>,
    /// The snapshot that was received becomes the durable state.
    pub install: Option<StateMark>,
    /// The memberships that count, when they are others than before.
    pub members: Option<Members>,
    /// The latest hybrid time of an entry that was made here, for the node's clock to go on from.
    pub stamped: Option<Hlc>,
    /// What was applied, if anybody watches.
    pub applied: Vec<Applied>,
    /// The entries with commands that were applied, if anybody listens.
    pub entries: Vec<AppliedEntry>,
    /// The state came with a snapshot, up to here.
    pub installed: Option<Index>,
    /// The role, term or leader changed.
    pub role_changed: bool,
    /// An entry that this version cannot read: the node must stop before it diverges.
    pub unreadable: Option<String>,
}

/// An entry with commands that was applied.
pub struct AppliedEntry {
    /// Which.
    pub position: Position,
    /// Log time of its commands.
    pub log_time: LogTime,
    /// When its leader made it.
    pub hlc: Option<Hlc>,
    /// Its commands.
    pub commands: Arc<[Bytes]>,
}

/// One partition of one node.
///
/// - Log time of what is applied never goes back.
/// - `saved.applied <= applied`: rows never run ahead of the log.
pub struct Core {
    partition: PartitionId,
    raft: Raft,
    machine: Box<dyn StateMachine>,
    pending: Pending,
    /// What was asked since the last flush.
    commands: VecDeque<(Bytes, Reply)>,
    questions: Vec<Question>,
    /// Runs while this replica serves.
    clock: Option<LogClock>,
    applied: Position,
    log_time: LogTime,
    /// Of the last applied entry that has one. For people: nothing is decided by it.
    hlc: Option<Hlc>,
    saved: StateMark,
    keeping: Keeping,
    saving: bool,
    ticks_since_save: u32,
    checkpoints: Checkpoints,
    snapshots: Snapshots,
    /// A snapshot was installed since the last flush.
    installed_now: bool,
    balance: Balance,
    members_told: Option<Members>,
    /// As of the last tick.
    followers: Arc<[FollowerStatus]>,
    hand_over: Option<Box<dyn FnOnce() + Send>>,
    watched: bool,
    heard: bool,
}

impl Core {
    /// A partition whose machine was restored up to `mark`.
    #[must_use]
    pub fn new(partition: PartitionId, raft: Raft, mut machine: Box<dyn StateMachine>, mark: StateMark) -> Self {
        machine.advance(mark.log_time);
        Self {
            partition,
            raft,
            machine,
            pending: Pending::default(),
            commands: VecDeque::new(),
            questions: Vec::new(),
            clock: None,
            applied: mark.applied,
            log_time: mark.log_time,
            hlc: mark.hlc,
            saved: mark,
            keeping: Keeping::default(),
            saving: false,
            ticks_since_save: 0,
            checkpoints: Checkpoints::default(),
            snapshots: Snapshots::default(),
            installed_now: false,
            balance: Balance::default(),
            members_told: None,
            followers: Arc::new([]),
            hand_over: None,
            watched: false,
            heard: false,
        }
    }

    /// Keeps and saves so much from now on, and not the default.
    #[must_use]
    pub const fn with_keeping(mut self, keeping: Keeping) -> Self {
        self.keeping = keeping;
        self
    }

    /// From now on the effects tell what was applied.
    pub const fn watch(&mut self) {
        self.watched = true;
    }

    /// Whether the effects tell which commands were applied, from now on.
    pub const fn be_heard(&mut self, heard: bool) {
        self.heard = heard;
    }

    /// Who leads, as far as this replica knows. It does not name itself before it serves.
    #[must_use]
    pub fn leader(&self) -> Option<NodeId> {
        let leader = self.raft.leader();
        leader.filter(|leader| *leader != self.raft.id() || self.raft.may_serve())
    }

    /// What people may know of it.
    #[must_use]
    pub fn status(&self) -> PartitionStatus {
        PartitionStatus {
            partition: self.partition,
            role: self.raft.role(),
            term: self.raft.term(),
            leader: self.raft.leader(),
            last: self.raft.log().last().index,
            commit: self.raft.log().commit(),
            applied: self.applied.index,
            durable: self.raft.log().durable(),
            base: self.raft.log().base().index,
            membership: Arc::clone(self.raft.membership()),
            followers: Arc::clone(&self.followers),
            applied_at: self.hlc,
        }
    }

    /// A hash of the replicated state.
    #[must_use]
    pub fn digest(&self) -> u64 {
        self.machine.digest()
    }

    /// Takes one event. What follows from it comes out of the next flush.
    pub fn handle(&mut self, event: Event) {
        match event {
            // Nothing may happen to a state that is about to go. Peers send again, and ticks come again.
            Event::Tick | Event::Message(_) if self.snapshots.is_installing() => {}
            Event::Tick => self.tick(),
            Event::Message(message) => self.step(message),
            Event::Persisted(id) => self.raft.persisted(id),
            Event::StateSaved(mark) => self.state_saved(mark),
            Event::Propose { command, reply } => self.commands.push_back((command, reply)),
            Event::Query { query, reply } => self.questions.push((Some(query), reply)),
            Event::Confirm(reply) => self.questions.push((None, reply)),
            Event::SnapshotOpened(at) => self.snapshots.opened(at, &mut self.raft),
            Event::SnapshotRead { to, rows } => self.snapshots.read(to, rows),
            Event::SnapshotStaged { at, after, finished } => self.snapshots.staged(at, after, finished),
            Event::SnapshotDropped(at) => self.snapshots.dropped(at),
            Event::SnapshotInstalled => self.finish_install(),
            Event::ChangeMember { change, reply } => self.change_member(&change, reply),
            Event::TransferLeader { to, reply } => self.transfer_leader(to, reply),
            Event::Checkpoint(reply) => self.begin_checkpoint(reply),
            Event::HandOver(done) => self.begin_hand_over(done),
            Event::Stop => {}
        }
    }

    fn tick(&mut self) {
        self.ticks_since_save = self.ticks_since_save.saturating_add(1);
        self.raft.tick();
        self.snapshots.tick();
        self.balance();
        self.followers = self.raft.follower_statuses().into();
    }

    /// A peer's message: Raft's, or rows of a snapshot, which are none of its business.
    fn step(&mut self, message: Message) {
        match message.body {
            Body::SnapshotRequest { at, after } => self.snapshots.requested(message.from, at, after),
            Body::SnapshotRows(rows) => self.snapshots.arrived(*rows),
            Body::TimeoutNow { stays: true } => {
                self.note_asked(message.term);
                self.raft.step(message);
            }
            _ => self.raft.step(message),
        }
    }

    fn begin_hand_over(&mut self, done: Box<dyn FnOnce() + Send>) {
        let successor = self.raft.transfer_leader();
        self.hand_over = Some(done);
        if successor.is_none() {
            self.end_hand_over();
        }
    }

    fn end_hand_over(&mut self) {
        if let Some(done) = self.hand_over.take() {
            done();
        }
    }

    /// Everything that is to be done for the events since the last flush, at the time `now`.
    pub fn flush(&mut self, now: Now) -> Effects {
        let now = mutants::either(Mutant::LogTimeOfWall, now.as_by_wall(), now);
        let mut effects = Effects::default();
        self.propose_commands(now);
        self.begin_reads();
        self.drain_raft(now, &mut effects);
        if self.bring_time_forward(now) {
            self.drain_raft(now, &mut effects);
        }
        self.answer_reads(now);
        if !self.snapshots.is_installing() {
            self.save_state(&mut effects);
            self.compact(&mut effects);
            self.begin_install(&mut effects);
        }
        self.carry_snapshots(&mut effects);
        effects.members = self.members_to_tell();
        effects.stamped = self.clock.and_then(|clock| clock.stamped());
        effects
    }

    fn carry_snapshots(&mut self, effects: &mut Effects) {
        if std::mem::take(&mut self.installed_now) {
            effects.installed = Some(self.applied.index);
            effects
                .applied
                .extend(self.watched.then(|| self.applied_now(self.hlc, true)));
        }
        effects.snapshots.append(&mut self.snapshots.steps);
        let raft = &self.raft;
        let messages = self.snapshots.send.drain(..);
        effects
            .send
            .extend(messages.map(|(to, body)| snapshots::message(raft, to, body)));
    }

    fn drain_raft(&mut self, now: Now, effects: &mut Effects) {
        loop {
            let ready = self.raft.ready();
            if ready.is_empty() {
                return;
            }
            self.take_ready(ready, now, effects);
        }
    }

    fn take_ready(&mut self, ready: Ready, now: Now, effects: &mut Effects) {
        let Ready {
            persist,
            mut send,
            apply,
            role_change,
            reads_confirmed,
            reads_failed,
            behind,
            offered,
        } = ready;
        effects.persist.extend(persist);
        effects.send.append(&mut send);
        self.snapshots.offer(behind, &mut self.raft);
        if let Some((from, at)) = offered {
            self.snapshots.offered(from, at);
        }
        if role_change.is_some() {
            effects.role_changed = true;
            self.change_role();
        }
        for entry in apply {
            let hlc = self.apply(&entry, &mut effects.entries).unwrap_or_else(|reason| {
                effects.unreadable = Some(reason);
                None
            });
            effects
                .applied
                .extend(self.watched.then(|| self.applied_now(hlc, false)));
        }
        if self.clock.is_none() && self.raft.may_serve() {
            let from = mutants::either(Mutant::LogTimeRestarts, LogTime(0), self.log_time);
            let from = mutants::either(
                Mutant::LogTimeOfNode,
                from.max(LogTime(now.monotonic.as_secs() * 1000)),
                from,
            );
            self.clock = Some(LogClock::start(from, self.hlc, now.monotonic));
        }
        reads_confirmed.into_iter().for_each(|read| self.pending.confirm(read));
        let refusal = self.not_leader();
        reads_failed
            .into_iter()
            .for_each(|context| self.pending.fail_read(context, refusal));
    }

    fn change_role(&mut self) {
        self.clock = None;
        self.restart_balance();
        if !mutants::on(Mutant::CallersKept) {
            self.pending.lose_leadership();
        }
        if self.raft.role() != Role::Leader {
            self.end_hand_over();
        }
    }

    /// Applies the next entry. Says its hybrid time, if it has one.
    fn apply(&mut self, entry: &Entry, entries: &mut Vec<AppliedEntry>) -> Result<Option<Hlc>, String> {
        assert_eq!(
            entry.index,
            self.applied.index.next(),
            "entries are applied in order, each once"
        );
        let callers = self.pending.take_entry(entry.index);
        self.applied = Position {
            term: entry.term,
            index: entry.index,
        };
        if entry.payload.is_empty() || is_membership(&entry.payload) {
            return Ok(None);
        }
        let batch = batch::decode_batch(&entry.payload).map_err(|error| {
            format!(
                "entry {} of partition {} cannot be read: {error}",
                entry.index, self.partition
            )
        })?;
        self.log_time = self.log_time.max(batch.log_time);
        self.hlc = self.hlc.max(batch.hlc);
        self.machine.advance(self.log_time);
        if self.heard && !batch.commands.is_empty() {
            entries.push(self.tell(entry, &batch));
        }
        let mut callers = callers.into_iter();
        for command in batch.commands {
            let outcome = self.machine.apply(self.log_time, command);
            if let Some(reply) = callers.next() {
                reply.send(Ok(outcome));
            }
        }
        Ok(batch.hlc)
    }

    /// What is told of an entry that is being applied.
    fn tell(&self, entry: &Entry, batch: &Batch<'_>) -> AppliedEntry {
        let commands = batch.commands.iter().map(|command| entry.payload.slice_ref(command));
        AppliedEntry {
            position: self.applied,
            log_time: self.log_time,
            hlc: batch.hlc,
            commands: commands.collect(),
        }
    }

    fn applied_now(&self, hlc: Option<Hlc>, is_snapshot: bool) -> Applied {
        Applied {
            position: self.applied,
            log_time: self.log_time,
            hlc,
            digest: self.machine.digest(),
            is_snapshot,
        }
    }
}
