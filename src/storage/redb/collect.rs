//! Garbage collection of `log.redb`: old blobs go, and what is still live in them moves to rows of its own.
//!
//! Blobs are removed from the front only, a bounded number at a time, when there are more than the limits allow. Live entries of a removed
//! blob go to `rewrite`, hard states and bases to `parts`, all in one transaction with the removal, so that a crash leaves either the
//! blobs or their rows. A partition that writes nothing any more is moved once and pins nothing.
//!
//! Nothing here decides what is live: that follows from the indexes.

use std::collections::{BTreeMap, VecDeque};

use bytes::Bytes;
use redb::{ReadableTable, Table, WriteTransaction};

use super::log_file::{LogFile, PARTS, REWRITE, WAL, blob_error};
use super::scan::Scanned;
use crate::limits;
use crate::raft::{Entry, Position};
use crate::storage::StorageError;
use crate::storage::index::{LogIndex, Run};
use crate::storage::record::{self, Encoder, Record, RecordError};
use crate::types::{Index, PartitionId, Term};

/// How many old blobs may be there before they are removed.
#[derive(Clone, Copy, Debug)]
pub struct CollectBounds {
    /// The most blobs.
    pub blobs_max: usize,
    /// The most bytes of blobs.
    pub bytes_max: usize,
}

impl Default for CollectBounds {
    fn default() -> Self {
        Self {
            blobs_max: limits::WAL_BLOBS_MAX,
            bytes_max: limits::WAL_BYTES_MAX,
        }
    }
}

/// What the file holds, as far as removal needs to know.
#[derive(Debug)]
pub struct Collector {
    bounds: CollectBounds,
    first_blob: u64,
    blob_bytes: VecDeque<usize>,
    bytes: usize,
    saved: Vec<Saved>,
}

/// What the rows of one partition say.
#[derive(Clone, Copy, Debug, Default)]
struct Saved {
    base: Position,
    /// The first and last row of `rewrite`; there may be holes.
    rows: Option<(Index, Index)>,
}

impl Collector {
    /// Begins with what the scan found. `indexes` are those of the scan.
    #[must_use]
    pub fn new(bounds: CollectBounds, scanned: Scanned, indexes: &[LogIndex]) -> Self {
        let saved = scanned.moved.into_iter().zip(indexes).map(|(rows, index)| Saved {
            base: index.base(),
            rows,
        });
        Self {
            bounds,
            first_blob: scanned.first_blob,
            bytes: scanned.blob_bytes.iter().sum(),
            blob_bytes: scanned.blob_bytes.into(),
            saved: saved.collect(),
        }
    }

    /// The number of the next blob.
    #[must_use]
    pub fn next_blob(&self) -> u64 {
        self.first_blob + self.blob_bytes.len() as u64
    }

    /// One more blob of `bytes` was written.
    pub fn push(&mut self, bytes: usize) {
        self.blob_bytes.push_back(bytes);
        self.bytes += bytes;
    }

    /// Whether there are more blobs than the limits allow. The last blob always stays.
    #[must_use]
    pub fn is_due(&self) -> bool {
        let over = self.blob_bytes.len() > self.bounds.blobs_max || self.bytes > self.bounds.bytes_max;
        over && self.blob_bytes.len() > 1
    }

    /// Removes some of the oldest blobs. Readers wait meanwhile: what the index names must be in the file.
    ///
    /// # Errors
    /// [`StorageError`]; then nothing may be assumed of the file.
    pub fn step(&mut self, file: &LogFile) -> Result<(), StorageError> {
        let count = self.count();
        let cut = self.first_blob + count as u64;
        let mut indexes = file.indexes();
        let transaction = file.database().begin_write()?;
        Step {
            file,
            transaction: &transaction,
            cut,
        }
        .run(&indexes, &self.saved)?;
        file.database().commit(transaction)?;
        for (index, saved) in indexes.iter_mut().zip(&mut self.saved) {
            index.move_below(cut);
            *saved = saved.after(index);
        }
        self.first_blob = cut;
        self.bytes -= self.blob_bytes.drain(..count).sum::<usize>();
        Ok(())
    }

    /// How many blobs one step removes: at least one, and the last one never.
    fn count(&self) -> usize {
        let mut bytes = 0;
        let fits = |length: &&usize| {
            bytes += **length;
            bytes <= limits::COLLECT_BYTES_MAX
        };
        let count = self
            .blob_bytes
            .iter()
            .take(limits::COLLECT_BLOBS_MAX)
            .take_while(fits)
            .count();
        count.clamp(1, self.blob_bytes.len() - 1)
    }
}

impl Saved {
    /// What the rows say after a step that left `index`.
    fn after(self, index: &LogIndex) -> Self {
        let dead_from = self.dead(index).map(|(_, end)| end);
        let live = index.moved();
        let first = match (dead_from, self.rows) {
            (Some(next), Some((_, last))) if next <= last.min(index.base().index) => Some(next),
            _ => live.map(|(first, _)| first),
        };
        let last = live.map_or(index.base().index, |(_, last)| last);
        Self {
            base: index.base(),
            rows: first.map(|first| (first, last)),
        }
    }

    /// Rows at or below the base that one step removes: from the first, before the second. A bounded number; the rest waits.
    fn dead(self, index: &LogIndex) -> Option<(Index, Index)> {
        let (first, _) = self.rows?;
        let end = index
            .base()
            .index
            .next()
            .min(Index(first.0.saturating_add(limits::COLLECT_ROWS_MAX)));
        (first < end).then_some((first, end))
    }

    /// Rows of entries that were replaced, end excluded: all of them go, before a blob that replaced them can go.
    fn replaced(self, index: &LogIndex) -> Option<(Index, Index)> {
        let (first, last) = self.rows?;
        let live = index.moved().map_or(index.base().index, |(_, last)| last);
        let from = live.next().max(first);
        (from <= last).then_some((from, last.next()))
    }
}

/// One step, in one transaction.
struct Step<'s> {
    file: &'s LogFile,
    transaction: &'s WriteTransaction,
    cut: u64,
}

impl Step<'_> {
    fn run(&self, indexes: &[LogIndex], saved: &[Saved]) -> Result<(), StorageError> {
        let database = self.file.database();
        let mut rewrite = self
            .transaction
            .open_table(REWRITE)
            .map_err(|error| database.error(error))?;
        let mut parts = self
            .transaction
            .open_table(PARTS)
            .map_err(|error| database.error(error))?;
        for (partition, (index, saved)) in (0..).map(PartitionId).zip(indexes.iter().zip(saved)) {
            self.remove_rows(&mut rewrite, partition, saved.replaced(index))?;
            self.remove_rows(&mut rewrite, partition, saved.dead(index))?;
            if index.base() != saved.base || index.hard_state_home().is_blob_below(self.cut) {
                self.save_part(&mut parts, partition, index)?;
            }
        }
        let mut wal = self
            .transaction
            .open_table(WAL)
            .map_err(|error| database.error(error))?;
        for runs in self.live_runs(indexes).chunk_by(|(a, ..), (b, ..)| a == b) {
            self.move_blob(&wal, &mut rewrite, runs)?;
        }
        wal.retain_in(..self.cut, |_, _| false)
            .map_err(|error| database.error(error))
    }

    /// The live runs of the blobs that go: blob, partition, run; sorted.
    fn live_runs(&self, indexes: &[LogIndex]) -> Vec<(u64, PartitionId, Run)> {
        let mut runs = Vec::new();
        for (partition, index) in (0..).map(PartitionId).zip(indexes) {
            runs.extend(index.in_blobs_below(self.cut).map(|(seq, run)| (seq, partition, run)));
        }
        runs.sort_by_key(|&(seq, partition, run)| (seq, partition, run.first));
        runs
    }

    /// Copies the entries of `runs`, all of one blob, to rows of their own.
    fn move_blob(
        &self,
        wal: &impl ReadableTable<u64, &'static [u8]>,
        rewrite: &mut Table<'_, (u32, u64), &'static [u8]>,
        runs: &[(u64, PartitionId, Run)],
    ) -> Result<(), StorageError> {
        let database = self.file.database();
        let Some(&(seq, ..)) = runs.first() else { return Ok(()) };
        let row = wal.get(seq).map_err(|error| database.error(error))?;
        let row = row.ok_or_else(|| database.corrupt(format!("blob {seq} is missing")))?;
        let live = live_entries(row.value(), seq, runs).map_err(|error| blob_error(database, seq, error))?;
        let expected: u64 = runs.iter().map(|(.., run)| run.last.0 - run.first.0 + 1).sum();
        if live.len() as u64 != expected {
            return Err(database.corrupt(format!("blob {seq} has {} live entries of {expected}", live.len())));
        }
        let mut encoder = Encoder::new();
        for ((partition, index), (term, payload)) in live {
            encoder.clear();
            let entry = Entry {
                index,
                term,
                payload: Bytes::copy_from_slice(payload),
            };
            encoder.entries(partition, &[entry]);
            rewrite
                .insert((partition.0, index.0), encoder.seal(index.0))
                .map_err(|error| database.error(error))?;
        }
        Ok(())
    }

    fn save_part(
        &self,
        parts: &mut Table<'_, u32, &'static [u8]>,
        partition: PartitionId,
        index: &LogIndex,
    ) -> Result<(), StorageError> {
        let mut encoder = Encoder::new();
        encoder.base(partition, index.base());
        encoder.hard_state(partition, index.hard_state());
        let row = encoder.seal(u64::from(partition.0));
        parts
            .insert(partition.0, row)
            .map_err(|error| self.file.database().error(error))?;
        Ok(())
    }

    fn remove_rows(
        &self,
        rewrite: &mut Table<'_, (u32, u64), &'static [u8]>,
        partition: PartitionId,
        rows: Option<(Index, Index)>,
    ) -> Result<(), StorageError> {
        let Some((from, end)) = rows else { return Ok(()) };
        let range = (partition.0, from.0)..(partition.0, end.0);
        rewrite
            .retain_in(range, |_, _| false)
            .map_err(|error| self.file.database().error(error))
    }
}

type LiveEntries<'a> = BTreeMap<(PartitionId, Index), (Term, &'a [u8])>;

/// The entries of `runs` in one blob. Where it has an index twice, the later one is live.
fn live_entries<'a>(
    blob: &'a [u8],
    seq: u64,
    runs: &[(u64, PartitionId, Run)],
) -> Result<LiveEntries<'a>, RecordError> {
    let mut live = LiveEntries::new();
    for item in record::decode(blob, seq)? {
        let (owner, Record::Entries(entries)) = item? else {
            continue;
        };
        let from = runs.partition_point(|(_, partition, _)| *partition < owner);
        for (.., run) in runs[from..].iter().take_while(|(_, partition, _)| *partition == owner) {
            let wanted = entries
                .iter()
                .filter(|(index, ..)| (run.first..=run.last).contains(index));
            live.extend(wanted.map(|(index, term, payload)| ((owner, index), (term, payload))));
        }
    }
    Ok(live)
}
