//! What a log store must hold, told by the plainest means: every operation replayed on a map.

use std::collections::BTreeMap;

use bytes::Bytes;
use kapu::raft::{DurableLog, Entry, HardState, Position};
use kapu::storage::LogStore;
use kapu::types::{Index, NodeId, PartitionId, Term};
use rand::RngExt;
use rand::rngs::StdRng;

use crate::support::at;

/// One operation on the log of one partition.
#[derive(Clone, Debug)]
pub enum Op {
    Write {
        partition: u32,
        hard_state: Option<HardState>,
        reset: Option<Position>,
        entries: Vec<Entry>,
    },
    Compact {
        partition: u32,
        through: Position,
    },
}

/// One partition. Compacted entries stay in the map: a base may be older after a crash, and then they must still be right.
#[derive(Clone, Debug, Default)]
struct PartitionModel {
    hard_state: HardState,
    base: Position,
    /// The base of the last time the log was replaced: an older one must not come back.
    floor: Position,
    entries: BTreeMap<u64, (Term, Bytes)>,
}

impl PartitionModel {
    fn last(&self) -> Position {
        let last = self
            .entries
            .last_key_value()
            .map(|(index, (term, _))| at(term.0, *index));
        last.unwrap_or(self.base).max_by_index(self.base)
    }
}

trait MaxByIndex {
    fn max_by_index(self, other: Self) -> Self;
}

impl MaxByIndex for Position {
    fn max_by_index(self, other: Self) -> Self {
        if self.index > other.index { self } else { other }
    }
}

/// Every partition.
#[derive(Clone, Debug)]
pub struct Model {
    partitions: Vec<PartitionModel>,
}

impl Model {
    pub fn new(partitions: u32) -> Self {
        Self {
            partitions: (0..partitions).map(|_| PartitionModel::default()).collect(),
        }
    }

    pub fn apply(&mut self, op: &Op) {
        match op {
            Op::Write {
                partition,
                hard_state,
                reset,
                entries,
            } => {
                let model = &mut self.partitions[*partition as usize];
                model.hard_state = hard_state.unwrap_or(model.hard_state);
                if let Some(position) = reset {
                    model.reset(*position);
                }
                if let Some(first) = entries.first() {
                    model.entries.split_off(&first.index.0);
                }
                model.entries.extend(
                    entries
                        .iter()
                        .map(|entry| (entry.index.0, (entry.term, entry.payload.clone()))),
                );
            }
            Op::Compact { partition, through } => self.partitions[*partition as usize].compact(*through),
        }
    }

    /// Draws the next operation, one that a correct replica could ask for, of one of the first `active` partitions.
    pub fn draw(&self, rng: &mut StdRng, active: usize) -> Op {
        let partition = rng.random_range(0..active.min(self.partitions.len()));
        let model = &self.partitions[partition];
        let partition = u32::try_from(partition).unwrap();
        let last = model.last();
        match rng.random_range(0..10) {
            0 if model.base.index < last.index => {
                let index = rng.random_range(model.base.index.0 + 1..=last.index.0);
                Op::Compact {
                    partition,
                    through: at(model.entries[&index].0.0, index),
                }
            }
            1 if rng.random_bool(0.5) => {
                let position = at(last.term.0 + 1, last.index.0 + rng.random_range(1..5));
                model.draw_reset(rng, partition, position)
            }
            2 if model.base.index < last.index && rng.random_bool(0.3) => {
                let index = rng.random_range(model.base.index.0 + 1..=last.index.0);
                model.draw_reset(rng, partition, at(last.term.0 + 1, index))
            }
            3 if rng.random_bool(0.5) => Op::Write {
                partition,
                hard_state: Some(model.draw_hard_state(rng)),
                reset: None,
                entries: Vec::new(),
            },
            4 | 5 if model.base.index < last.index => {
                let first = rng.random_range(model.base.index.0 + 1..=last.index.0);
                model.draw_write(rng, partition, first, last.term.0 + 1)
            }
            _ => model.draw_write(rng, partition, last.index.0 + 1, last.term.0.max(1)),
        }
    }

    /// Whether the store holds this, and how it differs if not. Bases may be older than in the model, but never newer than `newest`.
    pub fn compare(&self, store: &dyn LogStore, newest: &Self) -> Result<(), String> {
        for (partition, (model, newest)) in (0..)
            .map(PartitionId)
            .zip(self.partitions.iter().zip(&newest.partitions))
        {
            let recovered = store.recover(partition).map_err(|error| error.to_string())?;
            let differ = |what: &str, theirs: &dyn std::fmt::Debug, ours: &dyn std::fmt::Debug| {
                Err(format!(
                    "{what} of partition {partition}: store {theirs:?}, model {ours:?}"
                ))
            };
            if recovered.hard_state != model.hard_state {
                return differ("hard state", &recovered.hard_state, &model.hard_state);
            }
            if recovered.log.last != model.last() {
                return differ("last", &recovered.log.last, &model.last());
            }
            if recovered.log.base.index < model.floor.index
                || recovered.log.base.index > newest.base.index.max(model.floor.index)
            {
                return differ("base", &recovered.log.base, &(model.floor, newest.base));
            }
            let expected = model.entries_above(recovered.log.base);
            if recovered.log.term_runs != term_runs(&expected) {
                return differ("term runs", &recovered.log.term_runs, &term_runs(&expected));
            }
            if !expected.is_empty() {
                let DurableLog { base, last, .. } = recovered.log;
                let found = store.read(partition, base.index.next(), last.index, usize::MAX);
                let found = found.map_err(|error| error.to_string())?;
                if found != expected {
                    return differ("entries", &found, &expected);
                }
            }
        }
        Ok(())
    }

    /// Takes the store's bases, after a crash made them older.
    pub fn take_bases(&mut self, store: &dyn LogStore) {
        for (partition, model) in (0..).map(PartitionId).zip(&mut self.partitions) {
            model.base = store.recover(partition).expect("it was compared").log.base;
            model.floor = model.base;
        }
    }
}

impl PartitionModel {
    fn compact(&mut self, through: Position) {
        if through.index <= self.base.index {
            return;
        }
        let term = self.entries.get(&through.index.0).map(|(term, _)| *term);
        assert_eq!(term, Some(through.term), "only what is there is compacted");
        self.base = through;
    }

    fn reset(&mut self, position: Position) {
        self.entries.clear();
        self.base = position;
        self.floor = position;
    }

    fn entries_above(&self, base: Position) -> Vec<Entry> {
        let entry = |(index, (term, payload)): (&u64, &(Term, Bytes))| Entry {
            index: Index(*index),
            term: *term,
            payload: payload.clone(),
        };
        self.entries.range(base.index.0 + 1..).map(entry).collect()
    }

    fn draw_hard_state(&self, rng: &mut StdRng) -> HardState {
        HardState {
            term: Term(self.hard_state.term.0 + rng.random_range(0..2)),
            vote: Some(rng.random_range(0..4)).filter(|&node| node > 0).map(NodeId),
        }
    }

    fn draw_write(&self, rng: &mut StdRng, partition: u32, first: u64, term: u64) -> Op {
        let count = rng.random_range(1..5);
        let entries = (first..first + count).map(|index| {
            let length = if rng.random_bool(0.05) {
                9000
            } else {
                rng.random_range(0..200)
            };
            let byte: u8 = rng.random();
            Entry {
                index: Index(index),
                term: Term(term),
                payload: Bytes::from(vec![byte; length]),
            }
        });
        let entries = entries.collect();
        let hard_state = rng.random_bool(0.1).then(|| self.draw_hard_state(rng));
        Op::Write {
            partition,
            hard_state,
            reset: None,
            entries,
        }
    }

    /// The log is replaced, sometimes with entries at once.
    fn draw_reset(&self, rng: &mut StdRng, partition: u32, position: Position) -> Op {
        let first = position.index.0 + 1;
        let mut op = self.draw_write(rng, partition, first, position.term.0);
        if let Op::Write { reset, entries, .. } = &mut op {
            *reset = Some(position);
            if rng.random_bool(0.6) {
                entries.clear();
            }
        }
        op
    }
}

fn term_runs(entries: &[Entry]) -> Vec<Position> {
    let mut runs: Vec<Position> = entries.iter().map(|entry| at(entry.term.0, entry.index.0)).collect();
    runs.dedup_by_key(|run| run.term);
    runs
}
