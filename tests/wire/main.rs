//! Hostile bytes against every decoder: none may panic, and none may take much more memory than it was given bytes.
//!
//! `KAPU_FUZZ_CASES` says how many byte strings each decoder gets, `KAPU_FUZZ_SEED` which ones. What a decoder makes of good bytes is
//! tested beside it.

mod decoders;

use std::sync::Mutex;

use bytes::Bytes;
use kapu::limits;
use kapu::wire::pb;
use peak_alloc::PeakAlloc;
use prost::Message as _;
use rand::rngs::StdRng;
use rand::{Rng as _, RngExt as _, SeedableRng as _};

use decoders::{Decoder, decoders};

#[global_allocator]
static MEMORY: PeakAlloc = PeakAlloc;

/// Memory is counted for the whole process, so one test runs at a time.
static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

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
