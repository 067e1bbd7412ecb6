//! The state store on redb: a thin handle on the file, which readers use, and on the writer, which alone writes.
//!
//! The writer's queue is bounded by its producers: a partition has at most one write of its changed rows and one part of a snapshot under
//! way. Nothing here knows what a row means.

use std::sync::Arc;

use tokio::sync::{mpsc, oneshot};

use super::database::NamedDatabase;
use super::leftovers;
use super::snapshot::RedbSnapshot;
use super::state_file::View;
use super::state_writer::{Job, Writer};
use crate::env::Env;
use crate::raft::Position;
use crate::storage::{
    FailureHandler, InstallWrite, Loaded, StageWrite, StateSnapshot, StateStore, StateWrite, StorageError, VisitRow,
};
use crate::types::PartitionId;

/// The rows of all partitions of a node, in `state.redb`. Fields are dropped in order: the writer is the last to hold the file.
pub struct RedbState {
    database: Arc<NamedDatabase>,
    queue: mpsc::UnboundedSender<Job>,
}

impl RedbState {
    /// Starts the writer, which removes at most `leftover_rows_max` leftover rows at once. The returned receiver resolves when the file
    /// is closed.
    ///
    /// # Errors
    /// [`StorageError`] when redb fails.
    pub fn start(
        env: &Env,
        database: NamedDatabase,
        leftover_rows_max: usize,
        on_failure: FailureHandler,
    ) -> Result<(Self, oneshot::Receiver<()>), StorageError> {
        let database = Arc::new(database);
        let (queue, jobs) = mpsc::unbounded_channel();
        let (closing, closed) = oneshot::channel();
        let state = Self { database, queue };
        let writer = Writer {
            database: Arc::clone(&state.database),
            disk: Arc::clone(&env.disk),
            queue: jobs,
            on_failure,
            has_leftovers: state.view(leftovers::exist)?,
            leftover_rows_max,
            _closed: closing,
        };
        env.spawn.spawn_blocking("kapu-state", Box::pin(writer.run()));
        Ok((state, closed))
    }

    fn view<T>(&self, read: impl FnOnce(&View<'_>) -> Result<T, StorageError>) -> Result<T, StorageError> {
        let transaction = self.database.begin_read()?;
        read(&View {
            database: &self.database,
            transaction: &transaction,
        })
    }

    /// Hands a job over. Nobody takes it when the task was ended from outside, as in a simulated crash: then nothing completes.
    fn submit(&self, job: Job) {
        drop(self.queue.send(job));
    }
}

impl StateStore for RedbState {
    fn load(&self, partition: PartitionId, row: &mut VisitRow<'_>) -> Result<Loaded, StorageError> {
        self.view(|view| {
            let (generation, loaded) = view.live(partition)?;
            view.visit(partition, generation, row)?;
            Ok(loaded)
        })
    }

    fn write(&self, write: StateWrite) {
        self.submit(Job::Write(write));
    }

    fn snapshot(&self, partition: PartitionId) -> Result<Box<dyn StateSnapshot>, StorageError> {
        let snapshot = RedbSnapshot::new(Arc::clone(&self.database), partition, self.queue.clone())?;
        Ok(Box::new(snapshot))
    }

    fn stage(&self, write: StageWrite) {
        self.submit(Job::Stage(write));
    }

    fn staged(&self, partition: PartitionId, row: &mut VisitRow<'_>) -> Result<Option<Position>, StorageError> {
        self.view(|view| {
            let Some((generation, at)) = view.staging(partition)? else {
                return Ok(None);
            };
            view.visit(partition, generation, row)?;
            Ok(Some(at))
        })
    }

    fn install(&self, write: InstallWrite) {
        self.submit(Job::Install(write));
    }
}
