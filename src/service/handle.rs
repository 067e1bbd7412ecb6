//! The one entrance for requests about locks, used by the API and by simulation alike.

use bytes::Bytes;
use tokio::sync::oneshot;

use crate::error::{PartitionError, RequestError};
use crate::lock::{Outcome, Request};
use crate::node::NodeHandle;
use crate::wire::lock;

/// Takes the answer to one request; called exactly once, on any thread.
pub type Reply = Box<dyn FnOnce(Result<Outcome, RequestError>) + Send>;

/// A cheap, cloneable way to ask a node for locks.
#[derive(Clone)]
pub struct LockHandle(NodeHandle);

impl LockHandle {
    /// A way to ask for locks at a node that replicates them, as [`super::start`] makes it.
    #[must_use]
    pub const fn new(node: NodeHandle) -> Self {
        Self(node)
    }

    /// The way to ask the node for everything else.
    #[must_use]
    pub const fn node(&self) -> &NodeHandle {
        &self.0
    }

    /// Hands a request to its partition. Never blocks. `reply` is called exactly once.
    pub fn submit(&self, request: Request, reply: Reply) {
        let partition = self.0.partition_of(request.resource().as_str().as_bytes());
        let reply = move |result| reply(translate(result));
        match request {
            Request::Command(command) => self.0.propose(partition, lock::encode_command(&command), reply),
            Request::Query(query) => self.0.ask(partition, lock::encode_query(&query), reply),
        }
    }

    /// Asks and waits.
    ///
    /// # Errors
    /// [`RequestError`] when there is no outcome.
    pub async fn request(&self, request: Request) -> Result<Outcome, RequestError> {
        let (sender, receiver) = oneshot::channel();
        self.submit(request, Box::new(move |result| drop(sender.send(result))));
        receiver.await.unwrap_or(Err(RequestError::Unknown(
            "the node ended before the outcome was known",
        )))
    }
}

fn translate(result: Result<Bytes, PartitionError>) -> Result<Outcome, RequestError> {
    match result {
        Ok(outcome) => Ok(lock::decode_outcome(&outcome).expect("an outcome comes from this very node")),
        Err(PartitionError::NotLeader(error)) => Err(error.into()),
        Err(PartitionError::Overloaded(error)) => Err(error.into()),
        Err(PartitionError::Stopping) => Err(RequestError::Stopping),
        Err(PartitionError::Unknown(reason)) => Err(RequestError::Unknown(reason)),
        Err(error @ (PartitionError::NoPartition(..) | PartitionError::LongCommand(_))) => {
            unreachable!("a checked request fits, and its partition is a hash: {error}")
        }
    }
}
