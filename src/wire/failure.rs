//! Why a request has no outcome, on the wire.
//!
//! What a caller can act on crosses: the kind, the leader, the limit, the wrong value. The free text is for people and does not become a
//! failure again. A kind that is not known is no failure either: the caller must take it for the loss of the answer.

use super::{DecodeError, pb};
use crate::error::{LeaderHint, NotLeader, Overloaded, RequestError};
use crate::types::{InvalidInput, NodeId, PartitionId};
use pb::failure::Code;
use pb::invalid_input::Kind;

pub(super) fn encode_failure(error: &RequestError) -> pb::Failure {
    let mut failure = pb::Failure {
        message: error.to_string(),
        ..pb::Failure::default()
    };
    let code = match error {
        RequestError::InvalidInput(input) => {
            failure.invalid_input = Some(encode_input(input));
            Code::InvalidInput
        }
        RequestError::NotLeader(error) => {
            failure.not_leader = Some(encode_not_leader(error));
            Code::NotLeader
        }
        RequestError::Overloaded(error) => {
            failure.limit = error.limit as u64;
            Code::Overloaded
        }
        RequestError::Stopping => Code::Stopping,
        RequestError::Unknown(_) => Code::Unknown,
    };
    failure.code = code.into();
    failure
}

fn encode_not_leader(error: &NotLeader) -> pb::NotLeader {
    let leader = error.leader.as_ref();
    pb::NotLeader {
        partition: error.partition.0,
        partitions: error.partitions,
        leader_node: leader.map_or(0, |leader| leader.node.0),
        leader_address: leader.map_or_else(String::new, |leader| leader.address.clone()),
    }
}

fn encode_input(input: &InvalidInput) -> pb::InvalidInput {
    let (kind, value) = match *input {
        InvalidInput::EmptyResource => (Kind::EmptyResource, 0),
        InvalidInput::LongResource(length) => (Kind::LongResource, length as u64),
        InvalidInput::EmptyOwner => (Kind::EmptyOwner, 0),
        InvalidInput::LongOwner(length) => (Kind::LongOwner, length as u64),
        InvalidInput::BadTtl(ttl_ms) => (Kind::BadTtl, ttl_ms),
        InvalidInput::NoOperation => (Kind::NoOperation, 0),
    };
    pb::InvalidInput {
        kind: kind.into(),
        value,
    }
}

pub(super) fn decode_failure(failure: &pb::Failure) -> Result<RequestError, DecodeError> {
    Ok(match Code::try_from(failure.code).unwrap_or_default() {
        Code::Unspecified => return Err(DecodeError::Missing("a known kind of failure")),
        Code::InvalidInput => decode_input(failure.invalid_input.unwrap_or_default())?.into(),
        Code::NotLeader => decode_not_leader(failure.not_leader.clone().unwrap_or_default()).into(),
        Code::Overloaded => RequestError::Overloaded(Overloaded {
            what: "a queue of the node",
            limit: usize::try_from(failure.limit).unwrap_or(usize::MAX),
        }),
        Code::Stopping => RequestError::Stopping,
        Code::Unknown => RequestError::Unknown("the node cannot tell"),
    })
}

fn decode_not_leader(not_leader: pb::NotLeader) -> NotLeader {
    let leader = (not_leader.leader_node != 0).then_some(LeaderHint {
        node: NodeId(not_leader.leader_node),
        address: not_leader.leader_address,
    });
    NotLeader {
        partition: PartitionId(not_leader.partition),
        partitions: not_leader.partitions,
        leader,
    }
}

fn decode_input(input: pb::InvalidInput) -> Result<InvalidInput, DecodeError> {
    let length = usize::try_from(input.value).unwrap_or(usize::MAX);
    Ok(match Kind::try_from(input.kind).unwrap_or_default() {
        Kind::Unspecified => return Err(DecodeError::Missing("a known kind of invalid input")),
        Kind::EmptyResource => InvalidInput::EmptyResource,
        Kind::LongResource => InvalidInput::LongResource(length),
        Kind::EmptyOwner => InvalidInput::EmptyOwner,
        Kind::LongOwner => InvalidInput::LongOwner(length),
        Kind::BadTtl => InvalidInput::BadTtl(input.value),
        Kind::NoOperation => InvalidInput::NoOperation,
    })
}
