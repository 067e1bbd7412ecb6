//! The state writer: the one writer of `state.redb`.
//!
//! It joins whatever waits into one transaction; rows and their mark are never apart. Where nothing waits it removes leftovers, and where
//! something does it removes some of them on the way, so that they always come to an end. Nothing waits for it but the compaction of the log
//! and the receipt of a snapshot. It never retries: the first error ends it for good.

use std::sync::Arc;

use bytes::Bytes;
use redb::{ReadableTable as _, WriteTransaction};
use tokio::sync::mpsc::error::TryRecvError;
use tokio::sync::{mpsc, oneshot};

use super::database::NamedDatabase;
use super::leftovers;
use super::state_file::{MARKS, ROWS, STAGING, live_generation, mark_row, staging};
use crate::env::Disk;
use crate::limits;
use crate::machine::Row;
use crate::mutants::{self, Mutant};
use crate::raft::Position;
use crate::storage::{FailureHandler, InstallWrite, StageWrite, StateMark, StateWrite, StorageError};
use crate::types::PartitionId;

/// What the state store asks of its writer.
pub(super) enum Job {
    /// Rows that changed.
    Write(StateWrite),
    /// A part of a snapshot.
    Stage(StageWrite),
    /// What is staged becomes the state.
    Install(InstallWrite),
}

impl Job {
    /// What it takes in memory, in bytes.
    fn size(&self) -> usize {
        let of_row = |row: &Row| row.key.len() + row.value.as_ref().map_or(0, Bytes::len);
        match self {
            Self::Write(write) => write.rows.iter().map(of_row).sum(),
            Self::Stage(write) => write.rows.iter().map(|(key, value)| key.len() + value.len()).sum(),
            Self::Install(_) => 0,
        }
    }

    fn complete(self) {
        match self {
            Self::Write(StateWrite { done, .. })
            | Self::Stage(StageWrite { done, .. })
            | Self::Install(InstallWrite { done, .. }) => done(),
        }
    }
}

/// The task. Fields are dropped in order: the file is closed before anybody hears of it.
pub(super) struct Writer {
    pub(super) database: Arc<NamedDatabase>,
    pub(super) disk: Arc<dyn Disk>,
    pub(super) queue: mpsc::UnboundedReceiver<Job>,
    pub(super) on_failure: FailureHandler,
    pub(super) has_leftovers: bool,
    /// The most leftover rows that one transaction removes.
    pub(super) leftover_rows_max: usize,
    pub(super) _closed: oneshot::Sender<()>,
}

impl Writer {
    /// Commits until every handle of the store is gone and the queue is empty, then closes the file. After an error it only waits for
    /// that, and completes nothing.
    pub(super) async fn run(mut self) {
        while let Some(batch) = self.next_batch().await {
            self.disk.pace().await;
            if let Err(error) = self.commit(&batch) {
                drop(batch);
                (self.on_failure)(error);
                while self.queue.recv().await.is_some() {}
                break;
            }
            batch.into_iter().for_each(Job::complete);
        }
        if let Some(database) = Arc::into_inner(self.database) {
            database.close();
        }
    }

    /// Everything that waits, up to a limit; nothing, when there are only leftovers to be removed.
    async fn next_batch(&mut self) -> Option<Vec<Job>> {
        let first = match self.queue.try_recv() {
            Ok(job) => job,
            Err(TryRecvError::Empty) if self.has_leftovers => return Some(Vec::new()),
            Err(_) => self.queue.recv().await?,
        };
        let mut bytes = first.size();
        let mut batch = vec![first];
        while bytes < limits::GROUP_COMMIT_BYTES_MAX {
            let Ok(job) = self.queue.try_recv() else { break };
            bytes += job.size();
            batch.push(job);
        }
        Some(batch)
    }

    fn commit(&mut self, batch: &[Job]) -> Result<(), StorageError> {
        let transaction = self.database.begin_write()?;
        if self.has_leftovers {
            self.has_leftovers = leftovers::remove_some(&self.database, &transaction, self.leftover_rows_max)?;
        }
        let apply = Apply {
            database: &self.database,
            transaction: &transaction,
        };
        for job in batch {
            self.has_leftovers |= match job {
                Job::Write(write) => apply.write(write).map(|()| false),
                Job::Stage(write) => apply.stage(write),
                Job::Install(write) => apply.install(write).map(|()| true),
            }?;
        }
        self.database.commit(transaction)
    }
}

/// Writes into one transaction.
struct Apply<'t> {
    database: &'t NamedDatabase,
    transaction: &'t WriteTransaction,
}

impl Apply<'_> {
    fn write(&self, write: &StateWrite) -> Result<(), StorageError> {
        let generation = self.live_generation(write.partition)?;
        let rows = self.transaction.open_table(ROWS);
        let mut rows = rows.map_err(|error| self.database.error(error))?;
        let lost = |row: &&Row| mutants::on(Mutant::MarkWithoutRows) && row.value.is_none();
        for row in write.rows.iter().filter(|row| !lost(row)) {
            let key: (u32, u64, &[u8]) = (write.partition.0, generation, &row.key);
            match &row.value {
                Some(value) => rows.insert(key, value.as_ref()).map(drop),
                None => rows.remove(key).map(drop),
            }
            .map_err(|error| self.database.error(error))?;
        }
        if mutants::on(Mutant::RowsWithoutMark) {
            return Ok(());
        }
        self.mark(write.partition, generation, &write.mark, false)
    }

    /// Says whether it threw away what was staged before.
    fn stage(&self, write: &StageWrite) -> Result<bool, StorageError> {
        let StageWrite { partition, at, .. } = write;
        let (generation, threw_away) = match self.staged(*partition)? {
            Some((generation, staged)) if staged == *at => (generation, false),
            other => (self.begin_staging(*partition, *at)?, other.is_some()),
        };
        let rows = self.transaction.open_table(ROWS);
        let mut rows = rows.map_err(|error| self.database.error(error))?;
        for (key, value) in &write.rows {
            let key: (u32, u64, &[u8]) = (partition.0, generation, key);
            let inserted = rows.insert(key, value.as_ref());
            inserted.map_err(|error| self.database.error(error))?;
        }
        Ok(threw_away)
    }

    /// Stages into a generation that has no rows, and is none of those that are in use.
    fn begin_staging(&self, partition: PartitionId, at: Position) -> Result<u64, StorageError> {
        let rows = self.transaction.open_table(ROWS);
        let rows = rows.map_err(|error| self.database.error(error))?;
        let all: std::ops::Range<(u32, u64, &[u8])> = (partition.0, 0, &[])..(partition.0, u64::MAX, &[]);
        let last = rows.range(all).map_err(|error| self.database.error(error))?.next_back();
        let last = last.transpose().map_err(|error| self.database.error(error))?;
        let with_rows = last.map_or(0, |(key, _)| key.value().1);
        let staged = self.staged(partition)?.map_or(0, |(generation, _)| generation);
        let generation = with_rows.max(staged).max(self.live_generation(partition)?) + 1;
        let row = (generation, at.term.0, at.index.0);
        let inserted = self.staging()?.insert(partition.0, row).map(drop);
        inserted.map_err(|error| self.database.error(error))?;
        Ok(generation)
    }

    fn install(&self, write: &InstallWrite) -> Result<(), StorageError> {
        let InstallWrite { partition, mark, .. } = write;
        let Some((generation, at)) = self.staged(*partition)? else {
            return Err(self.refused(write, "nothing is staged"));
        };
        if at != mark.applied {
            let reason = format!("what is staged is of entry {} of term {}", at.index, at.term);
            return Err(self.refused(write, &reason));
        }
        self.check_forward(write)?;
        let removed = self.staging()?.remove(partition.0).map(drop);
        removed.map_err(|error| self.database.error(error))?;
        self.mark(*partition, generation, mark, true)
    }

    /// A snapshot never takes a partition back to what it was.
    fn check_forward(&self, write: &InstallWrite) -> Result<(), StorageError> {
        let marks = self.transaction.open_table(MARKS);
        let marks = marks.map_err(|error| self.database.error(error))?;
        let row = marks
            .get(write.partition.0)
            .map_err(|error| self.database.error(error))?;
        let applied = row.map_or(0, |row| row.value().2);
        if applied > write.mark.applied.index.0 {
            return Err(self.refused(write, &format!("entry {applied} is applied already")));
        }
        Ok(())
    }

    fn mark(
        &self,
        partition: PartitionId,
        generation: u64,
        mark: &StateMark,
        installed: bool,
    ) -> Result<(), StorageError> {
        let marks = self.transaction.open_table(MARKS);
        let mut marks = marks.map_err(|error| self.database.error(error))?;
        let membership = mark.membership.encode();
        let row = mark_row(generation, mark, installed, &membership);
        let inserted = marks.insert(partition.0, row).map(drop);
        inserted.map_err(|error| self.database.error(error))
    }

    fn live_generation(&self, partition: PartitionId) -> Result<u64, StorageError> {
        let marks = self.transaction.open_table(MARKS);
        let marks = marks.map_err(|error| self.database.error(error))?;
        live_generation(self.database, &marks, partition)
    }

    fn staging(&self) -> Result<redb::Table<'_, u32, (u64, u64, u64)>, StorageError> {
        let table = self.transaction.open_table(STAGING);
        table.map_err(|error| self.database.error(error))
    }

    fn staged(&self, partition: PartitionId) -> Result<Option<(u64, Position)>, StorageError> {
        staging(self.database, &self.staging()?, partition)
    }

    /// A write that no correct caller makes.
    fn refused(&self, write: &InstallWrite, reason: &str) -> StorageError {
        let InstallWrite { partition, mark, .. } = write;
        let Position { term, index } = mark.applied;
        StorageError::Io {
            file: self.database.file().to_owned(),
            reason: format!("partition {partition} cannot take the snapshot of entry {index} of term {term}: {reason}"),
        }
    }
}
