//! What a node says of itself, on the wire.
//!
//! It is for people and for routing; nothing that a replica decides depends on it.

use std::sync::Arc;

use super::snapshot::decode_membership;
use super::{DecodeError, check_limit, pb};
use crate::hlc::Hlc;
use crate::limits;
use crate::raft::{FollowerStatus, Membership, Role};
use crate::status::{NodeInfo, NodeStatus, PartitionStatus};
use crate::types::{Index, NodeId, PartitionId, Term};

const ROLES: [Role; 4] = [Role::Follower, Role::PreCandidate, Role::Candidate, Role::Leader];

/// The public form of a status, with the version of this program.
#[must_use]
pub fn encode_status(status: NodeStatus) -> pb::StatusReply {
    let node = |info: NodeInfo| pb::NodeInfo {
        node_id: info.node.0,
        address: info.client_address,
        peer_address: info.peer_address,
        priority: info.priority.into(),
    };
    let clock_ahead = |(node_id, by_ms): (NodeId, u64)| pb::ClockAhead {
        node_id: node_id.0,
        by_ms,
    };
    pb::StatusReply {
        cluster: status.cluster,
        node_id: status.node_id.0,
        version: env!("CARGO_PKG_VERSION").to_owned(),
        address: status.client_address,
        nodes: status.nodes.into_iter().map(node).collect(),
        partitions: status.partitions.iter().map(encode_partition).collect(),
        clocks_ahead: status.clocks_ahead.into_iter().map(clock_ahead).collect(),
    }
}

fn encode_partition(status: &PartitionStatus) -> pb::PartitionStatus {
    pb::PartitionStatus {
        partition: status.partition.0,
        role: status.role.as_str().to_owned(),
        term: status.term.0,
        leader: status.leader.map_or(0, |leader| leader.0),
        last: status.last.0,
        commit: status.commit.0,
        applied: status.applied.0,
        durable: status.durable.0,
        applied_at: status.applied_at.map_or(0, |hlc| hlc.0),
        base: status.base.0,
        membership: status.membership.encode(),
        followers: status.followers.iter().map(encode_follower).collect(),
    }
}

const fn encode_follower(follower: &FollowerStatus) -> pb::Follower {
    pb::Follower {
        node_id: follower.node.0,
        matched: follower.matched.0,
        live: follower.is_live,
    }
}

/// A status in its public form.
///
/// # Errors
/// [`DecodeError`] when there is no node in it, a role is not known, or there are more nodes or partitions than a cluster may have.
pub fn decode_status(reply: pb::StatusReply) -> Result<NodeStatus, DecodeError> {
    check_limit(
        "the number of nodes",
        reply.nodes.len() as u64,
        limits::NODES_MAX as u64,
    )?;
    let clocks = reply.clocks_ahead.len() as u64;
    check_limit("the number of clocks", clocks, limits::NODES_MAX as u64)?;
    let partitions = reply.partitions.len() as u64;
    check_limit("the number of partitions", partitions, limits::PARTITIONS_MAX.into())?;
    if reply.node_id == 0 {
        return Err(DecodeError::Missing("the node of a status"));
    }
    let node = |info: pb::NodeInfo| NodeInfo {
        node: NodeId(info.node_id),
        client_address: info.address,
        peer_address: info.peer_address,
        priority: u8::try_from(info.priority).unwrap_or(u8::MAX),
    };
    Ok(NodeStatus {
        cluster: reply.cluster,
        node_id: NodeId(reply.node_id),
        client_address: reply.address,
        nodes: reply.nodes.into_iter().map(node).collect(),
        partitions: reply
            .partitions
            .iter()
            .map(decode_partition)
            .collect::<Result<_, _>>()?,
        clocks_ahead: reply
            .clocks_ahead
            .into_iter()
            .map(|clock| (NodeId(clock.node_id), clock.by_ms))
            .collect(),
    })
}

fn decode_partition(status: &pb::PartitionStatus) -> Result<PartitionStatus, DecodeError> {
    // A node that tells no membership knows none.
    let membership = match &status.membership[..] {
        [] => Membership::default(),
        bytes => decode_membership(bytes)?,
    };
    let role = ROLES.into_iter().find(|role| role.as_str() == status.role);
    Ok(PartitionStatus {
        partition: PartitionId(status.partition),
        role: role.ok_or(DecodeError::Missing("a known role"))?,
        term: Term(status.term),
        leader: (status.leader != 0).then_some(NodeId(status.leader)),
        last: Index(status.last),
        commit: Index(status.commit),
        applied: Index(status.applied),
        durable: Index(status.durable),
        base: Index(status.base),
        membership: Arc::new(membership),
        followers: status.followers.iter().map(decode_follower).collect(),
        applied_at: (status.applied_at != 0).then_some(Hlc(status.applied_at)),
    })
}

const fn decode_follower(follower: &pb::Follower) -> FollowerStatus {
    FollowerStatus {
        node: NodeId(follower.node_id),
        matched: Index(follower.matched),
        is_live: follower.live,
    }
}
