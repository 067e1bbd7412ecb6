//! Where the entries of one partition's log are: the index in memory that stands for the log on disk.
//!
//! The log store writes blobs and never goes back to change one, so what is *live* follows from the order of the blobs alone: an entry at
//! index i replaces everything at i and above. This index replays that rule, once per blob when the store opens and once per write from
//! then on, so that both cannot differ. It reads nothing from disk and holds no payload.

use std::collections::VecDeque;

use crate::raft::{DurableLog, HardState, Position};
use crate::storage::Recovered;
use crate::types::{Index, Term};

/// Where something is stored.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Home {
    /// In a row of its own, where garbage collection put it.
    #[default]
    Moved,
    /// In the blob of this number.
    Blob(u64),
}

impl Home {
    /// Whether it is in a blob below `cut`.
    #[must_use]
    pub fn is_blob_below(self, cut: u64) -> bool {
        matches!(self, Self::Blob(seq) if seq < cut)
    }
}

/// Consecutive entries with one home.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Run {
    /// The first entry.
    pub first: Index,
    /// The last entry.
    pub last: Index,
    /// Where they are.
    pub home: Home,
}

/// Where the live entries of one partition are.
///
/// - Runs ascend, by index and by home: a later entry never has an earlier home.
/// - Every index from `base + 1` to the last is in exactly one run. (Not while blobs are replayed: see [`LogIndex::gap`].)
/// - `terms` names the first index of each run of equal terms above the base.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LogIndex {
    base: Position,
    runs: VecDeque<Run>,
    terms: VecDeque<Position>,
    hard_state: HardState,
    hard_state_home: Home,
}

impl LogIndex {
    /// What Raft wants to know of it.
    #[must_use]
    pub fn recovered(&self) -> Recovered {
        let log = DurableLog {
            base: self.base,
            last: self.last(),
            term_runs: self.terms.iter().copied().collect(),
        };
        Recovered {
            hard_state: self.hard_state,
            log,
        }
    }

    /// The last compacted entry.
    #[must_use]
    pub const fn base(&self) -> Position {
        self.base
    }

    /// The last entry.
    #[must_use]
    pub fn last(&self) -> Position {
        match (self.terms.back(), self.runs.back()) {
            (Some(term), Some(run)) => Position {
                term: term.term,
                index: run.last,
            },
            _ => self.base,
        }
    }

    /// Term and vote.
    #[must_use]
    pub const fn hard_state(&self) -> HardState {
        self.hard_state
    }

    /// Where term and vote are.
    #[must_use]
    pub const fn hard_state_home(&self) -> Home {
        self.hard_state_home
    }

    /// Term and vote were written to `home`.
    pub fn set_hard_state(&mut self, hard_state: HardState, home: Home) {
        self.hard_state = hard_state;
        self.hard_state_home = home;
    }

    /// Entries of these terms were written to `home`, the first at `first`. What was at `first` and above is replaced; what is at or
    /// below the base stays compacted.
    pub fn append(&mut self, first: Index, terms: impl Iterator<Item = Term>, home: Home) {
        self.truncate(first);
        let mut next = first;
        for term in terms {
            if next > self.base.index && self.terms.back().is_none_or(|last| last.term != term) {
                self.terms.push_back(Position { term, index: next });
            }
            next = next.next();
        }
        let run = Run {
            first: first.max(self.base.index.next()),
            last: next.prev(),
            home,
        };
        match self.runs.back_mut() {
            _ if run.first > run.last => {}
            Some(back) if back.home == home && back.last.next() == run.first => back.last = run.last,
            _ => self.runs.push_back(run),
        }
    }

    fn truncate(&mut self, from: Index) {
        while self.terms.back().is_some_and(|run| run.index >= from) {
            self.terms.pop_back();
        }
        while self.runs.back().is_some_and(|run| run.first >= from) {
            self.runs.pop_back();
        }
        if let Some(back) = self.runs.back_mut() {
            back.last = back.last.min(from.prev());
        }
    }

    /// Lets go of everything up to `through` and keeps what follows. Returns false, and changes nothing, when the log does not have that
    /// entry.
    #[must_use]
    pub fn compact(&mut self, through: Position) -> bool {
        if through.index <= self.base.index {
            return true;
        }
        if through.index > self.last().index || self.term_at(through.index) != through.term {
            return false;
        }
        self.base = through;
        let first = through.index.next();
        while self.runs.front().is_some_and(|run| run.last < first) {
            self.runs.pop_front();
        }
        while self.terms.get(1).is_some_and(|run| run.index <= first) {
            self.terms.pop_front();
        }
        match (self.runs.front_mut(), self.terms.front_mut()) {
            (Some(run), Some(term)) => {
                run.first = run.first.max(first);
                term.index = term.index.max(first);
            }
            _ => self.terms.clear(),
        }
        true
    }

    /// The log is empty and begins after `position`, or after the base where that is later: when blobs are replayed, the base is that of
    /// a later compaction.
    pub fn reset(&mut self, position: Position) {
        self.runs.clear();
        self.terms.clear();
        if position.index > self.base.index {
            self.base = position;
        }
    }

    /// The term of an entry above the base.
    fn term_at(&self, index: Index) -> Term {
        let after = self.terms.partition_point(|run| run.index <= index);
        self.terms
            .get(after.wrapping_sub(1))
            .map_or(self.base.term, |run| run.term)
    }

    /// The first index above the base that no run has although a later one is there. A log that was replayed to its end has none.
    #[must_use]
    pub fn gap(&self) -> Option<Index> {
        let mut next = self.base.index.next();
        for run in &self.runs {
            if run.first != next {
                return Some(next);
            }
            next = run.last.next();
        }
        None
    }

    /// The runs that hold `first` to `last`, cut to that range; `None` when an entry of the range is compacted or was never written.
    #[must_use]
    pub fn find(&self, first: Index, last: Index) -> Option<Vec<Run>> {
        if first <= self.base.index || last > self.last().index {
            return None;
        }
        let start = self.runs.partition_point(|run| run.last < first);
        let runs = self.runs.range(start..).take_while(|run| run.first <= last);
        Some(
            runs.map(|run| Run {
                first: run.first.max(first),
                last: run.last.min(last),
                home: run.home,
            })
            .collect(),
        )
    }

    /// The live runs in blobs below `cut`, each with its blob.
    pub fn in_blobs_below(&self, cut: u64) -> impl Iterator<Item = (u64, Run)> + '_ {
        let below = move |run: &&Run| run.home < Home::Blob(cut);
        self.runs.iter().take_while(below).filter_map(|run| match run.home {
            Home::Blob(seq) => Some((seq, *run)),
            Home::Moved => None,
        })
    }

    /// Everything in blobs below `cut` was moved to rows of its own.
    pub fn move_below(&mut self, cut: u64) {
        if self.hard_state_home.is_blob_below(cut) {
            self.hard_state_home = Home::Moved;
        }
        let moved = self.runs.partition_point(|run| run.home < Home::Blob(cut));
        let Some(last) = moved.checked_sub(1).map(|at| self.runs[at].last) else {
            return;
        };
        self.runs.drain(1..moved);
        let first = self.runs[0].first;
        self.runs[0] = Run {
            first,
            last,
            home: Home::Moved,
        };
    }

    /// The live entries in rows of their own, first and last.
    #[must_use]
    pub fn moved(&self) -> Option<(Index, Index)> {
        let front = self.runs.front().filter(|run| run.home == Home::Moved)?;
        Some((front.first, front.last))
    }
}

#[cfg(test)]
mod tests;
