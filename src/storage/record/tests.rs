//! What the blob format promises, over random blobs.

use bytes::Bytes;
use proptest::prelude::*;

use super::*;
use crate::types::{Index, NodeId, Term};

/// An owned record, to compare with.
#[derive(Clone, Debug, PartialEq)]
enum Owned {
    HardState(HardState),
    Entries(Vec<Entry>),
    Reset(Position),
    Base(Position),
}

fn position() -> impl Strategy<Value = Position> {
    (any::<u64>(), any::<u64>()).prop_map(|(term, index)| Position {
        term: Term(term),
        index: Index(index),
    })
}

fn entries() -> impl Strategy<Value = Vec<Entry>> {
    let parts = prop::collection::vec((any::<u64>(), prop::collection::vec(any::<u8>(), 0..40)), 1..5);
    (1..u64::MAX - 10, parts).prop_map(|(first, parts)| {
        let entry = |(at, (term, payload)): (u64, (u64, Vec<u8>))| Entry {
            index: Index(first + at),
            term: Term(term),
            payload: Bytes::from(payload),
        };
        (0..).zip(parts).map(entry).collect()
    })
}

fn record() -> impl Strategy<Value = (PartitionId, Owned)> {
    let hard_state = (any::<u64>(), any::<u64>()).prop_map(|(term, vote)| {
        Owned::HardState(HardState {
            term: Term(term),
            vote: Some(vote).filter(|&node| node > 0).map(NodeId),
        })
    });
    let body = prop_oneof![
        hard_state,
        entries().prop_map(Owned::Entries),
        position().prop_map(Owned::Reset),
        position().prop_map(Owned::Base),
    ];
    (any::<u32>().prop_map(PartitionId), body)
}

fn encode(records: &[(PartitionId, Owned)], place: u64) -> Vec<u8> {
    let mut encoder = Encoder::new();
    for (partition, record) in records {
        match record {
            Owned::HardState(hard_state) => encoder.hard_state(*partition, *hard_state),
            Owned::Entries(entries) => encoder.entries(*partition, entries),
            Owned::Reset(position) => encoder.reset(*partition, *position),
            Owned::Base(position) => encoder.base(*partition, *position),
        }
    }
    encoder.seal(place).to_vec()
}

fn decode_all(blob: &[u8], place: u64) -> Result<Vec<(PartitionId, Owned)>, RecordError> {
    let owned = |record: Record<'_>| match record {
        Record::HardState(hard_state) => Owned::HardState(hard_state),
        Record::Entries(entries) => {
            let owned = |(index, term, payload)| Entry {
                index,
                term,
                payload: Bytes::copy_from_slice(payload),
            };
            let all: Vec<Entry> = entries.iter().map(owned).collect();
            assert_eq!(all.last().map(|entry| entry.index), Some(entries.last()));
            Owned::Entries(all)
        }
        Record::Reset(position) => Owned::Reset(position),
        Record::Base(position) => Owned::Base(position),
    };
    decode(blob, place)?
        .map(|item| item.map(|(partition, record)| (partition, owned(record))))
        .collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn what_was_encoded_is_decoded(records in prop::collection::vec(record(), 0..6), place in any::<u64>()) {
        prop_assert_eq!(decode_all(&encode(&records, place), place), Ok(records));
    }

    #[test]
    fn every_single_bit_flip_is_detected(records in prop::collection::vec(record(), 0..4), place in any::<u64>()) {
        let mut blob = encode(&records, place);
        for bit in 0..blob.len() * 8 {
            blob[bit / 8] ^= 1 << (bit % 8);
            prop_assert_eq!(decode_all(&blob, place), Err(RecordError::Checksum));
            blob[bit / 8] ^= 1 << (bit % 8);
        }
    }

    #[test]
    fn every_truncation_is_detected(records in prop::collection::vec(record(), 0..4), place in any::<u64>()) {
        let blob = encode(&records, place);
        for length in 0..blob.len() {
            prop_assert!(decode_all(&blob[..length], place).is_err());
        }
    }

    #[test]
    fn a_blob_under_another_key_is_detected(records in prop::collection::vec(record(), 1..4), place in any::<u64>()) {
        let blob = encode(&records, place);
        prop_assert_eq!(decode_all(&blob, place ^ 1), Err(RecordError::Checksum));
    }

    /// Behind a valid checksum the fields are still not trusted: any bytes at all end in an error or in records.
    #[test]
    fn any_bytes_with_a_valid_checksum_never_panic(body in prop::collection::vec(any::<u8>(), 0..200), kind in 0_u8..6) {
        let mut rest = vec![VERSION, kind];
        rest.extend(body);
        let mut blob = xxh3_64_with_seed(&rest, 0).to_le_bytes().to_vec();
        blob.extend(rest);
        if let Ok(records) = decode_all(&blob, 0) {
            prop_assert_eq!(encode(&records, 0), blob);
        }
    }
}

#[test]
fn a_newer_version_is_refused_by_number() {
    let rest = [VERSION + 1];
    let mut blob = xxh3_64_with_seed(&rest, 0).to_le_bytes().to_vec();
    blob.extend(rest);
    assert_eq!(decode(&blob, 0).err(), Some(RecordError::Version(VERSION + 1)));
}

#[test]
fn a_length_beyond_the_blob_is_refused_before_anything_is_allocated() {
    let mut rest = vec![VERSION, ENTRIES];
    rest.extend(0_u32.to_le_bytes());
    rest.extend(1_u64.to_le_bytes());
    rest.extend(u32::MAX.to_le_bytes());
    rest.extend(u32::MAX.to_le_bytes());
    let mut blob = xxh3_64_with_seed(&rest, 0).to_le_bytes().to_vec();
    blob.extend(rest);
    assert_eq!(decode_all(&blob, 0), Err(RecordError::Short));
}
