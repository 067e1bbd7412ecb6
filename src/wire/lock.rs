//! Commands, queries and outcomes of the lock table as bytes.
//!
//! Commands are in the log, so they outlive the program that wrote them. Names and ttls are checked again when they are read: what is in a
//! log was checked by another node, perhaps of another version. Outcomes have the form of a [`pb::LockReply`].

use bytes::Bytes;
use prost::Message as _;

use super::reader::Fields;
use super::reply::{outcome_from_parts, outcome_to_reply};
use super::{DecodeError, pb};
use crate::lock::{Command, Outcome, Query};
use crate::types::{Owner, Resource, check_ttl};

const TRY_LOCK: u64 = pb::CommandKind::TryLock as u64;
const EXTEND: u64 = pb::CommandKind::Extend as u64;
const UNLOCK: u64 = pb::CommandKind::Unlock as u64;
const GET: u64 = pb::QueryKind::Get as u64;

/// Encodes a command.
#[must_use]
pub fn encode_command(command: &Command) -> Bytes {
    let (kind, owner, ttl_ms) = match command {
        Command::TryLock { owner, ttl_ms, .. } => (pb::CommandKind::TryLock, owner, *ttl_ms),
        Command::Extend { owner, ttl_ms, .. } => (pb::CommandKind::Extend, owner, *ttl_ms),
        Command::Unlock { owner, .. } => (pb::CommandKind::Unlock, owner, 0),
    };
    let command = pb::Command {
        kind: kind.into(),
        resource: command.resource().as_str().to_owned(),
        owner: Bytes::copy_from_slice(owner.as_bytes()),
        ttl_ms,
    };
    command.encode_to_vec().into()
}

/// Decodes a command.
///
/// # Errors
/// [`DecodeError`] when it is none, or no request may have its name, owner or ttl.
pub fn decode_command(bytes: &[u8]) -> Result<Command, DecodeError> {
    let (mut kind, mut resource, mut owner, mut ttl_ms) = (0, "", &[][..], 0);
    let mut fields = Fields::of(bytes);
    while let Some(field) = fields.read()? {
        match field.number {
            1 => kind = field.varint()?,
            2 => resource = field.text()?,
            3 => owner = field.bytes()?,
            4 => ttl_ms = field.varint()?,
            _ => {}
        }
    }
    let (resource, owner) = (Resource::new(resource)?, Owner::new(owner)?);
    Ok(match kind {
        TRY_LOCK => Command::TryLock {
            resource,
            owner,
            ttl_ms: check_ttl(ttl_ms)?,
        },
        EXTEND => Command::Extend {
            resource,
            owner,
            ttl_ms: check_ttl(ttl_ms)?,
        },
        UNLOCK => Command::Unlock { resource, owner },
        _ => return Err(DecodeError::Missing("a known kind of command")),
    })
}

/// Encodes a query.
#[must_use]
pub fn encode_query(query: &Query) -> Bytes {
    let Query::Get { resource } = query;
    let query = pb::Query {
        kind: pb::QueryKind::Get.into(),
        resource: resource.as_str().to_owned(),
    };
    query.encode_to_vec().into()
}

/// Decodes a query.
///
/// # Errors
/// [`DecodeError`] when it is none, or no request may have its name.
pub fn decode_query(bytes: &[u8]) -> Result<Query, DecodeError> {
    let (mut kind, mut resource) = (0, "");
    let mut fields = Fields::of(bytes);
    while let Some(field) = fields.read()? {
        match field.number {
            1 => kind = field.varint()?,
            2 => resource = field.text()?,
            _ => {}
        }
    }
    match kind {
        GET => Ok(Query::Get {
            resource: Resource::new(resource)?,
        }),
        _ => Err(DecodeError::Missing("a known kind of query")),
    }
}

/// Encodes an outcome.
#[must_use]
pub fn encode_outcome(outcome: &Outcome) -> Bytes {
    outcome_to_reply(outcome).encode_to_vec().into()
}

/// Decodes an outcome.
///
/// # Errors
/// [`DecodeError`] when it is none.
pub fn decode_outcome(bytes: &[u8]) -> Result<Outcome, DecodeError> {
    let (mut outcome, mut fencing_token, mut expires_in_ms, mut owner) = (0, 0, 0, &[][..]);
    let mut fields = Fields::of(bytes);
    while let Some(field) = fields.read()? {
        match field.number {
            1 => outcome = field.varint()?,
            2 => fencing_token = field.varint()?,
            3 => expires_in_ms = field.varint()?,
            4 => owner = field.bytes()?,
            _ => {}
        }
    }
    let outcome = i32::try_from(outcome).unwrap_or_default();
    outcome_from_parts(outcome, fencing_token, expires_in_ms, owner)
}
