//! The blob format: what one group commit looks like on disk.
//!
//! One blob carries the records of every partition that had something to write, so that a group commit is one row of one table whatever
//! the number of partitions. The format is made by hand, little-endian, because it is ours alone and must stay readable for as long as
//! a data directory lives:
//!
//! ```text
//! blob     checksum u64 | version u8 | record ..            checksum = xxh3-64 of all that follows, seeded with the blob's place
//! record   kind u8 | partition u32 | body
//!   1      hard state   term u64 | vote u64 (0: none)
//!   2      entries      first index u64 | count u32 | bytes u32 | (term u64 | length u32 | payload) * count
//!   3      reset        term u64 | index u64               the log is empty and begins after this position
//!   4      base         term u64 | index u64               everything up to this position was compacted
//! ```
//!
//! The decoder is strict: it accepts nothing that the encoder would not write, never panics, and allocates nothing. What the records mean
//! is the business of [`super::index`].

mod decode;

use xxhash_rust::xxh3::xxh3_64_with_seed;

pub use self::decode::{Entries, decode};
use crate::raft::{Entry, HardState, Position};
use crate::types::PartitionId;

const VERSION: u8 = 1;
const CHECKSUM_BYTES: usize = 8;
/// The bytes that an entry takes beside its payload.
const ENTRY_HEADER_BYTES: usize = 12;
const HARD_STATE: u8 = 1;
const ENTRIES: u8 = 2;
const RESET: u8 = 3;
const BASE: u8 = 4;

/// Why bytes are not a blob.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RecordError {
    /// It ends too early.
    #[error("it is cut off")]
    Short,
    /// It is not what was written there.
    #[error("its checksum does not match")]
    Checksum,
    /// A later kapu wrote it.
    #[error("its version is {0}, and this kapu reads version {VERSION}")]
    Version(u8),
    /// The checksum holds, but a field cannot be.
    #[error("it has an impossible {0}")]
    Field(&'static str),
}

/// One record of a blob.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Record<'a> {
    /// Term and vote.
    HardState(HardState),
    /// Entries that replace everything at their first index and above.
    Entries(Entries<'a>),
    /// The log was replaced as a whole: it is empty, and begins after this position.
    Reset(Position),
    /// Everything up to this position was compacted.
    Base(Position),
}

/// Builds one blob after another in the same buffer.
pub struct Encoder {
    blob: Vec<u8>,
}

impl Encoder {
    /// An empty blob.
    #[must_use]
    pub fn new() -> Self {
        let mut encoder = Self { blob: Vec::new() };
        encoder.clear();
        encoder
    }

    /// Begins the next blob.
    pub fn clear(&mut self) {
        self.blob.clear();
        self.blob.extend_from_slice(&[0; CHECKSUM_BYTES]);
        self.blob.push(VERSION);
    }

    /// How long the blob is, in bytes.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.blob.len()
    }

    /// Adds term and vote.
    pub fn hard_state(&mut self, partition: PartitionId, hard_state: HardState) {
        self.begin(HARD_STATE, partition);
        self.u64(hard_state.term.0);
        self.u64(hard_state.vote.map_or(0, |node| node.0));
    }

    /// Adds consecutive entries; none is no record.
    ///
    /// # Panics
    /// When they take 4 GiB or more.
    pub fn entries(&mut self, partition: PartitionId, entries: &[Entry]) {
        let Some(first) = entries.first() else { return };
        let bytes: usize = entries
            .iter()
            .map(|entry| ENTRY_HEADER_BYTES + entry.payload.len())
            .sum();
        self.blob.reserve(bytes);
        self.begin(ENTRIES, partition);
        self.u64(first.index.0);
        self.length(entries.len());
        self.length(bytes);
        for entry in entries {
            self.u64(entry.term.0);
            self.length(entry.payload.len());
            self.blob.extend_from_slice(&entry.payload);
        }
    }

    /// Adds that the log is empty and begins after `position`.
    pub fn reset(&mut self, partition: PartitionId, position: Position) {
        self.begin(RESET, partition);
        self.position(position);
    }

    /// Adds that everything up to `position` was compacted.
    pub fn base(&mut self, partition: PartitionId, position: Position) {
        self.begin(BASE, partition);
        self.position(position);
    }

    /// Completes the blob for `place`, the key that it will be stored under: it is refused under any other.
    pub fn seal(&mut self, place: u64) -> &[u8] {
        let checksum = xxh3_64_with_seed(&self.blob[CHECKSUM_BYTES..], place);
        self.blob[..CHECKSUM_BYTES].copy_from_slice(&checksum.to_le_bytes());
        &self.blob
    }

    fn begin(&mut self, kind: u8, partition: PartitionId) {
        self.blob.push(kind);
        self.blob.extend_from_slice(&partition.0.to_le_bytes());
    }

    fn position(&mut self, position: Position) {
        self.u64(position.term.0);
        self.u64(position.index.0);
    }

    fn u64(&mut self, value: u64) {
        self.blob.extend_from_slice(&value.to_le_bytes());
    }

    fn length(&mut self, value: usize) {
        let value = u32::try_from(value).expect("a group commit is far below 4 GiB");
        self.blob.extend_from_slice(&value.to_le_bytes());
    }
}

#[cfg(test)]
mod tests;
