//! Stores in memory: for tests, and for users who need no durability.
//!
//! They complete every write at once, in the order given, on the caller's thread. Nothing survives the process, so a node on them must
//! not come back under its old name after a crash.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use rand::RngExt as _;

use super::read::{Budget, missing};
use super::{Identity, LogStore, LogWrite, Opened, Recovered, StorageError};
use super::{InstallWrite, Loaded, StageWrite, StateMark, StateSnapshot, StateStore, StateWrite, VisitRow};
use crate::env::Env;
use crate::machine::Row;
use crate::raft::{DurableLog, Entry, HardState, Position};
use crate::types::{Incarnation, Index, PartitionId, StorageId};

/// A new node in memory, for [`crate::node::NodeBuilder::storage`]. Each call is another disk to its peers, so the node can be started once and no
/// more: a second start is refused like a disk that was wiped.
#[must_use]
pub fn open(env: &Env, identity: &Identity) -> Opened {
    let mut rng = env.rng(&format!("storage in memory since {:?}", env.clock.now()));
    Opened {
        log: Arc::new(MemoryLog::default()),
        state: Arc::new(MemoryState::default()),
        log_counters: Arc::default(),
        storage_id: StorageId(rng.random()),
        incarnation: Incarnation::new(1, rng.random()),
        earlier: Vec::new(),
        peers: BTreeMap::new(),
        remember_peer: Arc::new(|_, _, done| done()),
        remember_refusal: Arc::new(drop),
        initial_membership: identity.membership.clone(),
        closed: Box::pin(std::future::ready(())),
    }
}

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
        assert!(
            count > 0 && position(&self.entries[count - 1]) == through,
            "a log up to {} is compacted up to entry {} of term {}, which it does not have",
            self.last().index,
            through.index,
            through.term,
        );
        self.entries.drain(..count);
        self.base = through;
    }

    fn reset(&mut self, base: Position) {
        assert!(
            base.index > self.base.index || base == self.base,
            "a log from {} is not replaced by one from {}",
            self.base.index,
            base.index,
        );
        self.base = base;
        self.entries.clear();
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
                replaced: false,
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
            if let Some(base) = persist.reset {
                log.reset(base);
            }
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

type Rows = BTreeMap<Bytes, Bytes>;

#[derive(Debug, Default)]
struct PartitionState {
    loaded: Loaded,
    /// Shared with the snapshots: copied when it changes while there is one.
    rows: Arc<Rows>,
    staging: Option<(Position, Rows)>,
}

impl PartitionState {
    fn write(&mut self, mark: StateMark, changed: Vec<Row>) {
        let installed = false;
        self.loaded = Loaded { mark, installed };
        let rows = Arc::make_mut(&mut self.rows);
        for Row { key, value } in changed {
            match value {
                Some(value) => rows.insert(key, value),
                None => rows.remove(&key),
            };
        }
    }

    fn stage(&mut self, at: Position, rows: Vec<(Bytes, Bytes)>) {
        let same = self.staging.take().filter(|(staged, _)| *staged == at);
        let (_, staged) = self.staging.insert(same.unwrap_or((at, Rows::new())));
        staged.extend(rows);
    }

    fn install(&mut self, mark: StateMark) {
        let staged = self.staging.as_ref().map(|(at, _)| *at);
        let applied = mark.applied;
        assert_eq!(staged, Some(applied), "what is staged is what is installed");
        assert!(
            self.loaded.mark.applied.index <= applied.index,
            "a snapshot of entry {} is not installed where entry {} is applied already",
            applied.index,
            self.loaded.mark.applied.index,
        );
        let installed = true;
        self.loaded = Loaded { mark, installed };
        self.rows = Arc::new(self.staging.take().map(|(_, rows)| rows).unwrap_or_default());
    }
}

impl MemoryState {
    fn with<T>(&self, partition: PartitionId, action: impl FnOnce(&mut PartitionState) -> T) -> T {
        action(lock(&self.partitions).entry(partition).or_default())
    }
}

fn visit(rows: &Rows, row: &mut VisitRow<'_>) -> Result<(), StorageError> {
    let refused = |reason| StorageError::Corrupt {
        file: "memory".to_owned(),
        reason,
    };
    rows.iter()
        .try_for_each(|(key, value)| row(key, value))
        .map_err(refused)
}

impl StateStore for MemoryState {
    fn load(&self, partition: PartitionId, row: &mut VisitRow<'_>) -> Result<Loaded, StorageError> {
        self.with(partition, |state| {
            visit(&state.rows, row)?;
            Ok(state.loaded.clone())
        })
    }

    fn write(&self, write: StateWrite) {
        self.with(write.partition, |state| state.write(write.mark, write.rows));
        (write.done)();
    }

    fn snapshot(&self, partition: PartitionId) -> Result<Box<dyn StateSnapshot>, StorageError> {
        let snapshot = self.with(partition, |state| MemorySnapshot {
            mark: state.loaded.mark.clone(),
            rows: Arc::clone(&state.rows),
        });
        Ok(Box::new(snapshot))
    }

    fn stage(&self, write: StageWrite) {
        self.with(write.partition, |state| state.stage(write.at, write.rows));
        (write.done)();
    }

    fn staged(&self, partition: PartitionId, row: &mut VisitRow<'_>) -> Result<Option<Position>, StorageError> {
        self.with(partition, |state| {
            let Some((at, rows)) = &state.staging else {
                return Ok(None);
            };
            visit(rows, row)?;
            Ok(Some(*at))
        })
    }

    fn install(&self, write: InstallWrite) {
        self.with(write.partition, |state| state.install(write.mark));
        (write.done)();
    }
}

/// The rows of one partition at one moment.
struct MemorySnapshot {
    mark: StateMark,
    rows: Arc<Rows>,
}

impl StateSnapshot for MemorySnapshot {
    fn mark(&self) -> &StateMark {
        &self.mark
    }

    fn rows(&self, after: Option<&[u8]>, bytes_max: usize) -> Result<Vec<(Bytes, Bytes)>, StorageError> {
        let first = after.map_or(Bound::Unbounded, Bound::Excluded);
        let mut budget = Budget::new(bytes_max);
        Ok(self
            .rows
            .range::<[u8], _>((first, Bound::Unbounded))
            .take_while(|(key, value)| budget.take(key.len() + value.len()))
            .map(|(key, value)| (key.clone(), value.clone()))
            .collect())
    }
}
