//! Why a unary call has no outcome, as a gRPC status.
//!
//! Every status made here carries the metadata `kapu-failure`: without it, a status comes from the transport, which never knows whether
//! a request took effect.

use tonic::metadata::MetadataMap;
use tonic::{Code, Status};

use crate::error::{AdminError, NotLeader, RequestError};

/// The status of `error`, as `lock.proto` documents it.
pub(super) fn status_of(error: &RequestError) -> Status {
    let (code, kind) = match error {
        RequestError::InvalidInput(_) => (Code::InvalidArgument, "invalid-input"),
        RequestError::NotLeader(error) => return status_of_not_leader(error),
        RequestError::Overloaded(_) => (Code::ResourceExhausted, "overloaded"),
        RequestError::Stopping => (Code::Aborted, "stopping"),
        RequestError::Unknown(_) => (Code::Unknown, "unknown"),
    };
    status(code, kind, error, MetadataMap::new())
}

/// The status of `error`, as `cluster.proto` documents it.
pub(super) fn admin_status_of(error: &AdminError) -> Status {
    let (code, kind) = match error {
        AdminError::NotLeader(error) => return status_of_not_leader(error),
        AdminError::NoPartition(..) | AdminError::Refused(_) => (Code::InvalidArgument, "refused"),
        AdminError::NotNow(_) => (Code::Unavailable, "not-now"),
        AdminError::Unreachable(_) => (Code::Aborted, "stopping"),
        AdminError::Unknown(_) => (Code::Unknown, "unknown"),
    };
    status(code, kind, error, MetadataMap::new())
}

/// With where to ask instead.
fn status_of_not_leader(error: &NotLeader) -> Status {
    let mut metadata = MetadataMap::new();
    put(&mut metadata, "kapu-partition", &error.partition.to_string());
    put(&mut metadata, "kapu-partitions", &error.partitions.to_string());
    if let Some(leader) = &error.leader {
        put(&mut metadata, "kapu-leader-node", &leader.node.to_string());
        put(&mut metadata, "kapu-leader-address", &leader.address);
    }
    status(Code::FailedPrecondition, "not-leader", error, metadata)
}

fn status(code: Code, kind: &str, error: &impl ToString, mut metadata: MetadataMap) -> Status {
    put(&mut metadata, "kapu-failure", kind);
    Status::with_metadata(code, error.to_string(), metadata)
}

/// Puts a value in, unless it is empty or cannot be in a header.
fn put(metadata: &mut MetadataMap, key: &'static str, text: &str) {
    if let Ok(value) = text.parse()
        && !text.is_empty()
    {
        metadata.insert(key, value);
    }
}
