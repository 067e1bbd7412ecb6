//! A workbench for cores: a disk that is a vector, a clock that is a variable, a network that is a loop.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use kapu::config::Keeping;
use kapu::hlc::{Hlc, HybridClock};
use kapu::machine::{RestoreError, Row, StateMachine};
use kapu::partition::snapshots::{Finished, Step};
use kapu::partition::{AdminRefusal, Applied, AppliedEntry, Core, Effects, Event, Now, Refusal, Reply};
use kapu::raft::{
    Body, Change, Config, DurableLog, Entry, EntryReader, HardState, Membership, Message, Persist, Position, Raft,
    Role, SnapshotEnd, SnapshotRows,
};
use kapu::storage::StateMark;
use kapu::types::{Index, LogTime, NodeId, PartitionId, Term};

/// So little that a follower that was away for a moment needs a snapshot.
const KEEPING: Keeping = Keeping {
    save_rows: 8 * 1024,
    save_ticks: 100,
    compact_entries: 1024,
    log_entries_max: 2_000,
    log_bytes_max: u64::MAX / 8,
    snapshot_bytes_max: 1,
};

pub fn node(id: u64) -> NodeId {
    NodeId(id)
}

/// What a machine did since it was made.
#[derive(Clone, Copy, Default)]
struct Seen {
    applied: u64,
    log_time: LogTime,
}

/// Counts commands and rings alarms; remembers how many it applied since it was made.
#[derive(Default)]
struct Counter {
    count: u64,
    alarms: u64,
    alarm: Option<LogTime>,
    changed: bool,
    seen: Arc<Mutex<Seen>>,
}

impl StateMachine for Counter {
    fn advance(&mut self, now: LogTime) {
        let before = std::mem::replace(&mut self.seen.lock().unwrap().log_time, now);
        assert!(now >= before, "log time went back");
        if self.alarm.is_some_and(|alarm| alarm <= now) {
            self.alarm = None;
            self.alarms += 1;
            self.changed = true;
        }
    }

    fn apply(&mut self, now: LogTime, command: &[u8]) -> Bytes {
        let command = std::str::from_utf8(command).unwrap();
        if let Some(delay) = command.strip_prefix("alarm ") {
            self.alarm = Some(now.after(delay.parse().unwrap()));
        }
        self.count += 1;
        self.changed = true;
        self.seen.lock().unwrap().applied += 1;
        format!("{command} applied as {}", self.count).into()
    }

    fn query(&self, _now: LogTime, query: &[u8]) -> Bytes {
        assert_eq!(query, b"count");
        format!("count {}, alarms {}", self.count, self.alarms).into()
    }

    fn next_deadline(&self) -> Option<LogTime> {
        self.alarm
    }

    fn changes(&self) -> usize {
        usize::from(self.changed)
    }

    fn take_changes(&mut self) -> Vec<Row> {
        self.changed = false;
        let value = [self.count, self.alarms].map(u64::to_le_bytes).concat();
        vec![Row {
            key: Bytes::from_static(b"counter"),
            value: Some(value.into()),
        }]
    }

    fn restore(&mut self, _key: &[u8], value: &[u8]) -> Result<(), RestoreError> {
        self.count = u64::from_le_bytes(value[..8].try_into().unwrap());
        self.alarms = u64::from_le_bytes(value[8..].try_into().unwrap());
        Ok(())
    }

    fn digest(&self) -> u64 {
        self.count * 1000 + self.alarms
    }
}

#[derive(Clone, Default)]
struct Disk(Arc<Mutex<Durable>>);

#[derive(Default)]
struct Durable {
    hard_state: HardState,
    base: Position,
    entries: Vec<Entry>,
    rows: Vec<Row>,
    mark: StateMark,
}

impl EntryReader for Disk {
    fn read(&self, first: Index, last: Index, _bytes_max: usize) -> Vec<Entry> {
        let durable = self.0.lock().unwrap();
        durable
            .entries
            .iter()
            .filter(|entry| (first..=last).contains(&entry.index))
            .cloned()
            .collect()
    }
}

impl Disk {
    fn write(&self, persist: &Persist) {
        let mut durable = self.0.lock().unwrap();
        durable.hard_state = persist.hard_state.unwrap_or(durable.hard_state);
        if let Some(base) = persist.reset {
            durable.entries.clear();
            durable.base = base;
        }
        if let Some(first) = persist.entries.first() {
            durable.entries.retain(|entry| entry.index < first.index);
        }
        durable.entries.extend(persist.entries.iter().cloned());
    }

    fn log(&self) -> (HardState, DurableLog) {
        let durable = self.0.lock().unwrap();
        let mut term_runs: Vec<Position> = Vec::new();
        for entry in durable.entries.iter().filter(|entry| entry.index > durable.base.index) {
            if term_runs.last().is_none_or(|run| run.term != entry.term) {
                term_runs.push(Position {
                    term: entry.term,
                    index: entry.index,
                });
            }
        }
        let last = durable.entries.last().map_or(durable.base, |e| Position {
            term: e.term,
            index: e.index,
        });
        (
            durable.hard_state,
            DurableLog {
                replaced: false,
                base: durable.base,
                last,
                term_runs,
            },
        )
    }
}

/// What a caller was told.
#[derive(Clone, Default)]
pub struct Answer(Arc<Mutex<Option<Result<Bytes, Refusal>>>>);

impl Answer {
    fn reply(&self) -> Reply {
        let cell = Arc::clone(&self.0);
        Reply::new(move |result| assert!(cell.lock().unwrap().replace(result).is_none(), "answered twice"))
    }

    pub fn get(&self) -> Option<Result<Bytes, Refusal>> {
        self.0.lock().unwrap().clone()
    }

    pub fn text(&self) -> String {
        let bytes = self.get().expect("answered").expect("with an outcome");
        String::from_utf8(bytes.to_vec()).unwrap()
    }
}

/// Something that happens once.
#[derive(Clone, Default)]
pub struct Flag(Arc<Mutex<bool>>);

impl Flag {
    pub fn is_set(&self) -> bool {
        *self.0.lock().unwrap()
    }
}

/// One core with all that it needs.
pub struct Bench {
    pub core: Core,
    pub now: Duration,
    /// What the wall clock shows.
    pub wall: Duration,
    /// The hybrid time of every entry that was applied and has one, in this order.
    pub stamps: Vec<Hlc>,
    /// What was told of entries with commands.
    pub told: Vec<AppliedEntry>,
    hybrid: HybridClock,
    pub sent: Vec<Message>,
    pub saved: StateMark,
    pub compacted: Vec<Position>,
    disk: Disk,
    voters: Vec<NodeId>,
    id: NodeId,
    writing: Vec<Persist>,
    seen: Arc<Mutex<Seen>>,
    /// What is open for followers.
    open: Option<(StateMark, Vec<Row>)>,
    /// What came of a snapshot.
    staged: Vec<Row>,
    /// Snapshots that took the place of what was here.
    pub installed: usize,
}

impl Bench {
    fn boot(id: NodeId, voters: Vec<NodeId>, disk: Disk, now: Duration) -> Self {
        let config = Config {
            id,
            heartbeat_ticks: 2,
            election_ticks: 10,
        };
        let (hard_state, log) = disk.log();
        let (mark, rows) = {
            let durable = disk.0.lock().unwrap();
            (durable.mark.clone(), durable.rows.clone())
        };
        let seen = Arc::new(Mutex::new(Seen::default()));
        let mut machine = Counter {
            seen: Arc::clone(&seen),
            ..Counter::default()
        };
        for row in rows {
            machine.restore(&row.key, &row.value.unwrap()).unwrap();
        }
        let rng = kapu::env::rng(id.0, "raft");
        let membership = if mark == StateMark::default() {
            Membership::of_voters(voters.iter().map(|node| (*node, format!("node-{node}:1"))))
        } else {
            mark.membership.clone()
        };
        let raft = Raft::new(
            config,
            hard_state,
            log,
            mark.applied.index,
            membership,
            Box::new(disk.clone()),
            rng,
        );
        let mut core = Core::new(PartitionId(0), raft, Box::new(machine), mark.clone()).with_keeping(KEEPING);
        core.watch();
        let (sent, compacted, writing, stamps, told) = Default::default();
        Self {
            core,
            now,
            wall: Duration::from_secs(1_000_000),
            stamps,
            told,
            hybrid: HybridClock::default(),
            sent,
            saved: mark,
            compacted,
            disk,
            voters,
            id,
            writing,
            seen,
            open: None,
            staged: Vec::new(),
            installed: 0,
        }
    }

    pub fn fresh_single() -> Self {
        Self::boot(node(1), vec![node(1)], Disk::default(), Duration::from_secs(77))
    }

    /// A single node that leads and serves.
    pub fn single() -> Self {
        let mut bench = Self::fresh_single();
        bench.tick_until(Role::Leader);
        bench.settle();
        bench
    }

    pub fn of_three(id: u64) -> Self {
        Self::boot(
            node(id),
            (1..=3).map(node).collect(),
            Disk::default(),
            Duration::from_secs(100 * id),
        )
    }

    /// The process ends and starts again: what was not durable is gone.
    pub fn restart(self) -> Self {
        Self::boot(self.id, self.voters, self.disk, self.now)
    }

    pub fn replayed(&self) -> u64 {
        self.seen.lock().unwrap().applied
    }

    pub fn propose(&mut self, command: &str) -> Answer {
        let answer = Answer::default();
        self.core.handle(Event::Propose {
            command: command.to_owned().into(),
            reply: answer.reply(),
        });
        answer
    }

    pub fn query(&mut self, query: &str) -> Answer {
        let answer = Answer::default();
        self.core.handle(Event::Query {
            query: query.to_owned().into(),
            reply: answer.reply(),
        });
        answer
    }

    pub fn confirm(&mut self) -> Answer {
        let answer = Answer::default();
        self.core.handle(Event::Confirm(answer.reply()));
        answer
    }

    pub fn query_now(&mut self, query: &str) -> String {
        let answer = self.query(query);
        self.settle();
        answer.text()
    }

    pub fn hand_over(&mut self) -> Flag {
        let flag = Flag::default();
        let cell = Arc::clone(&flag.0);
        self.core
            .handle(Event::HandOver(Box::new(move || *cell.lock().unwrap() = true)));
        self.flush();
        flag
    }

    /// Somebody asks for another leader, and this replica leads.
    pub fn transfer_leader(&mut self, to: NodeId) {
        let reply = Box::new(move |answer| assert_eq!(answer, Ok(to)));
        self.core.handle(Event::TransferLeader { to: Some(to), reply });
        self.flush();
    }

    /// Somebody asks for a replica to be removed. Says whether it is done.
    pub fn remove(&mut self, node: NodeId) -> Result<bool, AdminRefusal> {
        let (tell, told) = std::sync::mpsc::channel();
        let reply = Box::new(move |answer| tell.send(answer).unwrap());
        let change = Change::Remove { node };
        self.core.handle(Event::ChangeMember { change, reply });
        self.flush();
        told.recv().unwrap()
    }

    pub fn checkpoint(&mut self) -> Flag {
        let flag = Flag::default();
        let cell = Arc::clone(&flag.0);
        self.core
            .handle(Event::Checkpoint(Reply::new(move |_| *cell.lock().unwrap() = true)));
        self.flush();
        self.flush();
        flag
    }

    pub fn log_time(&self) -> u64 {
        self.seen.lock().unwrap().log_time.0
    }

    pub fn step(&mut self, from: NodeId, term: Term, body: Body) {
        self.core.handle(Event::Message(Message {
            from,
            to: self.id,
            term,
            body,
        }));
    }

    pub fn hear_leader(&mut self, leader: NodeId) {
        self.step(
            leader,
            Term(1),
            Body::Heartbeat {
                commit: Index(0),
                round: 0,
                compact: Index(0),
            },
        );
        self.settle();
    }

    /// An entry with this payload arrives, and is committed.
    pub fn receive_entry(&mut self, leader: NodeId, payload: &'static [u8]) -> Effects {
        let entry = Entry {
            index: Index(1),
            term: Term(1),
            payload: Bytes::from_static(payload),
        };
        let (prev, commit) = (Position::default(), Index(1));
        self.step(
            leader,
            Term(1),
            Body::Append {
                prev,
                entries: vec![entry],
                commit,
                round: 0,
            },
        );
        self.flush();
        self.complete_write();
        self.flush_core()
    }

    pub fn tick(&mut self) {
        self.core.handle(Event::Tick);
        self.flush();
    }

    /// Ticks until this role is reached; what the new role writes is still under way then.
    pub fn tick_until(&mut self, role: Role) {
        for _ in 0..100 {
            self.tick();
            while self.core.status().role != role && !self.writing.is_empty() {
                self.complete_write();
            }
            if self.core.status().role == role {
                return;
            }
        }
        panic!("never became {role:?}");
    }

    fn complete_write(&mut self) {
        let persist = self.writing.remove(0);
        self.disk.write(&persist);
        self.core.handle(Event::Persisted(persist.id));
    }

    fn flush_core(&mut self) -> Effects {
        let now = Now {
            monotonic: self.now,
            hybrid: self.hybrid.now(self.wall),
        };
        let mut effects = self.core.flush(now);
        self.stamps
            .extend(effects.applied.iter().filter_map(|applied: &Applied| applied.hlc));
        self.told.append(&mut effects.entries);
        effects
    }

    pub fn flush(&mut self) {
        let effects = self.flush_core();
        assert_eq!(effects.unreadable, None);
        self.writing.extend(effects.persist);
        self.sent.extend(effects.send);
        self.compacted.extend(effects.compact);
        if let Some(base) = effects.compact {
            self.disk.0.lock().unwrap().base = base;
        }
        if let Some((mark, rows)) = effects.save {
            let mut durable = self.disk.0.lock().unwrap();
            (durable.mark, durable.rows, self.saved) = (mark.clone(), rows, mark.clone());
            drop(durable);
            self.core.handle(Event::StateSaved(mark));
        }
        let more = !effects.snapshots.is_empty() || effects.install.is_some();
        effects.snapshots.into_iter().for_each(|step| self.carry_snapshot(step));
        if let Some(mark) = effects.install {
            self.install(mark);
        }
        if more {
            self.flush();
        }
    }

    fn carry_snapshot(&mut self, step: Step) {
        match step {
            Step::Open => {
                let durable = self.disk.0.lock().unwrap();
                let opened = durable.mark.applied;
                self.open = Some((durable.mark.clone(), durable.rows.clone()));
                drop(durable);
                self.core.handle(Event::SnapshotOpened(opened));
            }
            Step::Read(to, after) => {
                let (mark, rows) = self.open.clone().expect("it is open");
                let rows = rows.into_iter().filter(|row| row.key > after);
                let mut rows = SnapshotRows {
                    at: mark.applied,
                    after: after.clone(),
                    rows: rows.map(|row| (row.key, row.value.unwrap())).collect(),
                    checksum: 0,
                    end: Some(SnapshotEnd {
                        log_time: mark.log_time,
                        hlc: mark.hlc,
                        membership: mark.membership,
                    }),
                };
                rows.checksum = rows.computed_checksum();
                self.core.handle(Event::SnapshotRead { to, rows });
            }
            Step::Receive(at) => self.core.handle(Event::SnapshotStaged {
                at,
                after: Bytes::new(),
                finished: None,
            }),
            Step::Stage(rows) => self.stage(rows),
            Step::Close | Step::Abandon => self.open = None,
        }
    }

    fn stage(&mut self, rows: SnapshotRows) {
        let mut machine = Counter {
            seen: Arc::clone(&self.seen),
            ..Counter::default()
        };
        let staged = rows.rows.into_iter().map(|(key, value)| {
            machine.restore(&key, &value).unwrap();
            Row {
                key,
                value: Some(value),
            }
        });
        self.staged = staged.collect();
        let finished = rows.end.map(|end| Finished {
            machine: Box::new(machine),
            end,
        });
        self.core.handle(Event::SnapshotStaged {
            at: rows.at,
            after: Bytes::from_static(b"counter"),
            finished,
        });
    }

    fn install(&mut self, mark: StateMark) {
        let mut durable = self.disk.0.lock().unwrap();
        durable.rows = std::mem::take(&mut self.staged);
        durable.mark = mark.clone();
        self.saved = mark;
        self.installed += 1;
        drop(durable);
        self.core.handle(Event::SnapshotInstalled);
    }

    pub fn persist_all(&mut self) {
        while !self.writing.is_empty() {
            self.complete_write();
        }
        self.flush();
    }

    /// Flushes and writes until nothing is left to do here.
    pub fn settle(&mut self) {
        self.flush();
        while !self.writing.is_empty() {
            self.persist_all();
        }
    }

    /// Lets enough ticks pass for the rows to be saved.
    pub fn save_state(&mut self) {
        for _ in 0..110 {
            self.tick();
            self.settle();
        }
    }
}

/// Three replicas and the network between them.
pub struct Replicas(Vec<Bench>);

pub fn replicas() -> Replicas {
    Replicas((1..=3).map(Bench::of_three).collect())
}

impl Replicas {
    pub fn node(&mut self, index: usize) -> &mut Bench {
        &mut self.0[index]
    }

    /// Delivers everything until all is quiet.
    pub fn settle(&mut self) {
        self.settle_where(|_| true);
    }

    /// As [`Replicas::settle`], while one replica is out of reach.
    pub fn settle_without(&mut self, away: usize) {
        self.settle_where(|to| to != away);
    }

    fn settle_where(&mut self, reaches: impl Fn(usize) -> bool) {
        loop {
            let mut messages = Vec::new();
            for bench in &mut self.0 {
                bench.settle();
                messages.append(&mut bench.sent);
            }
            if messages.is_empty() {
                return;
            }
            for message in messages {
                let to = usize::try_from(message.to.0).unwrap() - 1;
                if reaches(to) {
                    self.0[to].core.handle(Event::Message(message));
                }
            }
        }
    }

    /// Makes this replica of a fresh group the leader: the others have not lost patience yet.
    pub fn elect(&mut self, index: usize) {
        for _ in 0..20 {
            self.0[index].tick();
            self.settle();
        }
        assert_eq!(self.leader(), index);
    }

    /// Time passes at the leader, whoever it is.
    pub fn pass(&mut self, ticks: u32) {
        for _ in 0..ticks {
            let leader = self.leader();
            self.0[leader].tick();
            self.settle();
        }
    }

    /// The process of a replica ends and starts again.
    pub fn restart(&mut self, index: usize) {
        let bench = self.0.remove(index);
        self.0.insert(index, bench.restart());
    }

    /// Who leads.
    pub fn leader(&self) -> usize {
        let leads = |bench: &Bench| bench.core.status().role == Role::Leader;
        self.0.iter().position(leads).expect("somebody leads")
    }
}
