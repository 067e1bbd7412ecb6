//! The state of one partition at one moment: a read transaction that is kept open.
//!
//! redb keeps every page that the transaction can see, so the file grows while one is open and others write. Nothing here sends it anywhere.

use std::ops::Bound;
use std::sync::Arc;

use bytes::Bytes;
use redb::ReadTransaction;
use tokio::sync::mpsc;

use super::database::NamedDatabase;
use super::state_file::{ROWS, RowKey, View, generation_range};
use super::state_writer::Job;
use crate::storage::read::Budget;
use crate::storage::{StateMark, StateSnapshot, StorageError};
use crate::types::PartitionId;

/// Fields are dropped in order: the writer, which ends when the queue does, is the last to hold the file, and closes it.
pub(super) struct RedbSnapshot {
    transaction: ReadTransaction,
    database: Arc<NamedDatabase>,
    partition: PartitionId,
    generation: u64,
    mark: StateMark,
    _queue: mpsc::UnboundedSender<Job>,
}

impl RedbSnapshot {
    /// The state of `partition` now.
    ///
    /// # Errors
    /// When its mark cannot be read.
    pub(super) fn new(
        database: Arc<NamedDatabase>,
        partition: PartitionId,
        queue: mpsc::UnboundedSender<Job>,
    ) -> Result<Self, StorageError> {
        let transaction = database.begin_read()?;
        let view = View {
            database: &database,
            transaction: &transaction,
        };
        let (generation, loaded) = view.live(partition)?;
        Ok(Self {
            transaction,
            database,
            partition,
            generation,
            mark: loaded.mark,
            _queue: queue,
        })
    }
}

impl StateSnapshot for RedbSnapshot {
    fn mark(&self) -> &StateMark {
        &self.mark
    }

    fn rows(&self, after: Option<&[u8]>, bytes_max: usize) -> Result<Vec<(Bytes, Bytes)>, StorageError> {
        let rows = self.transaction.open_table(ROWS);
        let rows = rows.map_err(|error| self.database.error(error))?;
        let all = generation_range(self.partition.0, self.generation);
        let first: Bound<RowKey<'_>> = match after {
            Some(key) => Bound::Excluded((self.partition.0, self.generation, key)),
            None => Bound::Included(all.start),
        };
        let range = rows.range((first, Bound::Excluded(all.end)));
        let mut budget = Budget::new(bytes_max);
        let mut found = Vec::new();
        for item in range.map_err(|error| self.database.error(error))? {
            let (key, value) = item.map_err(|error| self.database.error(error))?;
            let (key, value) = (key.value().2, value.value());
            if !budget.take(key.len() + value.len()) {
                break;
            }
            found.push((Bytes::copy_from_slice(key), Bytes::copy_from_slice(value)));
        }
        Ok(found)
    }
}
