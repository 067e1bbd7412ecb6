//! Keeps the rows of a snapshot as they come, durably, and builds the machine that will hold them, beside the partition.
//!
//! Rows that were kept before a restart are read first, so that a transfer goes on where it was.

use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::{mpsc, oneshot};

use super::Finished;
use crate::machine::{NewMachine, StateMachine};
use crate::mutants::{self, Mutant};
use crate::partition::event::Event;
use crate::partition::mailbox::Mailbox;
use crate::raft::{Position, SnapshotRows};
use crate::storage::{StageWrite, StateStore, StorageError};
use crate::types::PartitionId;

/// What receiving takes.
pub struct Receiver {
    /// Which partition.
    pub partition: PartitionId,
    /// Which state.
    pub at: Position,
    /// Where rows are kept.
    pub state: Arc<dyn StateStore>,
    /// Who is told.
    pub mailbox: Mailbox,
}

impl Receiver {
    /// Takes rows until the last ones, or until nobody sends any more.
    ///
    /// # Errors
    /// [`StorageError`] when what is kept cannot be read.
    pub async fn run(
        self,
        new_machine: NewMachine,
        mut arriving: mpsc::UnboundedReceiver<SnapshotRows>,
    ) -> Result<(), StorageError> {
        let (mut machine, after) = self.resume(&new_machine)?;
        self.tell(after, None);
        while let Some(rows) = arriving.recv().await {
            if let Err(error) = restore(&mut *machine, &rows) {
                tracing::error!(partition = %self.partition, error, "a snapshot cannot be received");
                self.mailbox.push(Event::SnapshotDropped(self.at));
                return Ok(());
            }
            let SnapshotRows { after, rows, end, .. } = rows;
            let after = rows.last().map_or(after, |(key, _)| key.clone());
            if !self.keep(rows).await {
                return Ok(());
            }
            if let Some(end) = end {
                self.tell(after, Some(Finished { machine, end }));
                return Ok(());
            }
            self.tell(after, None);
        }
        Ok(())
    }

    /// A machine with what is kept of this very state, and the last key of that.
    fn resume(&self, new_machine: &NewMachine) -> Result<(Box<dyn StateMachine>, Bytes), StorageError> {
        let (mut machine, mut last) = (new_machine(self.partition), Bytes::new());
        let kept = self.state.staged(self.partition, &mut |key, value| {
            last = Bytes::copy_from_slice(key);
            machine.restore(key, value).map_err(|error| error.to_string())
        })?;
        let is_same = kept == Some(self.at) || kept.is_some() && mutants::on(Mutant::SnapshotRowsMixed);
        Ok(if is_same {
            (machine, last)
        } else {
            (new_machine(self.partition), Bytes::new())
        })
    }

    /// Makes rows durable. Says whether they are: a store that has failed completes nothing.
    async fn keep(&self, rows: Vec<(Bytes, Bytes)>) -> bool {
        let (done, kept) = oneshot::channel();
        self.state.stage(StageWrite {
            partition: self.partition,
            at: self.at,
            rows,
            done: Box::new(move || done.send(()).unwrap_or_default()),
        });
        kept.await.is_ok()
    }

    fn tell(&self, after: Bytes, finished: Option<Finished>) {
        let at = self.at;
        self.mailbox.push(Event::SnapshotStaged { at, after, finished });
    }
}

fn restore(machine: &mut dyn StateMachine, rows: &SnapshotRows) -> Result<(), String> {
    let mut rows = rows.rows.iter();
    rows.try_for_each(|(key, value)| machine.restore(key, value).map_err(|error| error.to_string()))
}
