//! The committer: the one writer of `log.redb`, and the place where the syncs of all partitions become one.
//!
//! It joins everything that waits into one blob, makes it durable with one commit, and then releases the completions in the order in which
//! the writes came. While it syncs, the next batch gathers: that is the group commit, and it needs no timer. Its queue has no bound of its
//! own because every producer has one: a partition stops proposing at [`limits::UNCOMMITTED_BYTES_MAX`].
//!
//! It knows nothing of partitions beyond their numbers, and never retries: the first error ends it for good.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::{mpsc, oneshot};

use super::index::LogIndex;
use super::record::Encoder;
use super::redb::collect::Collector;
use super::redb::log_file::{LogFile, slot};
use super::{Completion, FailureHandler, LogWrite, PeerLife, StorageError};
use crate::env::Disk;
use crate::limits;
use crate::mutants::{self, Mutant};
use crate::raft::{Persist, Position};
use crate::types::{Index, NodeId, PartitionId};

/// What the log store asks of its committer.
pub(super) enum Job {
    /// Make it durable.
    Write(LogWrite),
    /// Let go of everything up to this position.
    Compact(PartitionId, Position),
    /// Keep which life of a peer was met.
    Meet(NodeId, PeerLife, Completion),
    /// Keep why peers refuse this disk.
    Refused(String),
}

/// What has been committed since the start.
#[derive(Debug, Default)]
pub struct Counters {
    commits: AtomicU64,
    writes: AtomicU64,
}

impl Counters {
    /// How many commits, each with one sync.
    #[must_use]
    pub fn commits(&self) -> u64 {
        self.commits.load(Ordering::Relaxed)
    }

    /// How many writes those commits carried.
    #[must_use]
    pub fn writes(&self) -> u64 {
        self.writes.load(Ordering::Relaxed)
    }

    pub(super) fn count(&self, writes: usize) {
        self.commits.fetch_add(1, Ordering::Relaxed);
        self.writes.fetch_add(writes as u64, Ordering::Relaxed);
    }
}

/// Where a log begins and ends.
#[derive(Clone, Copy)]
struct Ends {
    base: Position,
    last: Index,
}

impl Ends {
    fn of(index: &LogIndex) -> Self {
        Self {
            base: index.base(),
            last: index.last().index,
        }
    }

    /// What they are after `persist`, or in words why it does not follow.
    fn after(self, persist: &Persist) -> Result<Self, String> {
        let Self { base, last } = persist.reset.map_or(Ok(self), |position| self.reset(position))?;
        let (Some(first_new), Some(last_new)) = (persist.entries.first(), persist.entries.last()) else {
            return Ok(Self { base, last });
        };
        let first = first_new.index;
        if first <= base.index || first > last.next() {
            return Err(format!(
                "entries from {first} do not follow a log from {} to {last}",
                base.index
            ));
        }
        let last = last_new.index;
        Ok(Self { base, last })
    }

    /// A log is replaced by one that begins later; also, by itself without its entries.
    fn reset(self, base: Position) -> Result<Self, String> {
        if base.index <= self.base.index && base != self.base {
            let was = self.base.index;
            return Err(format!("a log from {was} is not replaced by one from {}", base.index));
        }
        let last = base.index;
        Ok(Self { base, last })
    }
}

/// The task. Fields are dropped in order: the file is closed before anybody hears of it.
pub(super) struct Committer {
    file: Arc<LogFile>,
    disk: Arc<dyn Disk>,
    queue: mpsc::UnboundedReceiver<Job>,
    on_failure: FailureHandler,
    counters: Arc<Counters>,
    collector: Collector,
    /// The ends of each partition's log, with everything in the batch.
    ends: Vec<Ends>,
    encoder: Encoder,
    batch: Vec<LogWrite>,
    met: Vec<(NodeId, PeerLife, Completion)>,
    refusal: Option<String>,
    /// Taken from the queue, but for the next batch.
    held: Option<Job>,
    _closed: oneshot::Sender<()>,
}

impl Committer {
    pub(super) fn new(
        file: Arc<LogFile>,
        disk: Arc<dyn Disk>,
        queue: mpsc::UnboundedReceiver<Job>,
        on_failure: FailureHandler,
        collector: Collector,
        closed: oneshot::Sender<()>,
    ) -> Self {
        let ends = file.indexes().iter().map(Ends::of).collect();
        Self {
            file,
            disk,
            queue,
            on_failure,
            counters: Arc::default(),
            collector,
            ends,
            encoder: Encoder::new(),
            batch: Vec::new(),
            met: Vec::new(),
            refusal: None,
            held: None,
            _closed: closed,
        }
    }

    pub(super) fn counters(&self) -> Arc<Counters> {
        Arc::clone(&self.counters)
    }

    /// Commits until every handle of the store is gone and the queue is empty, then closes the file. After an error it only waits for
    /// that, and completes nothing.
    pub(super) async fn run(mut self) {
        while let Some(job) = self.next_job().await {
            if let Err(error) = self.turn(job).await {
                (self.on_failure)(error);
                self.batch.clear();
                self.met.clear();
                while self.queue.recv().await.is_some() {}
                break;
            }
        }
        if let Some(file) = Arc::into_inner(self.file) {
            file.close();
        }
    }

    async fn next_job(&mut self) -> Option<Job> {
        match self.held.take() {
            Some(job) => Some(job),
            None => self.queue.recv().await,
        }
    }

    /// Gathers what waits behind `job`, commits it, and now and then collects garbage.
    async fn turn(&mut self, job: Job) -> Result<(), StorageError> {
        self.take(job)?;
        while self.held.is_none() && self.encoder.len() < limits::GROUP_COMMIT_BYTES_MAX {
            let Ok(job) = self.queue.try_recv() else { break };
            self.take(job)?;
        }
        if !self.batch.is_empty() {
            self.commit().await?;
        }
        if !self.met.is_empty() || self.refusal.is_some() {
            self.remember().await?;
        }
        if self.collector.is_due() {
            self.disk.pace().await;
            self.collector.step(&self.file)?;
        }
        Ok(())
    }

    fn take(&mut self, job: Job) -> Result<(), StorageError> {
        match job {
            Job::Write(write) => self.take_write(write),
            // What is compacted depends on writes that are not published yet: let them go first.
            Job::Compact(partition, _) if self.batch.iter().any(|write| write.partition == partition) => {
                self.held = Some(job);
                Ok(())
            }
            Job::Compact(partition, through) => self.compact(partition, through),
            Job::Meet(peer, life, done) => {
                self.met.push((peer, life, done));
                Ok(())
            }
            Job::Refused(reason) => {
                self.refusal = Some(reason);
                Ok(())
            }
        }
    }

    fn take_write(&mut self, write: LogWrite) -> Result<(), StorageError> {
        let LogWrite { partition, persist, .. } = &write;
        let refused = |reason: &str| refused(&self.file, *partition, reason);
        let ends = self.ends.get_mut(slot(*partition));
        let ends = ends.ok_or_else(|| refused("it does not exist"))?;
        *ends = ends.after(persist).map_err(|reason| refused(&reason))?;
        if let Some(hard_state) = persist.hard_state {
            self.encoder.hard_state(*partition, hard_state);
        }
        if let Some(position) = persist.reset {
            self.encoder.reset(*partition, position);
        }
        self.encoder.entries(*partition, &persist.entries);
        self.batch.push(write);
        Ok(())
    }

    /// Raises the base in memory; it becomes durable when garbage is collected, and until then an older base is just as true.
    fn compact(&mut self, partition: PartitionId, through: Position) -> Result<(), StorageError> {
        let mut indexes = self.file.indexes();
        let (Some(index), Some(ends)) = (indexes.get_mut(slot(partition)), self.ends.get_mut(slot(partition))) else {
            return Err(refused(&self.file, partition, "it does not exist"));
        };
        if !index.compact(through) {
            let (Position { term, index: at }, last) = (through, index.last().index);
            let reason =
                format!("it is compacted up to entry {at} of term {term}, which its log up to {last} does not have");
            return Err(refused(&self.file, partition, &reason));
        }
        *ends = Ends::of(index);
        Ok(())
    }

    async fn commit(&mut self) -> Result<(), StorageError> {
        if mutants::on(Mutant::CompletesBeforeCommit) {
            self.complete_early();
        }
        self.disk.pace().await;
        let seq = self.collector.next_blob();
        let appended = self.file.append(seq, self.encoder.seal(seq));
        if !mutants::on(Mutant::SyncErrorIgnored) {
            appended?;
        }
        self.disk.linger().await;
        self.collector.push(self.encoder.len());
        self.encoder.clear();
        self.file.publish(seq, &self.batch);
        self.counters.count(self.batch.len());
        for write in self.batch.drain(..) {
            (write.done)();
        }
        Ok(())
    }
}

/// What is rare enough for a commit of its own.
impl Committer {
    /// Keeps which lives of peers were met, and that they refuse this disk.
    async fn remember(&mut self) -> Result<(), StorageError> {
        self.disk.pace().await;
        let met = self.met.iter().map(|(peer, life, _)| (*peer, *life));
        self.file.remember(met, self.refusal.take().as_deref())?;
        self.disk.linger().await;
        self.met.drain(..).for_each(|(.., done)| done());
        Ok(())
    }
}

/// What only a planted bug does.
impl Committer {
    fn complete_early(&mut self) {
        for write in &mut self.batch {
            std::mem::replace(&mut write.done, Box::new(|| ()))();
        }
    }
}

/// A write that no correct caller makes.
fn refused(file: &LogFile, partition: PartitionId, reason: &str) -> StorageError {
    StorageError::Io {
        file: file.database().file().to_owned(),
        reason: format!("a write to partition {partition} is refused: {reason}"),
    }
}
