//! A node: its partitions, its storage, its peers, one ticker; built, run and stopped here.
//!
//! [`Node::start`] puts the parts together; [`NodeHandle::submit`] is the one entrance for requests, used by the API and by simulation
//! alike. A node decides nothing about locks or logs. Any storage error ends it: it answers nothing more and says why.

mod failure;
mod handle;
mod locks;
mod roster;
mod router;
pub mod settle;
mod start;
mod ticker;

use std::sync::Arc;

use tokio::sync::oneshot;

use crate::clock::{BoxFuture, Clock};
use crate::env::NetworkError;
use crate::partition::{Event, Mailbox};
use crate::storage::StorageError;
use crate::types::PartitionId;

pub use handle::{NodeHandle, Reply};

use failure::FailureCell;

/// How long a stopping node waits for its successors.
const HAND_OVER_PATIENCE: std::time::Duration = std::time::Duration::from_secs(1);

/// A running node.
pub struct Node {
    handle: NodeHandle,
    failure: FailureCell,
    clock: Arc<dyn Clock>,
    running: Running,
}

/// What ends when the node does.
struct Running {
    mailboxes: Vec<Mailbox>,
    /// Dropped to end the ticker, the listener and the peers' streams.
    stop: tokio::sync::watch::Sender<bool>,
    /// Completes when an actor has ended.
    actors: Vec<oneshot::Receiver<()>>,
    /// Completes when the files are closed.
    storage: BoxFuture<'static, ()>,
}

/// Why a node did not start.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StartError {
    /// The data directory.
    #[error(transparent)]
    Storage(#[from] StorageError),
    /// The network.
    #[error(transparent)]
    Network(#[from] NetworkError),
}

/// Why a running node ended by itself.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NodeFailure {
    /// Storage failed; nothing more is answered.
    #[error(transparent)]
    Storage(#[from] StorageError),
    /// A peer says that this node's disk is not the one it knew.
    #[error("a peer refuses this node: {0}")]
    Refused(String),
    /// This node was removed from its cluster: nothing is wrong, and nothing is left to do.
    #[error("this node was removed from its cluster; it serves nothing any more, and its id is never used again")]
    Removed,
    /// A partition broke one of its invariants.
    #[error("partition {0} broke an invariant and stopped; the log says which")]
    Panicked(PartitionId),
    /// The log holds an entry that this version cannot read.
    #[error("{0}; a newer version may have written it")]
    Unreadable(String),
}

impl Node {
    /// A way to ask this node.
    #[must_use]
    pub fn handle(&self) -> NodeHandle {
        self.handle.clone()
    }

    /// Completes when the node has failed and answers nothing more.
    pub fn failed(&self) -> impl Future<Output = NodeFailure> + Send + use<> {
        let failure = self.failure.clone();
        async move { failure.wait().await }
    }

    /// Hands leadership over where it can, stops, and returns when everything is closed.
    pub async fn stop(self) {
        if !self.failure.is_set() {
            hand_over(self.running.mailboxes.clone(), Arc::clone(&self.clock)).await;
        }
        self.close().await;
    }

    /// Stops without handing over; returns when everything is closed.
    pub async fn close(self) {
        let Running {
            mailboxes,
            stop,
            actors,
            storage,
        } = self.running;
        self.failure.close();
        mailboxes.iter().for_each(|mailbox| mailbox.push(Event::Stop));
        for actor in actors {
            // An actor that panicked has dropped its end; it is gone either way.
            drop(actor.await);
        }
        drop(stop);
        storage.await;
    }
}

async fn hand_over(mailboxes: Vec<Mailbox>, clock: Arc<dyn Clock>) {
    let mut waiting = Vec::new();
    for mailbox in &mailboxes {
        let (done, handed_over) = oneshot::channel();
        mailbox.push(Event::HandOver(Box::new(move || done.send(()).unwrap_or_default())));
        waiting.push(handed_over);
    }
    let all = async {
        for handed_over in waiting {
            // An actor that is gone has nothing to hand over.
            drop(handed_over.await);
        }
    };
    tokio::select! {
        biased;
        () = all => {}
        () = clock.sleep(HAND_OVER_PATIENCE) => tracing::warn!("no successor took over every partition in time"),
    }
}
