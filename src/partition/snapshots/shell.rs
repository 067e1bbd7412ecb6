//! The tasks behind a partition's snapshots: started and ended as the core says.

use std::sync::Arc;

use tokio::sync::{Semaphore, mpsc, oneshot};

use super::{Step, receive, serve};
use crate::clock::BoxFuture;
use crate::limits;
use crate::machine::NewMachine;
use crate::partition::actor::Shared;
use crate::partition::event::Event;
use crate::partition::mailbox::Mailbox;
use crate::raft::{Position, SnapshotRows};
use crate::storage::StorageError;
use crate::types::PartitionId;

/// What all partitions of a node share for it.
#[derive(Clone)]
pub struct SnapshotShared {
    /// Makes the machine that a received state is put into.
    pub new_machine: NewMachine,
    /// The most bytes of rows in one message.
    bytes_max: usize,
    /// How many more may be received at the moment.
    receiving: Arc<Semaphore>,
}

impl SnapshotShared {
    /// For a node whose partitions have such machines and send so many bytes of rows at a time.
    #[must_use]
    pub fn new(new_machine: NewMachine, bytes_max: usize) -> Self {
        Self {
            new_machine,
            bytes_max,
            receiving: Arc::new(Semaphore::new(limits::SNAPSHOTS_RECEIVED_MAX)),
        }
    }
}

/// The tasks of one partition: each ends when its sender is dropped.
#[derive(Default)]
pub struct SnapshotTasks {
    serving: Option<mpsc::Sender<serve::Wanted>>,
    receiving: Option<mpsc::UnboundedSender<SnapshotRows>>,
    /// Completes when the latest receiving task has ended: the next one waits for that, so that what two of them keep is never mixed.
    ended: Option<oneshot::Receiver<()>>,
}

impl SnapshotTasks {
    /// Does what the core says.
    pub fn carry_out(&mut self, step: Step, partition: PartitionId, shared: &Shared, mailbox: &Mailbox) {
        match step {
            Step::Open => self.open(partition, shared, mailbox),
            Step::Close => self.serving = None,
            // One that is dropped here is asked for again.
            Step::Read(to, after) => drop(self.serving.as_ref().map(|serving| serving.try_send((to, after)))),
            Step::Receive(at) => self.receive(at, partition, shared, mailbox),
            Step::Stage(rows) => {
                if let Some(receiving) = &self.receiving {
                    // A task that has ended has said so.
                    let _ = receiving.send(rows);
                }
            }
            Step::Abandon => self.receiving = None,
        }
    }

    fn open(&mut self, partition: PartitionId, shared: &Shared, mailbox: &Mailbox) {
        let snapshot = match shared.state.snapshot(partition) {
            Ok(snapshot) => snapshot,
            Err(error) => return (shared.on_failure)(error.to_string()),
        };
        let at = snapshot.mark().applied;
        let (serving, wanted) = mpsc::channel(limits::SNAPSHOT_REQUESTS_MAX);
        self.serving = Some(serving);
        let task = serve::run(snapshot, wanted, mailbox.clone(), shared.snapshots.bytes_max);
        spawn(shared, "kapu-snapshot-serve", task);
        mailbox.push(Event::SnapshotOpened(at));
    }

    fn receive(&mut self, at: Position, partition: PartitionId, shared: &Shared, mailbox: &Mailbox) {
        self.receiving = None;
        let Ok(permit) = Arc::clone(&shared.snapshots.receiving).try_acquire_owned() else {
            return mailbox.push(Event::SnapshotDropped(at));
        };
        let (receiving, arriving) = mpsc::unbounded_channel();
        self.receiving = Some(receiving);
        let receiver = receive::Receiver {
            partition,
            at,
            state: Arc::clone(&shared.state),
            mailbox: mailbox.clone(),
        };
        let new_machine = Arc::clone(&shared.snapshots.new_machine);
        let (ending, ended) = oneshot::channel::<()>();
        let earlier = self.ended.replace(ended);
        spawn(shared, "kapu-snapshot-receive", async move {
            let _while_running = (permit, ending);
            if let Some(earlier) = earlier {
                // An error says that it has ended: it tells nothing else.
                let _ = earlier.await;
            }
            receiver.run(new_machine, arriving).await
        });
    }
}

fn spawn(shared: &Shared, name: &'static str, task: impl Future<Output = Result<(), StorageError>> + Send + 'static) {
    let on_failure = Arc::clone(&shared.on_failure);
    let task: BoxFuture<'static, ()> = Box::pin(async move {
        if let Err(error) = task.await {
            on_failure(error.to_string());
        }
    });
    shared.spawn.spawn_blocking(name, task);
}
