//! A simulated disk: what is durable of one replica, and the writes that are not yet.
//!
//! It outlives the replica. A write is atomic, and writes complete in order, as the log store promises; when, is for the caller to say. It
//! does not judge what is written.
//!
//! Beside the log it keeps the saved state: up to where, and who the members were there. A state that came from elsewhere is saved before the
//! log gives way to it; until that is durable too, the log lacks the position of the state, and a start begins the log anew there.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard};

use kapu::raft::{DurableLog, Entry, EntryReader, HardState, Membership, Persist, Position};
use kapu::types::{Index, PersistId, Term};

/// The durable entries, shared with the replica that reads them back.
#[derive(Clone, Default)]
struct Shelf(Arc<Mutex<Entries>>);

/// - `entries` follow `base` without a gap.
#[derive(Default)]
struct Entries {
    base: Position,
    entries: VecDeque<Entry>,
}

/// A durable state: everything up to `at` is in it, and `membership` was in force there.
#[derive(Clone, Default)]
pub struct Saved {
    pub at: Position,
    pub membership: Membership,
}

/// One replica's disk.
#[derive(Default)]
pub struct Disk {
    pub hard_state: HardState,
    pub saved: Saved,
    /// Writes stay under way until they are completed by hand.
    pub held: bool,
    shelf: Shelf,
    under_way: VecDeque<Persist>,
}

pub fn position(entry: &Entry) -> Position {
    Position {
        term: entry.term,
        index: entry.index,
    }
}

impl Disk {
    /// A disk that holds this already, of a node that begins with `membership`.
    pub fn with(membership: Membership, hard_state: HardState, entries: Vec<Entry>) -> Self {
        let at = Position::default();
        let disk = Self {
            hard_state,
            saved: Saved { at, membership },
            ..Self::default()
        };
        disk.shelf.lock().entries = entries.into();
        disk
    }

    pub fn write(&mut self, persist: Persist) {
        self.under_way.push_back(persist);
    }

    pub fn writes_under_way(&self) -> usize {
        self.under_way.len()
    }

    /// Completes the oldest write; returns its id and the entries that it replaced.
    pub fn complete(&mut self) -> Option<(PersistId, Vec<Entry>)> {
        let Persist {
            id,
            hard_state,
            reset,
            entries,
        } = self.under_way.pop_front()?;
        if let Some(hard_state) = hard_state {
            let was = std::mem::replace(&mut self.hard_state, hard_state);
            assert!(hard_state.term >= was.term, "the durable term goes back");
            let kept = hard_state.term > was.term || was.vote.is_none() || hard_state.vote == was.vote;
            assert!(kept, "the durable vote of term {} is taken back", was.term);
        }
        let mut replaced = reset.map_or_else(Vec::new, |at| self.shelf.begin_anew(at));
        replaced.extend(self.replace(entries));
        Some((id, replaced))
    }

    fn replace(&self, entries: Vec<Entry>) -> Vec<Entry> {
        let mut shelf = self.shelf.lock();
        let Some(first) = entries.first().map(|entry| entry.index) else {
            return Vec::new();
        };
        let keep = first
            .0
            .checked_sub(shelf.base.index.0 + 1)
            .expect("a write is above the base");
        let keep = usize::try_from(keep).expect("a log fits in memory");
        assert!(
            keep <= shelf.entries.len(),
            "a write at {first} leaves a hole in the log"
        );
        let replaced = shelf.entries.split_off(keep).into();
        shelf.entries.extend(entries);
        replaced
    }

    /// Power fails: the oldest `reached` writes got to the disk, the rest did not. Returns how many were lost.
    pub fn crash(&mut self, reached: usize) -> usize {
        for _ in 0..reached {
            self.complete();
        }
        let lost = self.under_way.len();
        self.under_way.clear();
        self.held = false;
        lost
    }

    pub fn compact(&self, through: Position) {
        let mut shelf = self.shelf.lock();
        while shelf.entries.front().is_some_and(|entry| entry.index <= through.index) {
            shelf.entries.pop_front();
        }
        shelf.base = through;
    }

    pub fn base(&self) -> Position {
        self.shelf.lock().base
    }

    /// Whether the log lacks the position of the saved state: a start begins it anew there.
    pub fn begins_anew(&self) -> bool {
        let Position { term, index } = self.saved.at;
        self.shelf.lock().term_at(index) != Some(term)
    }

    /// The last position that a start finds.
    pub fn last(&self) -> Position {
        if self.begins_anew() {
            return self.saved.at;
        }
        let shelf = self.shelf.lock();
        shelf.entries.back().map_or(shelf.base, position)
    }

    /// Whether a start finds `entry`, as its position tells. What the saved state contains was committed.
    pub fn holds(&self, entry: &Entry) -> bool {
        entry.index <= self.saved.at.index || self.term_at(entry.index) == Some(entry.term)
    }

    /// The term of the entry at `index` that a start finds.
    pub fn term_at(&self, index: Index) -> Option<Term> {
        if self.begins_anew() {
            return (index == self.saved.at.index).then_some(self.saved.at.term);
        }
        self.shelf.lock().term_at(index)
    }

    pub fn entries(&self) -> Vec<Entry> {
        self.shelf.lock().entries.iter().cloned().collect()
    }

    /// What a replica finds when it starts.
    pub fn recover(&self) -> (DurableLog, Box<dyn EntryReader>) {
        if self.begins_anew() {
            self.shelf.begin_anew(self.saved.at);
        }
        let shelf = self.shelf.lock();
        let mut term_runs: Vec<Position> = Vec::new();
        for entry in &shelf.entries {
            if term_runs.last().is_none_or(|run| run.term != entry.term) {
                term_runs.push(position(entry));
            }
        }
        let found = DurableLog {
            base: shelf.base,
            last: shelf.entries.back().map_or(shelf.base, position),
            term_runs,
            replaced: false,
        };
        (found, Box::new(self.shelf.clone()))
    }
}

impl Shelf {
    fn lock(&self) -> MutexGuard<'_, Entries> {
        self.0.lock().expect("nobody panics while holding it")
    }

    /// The log is empty and begins after `at`. Returns what it held.
    fn begin_anew(&self, at: Position) -> Vec<Entry> {
        let mut shelf = self.lock();
        shelf.base = at;
        shelf.entries.drain(..).collect()
    }
}

impl Entries {
    fn term_at(&self, index: Index) -> Option<Term> {
        if index == self.base.index {
            return Some(self.base.term);
        }
        self.get(index).map(|entry| entry.term)
    }

    fn get(&self, index: Index) -> Option<&Entry> {
        let above = index.0.checked_sub(self.base.index.0 + 1)?;
        self.entries.get(usize::try_from(above).expect("a log fits in memory"))
    }
}

impl EntryReader for Shelf {
    fn read(&self, first: Index, last: Index, bytes_max: usize) -> Vec<Entry> {
        let shelf = self.lock();
        let mut bytes = 0;
        let wanted = (first.0..=last.0).map_while(|index| shelf.get(Index(index)));
        let fits = |entry: &&Entry| {
            let fits = bytes == 0 || bytes + entry.payload.len() <= bytes_max;
            bytes += entry.payload.len().max(1);
            fits
        };
        wanted.take_while(fits).cloned().collect()
    }
}
