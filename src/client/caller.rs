//! The seam of the client: one request, one endpoint, one attempt.
//!
//! Production carries attempts over gRPC, simulation over whatever it likes to break. A caller does not retry, does not route, and
//! does not read outcomes: that is the client's part.

use std::time::Duration;

use crate::admin::{AdminReply, AdminRequest};
use crate::clock::BoxFuture;
use crate::error::{AdminError, RequestError};
use crate::lock::{Outcome, Request};
use crate::mutants::{self, Mutant};
use crate::status::NodeStatus;

/// Carries one request to one endpoint, or says why not.
///
/// - A call completes within `timeout`, with [`CallError::Lost`] when the request has left by then.
/// - A call whose future is dropped may still take effect.
pub trait Caller: Send + Sync {
    /// Sends `request` to `endpoint` (`host:port`) and waits for the answer, for at most `timeout`.
    fn call(
        &self,
        endpoint: &str,
        request: Request,
        timeout: Duration,
    ) -> BoxFuture<'static, Result<Outcome, CallError>>;

    /// Asks the node at `endpoint` for something that only a leader can do, and waits for at most `timeout`. A caller that carries nothing but
    /// requests for locks says so.
    fn administer(
        &self,
        endpoint: &str,
        _request: AdminRequest,
        _timeout: Duration,
    ) -> BoxFuture<'static, Result<AdminReply, AdminError>> {
        let why = format!("this client carries nothing but requests for locks to {endpoint}");
        Box::pin(async move { Err(AdminError::Refused(why)) })
    }

    /// Asks the node at `endpoint` about itself, for at most `timeout`.
    fn status(&self, endpoint: &str, timeout: Duration) -> BoxFuture<'static, Result<NodeStatus, CallError>>;
}

/// Why one call to one endpoint has no outcome.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CallError {
    /// Definite: the request never left (connection refused, name unknown).
    #[error("cannot reach {endpoint}: {reason}")]
    Unreachable {
        /// Where it was to go.
        endpoint: String,
        /// What the system said.
        reason: String,
    },
    /// Indefinite: it left, and no answer came.
    #[error("no answer from {endpoint}: {reason}")]
    Lost {
        /// Where it went.
        endpoint: String,
        /// Why no answer can come any more.
        reason: String,
    },
    /// The node answered with a failure, which knows itself whether it is definite.
    #[error(transparent)]
    Request(#[from] RequestError),
}

impl CallError {
    /// Whether nothing happened and nothing will.
    #[must_use]
    pub fn is_definite(&self) -> bool {
        match self {
            Self::Unreachable { .. } => true,
            Self::Lost { .. } => mutants::on(Mutant::UnknownIsDefinite),
            Self::Request(error) => error.is_definite(),
        }
    }

    /// Whether the same request of the same owner may succeed when it is sent again, there or elsewhere.
    #[must_use]
    pub const fn is_retryable(&self) -> bool {
        match self {
            Self::Unreachable { .. } | Self::Lost { .. } => true,
            Self::Request(error) => error.is_retryable(),
        }
    }
}
