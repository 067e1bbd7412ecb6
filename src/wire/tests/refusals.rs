//! What must not pass: each starts from bytes that do, and changes one thing.
//!
//! Random and broken bytes are thrown at the decoders in `tests/wire`.

use bytes::Bytes;
use prost::Message as _;

use crate::limits;
use crate::raft::Body;
use crate::types::{Index, InvalidInput};
use crate::wire::*;

/// A frame with one append: `prev` at term 2 and index 10, of term 5.
fn one_append() -> pb::Frame {
    let append = pb::Append {
        prev: Some(pb::Position { term: 2, index: 10 }),
        entries: vec![pb::Entry {
            term: 3,
            payload: Bytes::from_static(b"x"),
        }],
        ..pb::Append::default()
    };
    let message = pb::PartitionMessage {
        partition: 1,
        term: 5,
        body: Some(pb::partition_message::Body::Append(append)),
    };
    pb::Frame {
        from: 1,
        to: 2,
        messages: vec![message],
        ..pb::Frame::default()
    }
}

/// The refusal of `one_append` after `change`.
fn refusal(change: impl FnOnce(&mut pb::Frame)) -> DecodeError {
    let mut frame = one_append();
    assert!(decode_frame(&frame.encode_to_vec()).is_ok(), "good before the change");
    change(&mut frame);
    decode_frame(&frame.encode_to_vec()).unwrap_err()
}

fn append_of(frame: &mut pb::Frame) -> &mut pb::Append {
    match &mut frame.messages[0].body {
        Some(pb::partition_message::Body::Append(append)) => append,
        _ => unreachable!("one_append has one"),
    }
}

#[test]
fn entries_follow_prev_one_by_one() {
    let frame = decode_frame(&one_append().encode_to_vec()).unwrap();
    let Body::Append { entries, .. } = &frame.messages[0].1.body else {
        panic!("an append")
    };
    assert_eq!(entries[0].index, Index(11));
}

#[test]
fn a_frame_without_sender_or_receiver_is_refused() {
    let missing = DecodeError::Missing("the sender or the receiver of a frame");
    assert_eq!(refusal(|frame| frame.from = 0), missing);
    assert_eq!(refusal(|frame| frame.to = 0), missing);
}

#[test]
fn a_message_without_body_is_refused() {
    let refusal = refusal(|frame| frame.messages[0].body = None);
    assert_eq!(refusal, DecodeError::Missing("the body of a message"));
}

#[test]
fn terms_of_entries_neither_fall_nor_pass_the_message() {
    let inconsistent = DecodeError::Inconsistent("the terms of an append fall, or pass its own");
    assert_eq!(refusal(|frame| append_of(frame).entries[0].term = 1), inconsistent);
    assert_eq!(refusal(|frame| append_of(frame).entries[0].term = 6), inconsistent);
    assert_eq!(
        refusal(|frame| append_of(frame).prev = Some(pb::Position { term: 6, index: 10 })),
        DecodeError::Inconsistent("an append is anchored in a later term than its own")
    );
    assert_eq!(
        refusal(|frame| append_of(frame).entries[0].term = 0),
        DecodeError::Missing("the term of an entry")
    );
}

#[test]
fn a_number_that_could_overflow_is_refused() {
    let over = limits::COUNTER_MAX + 1;
    let changes: [fn(&mut pb::Frame, u64); 5] = [
        |frame, over| frame.messages[0].term = over,
        |frame, over| frame.incarnation = over,
        |frame, over| frame.sequence = over,
        |frame, over| append_of(frame).commit = over,
        |frame, over| append_of(frame).prev = Some(pb::Position { term: 2, index: over }),
    ];
    for change in changes {
        let refusal = refusal(|frame| change(frame, over));
        assert!(matches!(refusal, DecodeError::OverLimit { .. }), "{refusal}");
    }
}

#[test]
fn everything_over_a_limit_is_refused() {
    let changes: [fn(&mut pb::Frame); 5] = [
        |frame| frame.earlier = vec![1; limits::EARLIER_LIVES_MAX + 1],
        |frame| frame.messages[0].partition = limits::PARTITIONS_MAX,
        |frame| frame.client_address = "a".repeat(limits::ADDRESS_BYTES_MAX + 1),
        |frame| append_of(frame).entries[0].payload = vec![0; limits::ENTRY_BYTES_MAX + 1].into(),
        |frame| {
            append_of(frame).entries =
                vec![append_of(&mut one_append()).entries[0].clone(); limits::FRAME_BYTES_MAX / 7 + 1]
        },
    ];
    for change in changes {
        let refusal = refusal(change);
        assert!(matches!(refusal, DecodeError::OverLimit { .. }), "{refusal}");
    }
    let refusal = refusal(|frame| frame.messages = vec![frame.messages[0].clone(); limits::FRAME_MESSAGES_MAX + 1]);
    assert_eq!(
        refusal,
        DecodeError::Inconsistent("more messages than a frame may have")
    );
}

#[test]
fn a_hint_above_what_was_rejected_is_refused() {
    let rejected = pb::AppendRejected {
        prev: 4,
        hint: Some(pb::Position { term: 1, index: 5 }),
        round: 0,
    };
    let refusal = refusal(|frame| frame.messages[0].body = Some(pb::partition_message::Body::AppendRejected(rejected)));
    assert!(matches!(refusal, DecodeError::Inconsistent(_)), "{refusal}");
}

#[test]
fn fields_of_a_newer_version_are_skipped() {
    let mut bytes = one_append().encode_to_vec();
    bytes.extend([0xf8, 0x01, 0x07, 0xfa, 0x01, 0x02, b'h', b'i']);
    assert_eq!(decode_frame(&bytes), decode_frame(&one_append().encode_to_vec()));
}

#[test]
fn a_command_in_the_log_is_checked_again() {
    let good = pb::Command {
        kind: pb::CommandKind::TryLock.into(),
        resource: "a".to_owned(),
        owner: Bytes::from_static(b"o"),
        ttl_ms: 1,
    };
    let refuse = |command: pb::Command| decode_command(&command.encode_to_vec()).unwrap_err();
    let changed = |change: fn(&mut pb::Command)| {
        let mut command = good.clone();
        change(&mut command);
        refuse(command)
    };
    assert!(decode_command(&good.encode_to_vec()).is_ok());
    assert_eq!(changed(|c| c.resource.clear()), InvalidInput::EmptyResource.into());
    assert_eq!(changed(|c| c.owner.clear()), InvalidInput::EmptyOwner.into());
    assert_eq!(changed(|c| c.ttl_ms = 0), InvalidInput::BadTtl(0).into());
    assert_eq!(changed(|c| c.ttl_ms = u64::MAX), InvalidInput::BadTtl(u64::MAX).into());
    assert_eq!(
        changed(|c| c.resource = "a".repeat(1025)),
        InvalidInput::LongResource(1025).into()
    );
    assert_eq!(changed(|c| c.kind = 9), DecodeError::Missing("a known kind of command"));
}

#[test]
fn a_wrong_request_keeps_its_id() {
    let request = pb::PipelineRequest { id: 7, operation: None };
    assert_eq!(decode_request(request), (7, Err(InvalidInput::NoOperation)));
}

#[test]
fn an_answer_of_a_newer_node_is_no_outcome() {
    let unknown = pb::LockReply {
        outcome: 99,
        ..pb::LockReply::default()
    };
    assert!(outcome_from_reply(&unknown).is_err());
    let tokenless = pb::LockReply {
        outcome: pb::Outcome::Locked.into(),
        ..pb::LockReply::default()
    };
    assert_eq!(
        outcome_from_reply(&tokenless),
        Err(DecodeError::Missing("the fencing token"))
    );
}
