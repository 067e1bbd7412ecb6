//! Hostile bytes against every decoder: none may panic, and none may take much more memory than it was given bytes.
//!
//! `KAPU_FUZZ_CASES` says how many byte strings each decoder gets, `KAPU_FUZZ_SEED` which ones. What a decoder makes of good bytes is
//! tested beside it.

use std::sync::Mutex;

use bytes::Bytes;
use kapu::error::{LeaderHint, RequestError};
use kapu::limits;
use kapu::lock::{Command, Outcome, Query, Request};
use kapu::raft::{Body, Entry, Message, Position, Role};
use kapu::status::{NodeStatus, PartitionStatus};
use kapu::types::*;
use kapu::wire::{self, FrameHeader, pb};
use peak_alloc::PeakAlloc;
use prost::Message as _;
use rand::rngs::StdRng;
use rand::{Rng as _, RngExt as _, SeedableRng as _};

#[global_allocator]
static MEMORY: PeakAlloc = PeakAlloc;

/// Memory is counted for the whole process, so one test runs at a time.
static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

/// Something that takes bytes from outside.
struct Decoder {
    name: &'static str,
    /// Says whether the bytes were good.
    decode: fn(&[u8]) -> bool,
    good: Vec<Bytes>,
    /// The most bytes of memory for each byte of input, while it decodes.
    memory_per_byte: usize,
    /// The most bytes that the border in front of it lets through.
    input_bytes_max: usize,
}

impl Decoder {
    fn memory_allowed(&self, bytes: &[u8]) -> usize {
        self.memory_per_byte * bytes.len() + 1024
    }
}

fn decoders() -> Vec<Decoder> {
    let resource = Resource::new("orders/42").unwrap();
    let owner = Owner::new(&[7; 16]).unwrap();
    let try_lock = Command::TryLock {
        resource: resource.clone(),
        owner: owner.clone(),
        ttl_ms: 30_000,
    };
    let query = Query::Get { resource };
    let got = Outcome::Got {
        owner,
        fencing_token: FencingToken(300),
        expires_in_ms: 29_000,
    };
    let command = wire::encode_command(&try_lock);
    let requests = [Request::Command(try_lock), Request::Query(query.clone())];
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
            good: vec![wire::encode_batch(LogTime(9), &[command.clone(), command.clone()])],
            memory_per_byte: 20,
            input_bytes_max: limits::ENTRY_BYTES_MAX,
        },
        Decoder {
            name: "command",
            decode: |bytes| wire::decode_command(bytes).is_ok(),
            good: vec![command],
            memory_per_byte: 8,
            input_bytes_max: limits::ENTRY_BYTES_MAX,
        },
        Decoder {
            name: "query",
            decode: |bytes| wire::decode_query(bytes).is_ok(),
            good: vec![wire::encode_query(&query)],
            memory_per_byte: 8,
            input_bytes_max: limits::REQUEST_BYTES_MAX,
        },
        Decoder {
            name: "outcome",
            decode: |bytes| wire::decode_outcome(bytes).is_ok(),
            good: vec![wire::encode_outcome(&got)],
            memory_per_byte: 8,
            input_bytes_max: limits::REPLY_BYTES_MAX,
        },
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
            good: [Ok(got), Err(not_leader())]
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
            memory_per_byte: 80,
            input_bytes_max: limits::STATUS_BYTES_MAX,
        },
    ]
}

fn not_leader() -> RequestError {
    RequestError::NotLeader {
        partition: PartitionId(3),
        partitions: 8,
        leader: Some(LeaderHint {
            node: NodeId(2),
            address: "127.0.0.1:2070".to_owned(),
        }),
    }
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
    };
    let status = NodeStatus {
        cluster: "test".to_owned(),
        node_id: NodeId(1),
        client_address: "127.0.0.1:2070".to_owned(),
        nodes: vec![(NodeId(1), "127.0.0.1:2070".to_owned()), (NodeId(2), String::new())],
        partitions: vec![partition; 3],
    };
    wire::encode_status(status).encode_to_vec().into()
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
        Body::TimeoutNow,
    ];
    let message = |body| Message {
        from: NodeId(1),
        to: NodeId(2),
        term: Term(5),
        body,
    };
    let messages: Vec<_> = bodies.into_iter().map(|body| (PartitionId(7), message(body))).collect();
    let header = FrameHeader {
        cluster: wire::frame::cluster_hash("test"),
        from: NodeId(1),
        to: NodeId(2),
        storage_id: StorageId(77),
        incarnation: Incarnation(4),
        sequence: 500,
        client_address: "127.0.0.1:2070".to_owned(),
    };
    wire::encode_frame(&header, &messages)
}

/// One hostile byte string: noise, or good bytes that were damaged.
fn hostile(rng: &mut StdRng, good: &[Bytes]) -> Vec<u8> {
    let mut bytes = good[rng.random_range(0..good.len())].to_vec();
    let at = rng.random_range(0..bytes.len());
    match rng.random_range(0..5) {
        0 => {
            bytes.resize(rng.random_range(0..200), 0);
            rng.fill_bytes(&mut bytes);
        }
        1 => {
            for _ in 0..rng.random_range(1..4) {
                let at = rng.random_range(0..bytes.len());
                bytes[at] = rng.random();
            }
        }
        2 => bytes.truncate(at),
        3 => {
            let huge = [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f];
            let kept = rng.random_range(0..huge.len());
            bytes.splice(at..=at, huge[kept..].iter().copied());
        }
        _ => {
            let again = bytes[at..].to_vec();
            bytes.splice(rng.random_range(0..at + 1)..at, again);
        }
    }
    bytes
}

/// Decodes, and checks the memory that it took; shows the bytes when that panics.
fn decode_within_bounds(decoder: &Decoder, bytes: &[u8]) -> bool {
    let _shown = ShownOnPanic(decoder.name, bytes);
    let (good, taken) = measure(decoder.decode, bytes);
    assert!(
        taken <= decoder.memory_allowed(bytes),
        "{taken} bytes of memory for {} bytes",
        bytes.len()
    );
    good
}

/// What a decoder says, and the most memory that it held while it did.
fn measure(decode: fn(&[u8]) -> bool, bytes: &[u8]) -> (bool, usize) {
    let before = MEMORY.current_usage();
    MEMORY.reset_peak_usage();
    let good = decode(bytes);
    (good, MEMORY.peak_usage() - before)
}

struct ShownOnPanic<'a>(&'static str, &'a [u8]);

impl Drop for ShownOnPanic<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let start = &self.1[..self.1.len().min(400)];
            eprintln!("{}: {} bytes, starting {start:02x?}", self.0, self.1.len());
        }
    }
}

fn number_from_environment(name: &str, default: u64) -> u64 {
    let given = std::env::var(name).ok();
    given.map_or(default, |text| text.parse().expect("a number"))
}

#[test]
fn hostile_bytes_neither_panic_nor_take_unbounded_memory() {
    let _alone = ONE_AT_A_TIME.lock().unwrap();
    let cases = number_from_environment("KAPU_FUZZ_CASES", 20_000);
    let seed = number_from_environment("KAPU_FUZZ_SEED", 1);
    for decoder in decoders() {
        assert!(decoder.good.iter().all(|good| decode_within_bounds(&decoder, good)));
        let mut rng = StdRng::seed_from_u64(seed);
        let count_good = |_: &u64| decode_within_bounds(&decoder, &hostile(&mut rng, &decoder.good));
        let good = (0..cases).filter(count_good).count() as u64;
        println!("{}: {good} of {cases} decoded, seed {seed}", decoder.name);
        assert!(good > 0 && good < cases, "{}: {good} of {cases} decoded", decoder.name);
    }
}

/// Two or four bytes, repeated up to the limit of the border, that want to become as much memory as possible.
#[test]
fn a_bomb_of_tiny_fields_takes_bounded_memory() {
    let _alone = ONE_AT_A_TIME.lock().unwrap();
    for decoder in decoders() {
        for field in 1..=12_u8 {
            let (empty, message) = ([field << 3 | 2, 0], [field << 3 | 2, 2, 0x62, 0]);
            for bomb in [empty.as_slice(), &message] {
                let whole = decoder.input_bytes_max / bomb.len();
                decode_within_bounds(&decoder, &bomb.repeat(whole));
                let good_start = [&decoder.good[0], bomb.repeat(1000).as_slice()].concat();
                decode_within_bounds(&decoder, &good_start);
            }
        }
    }
}

#[test]
fn a_frame_of_tiny_entries_takes_bounded_memory() {
    let _alone = ONE_AT_A_TIME.lock().unwrap();
    let entry = pb::Entry {
        term: 1,
        payload: Bytes::new(),
    };
    let append = pb::Append {
        entries: vec![entry; 500_000],
        ..pb::Append::default()
    };
    let message = pb::PartitionMessage {
        term: 1,
        body: Some(pb::partition_message::Body::Append(append)),
        ..pb::PartitionMessage::default()
    };
    let frame = pb::Frame {
        from: 1,
        to: 2,
        messages: vec![message],
        ..pb::Frame::default()
    };
    let bytes = frame.encode_to_vec();
    assert!(bytes.len() <= limits::FRAME_BYTES_MAX);
    assert!(decode_within_bounds(&decoders()[0], &bytes), "legal, however odd");
}

/// The negative control: what prost generates for a frame does not keep to the bound that the hand-written decoder is held to.
#[test]
fn the_measure_sees_a_decoder_that_allocates_too_much() {
    let _alone = ONE_AT_A_TIME.lock().unwrap();
    let bomb = [8 << 3 | 2, 0].repeat(100_000);
    let (_, taken) = measure(|bytes| pb::Frame::decode(bytes).is_ok(), &bomb);
    assert!(taken > decoders()[0].memory_allowed(&bomb), "only {taken} bytes");
}
