//! One replica's log, as far as memory holds it: positions of everything, content of the tail.
//!
//! The content of older entries is read back through [`EntryReader`] when a slow follower or a restart needs it. Writing is not done
//! here: the log says what is [unwritten](Log::take_unwritten), and is told what has become [durable](Log::persisted).

use std::collections::VecDeque;
use std::sync::Arc;

use crate::limits;
use crate::mutants::{self, Mutant};
use crate::raft::membership::Membership;
use crate::raft::memberships::Memberships;
use crate::raft::message::{Entry, Position};
use crate::raft::sizes::Sizes;
use crate::types::{Index, PersistId, Term};

/// What a replica's disk holds of its log.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DurableLog {
    /// The last compacted entry; zero when nothing was compacted.
    pub base: Position,
    /// The last entry; equal to `base` when there is none above it.
    pub last: Position,
    /// The first position of each run of equal terms above `base`, in order.
    pub term_runs: Vec<Position>,
    /// The disk still holds another log, which a snapshot up to `base` has replaced.
    pub replaced: bool,
}

impl DurableLog {
    /// Whether it has the entry at `position`, or has compacted exactly up to it.
    #[must_use]
    pub fn has(&self, position: Position) -> bool {
        let run = self.term_runs.iter().rev().find(|run| run.index <= position.index);
        let term = run.map_or(self.base.term, |run| run.term);
        (self.base.index..=self.last.index).contains(&position.index) && term == position.term
    }

    /// An empty log after a snapshot up to `at`, in the place of what the disk holds.
    #[must_use]
    pub const fn after_snapshot(at: Position) -> Self {
        Self {
            base: at,
            last: at,
            term_runs: Vec::new(),
            replaced: true,
        }
    }
}

/// Reads durable entries back.
pub trait EntryReader: Send {
    /// The entries from `first` to `last`, both included, cut off after `bytes_max` bytes of payload but never before one entry.
    /// Empty when they cannot be read: then the node is already stopping.
    fn read(&self, first: Index, last: Index, bytes_max: usize) -> Vec<Entry>;
}

/// The log of one replica.
///
/// - `base <= applied <= commit <= last`, and `applied <= durable <= last`.
/// - `tail` holds the entries up to `last` without a gap, and everything that is not durable.
/// - An entry at or below `commit` never changes.
pub struct Log {
    base: Position,
    last: Position,
    runs: VecDeque<Position>,
    tail: VecDeque<Entry>,
    tail_bytes: usize,
    written: Index,
    durable: Index,
    writes: VecDeque<(PersistId, Index)>,
    commit: Index,
    applied: Index,
    memberships: Memberships,
    sizes: Sizes,
    /// The log was replaced, and that is not on its way to the disk yet.
    reset: Option<Position>,
    reader: Box<dyn EntryReader>,
}

/// What an entry costs in memory beside its payload.
pub(super) const ENTRY_OVERHEAD: usize = 64;

impl Log {
    /// The log as it was found on disk, with everything up to `applied` applied, and `membership` in force there. Reads what is above that
    /// once, for later memberships.
    ///
    /// # Panics
    /// When `applied` is outside of the log: state and log are not of one node.
    #[must_use]
    pub fn new(found: DurableLog, applied: Index, membership: Arc<Membership>, reader: Box<dyn EntryReader>) -> Self {
        let DurableLog {
            base,
            last,
            term_runs,
            replaced,
        } = found;
        assert!(
            base.index <= applied,
            "state was applied up to {applied}, and the log below {} is gone",
            base.index
        );
        assert!(
            applied <= last.index,
            "state was applied up to {applied}, and the log ends at {}",
            last.index
        );
        let mut log = Self {
            base,
            last,
            runs: term_runs.into(),
            tail: VecDeque::new(),
            tail_bytes: 0,
            written: last.index,
            durable: last.index,
            writes: VecDeque::new(),
            commit: applied,
            applied,
            memberships: Memberships::new(applied, membership),
            sizes: Sizes::default(),
            reset: replaced.then_some(base),
            reader,
        };
        log.find_memberships();
        log
    }

    /// Reads the entries above the applied one.
    fn find_memberships(&mut self) {
        let mut next = self.applied.next();
        loop {
            let entries = self.range(next, self.last.index, limits::APPLY_BYTES_MAX);
            let Some(entry) = entries.last() else { return };
            next = entry.index.next();
            entries.iter().for_each(|entry| self.memberships.push(entry));
        }
    }

    /// The memberships that it names.
    #[must_use]
    pub const fn memberships(&self) -> &Memberships {
        &self.memberships
    }

    /// The last compacted entry.
    #[must_use]
    pub const fn base(&self) -> Position {
        self.base
    }

    /// The last entry.
    #[must_use]
    pub const fn last(&self) -> Position {
        self.last
    }

    /// The last durable entry.
    #[must_use]
    pub const fn durable(&self) -> Index {
        self.durable
    }

    /// The last entry known to be committed.
    #[must_use]
    pub const fn commit(&self) -> Index {
        self.commit
    }

    /// The last entry handed out to be applied.
    #[must_use]
    pub const fn applied(&self) -> Index {
        self.applied
    }

    /// How many writes are under way.
    #[must_use]
    pub fn writes_under_way(&self) -> usize {
        self.writes.len()
    }

    /// Whether a write is under way.
    #[must_use]
    pub fn is_writing(&self) -> bool {
        !self.writes.is_empty()
    }

    /// The term of the entry at `index`: none below the base and above the last entry.
    #[must_use]
    pub fn term_at(&self, index: Index) -> Option<Term> {
        if index == self.base.index {
            return Some(self.base.term);
        }
        if index < self.base.index || index > self.last.index {
            return None;
        }
        let run = self.runs.partition_point(|run| run.index <= index);
        Some(self.runs[run - 1].term)
    }

    /// The position of the entry at `index`.
    #[must_use]
    pub fn position(&self, index: Index) -> Option<Position> {
        self.term_at(index).map(|term| Position { term, index })
    }

    /// Whether the entry at `position` is here. Everything up to the commit index is, whoever asks: a leader has it too.
    #[must_use]
    pub fn matches(&self, position: Position) -> bool {
        position.index <= self.commit || self.term_at(position.index) == Some(position.term)
    }

    /// The last entry at or below `bound.index` whose term is at or below `bound.term`: where two logs may meet (Raft section 5.3).
    #[must_use]
    pub fn meeting_point(&self, bound: Position) -> Position {
        let mut index = bound.index.min(self.last.index);
        while index > self.base.index {
            let run = self.runs[self.runs.partition_point(|run| run.index <= index) - 1];
            if run.term <= bound.term {
                return Position { term: run.term, index };
            }
            index = run.index.prev();
        }
        self.base
    }

    /// Adds an entry of `term` at the end and returns its index.
    pub fn append(&mut self, term: Term, payload: bytes::Bytes) -> Index {
        assert!(
            term >= self.last.term,
            "an entry of term {term} does not follow one of term {}",
            self.last.term
        );
        let index = self.last.index.next();
        self.push(Entry { index, term, payload });
        index
    }

    /// Takes a leader's entries, which follow a position that matches. Skips what is here already and truncates only at a real
    /// conflict. Says whether anything is new.
    pub fn splice(&mut self, entries: Vec<Entry>) -> bool {
        let known = |entry: &Entry| {
            self.matches(Position {
                term: entry.term,
                index: entry.index,
            })
        };
        let known =
            |entry: &Entry| mutants::either(Mutant::TruncatesMatching, entry.index <= self.commit, known(entry));
        let skip = entries.iter().take_while(|entry| known(entry)).count();
        let mut new = entries.into_iter().skip(skip).peekable();
        let Some(first) = new.peek() else { return false };
        if first.index <= self.last.index {
            self.truncate(first.index);
        }
        new.for_each(|entry| self.push(entry));
        true
    }

    fn push(&mut self, entry: Entry) {
        assert_eq!(entry.index, self.last.index.next(), "the log has no gaps");
        if self.runs.back().is_none_or(|run| run.term != entry.term) {
            self.runs.push_back(Position {
                term: entry.term,
                index: entry.index,
            });
        }
        self.last = Position {
            term: entry.term,
            index: entry.index,
        };
        self.tail_bytes += entry.payload.len() + ENTRY_OVERHEAD;
        self.sizes.push(&entry);
        self.memberships.push(&entry);
        self.tail.push_back(entry);
    }

    /// Drops the entries from `from` on. A late completion for what was dropped counts for nothing.
    fn truncate(&mut self, from: Index) {
        assert!(
            from > self.commit,
            "entry {from} is committed (up to {}) and must not be truncated",
            self.commit
        );
        while let Some(entry) = self.tail.pop_back_if(|entry| entry.index >= from) {
            self.tail_bytes -= entry.payload.len() + ENTRY_OVERHEAD;
        }
        while self.runs.pop_back_if(|run| run.index >= from).is_some() {}
        self.sizes.truncate(from);
        self.memberships.truncate(from);
        let keep = from.prev();
        self.last = self.position_of_last(keep);
        self.written = self.written.min(keep);
        self.durable = self.durable.min(keep);
        for (_, through) in &mut self.writes {
            *through = mutants::either(Mutant::LateCompletionCounted, *through, (*through).min(keep));
        }
    }

    fn position_of_last(&self, index: Index) -> Position {
        let term = self.runs.back().map_or(self.base.term, |run| run.term);
        Position { term, index }
    }

    /// The entries from `first` on, cut off after `bytes_max` bytes but never before one entry. An entry counts with what it costs beside its
    /// payload, so that thousands of small ones still fit in a frame. From the tail where it has them.
    #[must_use]
    pub fn entries(&self, first: Index, bytes_max: usize) -> Vec<Entry> {
        assert!(
            first > self.base.index,
            "entry {first} is compacted (up to {})",
            self.base.index
        );
        self.range(first, self.last.index, bytes_max)
    }

    fn range(&self, first: Index, last: Index, bytes_max: usize) -> Vec<Entry> {
        if first > last {
            return Vec::new();
        }
        let mut bytes = 0;
        let mut fits = |entry: &Entry| {
            let is_first = bytes == 0;
            bytes += entry.payload.len() + ENTRY_OVERHEAD;
            is_first || bytes <= bytes_max
        };
        let tail_first = self.last.index.0 + 1 - self.tail.len() as u64;
        if first.0 < tail_first {
            let read = self.reader.read(first, last.min(Index(tail_first - 1)), bytes_max);
            return read.into_iter().take_while(fits).collect();
        }
        let skip = usize::try_from(first.0 - tail_first).expect("the tail fits in memory");
        let wanted = |entry: &&Entry| entry.index <= last && fits(entry);
        let count = self.tail.range(skip..).take_while(wanted).count();
        self.tail.range(skip..skip + count).cloned().collect()
    }

    /// What is not on its way to the disk yet; from now on it is, as write `id`.
    #[must_use]
    pub fn take_unwritten(&mut self, id: PersistId) -> Vec<Entry> {
        let entries = self.range(self.written.next(), self.last.index, usize::MAX);
        self.written = self.last.index;
        self.writes.push_back((id, self.written));
        entries
    }

    /// Whether there is something that is not on its way to the disk.
    #[must_use]
    pub fn has_unwritten(&self) -> bool {
        self.written < self.last.index || self.reset.is_some()
    }

    /// Where the log begins anew, if that is not on its way to the disk yet; from now on it is.
    #[must_use]
    pub const fn take_reset(&mut self) -> Option<Position> {
        self.reset.take()
    }

    /// Write `id` and all before it are durable. Says whether the durable index moved.
    pub fn persisted(&mut self, id: PersistId) -> bool {
        let before = self.durable;
        while let Some((_, through)) = self.writes.pop_front_if(|(written, _)| *written <= id) {
            self.durable = self.durable.max(through);
        }
        self.evict();
        self.durable > before
    }

    /// Everything up to `index` is committed, as far as it is here.
    pub fn commit_to(&mut self, index: Index) -> bool {
        let index = index.min(self.last.index);
        let moved = index > self.commit;
        self.commit = self.commit.max(index);
        moved
    }

    /// Whether there is something to apply: committed and durable here.
    #[must_use]
    pub fn has_unapplied(&self) -> bool {
        self.applied < self.commit.min(self.durable)
    }

    /// The next entries to apply; from now on they count as applied.
    #[must_use]
    pub fn take_unapplied(&mut self) -> Vec<Entry> {
        let entries = self.range(
            self.applied.next(),
            self.commit.min(self.durable),
            limits::APPLY_BYTES_MAX,
        );
        if let Some(entry) = entries.last() {
            self.applied = entry.index;
            self.memberships.apply_to(entry.index);
        }
        self.evict();
        entries
    }

    /// Forgets the content of old entries when the tail is over its limit.
    fn evict(&mut self) {
        let keep = self.durable.min(self.applied);
        while self.tail_bytes > limits::LOG_TAIL_BYTES_MAX {
            let Some(entry) = self.tail.pop_front_if(|entry| entry.index <= keep) else {
                return;
            };
            self.tail_bytes -= entry.payload.len() + ENTRY_OVERHEAD;
        }
    }

    /// Forgets everything up to `through`, which is applied, and returns its position.
    pub fn compact(&mut self, through: Index) -> Position {
        assert!(
            through <= self.applied,
            "entry {through} is not applied yet (up to {})",
            self.applied
        );
        let Some(base) = self.position(through) else {
            return self.base;
        };
        while let Some(entry) = self.tail.pop_front_if(|entry| entry.index <= through) {
            self.tail_bytes -= entry.payload.len() + ENTRY_OVERHEAD;
        }
        while self.runs.len() > 1 && self.runs[1].index <= through.next() {
            self.runs.pop_front();
        }
        match self.runs.front_mut() {
            Some(_) if through == self.last.index => self.runs.clear(),
            Some(run) => run.index = run.index.max(through.next()),
            None => {}
        }
        self.sizes.compact(through);
        self.base = base;
        base
    }

    /// Replaces the log by a snapshot that is durable here: it is empty, and everything up to `at` is committed and applied.
    ///
    /// # Panics
    /// When the log has that entry, or has committed more: then nothing may be replaced.
    pub fn install(&mut self, at: Position, membership: Membership) {
        assert!(
            at.index > self.commit && self.term_at(at.index) != Some(at.term),
            "a snapshot up to entry {} replaces a log that needs none (committed up to {})",
            at.index,
            self.commit
        );
        let gap = Position {
            index: at.index.next(),
            ..at
        };
        let at = mutants::either(Mutant::SnapshotLeavesGap, gap, at);
        if mutants::on(Mutant::SnapshotKeepsSuffix) && at.index <= self.durable {
            (self.commit, self.applied) = (at.index, at.index);
            return;
        }
        self.tail.clear();
        self.tail_bytes = 0;
        self.runs.clear();
        self.sizes = Sizes::default();
        // What is still being written is no part of this log any more, and counts for nothing when it completes.
        for (_, through) in &mut self.writes {
            *through = Index(0);
        }
        self.base = at;
        self.last = at;
        self.written = at.index;
        self.durable = at.index;
        self.commit = at.index;
        self.applied = at.index;
        self.memberships = Memberships::new(at.index, Arc::new(membership));
        self.reset = Some(at);
    }

    /// Up to this entry the log is more than `entries_max` or `bytes_max`.
    #[must_use]
    pub fn surplus(&self, entries_max: u64, bytes_max: u64) -> Index {
        let by_count = Index(self.last.index.0.saturating_sub(entries_max));
        by_count.max(self.sizes.surplus(bytes_max))
    }
}

#[cfg(test)]
#[path = "log_tests.rs"]
mod tests;
