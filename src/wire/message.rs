//! One message of one partition, inside a frame.
//!
//! The index of an entry is not on the wire: the first one follows `prev` and each next one follows the one before, so that a gap or an
//! overlap cannot be said. Terms are, and must not fall, nor pass the term of the message.
//!
//! Payloads are copied out of the frame. A slice of it would be cheaper by 50 ns, and would keep the whole receive buffer alive for as
//! long as one small entry stays in a log's tail.

use bytes::Bytes;

use super::frame::FrameHeader;
use super::reader::{Field, Fields};
use super::{DecodeError, check_limit, pb, snapshot};
use crate::limits;
use crate::raft::{Body, Entry, Message, Position, is_membership};
use crate::types::{Index, PartitionId, Term};
use pb::partition_message::Body as PbBody;

/// The most bytes that an entry takes in a frame beside its payload.
const ENTRY_OVERHEAD_BYTES_MAX: usize = 24;
/// The most bytes that a message takes in a frame beside its entries.
const MESSAGE_OVERHEAD_BYTES_MAX: usize = 128;

/// An upper bound of the bytes that `message` takes in a frame.
#[must_use]
pub fn message_bytes_max(message: &Message) -> usize {
    let of_entry = |entry: &Entry| entry.payload.len() + ENTRY_OVERHEAD_BYTES_MAX;
    let content = match &message.body {
        Body::Append { entries, .. } => entries.iter().map(of_entry).sum(),
        Body::SnapshotRequest { after, .. } => after.len(),
        Body::SnapshotRows(rows) => snapshot::rows_bytes_max(rows),
        _ => 0,
    };
    MESSAGE_OVERHEAD_BYTES_MAX + content
}

pub(super) fn encode_message(partition: PartitionId, message: &Message) -> pb::PartitionMessage {
    pb::PartitionMessage {
        partition: partition.0,
        term: message.term.0,
        body: Some(encode_body(&message.body)),
    }
}

fn encode_body(body: &Body) -> PbBody {
    let position = encode_position;
    match *body {
        Body::PreVote { last } => PbBody::PreVote(pb::PreVote { last: position(last) }),
        Body::PreVoteResponse { granted } => PbBody::PreVoteResponse(pb::PreVoteResponse { granted }),
        Body::Vote { last, transfer } => PbBody::Vote(pb::Vote {
            last: position(last),
            transfer,
        }),
        Body::VoteResponse { granted } => PbBody::VoteResponse(pb::VoteResponse { granted }),
        Body::Append {
            prev,
            ref entries,
            commit,
            round,
        } => PbBody::Append(pb::Append {
            prev: position(prev),
            commit: commit.0,
            round,
            entries: encode_entries(prev.index, entries),
        }),
        Body::AppendResponse { matched, round } => PbBody::AppendResponse(pb::AppendResponse {
            matched: matched.0,
            round,
        }),
        Body::AppendRejected { prev, hint, round } => PbBody::AppendRejected(pb::AppendRejected {
            prev: prev.0,
            round,
            hint: position(hint),
        }),
        Body::Heartbeat { commit, round, compact } => PbBody::Heartbeat(pb::Heartbeat {
            commit: commit.0,
            round,
            compact: compact.0,
        }),
        Body::HeartbeatResponse { round } => PbBody::HeartbeatResponse(pb::HeartbeatResponse { round }),
        Body::TimeoutNow { stays } => PbBody::TimeoutNow(pb::TimeoutNow { stays }),
        Body::Snapshot { at } => snapshot::encode_snapshot(at),
        Body::SnapshotRequest { at, ref after } => snapshot::encode_request(at, after),
        Body::SnapshotRows(ref rows) => snapshot::encode_rows(rows),
    }
}

pub(super) const fn encode_position(position: Position) -> Option<pb::Position> {
    Some(pb::Position {
        term: position.term.0,
        index: position.index.0,
    })
}

fn encode_entries(mut prev: Index, entries: &[Entry]) -> Vec<pb::Entry> {
    let encode = |entry: &Entry| {
        assert_eq!(entry.index, prev.next(), "the entries of an append are consecutive");
        prev = entry.index;
        pb::Entry {
            term: entry.term.0,
            payload: entry.payload.clone(),
        }
    };
    entries.iter().map(encode).collect()
}

/// Decodes one message of the frame with this header.
pub(super) fn decode_message(header: &FrameHeader, bytes: &[u8]) -> Result<(PartitionId, Message), DecodeError> {
    let (mut partition, mut term, mut body) = (0, 0, None);
    let mut fields = Fields::of(bytes);
    while let Some(field) = fields.read()? {
        match field.number {
            1 => partition = field.varint()?,
            2 => term = counter("a term", field)?,
            3..=15 => body = Some(field),
            _ => {}
        }
    }
    check_limit("a partition", partition, u64::from(limits::PARTITIONS_MAX) - 1)?;
    let term = Term(term);
    let message = Message {
        from: header.from,
        to: header.to,
        term,
        body: decode_body(body.ok_or(DecodeError::Missing("the body of a message"))?, term)?,
    };
    let partition = u32::try_from(partition).expect("checked against a u32");
    Ok((PartitionId(partition), message))
}

fn decode_body(field: Field<'_>, term: Term) -> Result<Body, DecodeError> {
    let fields = field.message()?;
    Ok(match field.number {
        3 => Body::PreVote {
            last: decode_vote(fields)?.0,
        },
        4 => Body::PreVoteResponse {
            granted: counters::<1>(fields)? != [0],
        },
        5 => decode_vote(fields).map(|(last, transfer)| Body::Vote { last, transfer })?,
        6 => Body::VoteResponse {
            granted: counters::<1>(fields)? != [0],
        },
        7 => decode_append(fields, term)?,
        8 => counters(fields).map(|[matched, round]| Body::AppendResponse {
            matched: Index(matched),
            round,
        })?,
        9 => decode_rejected(fields)?,
        10 => counters(fields).map(|[commit, round, compact]| Body::Heartbeat {
            commit: Index(commit),
            round,
            compact: Index(compact),
        })?,
        11 => counters(fields).map(|[round]| Body::HeartbeatResponse { round })?,
        12 => Body::TimeoutNow {
            stays: counters::<1>(fields)? != [0],
        },
        13 => snapshot::decode_snapshot(fields)?,
        14 => snapshot::decode_request(fields)?,
        15 => snapshot::decode_rows(fields)?,
        _ => return Err(DecodeError::Missing("the body of a message")),
    })
}

fn decode_vote(mut fields: Fields<'_>) -> Result<(Position, bool), DecodeError> {
    let (mut last, mut transfer) = (Position::default(), false);
    while let Some(field) = fields.read()? {
        match field.number {
            1 => last = decode_position(field)?,
            2 => transfer = field.bool()?,
            _ => {}
        }
    }
    Ok((last, transfer))
}

fn decode_rejected(mut fields: Fields<'_>) -> Result<Body, DecodeError> {
    let (mut prev, mut round, mut hint) = (Index(0), 0, Position::default());
    while let Some(field) = fields.read()? {
        match field.number {
            1 => prev = Index(counter("an index", field)?),
            2 => round = counter("a round", field)?,
            3 => hint = decode_position(field)?,
            _ => {}
        }
    }
    if hint.index > prev {
        return Err(DecodeError::Inconsistent(
            "the hint of a rejection is above what was rejected",
        ));
    }
    Ok(Body::AppendRejected { prev, hint, round })
}

fn decode_append(mut fields: Fields<'_>, term: Term) -> Result<Body, DecodeError> {
    let (mut prev, mut commit, mut round, mut entries) = (Position::default(), Index(0), 0, Vec::new());
    while let Some(field) = fields.read()? {
        match field.number {
            1 => prev = decode_position(field)?,
            2 => commit = Index(counter("an index", field)?),
            3 => round = counter("a round", field)?,
            4 => entries.push(decode_entry(field)?),
            _ => {}
        }
    }
    if prev.term > term {
        return Err(DecodeError::Inconsistent(
            "an append is anchored in a later term than its own",
        ));
    }
    let mut last = prev;
    for entry in &mut entries {
        if entry.term < last.term || entry.term > term {
            return Err(DecodeError::Inconsistent(
                "the terms of an append fall, or pass its own",
            ));
        }
        entry.index = last.index.next();
        last = Position {
            term: entry.term,
            index: entry.index,
        };
    }
    Ok(Body::Append {
        prev,
        entries,
        commit,
        round,
    })
}

/// An entry whose index is not known yet.
fn decode_entry(field: Field<'_>) -> Result<Entry, DecodeError> {
    let (mut term, mut payload) = (0, &[][..]);
    let mut fields = field.message()?;
    while let Some(field) = fields.read()? {
        match field.number {
            1 => term = counter("a term", field)?,
            2 => payload = field.bytes()?,
            _ => {}
        }
    }
    if term == 0 {
        return Err(DecodeError::Missing("the term of an entry"));
    }
    check_limit(
        "the payload of an entry",
        payload.len() as u64,
        limits::ENTRY_BYTES_MAX as u64,
    )?;
    if is_membership(payload) {
        snapshot::decode_membership(payload)?;
    }
    Ok(Entry {
        index: Index(0),
        term: Term(term),
        payload: Bytes::copy_from_slice(payload),
    })
}

pub(super) fn decode_position(field: Field<'_>) -> Result<Position, DecodeError> {
    let [term, index] = counters(field.message()?)?;
    Ok(Position {
        term: Term(term),
        index: Index(index),
    })
}

/// The fields 1 to `N` of a message of nothing but counters; one that is not there is zero.
fn counters<const N: usize>(mut fields: Fields<'_>) -> Result<[u64; N], DecodeError> {
    let mut numbers = [0; N];
    while let Some(field) = fields.read()? {
        if let Some(number) = numbers.get_mut(field.number as usize - 1) {
            *number = counter("a counter", field)?;
        }
    }
    Ok(numbers)
}

/// A number that may be added one to.
pub(super) fn counter(what: &'static str, field: Field<'_>) -> Result<u64, DecodeError> {
    check_limit(what, field.varint()?, limits::COUNTER_MAX)
}
