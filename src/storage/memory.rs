//! Stores in memory: for tests, and for users who need no durability.
//!
//! They complete every write at once, in the order given, on the caller's thread. Nothing survives the process, so a node on them must
//! not come back under its old name after a crash.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use bytes::Bytes;

use super::read::{Budget, missing};
use super::{LogStore, LogWrite, Recovered, StateMark, StateStore, StateWrite, StorageError, VisitRow};
use crate::raft::{DurableLog, Entry, HardState, Position};
use crate::types::{Index, PartitionId};

/// Logs in memory.
#[derive(Debug, Default)]
pub struct MemoryLog {
    partitions: Mutex<BTreeMap<PartitionId, PartitionLog>>,
}

#[derive(Debug, Default)]
struct PartitionLog {
    hard_state: HardState,
    base: Position,
    /// Consecutive from `base + 1`.
    entries: Vec<Entry>,
}

impl PartitionLog {
    fn last(&self) -> Position {
        self.entries.last().map_or(self.base, position)
    }

    /// How many entries are at or below `index`.
    fn count_through(&self, index: Index) -> usize {
        self.entries.partition_point(|entry| entry.index <= index)
    }

    fn append(&mut self, entries: Vec<Entry>) {
        let Some(first) = entries.first() else { return };
        assert!(
            self.base.index < first.index && first.index <= self.last().index.next(),
            "entries from {} do not follow a log from {} to {}",
            first.index,
            self.base.index,
            self.last().index,
        );
        self.entries.truncate(self.count_through(first.index.prev()));
        self.entries.extend(entries);
    }

    fn compact(&mut self, through: Position) {
        if through.index <= self.base.index {
            return;
        }
        let count = self.count_through(through.index);
        let kept = count > 0 && position(&self.entries[count - 1]) == through;
        self.entries.drain(..if kept { count } else { self.entries.len() });
        self.base = through;
    }

    fn term_runs(&self) -> Vec<Position> {
        let mut runs: Vec<Position> = self.entries.iter().map(position).collect();
        runs.dedup_by_key(|run| run.term);
        runs
    }
}

fn position(entry: &Entry) -> Position {
    Position {
        term: entry.term,
        index: entry.index,
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl LogStore for MemoryLog {
    fn recover(&self, partition: PartitionId) -> Result<Recovered, StorageError> {
        let partitions = lock(&self.partitions);
        let found = |log: &PartitionLog| Recovered {
            hard_state: log.hard_state,
            log: DurableLog {
                base: log.base,
                last: log.last(),
                term_runs: log.term_runs(),
            },
        };
        Ok(partitions.get(&partition).map(found).unwrap_or_default())
    }

    fn write(&self, write: LogWrite) {
        let LogWrite {
            partition,
            persist,
            done,
        } = write;
        {
            let mut partitions = lock(&self.partitions);
            let log = partitions.entry(partition).or_default();
            log.hard_state = persist.hard_state.unwrap_or(log.hard_state);
            log.append(persist.entries);
        }
        done();
    }

    fn read(
        &self,
        partition: PartitionId,
        first: Index,
        last: Index,
        bytes_max: usize,
    ) -> Result<Vec<Entry>, StorageError> {
        let partitions = lock(&self.partitions);
        let missing = || missing("memory", partition, first, last);
        let log = partitions.get(&partition).ok_or_else(missing)?;
        if first <= log.base.index || last > log.last().index {
            return Err(missing());
        }
        let wanted = &log.entries[log.count_through(first.prev())..log.count_through(last)];
        let mut budget = Budget::new(bytes_max);
        Ok(wanted
            .iter()
            .take_while(|entry| budget.take(entry.payload.len()))
            .cloned()
            .collect())
    }

    fn compact(&self, partition: PartitionId, through: Position) {
        lock(&self.partitions).entry(partition).or_default().compact(through);
    }
}

/// Rows in memory.
#[derive(Debug, Default)]
pub struct MemoryState {
    partitions: Mutex<BTreeMap<PartitionId, PartitionState>>,
}

#[derive(Debug, Default)]
struct PartitionState {
    mark: StateMark,
    rows: BTreeMap<Bytes, Bytes>,
}

impl StateStore for MemoryState {
    fn load(&self, partition: PartitionId, row: &mut VisitRow<'_>) -> Result<StateMark, StorageError> {
        let partitions = lock(&self.partitions);
        let Some(state) = partitions.get(&partition) else {
            return Ok(StateMark::default());
        };
        for (key, value) in &state.rows {
            row(key, value).map_err(|reason| StorageError::Corrupt {
                file: "memory".to_owned(),
                reason,
            })?;
        }
        Ok(state.mark)
    }

    fn write(&self, write: StateWrite) {
        {
            let mut partitions = lock(&self.partitions);
            let state = partitions.entry(write.partition).or_default();
            state.mark = write.mark;
            for row in write.rows {
                match row.value {
                    Some(value) => state.rows.insert(row.key, value),
                    None => state.rows.remove(&row.key),
                };
            }
        }
        (write.done)();
    }
}
