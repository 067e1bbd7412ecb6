//! Arbitrary values of everything that is encoded, small numbers and greatest ones among them.
//!
//! Only good values: what must not pass is in the tests of refusals.

use std::sync::Arc;

use bytes::Bytes;
use proptest::prelude::*;

use crate::error::{LeaderHint, NotLeader, Overloaded, RequestError};
use crate::hlc::Hlc;
use crate::limits;
use crate::lock::{Command, Outcome, Query, Request};
use crate::raft::{
    Body, Change, Entry, FollowerStatus, Membership, Message, Position, Role, SnapshotEnd, SnapshotRows,
};
use crate::status::{NodeInfo, PartitionStatus};
use crate::types::*;
use crate::wire::{Frame, FrameHeader};

fn counter() -> impl Strategy<Value = u64> {
    prop_oneof![0..4_u64, 0..=limits::COUNTER_MAX, Just(limits::COUNTER_MAX)]
}

fn position() -> impl Strategy<Value = Position> {
    (counter(), counter()).prop_map(|(term, index)| Position {
        term: Term(term),
        index: Index(index),
    })
}

pub fn membership() -> impl Strategy<Value = Membership> {
    prop::collection::btree_map(1..100_u64, "[a-z0-9.:]{1,40}", 0..=limits::NODES_MAX)
        .prop_map(|voters| Membership::of_voters(voters.into_iter().map(|(node, address)| (NodeId(node), address))))
}

fn snapshot_rows() -> impl Strategy<Value = SnapshotRows> {
    let bytes = || prop::collection::vec(any::<u8>(), 1..30).prop_map(Bytes::from);
    let end = prop::option::of((counter(), membership()));
    let rows = prop::collection::btree_map(bytes(), bytes(), 0..6);
    (position(), any::<bool>(), rows, any::<u64>(), end).prop_map(|(at, first, mut rows, checksum, end)| {
        let after = if first { None } else { rows.pop_first() };
        SnapshotRows {
            at,
            after: after.map(|(key, _)| key).unwrap_or_default(),
            rows: rows.into_iter().collect(),
            checksum,
            end: end.map(|(log_time, membership)| SnapshotEnd {
                log_time: LogTime(log_time),
                hlc: (log_time % 2 == 1).then_some(Hlc(log_time)),
                membership,
            }),
        }
    })
}

/// An append and the least term that its message may have.
fn append() -> impl Strategy<Value = (Body, u64)> {
    let data = prop::collection::vec(any::<u8>(), 0..40).prop_map(|mut bytes| {
        // A zero in front is for memberships.
        bytes.insert(0, 8);
        Bytes::from(bytes)
    });
    let payload =
        prop_oneof![8 => data, 1 => Just(Bytes::new()), 1 => membership().prop_map(|members| members.encode())];
    let entries = prop::collection::vec((0..3_u64, payload), 0..5);
    (0..1000_u64, counter(), entries, counter(), counter()).prop_map(|(term, index, steps, commit, round)| {
        let prev = Position {
            term: Term(term),
            index: Index(index),
        };
        let mut last = prev;
        let follow = |(step, payload): (u64, Bytes)| {
            last.term = Term((last.term.0 + step).max(1));
            last.index = last.index.next();
            Entry {
                index: last.index,
                term: last.term,
                payload,
            }
        };
        let entries: Vec<Entry> = steps.into_iter().map(follow).collect();
        let body = Body::Append {
            prev,
            entries,
            commit: Index(commit),
            round,
        };
        (body, last.term.0)
    })
}

fn body() -> impl Strategy<Value = (Body, u64)> {
    let plain = prop_oneof![
        position().prop_map(|last| Body::PreVote { last }),
        any::<bool>().prop_map(|granted| Body::PreVoteResponse { granted }),
        (position(), any::<bool>()).prop_map(|(last, transfer)| Body::Vote { last, transfer }),
        any::<bool>().prop_map(|granted| Body::VoteResponse { granted }),
        (counter(), counter()).prop_map(|(matched, round)| Body::AppendResponse {
            matched: Index(matched),
            round
        }),
        (position(), counter(), counter()).prop_map(|(hint, above, round)| Body::AppendRejected {
            prev: Index(hint.index.0.saturating_add(above).min(limits::COUNTER_MAX)),
            hint,
            round
        }),
        (counter(), counter(), counter()).prop_map(|(commit, round, compact)| Body::Heartbeat {
            commit: Index(commit),
            round,
            compact: Index(compact)
        }),
        counter().prop_map(|round| Body::HeartbeatResponse { round }),
        any::<bool>().prop_map(|stays| Body::TimeoutNow { stays }),
        position().prop_map(|at| Body::Snapshot { at }),
        (position(), prop::collection::vec(any::<u8>(), 0..30)).prop_map(|(at, after)| Body::SnapshotRequest {
            at,
            after: after.into()
        }),
        snapshot_rows().prop_map(|rows| Body::SnapshotRows(Box::new(rows))),
    ];
    prop_oneof![4 => plain.prop_map(|body| (body, 0)), 1 => append()]
}

fn header() -> impl Strategy<Value = FrameHeader> {
    let ids = (any::<u64>(), 1..=u64::MAX, 1..=u64::MAX, any::<u64>());
    let lives = prop::collection::vec(any::<u64>().prop_map(Incarnation), 0..=limits::EARLIER_LIVES_MAX);
    let addresses = (".{0,60}", ".{0,60}");
    (ids, counter(), lives, counter(), addresses, any::<u64>()).prop_map(
        |(ids, incarnation, earlier, sequence, (client_address, peer_address), hlc)| FrameHeader {
            cluster: ids.0,
            from: NodeId(ids.1),
            to: NodeId(ids.2),
            storage_id: StorageId(ids.3),
            incarnation: Incarnation(incarnation),
            earlier,
            sequence,
            client_address,
            peer_address,
            hlc: Hlc(hlc),
        },
    )
}

pub fn frame() -> impl Strategy<Value = Frame> {
    let message = (0..limits::PARTITIONS_MAX, counter(), body());
    (header(), prop::collection::vec(message, 0..12)).prop_map(|(header, messages)| {
        let of_header = |(partition, term, (body, least)): (u32, u64, (Body, u64))| {
            let message = Message {
                from: header.from,
                to: header.to,
                term: Term(term.max(least)),
                body,
            };
            (PartitionId(partition), message)
        };
        let messages = messages.into_iter().map(of_header).collect();
        Frame { header, messages }
    })
}

pub fn resource() -> impl Strategy<Value = Resource> {
    ".{1,80}".prop_map(|name| Resource::new(&name).unwrap())
}

fn owner() -> impl Strategy<Value = Owner> {
    prop::collection::vec(any::<u8>(), 1..=limits::OWNER_BYTES_MAX).prop_map(|bytes| Owner::new(&bytes).unwrap())
}

fn ttl_ms() -> impl Strategy<Value = u64> {
    limits::TTL_MS_MIN..=limits::TTL_MS_MAX
}

pub fn command() -> impl Strategy<Value = Command> {
    (0..3, resource(), owner(), ttl_ms()).prop_map(|(kind, resource, owner, ttl_ms)| match kind {
        0 => Command::TryLock {
            resource,
            owner,
            ttl_ms,
        },
        1 => Command::Extend {
            resource,
            owner,
            ttl_ms,
        },
        _ => Command::Unlock { resource, owner },
    })
}

pub fn request() -> impl Strategy<Value = Request> {
    let query = resource().prop_map(|resource| Request::Query(Query::Get { resource }));
    prop_oneof![3 => command().prop_map(Request::Command), 1 => query]
}

pub fn outcome() -> impl Strategy<Value = Outcome> {
    (0..7, 1..=u64::MAX, any::<u64>(), owner()).prop_map(|(kind, token, expires_in_ms, owner)| {
        let fencing_token = FencingToken(token);
        match kind {
            0 => Outcome::Locked {
                fencing_token,
                expires_in_ms,
            },
            1 => Outcome::Busy { expires_in_ms },
            2 => Outcome::Extended {
                fencing_token,
                expires_in_ms,
            },
            3 => Outcome::Unlocked,
            4 => Outcome::Got {
                owner,
                fencing_token,
                expires_in_ms,
            },
            5 => Outcome::LockDoesNotExist,
            _ => Outcome::InvalidOwner,
        }
    })
}

pub fn error() -> impl Strategy<Value = RequestError> {
    let input = (0..6, any::<usize>(), any::<u64>()).prop_map(|(kind, length, ttl_ms)| match kind {
        0 => InvalidInput::EmptyResource,
        1 => InvalidInput::LongResource(length),
        2 => InvalidInput::EmptyOwner,
        3 => InvalidInput::LongOwner(length),
        4 => InvalidInput::BadTtl(ttl_ms),
        _ => InvalidInput::NoOperation,
    });
    let leader = (1..=u64::MAX, ".{0,30}").prop_map(|(node, address)| LeaderHint {
        node: NodeId(node),
        address,
    });
    let not_leader = (any::<u32>(), any::<u32>(), prop::option::of(leader));
    prop_oneof![
        input.prop_map(RequestError::InvalidInput),
        not_leader.prop_map(|(partition, partitions, leader)| RequestError::NotLeader(NotLeader {
            partition: PartitionId(partition),
            partitions,
            leader
        })),
        any::<usize>().prop_map(|limit| RequestError::Overloaded(Overloaded {
            what: "a queue of the node",
            limit
        })),
        Just(RequestError::Stopping),
        Just(RequestError::Unknown("the node cannot tell")),
    ]
}

pub fn node_info() -> impl Strategy<Value = NodeInfo> {
    (any::<u64>(), ".{0,20}", ".{0,20}", any::<u8>()).prop_map(|(node, client_address, peer_address, priority)| {
        NodeInfo {
            node: NodeId(node),
            client_address,
            peer_address,
            priority,
        }
    })
}

pub fn change() -> impl Strategy<Value = Change> {
    (0..4, 1..=u64::MAX, ".{0,20}", any::<u8>()).prop_map(|(kind, node, address, priority)| {
        let node = NodeId(node);
        match kind {
            0 => Change::AddLearner {
                node,
                address,
                priority,
            },
            1 => Change::Promote { node },
            2 => Change::Remove { node },
            _ => Change::Update {
                node,
                address,
                priority,
            },
        }
    })
}

pub fn partition_status() -> impl Strategy<Value = PartitionStatus> {
    let role = prop::sample::select(vec![Role::Follower, Role::PreCandidate, Role::Candidate, Role::Leader]);
    let leader = prop::option::of(1..=u64::MAX);
    let followers = prop::collection::vec((1..=u64::MAX, any::<u64>(), any::<bool>()), 0..4);
    let fields = (any::<u32>(), role, leader, any::<[u64; 7]>(), membership(), followers);
    fields.prop_map(
        |(partition, role, leader, numbers, membership, followers)| PartitionStatus {
            partition: PartitionId(partition),
            role,
            term: Term(numbers[0]),
            leader: leader.map(NodeId),
            last: Index(numbers[1]),
            commit: Index(numbers[2]),
            applied: Index(numbers[3]),
            durable: Index(numbers[4]),
            base: Index(numbers[5]),
            applied_at: (numbers[6] % 4 != 0).then_some(Hlc(numbers[6])),
            membership: Arc::new(membership),
            followers: followers
                .into_iter()
                .map(|(node, matched, is_live)| FollowerStatus {
                    node: NodeId(node),
                    matched: Index(matched),
                    is_live,
                })
                .collect(),
        },
    )
}
