//! The scan of `log.redb` at the start: `parts`, then `rewrite`, then every blob in order, replayed into the index of each partition.
//!
//! It changes nothing. The first thing that cannot be what was written ends it, with its name.

use redb::{ReadTransaction, ReadableTable as _};

use super::database::NamedDatabase;
use super::log_file::{PARTS, REWRITE, WAL, blob_error, row_error, slot};
use crate::mutants::{self, Mutant};
use crate::raft::Position;
use crate::storage::StorageError;
use crate::storage::index::{Home, LogIndex};
use crate::storage::record::{self, Record, RecordError};
use crate::types::{Index, PartitionId};

/// What the scan of the file found beside the indexes.
#[derive(Debug, Default)]
pub struct Scanned {
    /// The number of the first blob, or of the next one when there is none.
    pub first_blob: u64,
    /// The length of each blob in bytes.
    pub blob_bytes: Vec<usize>,
    /// The base in `parts`, per partition. The index may have a later one, of a blob.
    pub saved_bases: Vec<Position>,
    /// The first and last row of `rewrite`, per partition.
    pub moved: Vec<Option<(Index, Index)>>,
}

/// Scans the file of a cluster with `partitions` partitions.
///
/// # Errors
/// [`StorageError::Corrupt`] names the first blob or row that cannot be what was written.
pub fn scan(database: &NamedDatabase, partitions: u32) -> Result<(Vec<LogIndex>, Scanned), StorageError> {
    let mut scan = Scan {
        database,
        indexes: (0..partitions).map(|_| LogIndex::default()).collect(),
        found: Scanned {
            moved: (0..partitions).map(|_| None).collect(),
            ..Scanned::default()
        },
    };
    let transaction = database.begin_read()?;
    scan.parts(&transaction)?;
    scan.found.saved_bases = scan.indexes.iter().map(LogIndex::base).collect();
    scan.rewrite(&transaction)?;
    scan.wal(&transaction)?;
    scan.check()?;
    Ok((scan.indexes, scan.found))
}

/// What was found so far.
struct Scan<'d> {
    database: &'d NamedDatabase,
    indexes: Vec<LogIndex>,
    found: Scanned,
}

impl Scan<'_> {
    fn index(&mut self, partition: PartitionId) -> Result<&mut LogIndex, StorageError> {
        let count = self.indexes.len();
        let unknown = || {
            self.database
                .corrupt(format!("it has partition {partition}, of {count}"))
        };
        self.indexes.get_mut(slot(partition)).ok_or_else(unknown)
    }

    fn parts(&mut self, transaction: &ReadTransaction) -> Result<(), StorageError> {
        let database = self.database;
        let parts = transaction.open_table(PARTS).map_err(|error| database.error(error))?;
        for row in parts.iter().map_err(|error| database.error(error))? {
            let (key, value) = row.map_err(|error| database.error(error))?;
            let place = key.value();
            let bad =
                |error| database.corrupt(format!("the row of partition {place} is not what was written: {error}"));
            for item in record::decode(value.value(), u64::from(place)).map_err(bad)? {
                let (partition, record) = item.map_err(bad)?;
                if partition.0 != place {
                    return Err(bad(RecordError::Field("partition")));
                }
                self.replay(partition, record, Home::Moved)?;
            }
        }
        Ok(())
    }

    fn rewrite(&mut self, transaction: &ReadTransaction) -> Result<(), StorageError> {
        let database = self.database;
        let rewrite = transaction.open_table(REWRITE).map_err(|error| database.error(error))?;
        for row in rewrite.iter().map_err(|error| database.error(error))? {
            let (key, value) = row.map_err(|error| database.error(error))?;
            let (owner, place) = key.value();
            let bad = |error| row_error(database, PartitionId(owner), place, error);
            for item in record::decode(value.value(), place).map_err(bad)? {
                let (partition, record) = item.map_err(bad)?;
                if partition.0 != owner {
                    return Err(bad(RecordError::Field("partition")));
                }
                self.replay(partition, record, Home::Moved)?;
                let moved = &mut self.found.moved[slot(partition)];
                *moved = Some((moved.map_or(Index(place), |(first, _)| first), Index(place)));
            }
        }
        Ok(())
    }

    fn wal(&mut self, transaction: &ReadTransaction) -> Result<(), StorageError> {
        let database = self.database;
        let wal = transaction.open_table(WAL).map_err(|error| database.error(error))?;
        self.found.first_blob = 1;
        let mut next = None;
        let last = wal.last().map_err(|error| database.error(error))?;
        let last = last.map(|(seq, _)| seq.value());
        for row in wal.iter().map_err(|error| database.error(error))? {
            let (key, value) = row.map_err(|error| database.error(error))?;
            let seq = key.value();
            if mutants::on(Mutant::LastBlobIgnored) && Some(seq) == last {
                break;
            }
            if next.is_none() {
                self.found.first_blob = seq;
            }
            let expected = next.unwrap_or(seq);
            if seq != expected {
                return Err(database.corrupt(format!("blob {expected} is missing")));
            }
            self.blob(seq, value.value())?;
            next = Some(seq + 1);
        }
        Ok(())
    }

    fn blob(&mut self, seq: u64, blob: &[u8]) -> Result<(), StorageError> {
        let database = self.database;
        for item in record::decode(blob, seq).map_err(|error| blob_error(database, seq, error))? {
            let (partition, record) = item.map_err(|error| blob_error(database, seq, error))?;
            self.replay(partition, record, Home::Blob(seq))?;
        }
        self.found.blob_bytes.push(blob.len());
        Ok(())
    }

    fn replay(&mut self, partition: PartitionId, record: Record<'_>, home: Home) -> Result<(), StorageError> {
        let index = self.index(partition)?;
        match record {
            Record::HardState(hard_state) => index.set_hard_state(hard_state, home),
            Record::Entries(entries) => index.append(entries.first, entries.iter().map(|(_, term, _)| term), home),
            Record::Reset(position) | Record::Base(position) => index.reset(position),
        }
        Ok(())
    }

    fn check(&self) -> Result<(), StorageError> {
        for (partition, index) in self.indexes.iter().enumerate() {
            if let Some(gap) = index.gap() {
                return Err(self
                    .database
                    .corrupt(format!("entry {gap} of partition {partition} is missing")));
            }
        }
        Ok(())
    }
}
