//! Replies of the public service: the outcome of a request, or why it has none.
//!
//! The form of an outcome here is also the one that the lock machine hands to its node.

use bytes::Bytes;

use super::failure::{decode_failure, encode_failure};
use super::{DecodeError, pb};
use crate::error::RequestError;
use crate::lock::Outcome;
use crate::types::{FencingToken, Owner};
use pb::pipeline_reply::Result as PbResult;

/// The answer to one request of a pipeline.
#[must_use]
pub fn encode_reply(id: u64, result: &Result<Outcome, RequestError>) -> pb::PipelineReply {
    let result = match result {
        Ok(outcome) => PbResult::Reply(outcome_to_reply(outcome)),
        Err(error) => PbResult::Failure(encode_failure(error)),
    };
    pb::PipelineReply {
        id,
        result: Some(result),
    }
}

/// The id and the answer in one message of a pipeline.
///
/// # Errors
/// [`DecodeError`] when the answer is of no known kind. Whether the request took effect is then unknown.
pub fn decode_reply(reply: pb::PipelineReply) -> (u64, Result<Result<Outcome, RequestError>, DecodeError>) {
    let result = match reply.result {
        Some(PbResult::Reply(reply)) => outcome_from_reply(&reply).map(Ok),
        Some(PbResult::Failure(failure)) => decode_failure(&failure).map(Err),
        None => Err(DecodeError::Missing("the result of a request")),
    };
    (reply.id, result)
}

/// The public form of an outcome.
#[must_use]
pub fn outcome_to_reply(outcome: &Outcome) -> pb::LockReply {
    let (kind, token, expires_in_ms) = match *outcome {
        Outcome::Locked {
            fencing_token,
            expires_in_ms,
        } => (pb::Outcome::Locked, fencing_token.0, expires_in_ms),
        Outcome::Busy { expires_in_ms } => (pb::Outcome::Busy, 0, expires_in_ms),
        Outcome::Extended {
            fencing_token,
            expires_in_ms,
        } => (pb::Outcome::Extended, fencing_token.0, expires_in_ms),
        Outcome::Unlocked => (pb::Outcome::Unlocked, 0, 0),
        Outcome::Got {
            fencing_token,
            expires_in_ms,
            ..
        } => (pb::Outcome::Got, fencing_token.0, expires_in_ms),
        Outcome::LockDoesNotExist => (pb::Outcome::LockDoesNotExist, 0, 0),
        Outcome::InvalidOwner => (pb::Outcome::InvalidOwner, 0, 0),
    };
    let owner = match outcome {
        Outcome::Got { owner, .. } => owner.as_bytes().to_vec().into(),
        _ => Bytes::new(),
    };
    pb::LockReply {
        outcome: kind.into(),
        fencing_token: token,
        expires_in_ms,
        owner,
    }
}

/// The outcome in its public form.
///
/// # Errors
/// [`DecodeError`] when it is of no known kind, or a grant has no token.
pub fn outcome_from_reply(reply: &pb::LockReply) -> Result<Outcome, DecodeError> {
    outcome_from_parts(reply.outcome, reply.fencing_token, reply.expires_in_ms, &reply.owner)
}

pub(super) fn outcome_from_parts(
    kind: i32,
    fencing_token: u64,
    expires_in_ms: u64,
    owner: &[u8],
) -> Result<Outcome, DecodeError> {
    let token = || match fencing_token {
        0 => Err(DecodeError::Missing("the fencing token")),
        token => Ok(FencingToken(token)),
    };
    Ok(match pb::Outcome::try_from(kind).unwrap_or_default() {
        pb::Outcome::Unspecified => return Err(DecodeError::Missing("a known outcome")),
        pb::Outcome::Locked => Outcome::Locked {
            fencing_token: token()?,
            expires_in_ms,
        },
        pb::Outcome::Busy => Outcome::Busy { expires_in_ms },
        pb::Outcome::Extended => Outcome::Extended {
            fencing_token: token()?,
            expires_in_ms,
        },
        pb::Outcome::Unlocked => Outcome::Unlocked,
        pb::Outcome::Got => Outcome::Got {
            owner: Owner::new(owner)?,
            fencing_token: token()?,
            expires_in_ms,
        },
        pb::Outcome::LockDoesNotExist => Outcome::LockDoesNotExist,
        pb::Outcome::InvalidOwner => Outcome::InvalidOwner,
    })
}
