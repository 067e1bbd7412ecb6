//! A node. (Signatures first; the body follows.)

use crate::config::NodeConfig;
use crate::env::Env;
use crate::error::RequestError;
use crate::lock::{Outcome, Request};
use crate::status::NodeStatus;
use crate::storage::StorageError;

/// Takes the answer to one request; called exactly once, on any thread.
pub type Reply = Box<dyn FnOnce(Result<Outcome, RequestError>) + Send>;

/// A running node.
pub struct Node;

/// A cheap, cloneable way to ask a node.
#[derive(Clone)]
pub struct NodeHandle;

/// Why a node did not start.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StartError {
    /// The data directory.
    #[error(transparent)]
    Storage(#[from] StorageError),
    /// The network.
    #[error(transparent)]
    Network(#[from] crate::env::NetworkError),
}

/// Why a running node ended by itself.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NodeFailure {
    /// Storage failed; nothing more is answered.
    #[error(transparent)]
    Storage(#[from] StorageError),
    /// A peer says that this node's disk is not the one it knew.
    #[error("{0}")]
    Refused(String),
}

impl Node {
    /// Opens storage, recovers every partition, listens for peers, and starts. Does not wait for a leader.
    ///
    /// # Errors
    /// [`StartError`] when the data directory or the address cannot be used.
    pub async fn start(_env: Env, _config: NodeConfig) -> Result<Self, StartError> {
        todo!()
    }
    /// A way to ask this node.
    #[must_use]
    pub fn handle(&self) -> NodeHandle {
        todo!()
    }
    /// Completes when the node has failed and answers nothing more.
    pub async fn failed(&self) -> NodeFailure {
        todo!()
    }
    /// Hands leadership over where it can, stops, and returns when everything is closed.
    pub async fn stop(self) {
        todo!()
    }
}

impl NodeHandle {
    /// Hands a request to its partition. Never blocks. `reply` is called exactly once.
    pub fn submit(&self, _request: Request, _reply: Reply) {
        todo!()
    }
    /// Asks and waits.
    ///
    /// # Errors
    /// [`RequestError`] when there is no outcome.
    pub async fn request(&self, _request: Request) -> Result<Outcome, RequestError> {
        todo!()
    }
    /// What the node says of itself now.
    #[must_use]
    pub fn status(&self) -> NodeStatus {
        todo!()
    }
}
