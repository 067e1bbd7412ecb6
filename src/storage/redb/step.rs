//! One step of garbage collection, in one transaction: rows of its own for what is live in the oldest blobs, and then the blobs go.
//!
//! Which blobs, and when, is decided by [`super::collect`].

use std::collections::BTreeMap;

use bytes::Bytes;
use redb::{ReadableTable, Table, WriteTransaction};

use super::collect::Saved;
use super::log_file::{LogFile, PARTS, REWRITE, WAL, blob_error};
use crate::mutants::{self, Mutant};
use crate::raft::Entry;
use crate::storage::StorageError;
use crate::storage::index::{LogIndex, Run};
use crate::storage::record::{self, Encoder, Record, RecordError};
use crate::types::{Index, PartitionId, Term};

/// One step, in one transaction.
pub(super) struct Step<'s> {
    pub(super) file: &'s LogFile,
    pub(super) transaction: &'s WriteTransaction,
    /// The first blob that stays.
    pub(super) cut: u64,
}

impl Step<'_> {
    pub(super) fn run(&self, indexes: &[LogIndex], saved: &[Saved]) -> Result<(), StorageError> {
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
            let moved =
                index.hard_state_home().is_blob_below(self.cut) && !mutants::on(Mutant::HardStateLostAtCollection);
            if index.base() != saved.base || moved {
                self.save_part(&mut parts, partition, index)?;
            }
        }
        let mut wal = self
            .transaction
            .open_table(WAL)
            .map_err(|error| database.error(error))?;
        for runs in self.live_runs(indexes).chunk_by(|(a, ..), (b, ..)| a == b) {
            if !mutants::on(Mutant::MovedEntriesLost) {
                self.move_blob(&wal, &mut rewrite, runs)?;
            }
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
