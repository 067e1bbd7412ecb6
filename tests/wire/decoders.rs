//! Every decoder of bytes from outside, with good bytes for it and the memory that it may take.
//!
//! The bounds are what was measured, rounded up: a decoder that begins to allocate before it counts breaks them.

use std::sync::Arc;

use bytes::Bytes;
use kapu::error::{LeaderHint, NotLeader, RequestError};
use kapu::hlc::Hlc;
use kapu::limits;
use kapu::lock::{Command, Outcome, Query, Request, Table};
use kapu::raft::{Body, Change, Entry, FollowerStatus, Membership, Message, Position, Role, SnapshotEnd, SnapshotRows};
use kapu::status::{NodeInfo, NodeStatus, PartitionStatus};
use kapu::types::*;
use kapu::wire::admin::{decode_change, encode_change};
use kapu::wire::{self, FrameHeader, pb};
use prost::Message as _;

/// Something that takes bytes from outside.
pub struct Decoder {
    /// For messages.
    pub name: &'static str,
    /// Says whether the bytes were good.
    pub decode: fn(&[u8]) -> bool,
    /// What it takes, to be damaged.
    pub good: Vec<Bytes>,
    /// The most bytes of memory for each byte of input, while it decodes.
    pub memory_per_byte: usize,
    /// The most bytes that the border in front of it lets through.
    pub input_bytes_max: usize,
}

impl Decoder {
    /// The most memory that decoding `bytes` may take; the constant is for small vectors.
    pub fn memory_allowed(&self, bytes: &[u8]) -> usize {
        self.memory_per_byte * bytes.len() + 1024
    }
}

/// Every decoder of bytes from outside.
pub fn decoders() -> Vec<Decoder> {
    let groups = [
        of_peers_and_disk(),
        of_the_machine(),
        of_clients_and_nodes(),
        of_administrators(),
    ];
    groups.into_iter().flatten().collect()
}

fn resource() -> Resource {
    Resource::new("orders/42").expect("within the limits")
}

fn owner() -> Owner {
    Owner::new(&[7; 16]).expect("within the limits")
}

fn try_lock() -> Command {
    Command::TryLock {
        resource: resource(),
        owner: owner(),
        ttl_ms: 30_000,
    }
}

fn query() -> Query {
    Query::Get { resource: resource() }
}

fn got() -> Outcome {
    Outcome::Got {
        owner: owner(),
        fencing_token: FencingToken(300),
        expires_in_ms: 29_000,
    }
}

/// The value of a saved row: the grant counter. Rows of locks are damaged where their format is, beside the table.
fn row() -> Bytes {
    let mut table = Table::default();
    table.apply(LogTime(9), &try_lock());
    let counter = table.take_changes().swap_remove(0);
    counter.value.expect("the counter has a value")
}

fn of_peers_and_disk() -> Vec<Decoder> {
    let command = wire::encode_command(&try_lock());
    vec![
        Decoder {
            name: "frame",
            decode: |bytes| wire::decode_frame(bytes).is_ok(),
            good: vec![frame()],
            memory_per_byte: 40,
            input_bytes_max: limits::FRAME_BYTES_MAX,
        },
        Decoder {
            name: "batch",
            decode: |bytes| wire::decode_batch(bytes).is_ok(),
            good: vec![wire::encode_batch(LogTime(9), Hlc(11), &[command.clone(), command])],
            memory_per_byte: 20,
            input_bytes_max: limits::ENTRY_BYTES_MAX,
        },
        Decoder {
            name: "row",
            decode: |bytes| Table::default().restore(b"c", bytes).is_ok(),
            good: vec![row()],
            memory_per_byte: 8,
            input_bytes_max: limits::ENTRY_BYTES_MAX,
        },
    ]
}

fn of_the_machine() -> Vec<Decoder> {
    vec![
        Decoder {
            name: "command",
            decode: |bytes| wire::decode_command(bytes).is_ok(),
            good: vec![wire::encode_command(&try_lock())],
            memory_per_byte: 8,
            input_bytes_max: limits::ENTRY_BYTES_MAX,
        },
        Decoder {
            name: "query",
            decode: |bytes| wire::decode_query(bytes).is_ok(),
            good: vec![wire::encode_query(&query())],
            memory_per_byte: 8,
            input_bytes_max: limits::REQUEST_BYTES_MAX,
        },
        Decoder {
            name: "outcome",
            decode: |bytes| wire::decode_outcome(bytes).is_ok(),
            good: vec![wire::encode_outcome(&got())],
            memory_per_byte: 8,
            input_bytes_max: limits::REPLY_BYTES_MAX,
        },
    ]
}

fn of_clients_and_nodes() -> Vec<Decoder> {
    let requests = [Request::Command(try_lock()), Request::Query(query())];
    vec![
        Decoder {
            name: "request",
            decode: |bytes| {
                pb::PipelineRequest::decode(bytes).is_ok_and(|request| wire::decode_request(request).1.is_ok())
            },
            good: requests
                .iter()
                .map(|request| wire::encode_request(5, request).encode_to_vec().into())
                .collect(),
            memory_per_byte: 8,
            input_bytes_max: limits::REQUEST_BYTES_MAX,
        },
        Decoder {
            name: "reply",
            decode: |bytes| pb::PipelineReply::decode(bytes).is_ok_and(|reply| wire::decode_reply(reply).1.is_ok()),
            good: [Ok(got()), Err(not_leader())]
                .iter()
                .map(|result| wire::encode_reply(5, result).encode_to_vec().into())
                .collect(),
            memory_per_byte: 8,
            input_bytes_max: limits::REPLY_BYTES_MAX,
        },
        Decoder {
            name: "status",
            decode: |bytes| pb::StatusReply::decode(bytes).is_ok_and(|status| wire::decode_status(status).is_ok()),
            good: vec![status()],
            memory_per_byte: 120,
            input_bytes_max: limits::STATUS_BYTES_MAX,
        },
    ]
}

fn of_administrators() -> Vec<Decoder> {
    let (node, address, priority) = (NodeId(4), "10.0.0.4:2071".to_owned(), 3);
    let changes = [
        Change::AddLearner {
            node,
            address: address.clone(),
            priority,
        },
        Change::Promote { node },
        Change::Remove { node },
        Change::Update {
            node,
            address,
            priority,
        },
    ];
    let change = |change| encode_change(PartitionId(3), change).encode_to_vec().into();
    let transfer = pb::TransferLeaderRequest {
        partition: 3,
        node_id: 4,
    };
    vec![
        Decoder {
            name: "change of members",
            decode: |bytes| pb::ChangeMemberRequest::decode(bytes).is_ok_and(|change| decode_change(change).is_ok()),
            good: changes.iter().map(change).collect(),
            memory_per_byte: 8,
            input_bytes_max: limits::REQUEST_BYTES_MAX,
        },
        Decoder {
            name: "transfer of leadership",
            decode: |bytes| pb::TransferLeaderRequest::decode(bytes).is_ok(),
            good: vec![transfer.encode_to_vec().into()],
            memory_per_byte: 8,
            input_bytes_max: limits::REQUEST_BYTES_MAX,
        },
    ]
}

fn not_leader() -> RequestError {
    RequestError::NotLeader(NotLeader {
        partition: PartitionId(3),
        partitions: 8,
        leader: Some(LeaderHint {
            node: NodeId(2),
            address: "127.0.0.1:2070".to_owned(),
        }),
    })
}

fn status() -> Bytes {
    let partition = PartitionStatus {
        partition: PartitionId(0),
        role: Role::Leader,
        term: Term(3),
        leader: Some(NodeId(1)),
        last: Index(9),
        commit: Index(9),
        applied: Index(8),
        durable: Index(9),
        base: Index(3),
        membership: Arc::new(membership()),
        followers: Arc::new([FollowerStatus {
            node: NodeId(2),
            matched: Index(9),
            is_live: true,
        }]),
        applied_at: Some(Hlc(77)),
    };
    let status = NodeStatus {
        cluster: "test".to_owned(),
        node_id: NodeId(1),
        client_address: "127.0.0.1:2070".to_owned(),
        nodes: [1, 2].map(node_info).to_vec(),
        partitions: vec![partition; 3],
        clocks_ahead: vec![(NodeId(2), 3_600_000)],
    };
    wire::encode_status(status).encode_to_vec().into()
}

fn node_info(node: u64) -> NodeInfo {
    NodeInfo {
        node: NodeId(node),
        client_address: "127.0.0.1:2070".to_owned(),
        peer_address: "127.0.0.1:2071".to_owned(),
        priority: 1,
    }
}

fn membership() -> Membership {
    Membership::of_voters([1, 2, 3].map(|node| (NodeId(node), format!("10.0.0.{node}:2071"))))
}

/// The messages of snapshots.
fn of_snapshots(at: Position) -> [Body; 3] {
    let end = SnapshotEnd {
        log_time: LogTime(9),
        hlc: Some(Hlc(8)),
        membership: membership(),
    };
    let rows = SnapshotRows {
        at,
        after: Bytes::from_static(b"a"),
        rows: vec![(Bytes::from_static(b"b"), Bytes::from_static(b"value"))],
        checksum: 7,
        end: Some(end),
    };
    let after = Bytes::from_static(b"key");
    [
        Body::Snapshot { at },
        Body::SnapshotRequest { at, after },
        Body::SnapshotRows(Box::new(rows)),
    ]
}

/// A frame with every kind of message.
fn frame() -> Bytes {
    let position = Position {
        term: Term(3),
        index: Index(300),
    };
    let entry = |index, payload: &'static [u8]| Entry {
        index: Index(index),
        term: Term(4),
        payload: Bytes::from_static(payload),
    };
    let bodies = [
        Body::PreVote { last: position },
        Body::PreVoteResponse { granted: true },
        Body::Vote {
            last: position,
            transfer: true,
        },
        Body::VoteResponse { granted: false },
        Body::Append {
            prev: position,
            entries: vec![entry(301, b""), entry(302, b"payload")],
            commit: Index(299),
            round: 8,
        },
        Body::AppendResponse {
            matched: Index(300),
            round: 8,
        },
        Body::AppendRejected {
            prev: Index(400),
            hint: position,
            round: 8,
        },
        Body::Heartbeat {
            commit: Index(300),
            round: 9,
            compact: Index(200),
        },
        Body::HeartbeatResponse { round: 9 },
        Body::TimeoutNow { stays: true },
    ];
    let bodies = bodies.into_iter().chain(of_snapshots(position));
    let message = |body| Message {
        from: NodeId(1),
        to: NodeId(2),
        term: Term(5),
        body,
    };
    let messages: Vec<_> = bodies.map(|body| (PartitionId(7), message(body))).collect();
    let header = FrameHeader {
        cluster: wire::frame::cluster_hash("test"),
        from: NodeId(1),
        to: NodeId(2),
        storage_id: StorageId(77),
        incarnation: Incarnation(4),
        earlier: vec![Incarnation(3); 2],
        sequence: 500,
        client_address: "127.0.0.1:2070".to_owned(),
        peer_address: "127.0.0.1:2071".to_owned(),
        hlc: Hlc(1 << 60),
    };
    wire::encode_frame(&header, &messages)
}
