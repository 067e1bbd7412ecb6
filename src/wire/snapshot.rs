//! The messages of a snapshot: the offer, the question for rows, and rows.
//!
//! What passes is in order: keys grow and follow what was asked for, none is empty, and the membership at the end can be read. Whether the
//! checksum is right is asked by whoever keeps the rows.

use bytes::Bytes;

use super::message::{counter, decode_position, encode_position};
use super::reader::{Field, Fields};
use super::{DecodeError, check_limit, pb};
use crate::hlc::Hlc;
use crate::limits;
use crate::raft::{Body, Membership, Position, SnapshotEnd, SnapshotRows};
use crate::types::LogTime;
use pb::partition_message::Body as PbBody;

/// The most bytes that a row takes in a frame beside its key and its value.
const ROW_OVERHEAD_BYTES_MAX: usize = 16;
/// The most bytes that a membership takes.
const MEMBERSHIP_BYTES_MAX: usize = 64 + limits::NODES_MAX * (limits::ADDRESS_BYTES_MAX + 16);

/// An upper bound of the bytes that `rows` takes in a frame.
#[must_use]
pub fn rows_bytes_max(rows: &SnapshotRows) -> usize {
    let of_row = |(key, value): &(Bytes, Bytes)| key.len() + value.len() + ROW_OVERHEAD_BYTES_MAX;
    let end = rows.end.as_ref().map_or(0, |_| MEMBERSHIP_BYTES_MAX);
    rows.after.len() + end + rows.rows.iter().map(of_row).sum::<usize>()
}

pub(super) fn encode_snapshot(at: Position) -> PbBody {
    PbBody::Snapshot(pb::Snapshot {
        at: encode_position(at),
    })
}

pub(super) fn encode_request(at: Position, after: &Bytes) -> PbBody {
    PbBody::SnapshotRequest(pb::SnapshotRequest {
        at: encode_position(at),
        after: after.clone(),
    })
}

pub(super) fn encode_rows(rows: &SnapshotRows) -> PbBody {
    let row = |(key, value): &(Bytes, Bytes)| pb::SnapshotRow {
        key: key.clone(),
        value: value.clone(),
    };
    let end = |end: &SnapshotEnd| pb::SnapshotEnd {
        log_time: end.log_time.0,
        hlc: end.hlc.map_or(0, |hlc| hlc.0),
        membership: end.membership.encode(),
    };
    PbBody::SnapshotRows(pb::SnapshotRows {
        at: encode_position(rows.at),
        after: rows.after.clone(),
        checksum: rows.checksum,
        end: rows.end.as_ref().map(end),
        rows: rows.rows.iter().map(row).collect(),
    })
}

pub(super) fn decode_snapshot(mut fields: Fields<'_>) -> Result<Body, DecodeError> {
    let mut at = Position::default();
    while let Some(field) = fields.read()? {
        if field.number == 1 {
            at = decode_position(field)?;
        }
    }
    Ok(Body::Snapshot { at })
}

pub(super) fn decode_request(mut fields: Fields<'_>) -> Result<Body, DecodeError> {
    let (mut at, mut after) = (Position::default(), &[][..]);
    while let Some(field) = fields.read()? {
        match field.number {
            1 => at = decode_position(field)?,
            2 => after = key(field)?,
            _ => {}
        }
    }
    Ok(Body::SnapshotRequest {
        at,
        after: Bytes::copy_from_slice(after),
    })
}

pub(super) fn decode_rows(fields: Fields<'_>) -> Result<Body, DecodeError> {
    let (mut at, mut after, mut checksum, mut end) = (Position::default(), &[][..], 0, None);
    let mut rows = Vec::new();
    let mut reading = fields;
    while let Some(field) = reading.read()? {
        match field.number {
            1 => at = decode_position(field)?,
            2 => after = key(field)?,
            3 => checksum = field.fixed64()?,
            4 => end = Some(decode_end(field)?),
            5 => rows.push(decode_row(field)?),
            _ => {}
        }
    }
    let mut last = after;
    for (key, _) in &rows {
        if key[..] <= *last {
            return Err(DecodeError::Inconsistent("the rows of a snapshot are not in order"));
        }
        last = key;
    }
    Ok(Body::SnapshotRows(Box::new(SnapshotRows {
        at,
        after: Bytes::copy_from_slice(after),
        rows,
        checksum,
        end,
    })))
}

fn decode_row(field: Field<'_>) -> Result<(Bytes, Bytes), DecodeError> {
    let (mut row_key, mut value) = (&[][..], &[][..]);
    let mut fields = field.message()?;
    while let Some(field) = fields.read()? {
        match field.number {
            1 => row_key = key(field)?,
            2 => value = field.bytes()?,
            _ => {}
        }
    }
    if row_key.is_empty() {
        return Err(DecodeError::Missing("the key of a row"));
    }
    let length = value.len() as u64;
    check_limit("the value of a row", length, limits::ROW_VALUE_BYTES_MAX as u64)?;
    Ok((Bytes::copy_from_slice(row_key), Bytes::copy_from_slice(value)))
}

fn key(field: Field<'_>) -> Result<&[u8], DecodeError> {
    let key = field.bytes()?;
    check_limit("the key of a row", key.len() as u64, limits::ROW_KEY_BYTES_MAX as u64)?;
    Ok(key)
}

fn decode_end(field: Field<'_>) -> Result<SnapshotEnd, DecodeError> {
    let (mut log_time, mut hlc, mut membership) = (0, 0, None);
    let mut fields = field.message()?;
    while let Some(field) = fields.read()? {
        match field.number {
            1 => log_time = counter("a log time", field)?,
            3 => hlc = field.fixed64()?,
            2 => membership = Some(decode_membership(field.bytes()?)?),
            _ => {}
        }
    }
    Ok(SnapshotEnd {
        log_time: LogTime(log_time),
        hlc: (hlc != 0).then_some(Hlc(hlc)),
        membership: membership.ok_or(DecodeError::Missing("the membership of a snapshot"))?,
    })
}

/// Reads a membership, as it is in the log.
pub(super) fn decode_membership(bytes: &[u8]) -> Result<Membership, DecodeError> {
    Membership::decode(bytes).map_err(|_| DecodeError::Inconsistent("a membership cannot be read"))
}
