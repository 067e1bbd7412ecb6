//! `state.redb`: its tables, and how what they say of one partition is read.
//!
//! - `rows`: (partition, generation, key) -> value.
//! - `marks`: partition -> the *live* generation, whose rows are the state, and how far they have come.
//! - `staging`: partition -> the generation that a snapshot is received into, and the position that the snapshot is of.
//!
//! To install a snapshot is to make its generation the live one: one row, whatever the size of the state. Rows of any other generation are
//! leftovers ([`super::leftovers`]). Nothing here decides which generation is which; that is the writer's business.

use redb::{ReadTransaction, ReadableTable, TableDefinition, WriteTransaction};

use super::database::NamedDatabase;
use crate::hlc::Hlc;
use crate::raft::{Membership, Position};
use crate::storage::{Loaded, StateMark, StorageError, VisitRow};
use crate::types::{Index, LogTime, PartitionId, Term};

/// Partition, generation, key.
pub(super) type RowKey<'k> = (u32, u64, &'k [u8]);
/// Live generation; term and index of the last applied entry; log time; hybrid time, zero for none; whether the rows were installed; membership.
pub(super) type MarkRow<'m> = (u64, u64, u64, u64, u64, bool, &'m [u8]);
/// Generation; term and index of the snapshot.
pub(super) type StagingRow = (u64, u64, u64);

pub(super) const ROWS: TableDefinition<RowKey<'static>, &[u8]> = TableDefinition::new("rows");
pub(super) const MARKS: TableDefinition<u32, MarkRow<'static>> = TableDefinition::new("marks");
pub(super) const STAGING: TableDefinition<u32, StagingRow> = TableDefinition::new("staging");

/// Creates the tables where they are missing.
///
/// # Errors
/// [`StorageError`] when redb fails.
pub fn create_tables(database: &NamedDatabase, transaction: &WriteTransaction) -> Result<(), StorageError> {
    transaction.open_table(ROWS).map_err(|error| database.error(error))?;
    transaction.open_table(MARKS).map_err(|error| database.error(error))?;
    transaction.open_table(STAGING).map_err(|error| database.error(error))?;
    Ok(())
}

/// The live generation of a partition; zero before anything was written.
pub(super) fn live_generation(
    database: &NamedDatabase,
    marks: &impl ReadableTable<u32, MarkRow<'static>>,
    partition: PartitionId,
) -> Result<u64, StorageError> {
    let mark = marks.get(partition.0).map_err(|error| database.error(error))?;
    Ok(mark.map_or(0, |mark| mark.value().0))
}

/// The generation that a partition stages into, and the position that it is of.
pub(super) fn staging(
    database: &NamedDatabase,
    staging: &impl ReadableTable<u32, StagingRow>,
    partition: PartitionId,
) -> Result<Option<(u64, Position)>, StorageError> {
    let row = staging.get(partition.0).map_err(|error| database.error(error))?;
    Ok(row.map(|row| {
        let (generation, term, index) = row.value();
        (generation, position(term, index))
    }))
}

fn position(term: u64, index: u64) -> Position {
    Position {
        term: Term(term),
        index: Index(index),
    }
}

/// The row of a mark whose membership is encoded already.
pub(super) fn mark_row<'m>(generation: u64, mark: &StateMark, installed: bool, membership: &'m [u8]) -> MarkRow<'m> {
    let Position { term, index } = mark.applied;
    let hlc = mark.hlc.map_or(0, |hlc| hlc.0);
    (generation, term.0, index.0, mark.log_time.0, hlc, installed, membership)
}

/// What is committed at one moment.
pub(super) struct View<'d> {
    pub(super) database: &'d NamedDatabase,
    pub(super) transaction: &'d ReadTransaction,
}

impl View<'_> {
    /// The live generation of a partition, and what its mark says.
    pub(super) fn live(&self, partition: PartitionId) -> Result<(u64, Loaded), StorageError> {
        let marks = self.transaction.open_table(MARKS);
        let marks = marks.map_err(|error| self.database.error(error))?;
        let row = marks.get(partition.0).map_err(|error| self.database.error(error))?;
        let Some(row) = row else {
            return Ok((0, Loaded::default()));
        };
        let (generation, term, index, log_time, hlc, installed, membership) = row.value();
        let membership = Membership::decode(membership).map_err(|error| {
            self.database
                .corrupt(format!("the mark of partition {partition} is damaged: {error}"))
        })?;
        let mark = StateMark {
            applied: position(term, index),
            log_time: LogTime(log_time),
            hlc: (hlc != 0).then_some(Hlc(hlc)),
            membership,
        };
        Ok((generation, Loaded { mark, installed }))
    }

    /// What a partition stages, see [`staging`].
    pub(super) fn staging(&self, partition: PartitionId) -> Result<Option<(u64, Position)>, StorageError> {
        let table = self.transaction.open_table(STAGING);
        let table = table.map_err(|error| self.database.error(error))?;
        staging(self.database, &table, partition)
    }

    /// Hands every row of a generation to `row`, in the order of keys.
    pub(super) fn visit(
        &self,
        partition: PartitionId,
        generation: u64,
        row: &mut VisitRow<'_>,
    ) -> Result<(), StorageError> {
        let rows = self.transaction.open_table(ROWS);
        let rows = rows.map_err(|error| self.database.error(error))?;
        let range = generation_range(partition.0, generation);
        for item in rows.range(range).map_err(|error| self.database.error(error))? {
            let (key, value) = item.map_err(|error| self.database.error(error))?;
            row(key.value().2, value.value()).map_err(|reason| {
                self.database
                    .corrupt(format!("a row of partition {partition}: {reason}"))
            })?;
        }
        Ok(())
    }
}

/// All keys of one generation.
pub(super) fn generation_range(partition: u32, generation: u64) -> std::ops::Range<RowKey<'static>> {
    (partition, generation, &[])..(partition, generation + 1, &[])
}
