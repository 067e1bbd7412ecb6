//! What a state store must hold, told by the plainest means: every operation replayed on maps.

use std::collections::BTreeMap;

use bytes::Bytes;
use kapu::hlc::Hlc;
use kapu::machine::Row;
use kapu::raft::Position;
use kapu::storage::{
    Completion, InstallWrite, Loaded, StageWrite, StateMark, StateSnapshot, StateStore, StateWrite, StorageError,
    VisitRow,
};
use kapu::types::{LogTime, PartitionId};
use rand::RngExt;
use rand::rngs::StdRng;

use crate::disk::Platters;
use crate::support::{at, membership};

pub type Rows = BTreeMap<Bytes, Bytes>;

/// One operation on the state of one partition.
#[derive(Clone, Debug)]
pub enum StateOp {
    Write(StateMark, Vec<Row>),
    Stage(Position, Vec<(Bytes, Bytes)>),
    Install(StateMark),
}

/// One partition.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct StateModel {
    pub loaded: Loaded,
    pub rows: Rows,
    pub staging: Option<(Position, Rows)>,
}

impl StateModel {
    pub fn apply(&mut self, op: &StateOp) {
        match op.clone() {
            StateOp::Write(mark, changed) => {
                let installed = false;
                self.loaded = Loaded { mark, installed };
                for row in changed {
                    match row.value {
                        Some(value) => self.rows.insert(row.key, value),
                        None => self.rows.remove(&row.key),
                    };
                }
            }
            StateOp::Stage(at, rows) => {
                let was = self.staging.take().filter(|(staged, _)| *staged == at);
                let mut staged = was.map(|(_, rows)| rows).unwrap_or_default();
                staged.extend(rows);
                self.staging = Some((at, staged));
            }
            StateOp::Install(mark) => {
                let (at, rows) = self.staging.take().expect("something is staged");
                assert_eq!(at, mark.applied);
                let installed = true;
                self.loaded = Loaded { mark, installed };
                self.rows = rows;
            }
        }
    }

    /// Draws the next operation, one that a correct partition could ask for.
    pub fn draw(&self, rng: &mut StdRng) -> StateOp {
        let applied = self.loaded.mark.applied;
        match &self.staging {
            Some((staged, _)) if rng.random_bool(0.2) && staged.index >= applied.index => {
                StateOp::Install(draw_mark(rng, *staged))
            }
            Some((staged, _)) if rng.random_bool(0.4) => StateOp::Stage(*staged, draw_pairs(rng)),
            _ if rng.random_bool(0.3) => {
                let ahead = at(applied.term.0 + 1, applied.index.0 + rng.random_range(1..20));
                StateOp::Stage(ahead, draw_pairs(rng))
            }
            _ => {
                let next = at(applied.term.0, applied.index.0 + 1);
                StateOp::Write(draw_mark(rng, next), draw_changes(rng))
            }
        }
    }

    /// What a store holds.
    pub fn found(store: &dyn StateStore, partition: PartitionId) -> Result<Self, StorageError> {
        let (loaded, rows) = collect(|row| store.load(partition, row))?;
        let (staged, staged_rows) = collect(|row| store.staged(partition, row))?;
        Ok(Self {
            loaded,
            rows,
            staging: staged.map(|at| (at, staged_rows)),
        })
    }
}

impl StateOp {
    pub fn submit(self, store: &dyn StateStore, partition: PartitionId, done: Completion) {
        match self {
            Self::Write(mark, rows) => store.write(StateWrite {
                partition,
                mark,
                rows,
                done,
            }),
            Self::Stage(at, rows) => store.stage(StageWrite {
                partition,
                at,
                rows,
                done,
            }),
            Self::Install(mark) => store.install(InstallWrite { partition, mark, done }),
        }
    }
}

fn collect<T>(visit: impl FnOnce(&mut VisitRow<'_>) -> Result<T, StorageError>) -> Result<(T, Rows), StorageError> {
    let mut rows = Vec::new();
    let found = visit(&mut |key, value| {
        rows.push((Bytes::copy_from_slice(key), Bytes::copy_from_slice(value)));
        Ok(())
    })?;
    assert!(rows.is_sorted_by(|a, b| a.0 < b.0), "in the order of keys, each once");
    Ok((found, rows.into_iter().collect()))
}

/// All rows of a snapshot, read in parts of at most `bytes_max`.
pub fn rows_of(snapshot: &dyn StateSnapshot, bytes_max: usize) -> Result<Rows, StorageError> {
    let mut rows: Vec<(Bytes, Bytes)> = Vec::new();
    loop {
        let after = rows.last().map(|(key, _)| key.clone());
        let part = snapshot.rows(after.as_deref(), bytes_max)?;
        if part.is_empty() {
            assert!(rows.is_sorted_by(|a, b| a.0 < b.0), "in the order of keys, each once");
            return Ok(rows.into_iter().collect());
        }
        rows.extend(part);
    }
}

fn draw_mark(rng: &mut StdRng, applied: Position) -> StateMark {
    StateMark {
        applied,
        log_time: LogTime(applied.index.0 * 3),
        hlc: Some(Hlc(applied.index.0 * 7 + 1)),
        membership: membership(1..=rng.random_range(0..4)),
    }
}

fn draw_key(rng: &mut StdRng) -> Bytes {
    let key: u8 = rng.random_range(0..40);
    Bytes::from(
        vec![key; usize::from(key % 3)]
            .into_iter()
            .chain([key])
            .collect::<Vec<_>>(),
    )
}

fn draw_value(rng: &mut StdRng) -> Bytes {
    Bytes::from(vec![rng.random(); rng.random_range(0..800)])
}

fn draw_pairs(rng: &mut StdRng) -> Vec<(Bytes, Bytes)> {
    let count = rng.random_range(0..12);
    (0..count).map(|_| (draw_key(rng), draw_value(rng))).collect()
}

fn draw_changes(rng: &mut StdRng) -> Vec<Row> {
    let count = rng.random_range(0..6);
    let mut change = || Row {
        key: draw_key(rng),
        value: rng.random_bool(0.7).then(|| draw_value(rng)),
    };
    (0..count).map(|_| change()).collect()
}

const ROWS: redb::TableDefinition<(u32, u64, &[u8]), &[u8]> = redb::TableDefinition::new("rows");
/// Live generation; term, index, log time and hybrid time of the mark; whether it was installed; membership.
type MarkRow = (u64, u64, u64, u64, u64, bool, &'static [u8]);
pub const MARKS: redb::TableDefinition<u32, MarkRow> = redb::TableDefinition::new("marks");
const STAGING: redb::TableDefinition<u32, (u64, u64, u64)> = redb::TableDefinition::new("staging");

/// How many rows a closed file has that are neither live nor staged.
pub fn leftovers(platters: &Platters) -> usize {
    use redb::{ReadableDatabase as _, ReadableTable as _};
    let file = platters.boot(None).file("state.redb").unwrap();
    let database = redb::Database::builder().create_with_backend(file).unwrap();
    let transaction = database.begin_read().unwrap();
    let marks = transaction.open_table(MARKS).unwrap();
    let staging = transaction.open_table(STAGING).unwrap();
    let is_used = |partition: u32, generation: u64| {
        let live = marks.get(partition).unwrap().map_or(0, |mark| mark.value().0);
        let staged = staging.get(partition).unwrap().map(|row| row.value().0);
        generation == live || Some(generation) == staged
    };
    let rows = transaction.open_table(ROWS).unwrap();
    let is_left = |key: (u32, u64, &[u8])| !is_used(key.0, key.1);
    rows.iter()
        .unwrap()
        .filter(|row| is_left(row.as_ref().unwrap().0.value()))
        .count()
}
