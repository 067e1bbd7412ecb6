//! Leftovers: rows of generations that are neither live nor staged, removed in the background, a bounded number at a time.
//!
//! They are what a snapshot replaced when it was installed, or what was staged of one that another overtook. They are found by what the
//! file holds, not by what is remembered, so a restart changes nothing.

use redb::{ReadableTable, WriteTransaction};

use super::database::NamedDatabase;
use super::state_file::{MARKS, MarkRow, ROWS, RowKey, STAGING, StagingRow, View, generation_range};
use super::state_file::{live_generation, staging};
use crate::storage::StorageError;
use crate::types::PartitionId;

/// Whether there are leftovers.
///
/// # Errors
/// [`StorageError`] when redb fails.
pub(super) fn exist(view: &View<'_>) -> Result<bool, StorageError> {
    let View { database, transaction } = view;
    let rows = transaction.open_table(ROWS).map_err(|error| database.error(error))?;
    let used = Used {
        database,
        marks: transaction.open_table(MARKS).map_err(|error| database.error(error))?,
        staging: transaction.open_table(STAGING).map_err(|error| database.error(error))?,
    };
    Ok(used.first_leftover(&rows)?.is_some())
}

/// Removes at most `rows_max` leftover rows, and says whether there are more.
///
/// # Errors
/// [`StorageError`] when redb fails.
pub(super) fn remove_some(
    database: &NamedDatabase,
    transaction: &WriteTransaction,
    rows_max: usize,
) -> Result<bool, StorageError> {
    let mut rows = transaction.open_table(ROWS).map_err(|error| database.error(error))?;
    let used = Used {
        database,
        marks: transaction.open_table(MARKS).map_err(|error| database.error(error))?,
        staging: transaction.open_table(STAGING).map_err(|error| database.error(error))?,
    };
    let Some((partition, generation)) = used.first_leftover(&rows)? else {
        return Ok(false);
    };
    let range = generation_range(partition, generation);
    let stays = rows
        .range(range.clone())
        .map_err(|error| database.error(error))?
        .nth(rows_max);
    let stays = stays.transpose().map_err(|error| database.error(error))?;
    let stays = stays.map(|(key, _)| key.value().2.to_vec());
    let end = stays.as_ref().map_or(range.end, |key| (partition, generation, key));
    rows.retain_in(range.start..end, |_, _| false)
        .map_err(|error| database.error(error))?;
    Ok(used.first_leftover(&rows)?.is_some())
}

/// Which generations are no leftovers.
struct Used<'d, M, S> {
    database: &'d NamedDatabase,
    marks: M,
    staging: S,
}

impl<M, S> Used<'_, M, S>
where
    M: ReadableTable<u32, MarkRow<'static>>,
    S: ReadableTable<u32, StagingRow>,
{
    /// The first partition and generation that is a leftover: one look at each generation that there is.
    fn first_leftover(
        &self,
        rows: &impl ReadableTable<RowKey<'static>, &'static [u8]>,
    ) -> Result<Option<(u32, u64)>, StorageError> {
        let mut next: RowKey<'_> = (0, 0, &[]);
        loop {
            let mut range = rows.range(next..).map_err(|error| self.database.error(error))?;
            let row = range.next().transpose().map_err(|error| self.database.error(error))?;
            let Some((key, _)) = row else { return Ok(None) };
            let (partition, generation, _) = key.value();
            if !self.contain(PartitionId(partition), generation)? {
                return Ok(Some((partition, generation)));
            }
            next = (partition, generation + 1, &[]);
        }
    }

    fn contain(&self, partition: PartitionId, generation: u64) -> Result<bool, StorageError> {
        let live = live_generation(self.database, &self.marks, partition)?;
        let staged = staging(self.database, &self.staging, partition)?;
        Ok(generation == live || staged.is_some_and(|(staged, _)| generation == staged))
    }
}
