//! The log store on redb: a thin handle on the file, which readers use, and on the committer, which alone writes.

use std::sync::Arc;

use tokio::sync::{mpsc, oneshot};

use super::collect::{CollectBounds, Collector};
use super::database::NamedDatabase;
use super::log_file::{LogFile, slot};
use crate::env::Env;
use crate::raft::{Entry, Position};
use crate::storage::committer::{Committer, Counters, Job};
use crate::storage::{FailureHandler, LogStore, LogWrite, Recovered, RememberPeer, RememberRefusal, StorageError};
use crate::types::{Index, PartitionId};

/// The logs of all partitions of a node, in `log.redb`.
///
/// Fields are dropped in order: the committer, which ends when the queue does, is the last to hold the file, and closes it.
pub struct RedbLog {
    file: Arc<LogFile>,
    queue: mpsc::UnboundedSender<Job>,
    counters: Arc<Counters>,
}

impl RedbLog {
    /// Scans the file and starts its committer. The returned receiver resolves when the file is closed.
    ///
    /// # Errors
    /// [`StorageError::Corrupt`] names the first blob or row that cannot be what was written.
    pub fn start(
        env: &Env,
        database: NamedDatabase,
        partitions: u32,
        bounds: CollectBounds,
        on_failure: FailureHandler,
    ) -> Result<(Self, oneshot::Receiver<()>), StorageError> {
        let (file, scanned) = LogFile::load(database, partitions)?;
        let collector = Collector::new(bounds, scanned);
        let file = Arc::new(file);
        let (queue, jobs) = mpsc::unbounded_channel();
        let (closing, closed) = oneshot::channel();
        let committer = Committer::new(
            Arc::clone(&file),
            Arc::clone(&env.disk),
            jobs,
            on_failure,
            collector,
            closing,
        );
        let counters = committer.counters();
        env.spawn.spawn_blocking("kapu-committer", Box::pin(committer.run()));
        Ok((Self { file, queue, counters }, closed))
    }

    /// How many commits, and how many writes they carried.
    #[must_use]
    pub fn counters(&self) -> Arc<Counters> {
        Arc::clone(&self.counters)
    }

    /// How lives of peers are made durable: by the committer, as long as the store is in use.
    #[must_use]
    pub fn remember_peer(&self) -> RememberPeer {
        let queue = self.queue.downgrade();
        Arc::new(move |peer, life, done| {
            if let Some(queue) = queue.upgrade() {
                drop(queue.send(Job::Meet(peer, life, done)));
            }
        })
    }

    /// How a refusal is made durable: by the committer, as long as the store is in use.
    #[must_use]
    pub fn remember_refusal(&self) -> RememberRefusal {
        let queue = self.queue.downgrade();
        Arc::new(move |reason| {
            if let Some(queue) = queue.upgrade() {
                drop(queue.send(Job::Refused(reason)));
            }
        })
    }

    /// Hands a job over. Nobody takes it when the task was ended from outside, as in a simulated crash: then nothing completes.
    fn submit(&self, job: Job) {
        drop(self.queue.send(job));
    }
}

impl LogStore for RedbLog {
    fn recover(&self, partition: PartitionId) -> Result<Recovered, StorageError> {
        let indexes = self.file.indexes();
        let index = indexes.get(slot(partition));
        let count = indexes.len();
        index.map(crate::storage::index::LogIndex::recovered).ok_or_else(|| {
            self.file.database().mismatch(format!(
                "has {count} partitions, and partition {partition} was asked for"
            ))
        })
    }

    fn write(&self, write: LogWrite) {
        self.submit(Job::Write(write));
    }

    fn read(
        &self,
        partition: PartitionId,
        first: Index,
        last: Index,
        bytes_max: usize,
    ) -> Result<Vec<Entry>, StorageError> {
        self.file.read(partition, first, last, bytes_max)
    }

    fn compact(&self, partition: PartitionId, through: Position) {
        self.submit(Job::Compact(partition, through));
    }
}
