//! Requests of the public service, checked, for both its ends.
//!
//! A request that is wrong is a value, not the end of a stream. Nothing is known here of what it will do.

use super::pb;
use crate::lock::{Command, Query, Request};
use crate::types::{InvalidInput, Owner, Resource, check_ttl};
use pb::pipeline_request::Operation;

impl TryFrom<pb::TryLockRequest> for Request {
    type Error = InvalidInput;

    fn try_from(request: pb::TryLockRequest) -> Result<Self, InvalidInput> {
        Ok(Self::Command(Command::TryLock {
            resource: Resource::new(&request.resource)?,
            owner: Owner::new(&request.owner)?,
            ttl_ms: check_ttl(request.ttl_ms)?,
        }))
    }
}

impl TryFrom<pb::ExtendRequest> for Request {
    type Error = InvalidInput;

    fn try_from(request: pb::ExtendRequest) -> Result<Self, InvalidInput> {
        Ok(Self::Command(Command::Extend {
            resource: Resource::new(&request.resource)?,
            owner: Owner::new(&request.owner)?,
            ttl_ms: check_ttl(request.ttl_ms)?,
        }))
    }
}

impl TryFrom<pb::UnlockRequest> for Request {
    type Error = InvalidInput;

    fn try_from(request: pb::UnlockRequest) -> Result<Self, InvalidInput> {
        Ok(Self::Command(Command::Unlock {
            resource: Resource::new(&request.resource)?,
            owner: Owner::new(&request.owner)?,
        }))
    }
}

impl TryFrom<pb::GetRequest> for Request {
    type Error = InvalidInput;

    fn try_from(request: pb::GetRequest) -> Result<Self, InvalidInput> {
        let resource = Resource::new(&request.resource)?;
        Ok(Self::Query(Query::Get { resource }))
    }
}

/// The id and the checked request of one message of a pipeline.
///
/// # Errors
/// The second part is [`InvalidInput`] when the request is wrong; the id is good nevertheless, and the stream goes on.
pub fn decode_request(request: pb::PipelineRequest) -> (u64, Result<Request, InvalidInput>) {
    let checked = match request.operation {
        Some(Operation::TryLock(operation)) => operation.try_into(),
        Some(Operation::Extend(operation)) => operation.try_into(),
        Some(Operation::Unlock(operation)) => operation.try_into(),
        Some(Operation::Get(operation)) => operation.try_into(),
        None => Err(InvalidInput::NoOperation),
    };
    (request.id, checked)
}

/// The message of a pipeline that asks for `request`.
#[must_use]
pub fn encode_request(id: u64, request: &Request) -> pb::PipelineRequest {
    let name = |resource: &Resource| resource.as_str().to_owned();
    let bytes = |owner: &Owner| owner.as_bytes().to_vec().into();
    let operation = match request {
        Request::Command(Command::TryLock {
            resource,
            owner,
            ttl_ms,
        }) => Operation::TryLock(pb::TryLockRequest {
            resource: name(resource),
            owner: bytes(owner),
            ttl_ms: *ttl_ms,
        }),
        Request::Command(Command::Extend {
            resource,
            owner,
            ttl_ms,
        }) => Operation::Extend(pb::ExtendRequest {
            resource: name(resource),
            owner: bytes(owner),
            ttl_ms: *ttl_ms,
        }),
        Request::Command(Command::Unlock { resource, owner }) => Operation::Unlock(pb::UnlockRequest {
            resource: name(resource),
            owner: bytes(owner),
        }),
        Request::Query(Query::Get { resource }) => Operation::Get(pb::GetRequest {
            resource: name(resource),
        }),
    };
    pb::PipelineRequest {
        id,
        operation: Some(operation),
    }
}
