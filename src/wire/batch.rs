//! The payload of a log entry: a log time, a hybrid time for people, and the commands that are applied at the former.
//!
//! Written once by the leader, read by every replica, kept in every log. A no-op has an empty payload and is no batch. What a command
//! means is not known here.

use bytes::Bytes;
use prost::Message as _;

use super::reader::Fields;
use super::{DecodeError, check_limit, pb};
use crate::hlc::Hlc;
use crate::limits;
use crate::types::LogTime;

/// The most bytes that a batch takes beside its commands.
pub const BATCH_OVERHEAD_BYTES_MAX: usize = 20;
/// The most bytes that a command takes beside its own.
pub const COMMAND_OVERHEAD_BYTES_MAX: usize = 4;

/// A decoded payload; the commands are borrowed from it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Batch<'a> {
    /// The log time of the entry.
    pub log_time: LogTime,
    /// When the leader made the entry, for people; none in a log of an earlier version.
    pub hlc: Option<Hlc>,
    /// At most [`limits::ENTRY_COMMANDS_MAX`].
    pub commands: Vec<&'a [u8]>,
}

/// Encodes a payload. It is never empty.
///
/// The caller keeps to [`limits::ENTRY_COMMANDS_MAX`] and, counting the overheads, to [`limits::ENTRY_BYTES_MAX`].
#[must_use]
pub fn encode_batch(log_time: LogTime, hlc: Hlc, commands: &[Bytes]) -> Bytes {
    assert!(
        commands.len() <= limits::ENTRY_COMMANDS_MAX,
        "a batch keeps to its limit"
    );
    let batch = pb::Batch {
        log_time: Some(log_time.0),
        hlc: hlc.0,
        commands: commands.to_vec(),
    };
    let payload = Bytes::from(batch.encode_to_vec());
    assert!(payload.len() <= limits::ENTRY_BYTES_MAX, "an entry keeps to its limit");
    payload
}

/// Decodes a payload.
///
/// # Errors
/// [`DecodeError`] when it is none, or over a limit.
pub fn decode_batch(payload: &[u8]) -> Result<Batch<'_>, DecodeError> {
    check_limit(
        "the payload of an entry",
        payload.len() as u64,
        limits::ENTRY_BYTES_MAX as u64,
    )?;
    let (mut log_time, mut hlc, mut commands) = (None, 0, Vec::new());
    let mut fields = Fields::of(payload);
    while let Some(field) = fields.read()? {
        match field.number {
            1 => log_time = Some(LogTime(field.varint()?)),
            2 if commands.len() == limits::ENTRY_COMMANDS_MAX => {
                return Err(DecodeError::Inconsistent("more commands than an entry may have"));
            }
            2 => commands.push(field.bytes()?),
            3 => hlc = field.fixed64()?,
            _ => {}
        }
    }
    let log_time = log_time.ok_or(DecodeError::Missing("the log time"))?;
    let hlc = (hlc != 0).then_some(Hlc(hlc));
    Ok(Batch {
        log_time,
        hlc,
        commands,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_batch_comes_back_as_it_was(time: u64, hlc: u64, commands in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..80), 0..40)) {
            let given: Vec<Bytes> = commands.iter().cloned().map(Bytes::from).collect();
            let payload = encode_batch(LogTime(time), Hlc(hlc), &given);
            let batch = decode_batch(&payload).unwrap();
            prop_assert_eq!(batch.log_time, LogTime(time));
            prop_assert_eq!(batch.hlc, (hlc != 0).then_some(Hlc(hlc)));
            prop_assert_eq!(batch.commands, commands.iter().map(Vec::as_slice).collect::<Vec<_>>());
            let content: usize = commands.iter().map(|command| command.len() + COMMAND_OVERHEAD_BYTES_MAX).sum();
            prop_assert!(payload.len() <= content + BATCH_OVERHEAD_BYTES_MAX);
        }
    }

    #[test]
    fn a_batch_is_never_as_empty_as_a_no_op() {
        assert!(!encode_batch(LogTime(0), Hlc(0), &[]).is_empty());
        assert_eq!(decode_batch(&[]), Err(DecodeError::Missing("the log time")));
    }

    #[test]
    fn one_command_too_many_is_refused() {
        let full = pb::Batch {
            log_time: Some(1),
            hlc: 1,
            commands: vec![Bytes::new(); limits::ENTRY_COMMANDS_MAX],
        };
        assert!(decode_batch(&full.encode_to_vec()).is_ok());
        let over = pb::Batch {
            commands: vec![Bytes::new(); limits::ENTRY_COMMANDS_MAX + 1],
            ..full
        };
        assert!(decode_batch(&over.encode_to_vec()).is_err());
    }

    #[test]
    fn a_payload_over_the_limit_is_refused() {
        assert!(matches!(
            decode_batch(&vec![0; limits::ENTRY_BYTES_MAX + 1]),
            Err(DecodeError::OverLimit { .. })
        ));
    }

    #[test]
    fn a_field_of_a_newer_version_is_skipped() {
        let mut payload = encode_batch(LogTime(7), Hlc(8), &[]).to_vec();
        payload.extend([0x22, 2, 1, 2]);
        assert_eq!(decode_batch(&payload).unwrap().log_time, LogTime(7));
    }

    #[test]
    fn a_batch_of_a_version_without_hybrid_time_is_read() {
        let payload = [0x08, 7, 0x12, 1, b'c'];
        let batch = decode_batch(&payload).unwrap();
        assert_eq!((batch.log_time, batch.hlc), (LogTime(7), None));
        assert_eq!(batch.commands, [b"c"]);
    }

    #[test]
    fn a_hybrid_time_of_another_type_is_refused() {
        assert_eq!(decode_batch(&[0x08, 7, 0x18, 1]), Err(DecodeError::WrongType(3)));
    }
}
