//! Bytes to domain and back: the border where everything from outside is checked.
//!
//! What passes here may be believed further in: ids are not zero, names and ttls are within their limits, entries are consecutive.
//! Encoding goes through the types that prost generates from `proto/`, so the schema is the compiler's business. Decoding of what
//! peers and logs send goes through [`reader`], field by field, because a generated decoder allocates before anybody can count (two
//! bytes on the wire become a hundred in memory).
//!
//! It does no I/O and knows no connection, and decides nothing: a byte string is either a value of the domain or a [`DecodeError`].

pub mod admin;
pub mod batch;
mod failure;
pub mod frame;
pub mod lock;
mod message;
pub mod reader;
pub mod reply;
pub mod request;
mod snapshot;
pub mod status;
#[cfg(test)]
mod tests;

pub use batch::{Batch, decode_batch, encode_batch};
pub use frame::{Frame, FrameHeader, decode_frame, encode_frame};
pub use lock::{decode_command, decode_outcome, decode_query, encode_command, encode_outcome, encode_query};
pub use reply::{decode_reply, encode_reply, outcome_from_reply, outcome_to_reply};
pub use request::{decode_request, encode_request};
pub use status::{decode_status, encode_status};

use crate::types::InvalidInput;

/// What prost and tonic generate from `proto/kapu/v1`.
#[expect(missing_docs, clippy::all, reason = "generated; the comments are in the proto files")]
pub mod pb {
    tonic::include_proto!("kapu.v1");
}

/// Why bytes are not a value of the domain.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// Not protobuf, or cut off.
    #[error("malformed bytes: {0}")]
    Malformed(&'static str),
    /// A field has the wrong wire type.
    #[error("field {0} has the wrong type")]
    WrongType(u32),
    /// Something that must be there is not.
    #[error("{0} is missing")]
    Missing(&'static str),
    /// A number, a length or a count over its limit.
    #[error("{what} is {value}; at most {limit} is allowed")]
    OverLimit {
        /// Of what.
        what: &'static str,
        /// How much.
        value: u64,
        /// The limit.
        limit: u64,
    },
    /// Well-formed, but it contradicts itself.
    #[error("{0}")]
    Inconsistent(&'static str),
    /// A name, an owner or a ttl that no request may have.
    #[error("invalid input: {0}")]
    InvalidInput(#[from] InvalidInput),
}

/// Checks that `value` is at most `limit`.
fn check_limit(what: &'static str, value: u64, limit: u64) -> Result<u64, DecodeError> {
    if value <= limit {
        Ok(value)
    } else {
        Err(DecodeError::OverLimit { what, value, limit })
    }
}
