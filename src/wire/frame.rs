//! A frame: messages of many partitions from one node to another, with who sends it.
//!
//! Decoding takes at most 40 times the memory of its bytes (an entry of 4 bytes becomes 48, in a vector that doubles); `tests/wire`
//! holds it to that. Whether the sender is welcome is the network's question, not this one's.

use bytes::Bytes;
use prost::Message as _;

use super::message::{counter, decode_message, encode_message};
use super::reader::Fields;
use super::{DecodeError, check_limit, pb};
use crate::hlc::Hlc;
use crate::limits;
use crate::raft::Message;
use crate::types::{Incarnation, NodeId, PartitionId, StorageId};

pub use super::message::message_bytes_max;

/// The most bytes that a header takes in a frame.
pub const HEADER_BYTES_MAX: usize = 2 * limits::ADDRESS_BYTES_MAX + limits::EARLIER_LIVES_MAX * LIFE_BYTES + 96;
/// The bytes of one earlier life.
const LIFE_BYTES: usize = 8;

/// Who sends a frame to whom.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FrameHeader {
    /// A hash of the cluster's name: see [`cluster_hash`].
    pub cluster: u64,
    /// The sender.
    pub from: NodeId,
    /// The receiver.
    pub to: NodeId,
    /// The sender's data directory.
    pub storage_id: StorageId,
    /// How often the sender has started on it.
    pub incarnation: Incarnation,
    /// Its lives before; at most [`limits::EARLIER_LIVES_MAX`].
    pub earlier: Vec<Incarnation>,
    /// Grows by one with each frame to this receiver.
    pub sequence: u64,
    /// Where clients reach the sender; at most [`limits::ADDRESS_BYTES_MAX`] bytes.
    pub client_address: String,
    /// Where its peers reach the sender; at most [`limits::ADDRESS_BYTES_MAX`] bytes.
    pub peer_address: String,
    /// The sender's hybrid time; zero when it has none.
    pub hlc: Hlc,
}

/// What one node has sent to another at once. Each message is from `header.from` to `header.to`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    /// Who to whom.
    pub header: FrameHeader,
    /// At most [`limits::FRAME_MESSAGES_MAX`].
    pub messages: Vec<(PartitionId, Message)>,
}

/// What stands for a cluster's name in a frame: xxh3-64 of its bytes.
#[must_use]
pub fn cluster_hash(name: &str) -> u64 {
    xxhash_rust::xxh3::xxh3_64(name.as_bytes())
}

/// Encodes a frame.
///
/// Every message is from `header.from` to `header.to`. The caller keeps to [`limits::FRAME_MESSAGES_MAX`] and, with [`message_bytes_max`] and [`HEADER_BYTES_MAX`], to
/// [`limits::FRAME_BYTES_MAX`].
#[must_use]
pub fn encode_frame(header: &FrameHeader, messages: &[(PartitionId, Message)]) -> Bytes {
    let encode = |(partition, message): &(PartitionId, Message)| {
        debug_assert_eq!(
            (message.from, message.to),
            (header.from, header.to),
            "one pair of nodes"
        );
        encode_message(*partition, message)
    };
    let frame = pb::Frame {
        cluster: header.cluster,
        from: header.from.0,
        to: header.to.0,
        storage_id: header.storage_id.0,
        incarnation: header.incarnation.0,
        earlier: header.earlier.iter().map(|life| life.0).collect(),
        sequence: header.sequence,
        client_address: header.client_address.clone(),
        peer_address: header.peer_address.clone(),
        messages: messages.iter().map(encode).collect(),
        hlc: header.hlc.0,
    };
    frame.encode_to_vec().into()
}

/// Decodes a frame. Nothing of it is kept alive.
///
/// # Errors
/// [`DecodeError`] when it is none, contradicts itself, or is over a limit.
pub fn decode_frame(bytes: &[u8]) -> Result<Frame, DecodeError> {
    check_limit(
        "the length of a frame",
        bytes.len() as u64,
        limits::FRAME_BYTES_MAX as u64,
    )?;
    let header = decode_header(bytes)?;
    let mut messages = Vec::new();
    let mut fields = Fields::of(bytes);
    while let Some(field) = fields.read()? {
        if field.number != 8 {
            continue;
        }
        if messages.len() == limits::FRAME_MESSAGES_MAX {
            return Err(DecodeError::Inconsistent("more messages than a frame may have"));
        }
        messages.push(decode_message(&header, field.bytes()?)?);
    }
    Ok(Frame { header, messages })
}

/// Reads everything but the messages, which say neither sender nor receiver and may stand before them.
fn decode_header(bytes: &[u8]) -> Result<FrameHeader, DecodeError> {
    let mut header = FrameHeader {
        cluster: 0,
        from: NodeId(0),
        to: NodeId(0),
        storage_id: StorageId(0),
        incarnation: Incarnation(0),
        earlier: Vec::new(),
        sequence: 0,
        client_address: String::new(),
        peer_address: String::new(),
        hlc: Hlc(0),
    };
    let (mut client_address, mut peer_address) = ("", "");
    let mut fields = Fields::of(bytes);
    while let Some(field) = fields.read()? {
        match field.number {
            1 => header.cluster = field.fixed64()?,
            2 => header.from = NodeId(field.varint()?),
            3 => header.to = NodeId(field.varint()?),
            4 => header.storage_id = StorageId(field.fixed64()?),
            5 => header.incarnation = Incarnation(counter("an incarnation", field)?),
            6 => header.sequence = counter("a sequence number", field)?,
            7 => client_address = field.text()?,
            10 => header.earlier = decode_lives(field.bytes()?)?,
            11 => peer_address = field.text()?,
            9 => header.hlc = Hlc(field.fixed64()?),
            _ => {}
        }
    }
    if header.from == NodeId(0) || header.to == NodeId(0) {
        return Err(DecodeError::Missing("the sender or the receiver of a frame"));
    }
    for address in [client_address, peer_address] {
        let length = address.len() as u64;
        check_limit("the length of an address", length, limits::ADDRESS_BYTES_MAX as u64)?;
    }
    client_address.clone_into(&mut header.client_address);
    peer_address.clone_into(&mut header.peer_address);
    Ok(header)
}

fn decode_lives(bytes: &[u8]) -> Result<Vec<Incarnation>, DecodeError> {
    let (lives, rest) = bytes.as_chunks::<LIFE_BYTES>();
    if !rest.is_empty() {
        return Err(DecodeError::Malformed("a part of a life"));
    }
    check_limit(
        "the number of earlier lives",
        lives.len() as u64,
        limits::EARLIER_LIVES_MAX as u64,
    )?;
    Ok(lives
        .iter()
        .map(|life| Incarnation(u64::from_le_bytes(*life)))
        .collect())
}
