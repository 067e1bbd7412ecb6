//! A simulated disk: what is durable of one replica, and the writes that are not yet.
//!
//! It outlives the replica. A write is atomic, and writes complete in order, as the log store promises; when, is for the caller to say. It
//! does not judge what is written.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard};

use kapu::raft::{DurableLog, Entry, EntryReader, HardState, Persist, Position};
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

/// One replica's disk.
#[derive(Default)]
pub struct Disk {
    pub hard_state: HardState,
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
    /// A disk that holds this already.
    pub fn with(hard_state: HardState, entries: Vec<Entry>) -> Self {
        let disk = Self {
            hard_state,
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

    /// Completes the oldest write; returns its id, whether its hard state was new, and the entries that it replaced.
    pub fn complete(&mut self) -> Option<(PersistId, Vec<Entry>)> {
        let Persist {
            id,
            hard_state,
            reset,
            entries,
        } = self.under_way.pop_front()?;
        assert_eq!(reset, None, "nobody asks for it yet");
        if let Some(hard_state) = hard_state {
            let was = std::mem::replace(&mut self.hard_state, hard_state);
            assert!(hard_state.term >= was.term, "the durable term goes back");
            let kept = hard_state.term > was.term || was.vote.is_none() || hard_state.vote == was.vote;
            assert!(kept, "the durable vote of term {} is taken back", was.term);
        }
        Some((id, self.replace(entries)))
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

    pub fn last(&self) -> Position {
        let shelf = self.shelf.lock();
        shelf.entries.back().map_or(shelf.base, position)
    }

    /// Whether `entry` is durable here, as its position tells. What is compacted was durable everywhere.
    pub fn holds(&self, entry: &Entry) -> bool {
        let shelf = self.shelf.lock();
        entry.index <= shelf.base.index
            || shelf
                .get(entry.index)
                .is_some_and(|held| position(held) == position(entry))
    }

    pub fn term_at(&self, index: Index) -> Option<Term> {
        let shelf = self.shelf.lock();
        if index == shelf.base.index {
            return Some(shelf.base.term);
        }
        shelf.get(index).map(|entry| entry.term)
    }

    pub fn entries(&self) -> Vec<Entry> {
        self.shelf.lock().entries.iter().cloned().collect()
    }

    /// What a replica finds when it starts.
    pub fn recover(&self) -> (DurableLog, Box<dyn EntryReader>) {
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
        };
        (found, Box::new(self.shelf.clone()))
    }
}

impl Shelf {
    fn lock(&self) -> MutexGuard<'_, Entries> {
        self.0.lock().expect("nobody panics while holding it")
    }
}

impl Entries {
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
