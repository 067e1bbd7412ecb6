//! What people ask of a cluster about its members and its leaders, on the wire.
//!
//! Why something was not done crosses as a kind and as words: a caller can act on the kind, and people read the words.

use super::{DecodeError, check_limit, pb};
use crate::limits;
use crate::raft::Change;
use crate::types::{NodeId, PartitionId};
use pb::change_member_request::Change as PbChange;

/// The public form of a change of members.
#[must_use]
pub fn encode_change(partition: PartitionId, change: &Change) -> pb::ChangeMemberRequest {
    let member = |node: &NodeId, address: &String, priority: &u8| pb::AddLearner {
        node_id: node.0,
        address: address.clone(),
        priority: (*priority).into(),
    };
    let change = match change {
        Change::AddLearner {
            node,
            address,
            priority,
        } => PbChange::AddLearner(member(node, address, priority)),
        Change::Promote { node } => PbChange::Promote(node.0),
        Change::Remove { node } => PbChange::Remove(node.0),
        Change::Update {
            node,
            address,
            priority,
        } => PbChange::Update(member(node, address, priority)),
    };
    pb::ChangeMemberRequest {
        partition: partition.0,
        change: Some(change),
    }
}

/// A change of members of its public form.
///
/// # Errors
/// [`DecodeError`] when it names no change or no node, or is over a limit.
pub fn decode_change(request: pb::ChangeMemberRequest) -> Result<(PartitionId, Change), DecodeError> {
    let change = match request.change.ok_or(DecodeError::Missing("the change"))? {
        PbChange::AddLearner(member) => {
            let (node, address, priority) = decode_member(member)?;
            Change::AddLearner {
                node,
                address,
                priority,
            }
        }
        PbChange::Promote(node) => Change::Promote {
            node: decode_node(node)?,
        },
        PbChange::Remove(node) => Change::Remove {
            node: decode_node(node)?,
        },
        PbChange::Update(member) => {
            let (node, address, priority) = decode_member(member)?;
            Change::Update {
                node,
                address,
                priority,
            }
        }
    };
    Ok((PartitionId(request.partition), change))
}

fn decode_member(member: pb::AddLearner) -> Result<(NodeId, String, u8), DecodeError> {
    let length = member.address.len() as u64;
    check_limit("the length of an address", length, limits::ADDRESS_BYTES_MAX as u64)?;
    check_limit("the priority of a node", member.priority.into(), u8::MAX.into())?;
    let priority = u8::try_from(member.priority).expect("checked against its limit");
    Ok((decode_node(member.node_id)?, member.address, priority))
}

const fn decode_node(node: u64) -> Result<NodeId, DecodeError> {
    match node {
        0 => Err(DecodeError::Missing("the node")),
        node => Ok(NodeId(node)),
    }
}
