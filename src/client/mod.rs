//! The client. (Signatures first; the body follows.)

use std::time::Duration;

use crate::clock::BoxFuture;
use crate::error::RequestError;
use crate::lock::{Outcome, Request};
use crate::status::NodeStatus;
use crate::types::{FencingToken, InvalidInput, Owner};

/// The seam of the client: carries one request to one endpoint, or says why not.
pub trait Caller: Send + Sync {
    /// Sends `request` to `endpoint` (`host:port`) and waits for the answer, for at most `timeout`.
    fn call(
        &self,
        endpoint: &str,
        request: Request,
        timeout: Duration,
    ) -> BoxFuture<'static, Result<Outcome, CallError>>;
    /// Asks a node about itself.
    fn status(&self, endpoint: &str, timeout: Duration) -> BoxFuture<'static, Result<NodeStatus, CallError>>;
}

/// Why one call to one endpoint has no outcome.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CallError {
    /// Definite: the request never left (connection refused, name unknown).
    #[error("cannot connect to {endpoint}: {reason}")]
    Unreachable { endpoint: String, reason: String },
    /// Indefinite: it left, and no answer came.
    #[error("no answer from {endpoint}: {reason}")]
    Lost { endpoint: String, reason: String },
    /// The node answered with a failure, which knows itself whether it is definite.
    #[error(transparent)]
    Request(#[from] RequestError),
}

/// Why a client has no outcome.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ClientError {
    /// Definite: the request is wrong.
    #[error("invalid input: {0}")]
    InvalidInput(#[from] InvalidInput),
    /// Definite: nothing happened in the time allowed.
    #[error("the cluster is not reachable at {endpoints} within {timeout:?}: {last}")]
    Unreachable {
        endpoints: String,
        timeout: Duration,
        last: String,
    },
    /// Indefinite: an attempt was made whose outcome is not known.
    #[error("unknown whether the request took effect: {last}")]
    Unknown { last: String },
}

/// A connection to a cluster. Cheap to clone.
#[derive(Clone)]
pub struct Client;

impl Client {
    /// Connects (lazily) to a cluster over gRPC, with the system's clock and a seed of the system's entropy.
    pub async fn connect<E: Into<String>>(_endpoints: impl IntoIterator<Item = E>) -> Result<Self, ClientError> {
        todo!()
    }
    /// The same client with another limit on how long one operation may take, retries included. Default 10 s.
    #[must_use]
    pub fn with_timeout(&self, _timeout: Duration) -> Self {
        todo!()
    }
    /// Starts to describe a lock that is to be acquired and kept.
    pub fn lock(&self, _name: &str) -> LockBuilder {
        todo!()
    }
    /// A new owner, drawn at random.
    pub fn new_owner(&self) -> Owner {
        todo!()
    }
    /// Sends one request to the leader of its partition, wherever that is; retries the same owner until the timeout.
    pub async fn request(&self, _request: Request) -> Result<Outcome, ClientError> {
        todo!()
    }
    /// What each endpoint says of itself; an error per endpoint that cannot be reached.
    pub async fn status(&self) -> Vec<(String, Result<NodeStatus, CallError>)> {
        todo!()
    }
}

/// A lock to be acquired.
pub struct LockBuilder;

impl LockBuilder {
    /// The lease; renewed at a third of it. Default 30 s.
    #[must_use]
    pub fn ttl(self, _ttl: Duration) -> Self {
        todo!()
    }
    /// How long to wait while somebody else holds it. Default zero: one try.
    #[must_use]
    pub fn wait(self, _wait: Duration) -> Self {
        todo!()
    }
    /// The owner, instead of a random one.
    #[must_use]
    pub fn owner(self, _owner: Owner) -> Self {
        todo!()
    }
    /// Acquires; `None` when somebody else held it all the time.
    pub async fn acquire(self) -> Result<Option<LockGuard>, ClientError> {
        todo!()
    }
}

/// A held lock, renewed in the background, released on drop (best effort) or by [`LockGuard::release`].
pub struct LockGuard;

impl LockGuard {
    /// The number to fence with.
    pub fn fencing_token(&self) -> FencingToken {
        todo!()
    }
    /// Who holds it.
    pub fn owner(&self) -> &Owner {
        todo!()
    }
    /// Whether the lease is certain at this moment.
    pub fn is_held(&self) -> bool {
        todo!()
    }
    /// Completes when the lock is lost; never while it is held.
    pub async fn lost(&self) {
        todo!()
    }
    /// Frees the lock and says whether it was still held.
    pub async fn release(self) -> Result<bool, ClientError> {
        todo!()
    }
}
