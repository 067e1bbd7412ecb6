//! Messages of the public service to domain and back, for the client's end.
//!
//! Stands in for `wire`, with the same names and shapes. It decides nothing: what is of no known kind is a [`DecodeError`].

use crate::error::{LeaderHint, RequestError};
use crate::lock::{Command, Outcome, Query, Request};
use crate::raft::Role;
use crate::status::{NodeStatus, PartitionStatus};
use crate::types::{FencingToken, Index, InvalidInput, NodeId, Owner, PartitionId, Term};
use pb::failure::Code;
use pb::pipeline_reply::Result as PbResult;
use pb::pipeline_request::Operation;

/// What prost and tonic generate from `proto/kapu/v1`.
#[allow(missing_docs, clippy::all, reason = "generated; the comments are in the proto files")]
pub mod pb {
    tonic::include_proto!("kapu.v1");
}

const ROLES: [Role; 4] = [Role::Follower, Role::PreCandidate, Role::Candidate, Role::Leader];

/// Why a message is not a value of the domain.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct DecodeError(&'static str);

/// The message that asks for `request`.
pub fn encode_request(id: u64, request: &Request) -> pb::PipelineRequest {
    let resource = request.resource().as_str().to_owned();
    let bytes = |owner: &Owner| owner.as_bytes().to_vec().into();
    let operation = match request {
        Request::Command(Command::TryLock { owner, ttl_ms, .. }) => {
            let (owner, ttl_ms) = (bytes(owner), *ttl_ms);
            Operation::TryLock(pb::TryLockRequest {
                resource,
                owner,
                ttl_ms,
            })
        }
        Request::Command(Command::Extend { owner, ttl_ms, .. }) => {
            let (owner, ttl_ms) = (bytes(owner), *ttl_ms);
            Operation::Extend(pb::ExtendRequest {
                resource,
                owner,
                ttl_ms,
            })
        }
        Request::Command(Command::Unlock { owner, .. }) => {
            let owner = bytes(owner);
            Operation::Unlock(pb::UnlockRequest { resource, owner })
        }
        Request::Query(Query::Get { .. }) => Operation::Get(pb::GetRequest { resource }),
    };
    let operation = Some(operation);
    pb::PipelineRequest { id, operation }
}

/// The id and the answer in one message.
pub fn decode_reply(reply: pb::PipelineReply) -> (u64, Result<Result<Outcome, RequestError>, DecodeError>) {
    let result = match reply.result {
        Some(PbResult::Reply(reply)) => decode_outcome(&reply).map(Ok),
        Some(PbResult::Failure(failure)) => decode_failure(failure).map(Err),
        None => Err(DecodeError("the result of a request is missing")),
    };
    (reply.id, result)
}

fn decode_outcome(reply: &pb::LockReply) -> Result<Outcome, DecodeError> {
    let fencing_token = FencingToken(reply.fencing_token);
    let expires_in_ms = reply.expires_in_ms;
    Ok(match reply.outcome() {
        pb::Outcome::Unspecified => return Err(DecodeError("the outcome is of no known kind")),
        pb::Outcome::Locked => Outcome::Locked {
            fencing_token,
            expires_in_ms,
        },
        pb::Outcome::Busy => Outcome::Busy { expires_in_ms },
        pb::Outcome::Extended => Outcome::Extended {
            fencing_token,
            expires_in_ms,
        },
        pb::Outcome::Unlocked => Outcome::Unlocked,
        pb::Outcome::Got => {
            let owner = Owner::new(&reply.owner).map_err(|_| DecodeError("the owner is none"))?;
            Outcome::Got {
                owner,
                fencing_token,
                expires_in_ms,
            }
        }
        pb::Outcome::LockDoesNotExist => Outcome::LockDoesNotExist,
        pb::Outcome::InvalidOwner => Outcome::InvalidOwner,
    })
}

fn decode_failure(failure: pb::Failure) -> Result<RequestError, DecodeError> {
    Ok(match failure.code() {
        Code::Unspecified => return Err(DecodeError("the failure is of no known kind")),
        Code::InvalidInput => InvalidInput::NoOperation.into(),
        Code::NotLeader => decode_not_leader(failure.not_leader.unwrap_or_default()),
        Code::Overloaded => RequestError::Overloaded {
            what: "a queue of the node",
            limit: 0,
        },
        Code::Stopping => RequestError::Stopping,
        Code::Unknown => RequestError::Unknown("the node cannot tell"),
    })
}

fn decode_not_leader(refusal: pb::NotLeader) -> RequestError {
    let hint = LeaderHint {
        node: NodeId(refusal.leader_node),
        address: refusal.leader_address,
    };
    RequestError::NotLeader {
        partition: PartitionId(refusal.partition),
        partitions: refusal.partitions,
        leader: (refusal.leader_node != 0).then_some(hint),
    }
}

/// What a node says of itself.
pub fn decode_status(reply: pb::StatusReply) -> Result<NodeStatus, DecodeError> {
    let partitions = reply
        .partitions
        .iter()
        .map(decode_partition)
        .collect::<Result<_, _>>()?;
    Ok(NodeStatus {
        cluster: reply.cluster,
        node_id: NodeId(reply.node_id),
        client_address: reply.address,
        nodes: reply
            .nodes
            .into_iter()
            .map(|node| (NodeId(node.node_id), node.address))
            .collect(),
        partitions,
    })
}

fn decode_partition(status: &pb::PartitionStatus) -> Result<PartitionStatus, DecodeError> {
    let role = ROLES.into_iter().find(|role| role.as_str() == status.role);
    Ok(PartitionStatus {
        partition: PartitionId(status.partition),
        role: role.ok_or(DecodeError("a role is of no known kind"))?,
        term: Term(status.term),
        leader: (status.leader != 0).then_some(NodeId(status.leader)),
        last: Index(status.last),
        commit: Index(status.commit),
        applied: Index(status.applied),
        durable: Index(status.durable),
    })
}
