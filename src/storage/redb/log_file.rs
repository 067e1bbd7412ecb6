//! `log.redb`: its tables, how they are read into the index at the start, and how entries are read back.
//!
//! - `wal`: blob number -> blob. One row per group commit, numbers without a hole.
//! - `rewrite`: (partition, index) -> blob of one entry, for live entries whose own blob was removed.
//! - `parts`: partition -> blob of base and hard state, as they were when blobs were last removed.
//!
//! The truth is `parts`, then `rewrite`, then every blob of `wal` in order. Nothing is ever repaired or skipped: a blob that is missing or
//! does not check is an error that names it. redb's commits are atomic, so a torn tail cannot be ours.

use std::sync::{Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use redb::{ReadTransaction, TableDefinition, WriteTransaction};

use super::database::NamedDatabase;
use super::meta::Meta;
use super::scan::{self, Scanned};
use crate::raft::{Entry, Persist};
use crate::storage::index::{Home, LogIndex, Run};
use crate::storage::read::{Budget, missing};
use crate::storage::record::{self, Record, RecordError};
use crate::storage::{LogWrite, PeerLife, StorageError};
use crate::types::{Index, NodeId, PartitionId};

pub(super) const WAL: TableDefinition<u64, &[u8]> = TableDefinition::new("wal");
pub(super) const REWRITE: TableDefinition<(u32, u64), &[u8]> = TableDefinition::new("rewrite");
pub(super) const PARTS: TableDefinition<u32, &[u8]> = TableDefinition::new("parts");

/// The open file, with the index of each partition. Locked only for moments, except while garbage is collected.
#[derive(Debug)]
pub struct LogFile {
    database: NamedDatabase,
    indexes: Mutex<Vec<LogIndex>>,
}

impl LogFile {
    /// Creates the tables where they are missing.
    ///
    /// # Errors
    /// [`StorageError`] when redb fails.
    pub fn create_tables(database: &NamedDatabase, transaction: &WriteTransaction) -> Result<(), StorageError> {
        transaction.open_table(WAL).map_err(|error| database.error(error))?;
        transaction.open_table(REWRITE).map_err(|error| database.error(error))?;
        transaction.open_table(PARTS).map_err(|error| database.error(error))?;
        Ok(())
    }

    /// Scans the file.
    ///
    /// # Errors
    /// [`StorageError::Corrupt`] names the first blob or row that cannot be what was written.
    pub fn load(database: NamedDatabase, partitions: u32) -> Result<(Self, Scanned), StorageError> {
        let (indexes, found) = scan::scan(&database, partitions)?;
        Ok((
            Self {
                database,
                indexes: Mutex::new(indexes),
            },
            found,
        ))
    }

    /// The database, for the committer.
    #[must_use]
    pub const fn database(&self) -> &NamedDatabase {
        &self.database
    }

    /// Closes the file.
    pub fn close(self) {
        self.database.close();
    }

    /// The index of every partition.
    pub fn indexes(&self) -> MutexGuard<'_, Vec<LogIndex>> {
        self.indexes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes one more blob durable.
    ///
    /// # Errors
    /// [`StorageError`]; then nothing may be assumed of the file.
    pub fn append(&self, seq: u64, blob: &[u8]) -> Result<(), StorageError> {
        let transaction = self.database.begin_write()?;
        {
            let mut wal = transaction
                .open_table(WAL)
                .map_err(|error| self.database.error(error))?;
            wal.insert(seq, blob).map_err(|error| self.database.error(error))?;
        }
        self.database.commit(transaction)
    }

    /// Makes durable which lives of peers were met, and why peers refuse this disk, if they do.
    ///
    /// # Errors
    /// As [`LogFile::append`].
    pub fn remember(
        &self,
        peers: impl Iterator<Item = (NodeId, PeerLife)>,
        refusal: Option<&str>,
    ) -> Result<(), StorageError> {
        let transaction = self.database.begin_write()?;
        {
            let mut meta = Meta::open(&self.database, &transaction)?;
            for (peer, life) in peers {
                meta.set_peer(peer, life)?;
            }
            if let Some(reason) = refusal {
                meta.set_refusal(reason)?;
            }
        }
        self.database.commit(transaction)
    }

    /// Makes the writes of a durable blob visible to readers.
    pub fn publish(&self, seq: u64, writes: &[LogWrite]) {
        let mut indexes = self.indexes();
        for LogWrite { partition, persist, .. } in writes {
            let index = &mut indexes[slot(*partition)];
            let Persist {
                hard_state,
                reset,
                entries,
                ..
            } = persist;
            if let Some(hard_state) = hard_state {
                index.set_hard_state(*hard_state, Home::Blob(seq));
            }
            if let Some(position) = reset {
                index.reset(*position);
            }
            if let Some(first) = entries.first() {
                index.append(first.index, entries.iter().map(|entry| entry.term), Home::Blob(seq));
            }
        }
    }

    /// Reads entries back: see [`super::super::LogStore::read`].
    ///
    /// # Errors
    /// When they cannot be read, or one of them was compacted or never written.
    pub fn read(
        &self,
        partition: PartitionId,
        first: Index,
        last: Index,
        bytes_max: usize,
    ) -> Result<Vec<Entry>, StorageError> {
        // Both under the lock: what the index names is in the view, because blobs are removed under it too.
        let (runs, transaction) = {
            let indexes = self.indexes();
            let runs = indexes.get(slot(partition)).and_then(|index| index.find(first, last));
            let runs = runs.ok_or_else(|| missing(self.database.file(), partition, first, last))?;
            (runs, self.database.begin_read()?)
        };
        let mut budget = Budget::new(bytes_max);
        let mut entries = Vec::new();
        for run in runs {
            for entry in self.read_run(&transaction, partition, run)? {
                if !budget.take(entry.payload.len()) {
                    return Ok(entries);
                }
                entries.push(entry);
            }
        }
        Ok(entries)
    }

    fn read_run(
        &self,
        transaction: &ReadTransaction,
        partition: PartitionId,
        run: Run,
    ) -> Result<Vec<Entry>, StorageError> {
        let entries = match run.home {
            Home::Blob(seq) => self.read_blob(transaction, partition, run, seq)?,
            Home::Moved => self.read_moved(transaction, partition, run)?,
        };
        let wanted = run.first.0..=run.last.0;
        if !entries.iter().map(|entry| entry.index.0).eq(wanted) {
            let Run { first, last, home } = run;
            return Err(self.database.corrupt(format!(
                "partition {partition} lacks entries {first} to {last} in {home:?}"
            )));
        }
        Ok(entries)
    }

    fn read_blob(
        &self,
        transaction: &ReadTransaction,
        partition: PartitionId,
        run: Run,
        seq: u64,
    ) -> Result<Vec<Entry>, StorageError> {
        let wal = transaction
            .open_table(WAL)
            .map_err(|error| self.database.error(error))?;
        let row = wal.get(seq).map_err(|error| self.database.error(error))?;
        let row = row.ok_or_else(|| self.database.corrupt(format!("blob {seq} is missing")))?;
        entries_of(row.value(), seq, partition, run).map_err(|error| blob_error(&self.database, seq, error))
    }

    fn read_moved(
        &self,
        transaction: &ReadTransaction,
        partition: PartitionId,
        run: Run,
    ) -> Result<Vec<Entry>, StorageError> {
        let rewrite = transaction
            .open_table(REWRITE)
            .map_err(|error| self.database.error(error))?;
        let range = (partition.0, run.first.0)..=(partition.0, run.last.0);
        let mut entries = Vec::new();
        for row in rewrite.range(range).map_err(|error| self.database.error(error))? {
            let (key, value) = row.map_err(|error| self.database.error(error))?;
            let (_, index) = key.value();
            let read = entries_of(value.value(), index, partition, run);
            entries.extend(read.map_err(|error| row_error(&self.database, partition, index, error))?);
        }
        Ok(entries)
    }
}

/// The entries of `run` in one blob. Where the blob has an index twice, the later one is live: the blob is replayed in small.
pub(super) fn entries_of(blob: &[u8], place: u64, partition: PartitionId, run: Run) -> Result<Vec<Entry>, RecordError> {
    let mut live: Vec<Entry> = Vec::new();
    for item in record::decode(blob, place)? {
        let entries = match item? {
            (owner, Record::Entries(entries)) if owner == partition => entries,
            (owner, Record::Reset(_)) if owner == partition => {
                live.clear();
                continue;
            }
            _ => continue,
        };
        if entries.first > run.last || entries.last() < run.first {
            continue;
        }
        live.truncate(live.partition_point(|entry| entry.index < entries.first));
        let wanted = entries
            .iter()
            .filter(|(index, ..)| (run.first..=run.last).contains(index));
        live.extend(wanted.map(|(index, term, payload)| Entry {
            index,
            term,
            payload: Bytes::copy_from_slice(payload),
        }));
    }
    Ok(live)
}

/// The place of a partition in a list of all.
pub(in crate::storage) fn slot(partition: PartitionId) -> usize {
    usize::try_from(partition.0).unwrap_or(usize::MAX)
}

pub(super) fn blob_error(database: &NamedDatabase, seq: u64, error: RecordError) -> StorageError {
    match error {
        RecordError::Version(_) => {
            database.mismatch(format!("holds blob {seq} of a newer kapu: {error}; start that one"))
        }
        error => database.corrupt(format!("blob {seq} is not what was written: {error}")),
    }
}

pub(super) fn row_error(
    database: &NamedDatabase,
    partition: PartitionId,
    index: u64,
    error: RecordError,
) -> StorageError {
    database.corrupt(format!(
        "entry {index} of partition {partition} is not what was written: {error}"
    ))
}
