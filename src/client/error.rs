//! Why an operation of the client has no outcome, after all its attempts.
//!
//! Definite and indefinite never share a variant. That a lock was busy all the time is no error and has no variant here.

use std::time::Duration;

use crate::types::InvalidInput;

/// Why a client has no outcome.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ClientError {
    /// Definite: the request is wrong.
    #[error("invalid input: {0}")]
    InvalidInput(#[from] InvalidInput),
    /// Definite: an endpoint cannot be one.
    #[error("bad endpoint {text:?}: {reason}")]
    BadEndpoint {
        /// The endpoint as it was given.
        text: String,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// Definite: nothing happened in the time allowed.
    #[error("the cluster is not reachable at {endpoints} within {timeout:?}: {last}")]
    Unreachable {
        /// The endpoints that the client was given.
        endpoints: String,
        /// The time allowed.
        timeout: Duration,
        /// Why the last attempt failed.
        last: String,
    },
    /// Indefinite: an attempt was made whose outcome is not known.
    #[error("unknown whether the request took effect: {last}")]
    Unknown {
        /// Why the last indefinite attempt has no outcome.
        last: String,
    },
}

impl ClientError {
    /// Whether nothing happened and nothing will.
    #[must_use]
    pub const fn is_definite(&self) -> bool {
        !matches!(self, Self::Unknown { .. })
    }
}
