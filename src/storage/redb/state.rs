//! The state store on redb: the rows of every partition's state machine, each with the mark that it belongs to.
//!
//! It is written in the background, by one task that joins whatever waits into one transaction; rows and their mark are never apart.
//! Its queue is bounded by its producers: a partition has at most one write of its changed rows under way. Nothing here knows
//! what a row means, and nothing waits for it but the compaction of the log.

use std::sync::Arc;

use redb::{TableDefinition, WriteTransaction};
use tokio::sync::{mpsc, oneshot};

use super::database::NamedDatabase;
use crate::env::{Disk, Env};
use crate::hlc::Hlc;
use crate::limits;
use crate::mutants::{self, Mutant};
use crate::raft::Position;
use crate::storage::{FailureHandler, StateMark, StateStore, StateWrite, StorageError, VisitRow};
use crate::types::{Index, LogTime, PartitionId, Term};

const ROWS: TableDefinition<(u32, &[u8]), &[u8]> = TableDefinition::new("rows");
/// Term and index of the last applied entry, and log time.
const MARKS: TableDefinition<u32, (u64, u64, u64)> = TableDefinition::new("marks");
/// The hybrid time of a mark that has one. Beside the marks, because it came later: a file without it is read as one that has none.
const HLCS: TableDefinition<u32, u64> = TableDefinition::new("hlcs");

/// The rows of all partitions of a node, in `state.redb`. Fields are dropped in order: the writer is the last to hold the file.
pub struct RedbState {
    database: Arc<NamedDatabase>,
    queue: mpsc::UnboundedSender<StateWrite>,
}

impl RedbState {
    /// Creates the tables where they are missing.
    ///
    /// # Errors
    /// [`StorageError`] when redb fails.
    pub fn create_tables(database: &NamedDatabase, transaction: &WriteTransaction) -> Result<(), StorageError> {
        transaction.open_table(ROWS).map_err(|error| database.error(error))?;
        transaction.open_table(MARKS).map_err(|error| database.error(error))?;
        transaction.open_table(HLCS).map_err(|error| database.error(error))?;
        Ok(())
    }

    /// Starts the writer. The returned receiver resolves when the file is closed.
    #[must_use]
    pub fn start(env: &Env, database: NamedDatabase, on_failure: FailureHandler) -> (Self, oneshot::Receiver<()>) {
        let database = Arc::new(database);
        let (queue, writes) = mpsc::unbounded_channel();
        let (closing, closed) = oneshot::channel();
        let writer = Writer {
            database: Arc::clone(&database),
            disk: Arc::clone(&env.disk),
            queue: writes,
            on_failure,
            _closed: closing,
        };
        env.spawn.spawn_blocking("kapu-state", Box::pin(writer.run()));
        (Self { database, queue }, closed)
    }

    fn mark(&self, transaction: &redb::ReadTransaction, partition: PartitionId) -> Result<StateMark, StorageError> {
        let marks = transaction
            .open_table(MARKS)
            .map_err(|error| self.database.error(error))?;
        let mark = marks.get(partition.0).map_err(|error| self.database.error(error))?;
        let hlcs = transaction
            .open_table(HLCS)
            .map_err(|error| self.database.error(error))?;
        let hlc = hlcs.get(partition.0).map_err(|error| self.database.error(error))?;
        Ok(mark.map_or_else(StateMark::default, |mark| {
            let (term, index, log_time) = mark.value();
            StateMark {
                applied: Position {
                    term: Term(term),
                    index: Index(index),
                },
                log_time: LogTime(log_time),
                hlc: hlc.map(|hlc| Hlc(hlc.value())),
            }
        }))
    }
}

impl StateStore for RedbState {
    fn load(&self, partition: PartitionId, row: &mut VisitRow<'_>) -> Result<StateMark, StorageError> {
        let transaction = self.database.begin_read()?;
        let rows = transaction
            .open_table(ROWS)
            .map_err(|error| self.database.error(error))?;
        let first: (u32, &[u8]) = (partition.0, &[]);
        for item in rows.range(first..).map_err(|error| self.database.error(error))? {
            let (key, value) = item.map_err(|error| self.database.error(error))?;
            let (owner, key) = key.value();
            if owner != partition.0 {
                break;
            }
            row(key, value.value()).map_err(|reason| {
                self.database
                    .corrupt(format!("a row of partition {partition}: {reason}"))
            })?;
        }
        self.mark(&transaction, partition)
    }

    fn write(&self, write: StateWrite) {
        // Nobody takes it when the task was ended from outside, as in a simulated crash: then nothing completes.
        drop(self.queue.send(write));
    }
}

/// The task. Fields are dropped in order: the file is closed before anybody hears of it.
struct Writer {
    database: Arc<NamedDatabase>,
    disk: Arc<dyn Disk>,
    queue: mpsc::UnboundedReceiver<StateWrite>,
    on_failure: FailureHandler,
    _closed: oneshot::Sender<()>,
}

impl Writer {
    /// Commits until every handle of the store is gone and the queue is empty, then closes the file. After an error it only waits for
    /// that, and completes nothing.
    async fn run(mut self) {
        while let Some(write) = self.queue.recv().await {
            let batch = self.gather(write);
            self.disk.pace().await;
            if let Err(error) = self.commit(&batch) {
                (self.on_failure)(error);
                while self.queue.recv().await.is_some() {}
                break;
            }
            self.disk.linger().await;
            for write in batch {
                (write.done)();
            }
        }
        if let Some(database) = Arc::into_inner(self.database) {
            database.close();
        }
    }

    fn gather(&mut self, first: StateWrite) -> Vec<StateWrite> {
        let mut bytes = size(&first);
        let mut batch = vec![first];
        while bytes < limits::GROUP_COMMIT_BYTES_MAX {
            let Ok(write) = self.queue.try_recv() else { break };
            bytes += size(&write);
            batch.push(write);
        }
        batch
    }

    fn commit(&self, batch: &[StateWrite]) -> Result<(), StorageError> {
        let transaction = self.database.begin_write()?;
        for write in batch {
            self.apply(&transaction, write)?;
        }
        self.database.commit(transaction)
    }

    fn apply(&self, transaction: &WriteTransaction, write: &StateWrite) -> Result<(), StorageError> {
        let database = &self.database;
        let mut rows = transaction.open_table(ROWS).map_err(|error| database.error(error))?;
        let lost = |row: &&crate::machine::Row| mutants::on(Mutant::MarkWithoutRows) && row.value.is_none();
        for row in write.rows.iter().filter(|row| !lost(row)) {
            let key: (u32, &[u8]) = (write.partition.0, &row.key);
            match &row.value {
                Some(value) => rows.insert(key, value.as_ref()).map(drop),
                None => rows.remove(key).map(drop),
            }
            .map_err(|error| database.error(error))?;
        }
        if mutants::on(Mutant::RowsWithoutMark) {
            return Ok(());
        }
        let StateMark { applied, log_time, hlc } = write.mark;
        let mut marks = transaction.open_table(MARKS).map_err(|error| database.error(error))?;
        let mark = (applied.term.0, applied.index.0, log_time.0);
        marks
            .insert(write.partition.0, mark)
            .map_err(|error| database.error(error))?;
        let mut hlcs = transaction.open_table(HLCS).map_err(|error| database.error(error))?;
        if let Some(hlc) = hlc {
            hlcs.insert(write.partition.0, hlc.0)
                .map_err(|error| database.error(error))?;
        }
        Ok(())
    }
}

/// What a write takes in memory, in bytes.
fn size(write: &StateWrite) -> usize {
    write
        .rows
        .iter()
        .map(|row| row.key.len() + row.value.as_ref().map_or(0, bytes::Bytes::len))
        .sum()
}
