//! The partition's decisions: Raft, the state machine and the callers that wait, joined in one plain struct.
//!
//! Events go in one at a time; [`Core::flush`] then says everything that is to be done for all of them. It does no I/O and is told the time.

use std::collections::VecDeque;

use bytes::Bytes;

use crate::hlc::Hlc;
use crate::limits;
use crate::machine::{Row, StateMachine};
use crate::mutants::{self, Mutant};
use crate::partition::event::{Event, Refusal, Reply};
use crate::partition::log_clock::{LogClock, Now};
use crate::partition::observer::Applied;
use crate::partition::pending::Pending;
use crate::raft::{Entry, Message, Persist, Position, ProposeError, Raft, Ready, Role};
use crate::status::PartitionStatus;
use crate::storage::StateMark;
use crate::types::{Index, LogTime, PartitionId};
use crate::wire::batch;

/// Rows are saved once so many have changed,
const SAVE_ROWS: usize = 8 * 1024;
/// or so many ticks after the last time, if anything was applied.
const SAVE_TICKS: u32 = 100;
/// A leader proposes nothing more while so many of its writes are under way.
const WRITES_UNDER_WAY_MAX: usize = 1;
/// The log is compacted in steps of at least so many entries.
const COMPACT_ENTRIES: u64 = 1024;

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
    /// The latest hybrid time of an entry that was made here, for the node's clock to go on from.
    pub stamped: Option<Hlc>,
    /// What was applied, if anybody watches.
    pub applied: Vec<Applied>,
    /// The role, term or leader changed.
    pub role_changed: bool,
    /// An entry that this version cannot read: the node must stop before it diverges.
    pub unreadable: Option<String>,
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
    questions: Vec<(Bytes, Reply)>,
    /// Runs while this replica serves.
    clock: Option<LogClock>,
    applied: Position,
    log_time: LogTime,
    /// Of the last applied entry that has one. For people: nothing is decided by it.
    hlc: Option<Hlc>,
    saved: StateMark,
    saving: bool,
    ticks_since_save: u32,
    hand_over: Option<Box<dyn FnOnce() + Send>>,
    watched: bool,
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
            saving: false,
            ticks_since_save: 0,
            hand_over: None,
            watched: false,
        }
    }

    /// From now on the effects tell what was applied.
    pub const fn watch(&mut self) {
        self.watched = true;
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
            Event::Tick => self.tick(),
            Event::Message(message) => self.raft.step(message),
            Event::Persisted(id) => self.raft.persisted(id),
            Event::StateSaved(mark) => self.state_saved(mark),
            Event::Propose { command, reply } => self.commands.push_back((command, reply)),
            Event::Query { query, reply } => self.questions.push((query, reply)),
            Event::HandOver(done) => self.begin_hand_over(done),
            Event::Stop => {}
        }
    }

    fn tick(&mut self) {
        self.ticks_since_save = self.ticks_since_save.saturating_add(1);
        self.raft.tick();
    }

    fn state_saved(&mut self, mark: StateMark) {
        assert!(mark.applied >= self.saved.applied, "saved state never goes back");
        self.saved = mark;
        self.saving = false;
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
        self.save_state(&mut effects);
        self.compact(&mut effects);
        effects.stamped = self.clock.and_then(|clock| clock.stamped());
        effects
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
        } = ready;
        effects.persist.extend(persist);
        effects.send.append(&mut send);
        if role_change.is_some() {
            effects.role_changed = true;
            self.change_role();
        }
        for entry in apply {
            let hlc = self.apply(&entry).unwrap_or_else(|reason| {
                effects.unreadable = Some(reason);
                None
            });
            effects.applied.extend(self.watched.then(|| self.applied_now(hlc)));
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
        if !mutants::on(Mutant::CallersKept) {
            self.pending.lose_leadership();
        }
        if self.raft.role() != Role::Leader {
            self.end_hand_over();
        }
    }

    fn not_leader(&self) -> Refusal {
        Refusal::NotLeader(self.raft.leader().filter(|leader| *leader != self.raft.id()))
    }

    /// Proposes what was asked for, as few entries as their limits allow, stamped with log time.
    ///
    /// While enough of this replica's writes are under way, a leader lets commands gather: an entry more would wait for the same sync, and many
    /// small entries cost more than a large one.
    fn propose_commands(&mut self, now: Now) {
        if self.clock.is_some() && self.raft.log().writes_under_way() >= WRITES_UNDER_WAY_MAX {
            return;
        }
        while !self.commands.is_empty() {
            let (commands, callers) = take_batch(&mut self.commands);
            self.propose(now, &commands, callers);
        }
    }

    fn propose(&mut self, now: Now, commands: &[Bytes], callers: Vec<Reply>) {
        let Some(clock) = &mut self.clock else {
            let refusal = self.not_leader();
            return callers.into_iter().for_each(|reply| reply.send(Err(refusal)));
        };
        let stamped = clock.stamp(now.monotonic);
        let payload = batch::encode_batch(stamped, clock.stamp_hybrid(now.hybrid), commands);
        match self.raft.propose(vec![payload]) {
            Ok(_) if mutants::on(Mutant::ReplyAtPropose) => self.answer_early(stamped, commands, callers),
            Ok(index) => self.pending.add_entry(index, callers),
            Err(error) => {
                let refusal = self.refusal(error);
                callers.into_iter().for_each(|reply| reply.send(Err(refusal)));
            }
        }
    }

    /// What only a planted bug does.
    fn answer_early(&mut self, now: LogTime, commands: &[Bytes], callers: Vec<Reply>) {
        self.log_time = self.log_time.max(now);
        for (command, reply) in commands.iter().zip(callers) {
            reply.send(Ok(self.machine.apply(self.log_time, command)));
        }
    }

    fn refusal(&self, error: ProposeError) -> Refusal {
        match error {
            ProposeError::NotLeader | ProposeError::HandingOver => self.not_leader(),
            ProposeError::Overloaded => Refusal::Overloaded {
                what: "the uncommitted bytes of the partition",
                limit: limits::UNCOMMITTED_BYTES_MAX,
            },
        }
    }

    /// Proposes an empty batch when something ends and nothing else that is under way will bring time forward. Says whether it did.
    fn bring_time_forward(&mut self, now: Now) -> bool {
        let (Some(clock), Some(deadline)) = (&mut self.clock, self.machine.next_deadline()) else {
            return false;
        };
        let idle = self.raft.log().last().index == self.applied.index;
        if !idle || clock.stamp(now.monotonic) < deadline {
            return false;
        }
        self.propose(now, &[], Vec::new());
        true
    }

    /// Applies the next entry. Says its hybrid time, if it has one.
    fn apply(&mut self, entry: &Entry) -> Result<Option<Hlc>, String> {
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
        if entry.payload.is_empty() {
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
        let mut callers = callers.into_iter();
        for command in batch.commands {
            let outcome = self.machine.apply(self.log_time, command);
            if let Some(reply) = callers.next() {
                reply.send(Ok(outcome));
            }
        }
        Ok(batch.hlc)
    }

    fn applied_now(&self, hlc: Option<Hlc>) -> Applied {
        Applied {
            position: self.applied,
            log_time: self.log_time,
            hlc,
            digest: self.machine.digest(),
        }
    }

    fn begin_reads(&mut self) {
        if self.questions.is_empty() {
            return;
        }
        let questions = std::mem::take(&mut self.questions);
        let context = self.pending.add_read(questions);
        let early = !self.raft.may_serve() && !mutants::on(Mutant::ReadBeforeOpening);
        if early || self.raft.read_index(context).is_err() {
            self.pending.fail_read(context, self.not_leader());
        }
    }

    fn answer_reads(&mut self, now: Now) {
        let questions = self.pending.take_answerable(self.applied.index);
        let log_time = self
            .clock
            .as_mut()
            .map_or(self.log_time, |clock| clock.stamp(now.monotonic));
        for (query, reply) in questions {
            reply.send(Ok(self.machine.query(log_time, &query)));
        }
    }

    /// Hands out the rows that changed, now and then, one write at a time.
    fn save_state(&mut self, effects: &mut Effects) {
        let news = self.applied > self.saved.applied;
        let due = self.ticks_since_save >= SAVE_TICKS || self.machine.changes() >= SAVE_ROWS;
        if self.saving || !news || !due {
            return;
        }
        self.saving = true;
        self.ticks_since_save = 0;
        let mark = StateMark {
            applied: self.applied,
            log_time: self.log_time,
            hlc: self.hlc,
        };
        effects.save = Some((mark, self.machine.take_changes()));
    }

    /// Lets go of entries that every voter holds and whose effect is durable here.
    fn compact(&mut self, effects: &mut Effects) {
        let through: Index = self.raft.held_by_all().min(self.saved.applied.index);
        let base = self.raft.log().base().index;
        if through.0 >= base.0 + COMPACT_ENTRIES {
            effects.compact = Some(self.raft.compact(through));
        }
    }
}

/// The first commands, as many as one entry may carry and at least one, and their callers.
fn take_batch(waiting: &mut VecDeque<(Bytes, Reply)>) -> (Vec<Bytes>, Vec<Reply>) {
    let mut bytes = 0;
    let mut fits = |(command, _): &mut (Bytes, Reply)| {
        let is_first = bytes == 0;
        bytes += command.len().max(1);
        is_first || bytes <= limits::ENTRY_COMMAND_BYTES_MAX
    };
    let batch = std::iter::from_fn(|| waiting.pop_front_if(&mut fits));
    batch.take(limits::ENTRY_COMMANDS_MAX).unzip()
}
