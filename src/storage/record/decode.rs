//! The reading half of the blob format: strict, without a panic, without an allocation.
//!
//! A length is compared with what is left before anything is made of it. What is checked here is form; sense is checked by the reader.

use xxhash_rust::xxh3::xxh3_64_with_seed;

use super::{BASE, ENTRIES, HARD_STATE, RESET, Record, RecordError, VERSION};
use crate::mutants::{self, Mutant};
use crate::raft::{HardState, Position};
use crate::types::{Index, NodeId, PartitionId, Term};

/// Checks a blob that was stored under `place`, and walks its records.
///
/// # Errors
/// [`RecordError`] when it is not what [`super::Encoder::seal`] returned for that place.
pub fn decode(blob: &[u8], place: u64) -> Result<Records<'_>, RecordError> {
    let (checksum, rest) = blob.split_first_chunk().ok_or(RecordError::Short)?;
    let is_intact = u64::from_le_bytes(*checksum) == xxh3_64_with_seed(rest, place);
    if !is_intact && !mutants::on(Mutant::DamageIgnored) {
        return Err(RecordError::Checksum);
    }
    match rest.split_first().ok_or(RecordError::Short)? {
        (&VERSION, rest) => Ok(Records(Reader(rest))),
        (&version, _) => Err(RecordError::Version(version)),
    }
}

/// The records of one blob, in the order in which they were written. Ends after the first error.
#[derive(Clone, Debug)]
pub struct Records<'a>(Reader<'a>);

impl<'a> Iterator for Records<'a> {
    type Item = Result<(PartitionId, Record<'a>), RecordError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.0.0.is_empty() {
            return None;
        }
        let record = read_record(&mut self.0);
        if record.is_err() {
            self.0 = Reader(&[]);
        }
        Some(record)
    }
}

fn read_record<'a>(reader: &mut Reader<'a>) -> Result<(PartitionId, Record<'a>), RecordError> {
    let kind = reader.u8()?;
    let partition = PartitionId(reader.u32()?);
    let record = match kind {
        HARD_STATE => Record::HardState(HardState {
            term: Term(reader.u64()?),
            vote: Some(reader.u64()?).filter(|&node| node != 0).map(NodeId),
        }),
        ENTRIES => Record::Entries(read_entries(reader)?),
        RESET => Record::Reset(reader.position()?),
        BASE => Record::Base(reader.position()?),
        _ => return Err(RecordError::Field("kind of record")),
    };
    Ok((partition, record))
}

fn read_entries<'a>(reader: &mut Reader<'a>) -> Result<Entries<'a>, RecordError> {
    let first = reader.u64()?;
    let count = reader.u32()?;
    let bytes = reader.u32()?;
    let body = reader.bytes(bytes)?;
    if count == 0 {
        return Err(RecordError::Field("number of entries"));
    }
    if first == 0 || first.checked_add(u64::from(count)).is_none() {
        return Err(RecordError::Field("index"));
    }
    let entries = Entries {
        first: Index(first),
        count,
        body: Reader(body),
    };
    entries.check()?;
    Ok(entries)
}

/// Consecutive entries, still encoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entries<'a> {
    /// The index of the first.
    pub first: Index,
    count: u32,
    body: Reader<'a>,
}

impl<'a> Entries<'a> {
    /// The index of the last.
    #[must_use]
    pub fn last(&self) -> Index {
        Index(self.first.0 + u64::from(self.count) - 1)
    }

    /// Index, term and payload of each, in order.
    pub fn iter(&self) -> impl Iterator<Item = (Index, Term, &'a [u8])> + use<'a> {
        let mut body = self.body;
        let mut index = self.first;
        std::iter::from_fn(move || {
            let (term, payload) = body.entry().ok()?;
            let entry = (index, term, payload);
            index = index.next();
            Some(entry)
        })
    }

    fn check(&self) -> Result<(), RecordError> {
        let mut body = self.body;
        for _ in 0..self.count {
            body.entry()?;
        }
        if body.0.is_empty() {
            Ok(())
        } else {
            Err(RecordError::Field("length of entries"))
        }
    }
}

/// What is left of a blob.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn array<const N: usize>(&mut self) -> Result<[u8; N], RecordError> {
        let (value, rest) = self.0.split_first_chunk().ok_or(RecordError::Short)?;
        self.0 = rest;
        Ok(*value)
    }

    fn u8(&mut self) -> Result<u8, RecordError> {
        self.array().map(u8::from_le_bytes)
    }

    fn u32(&mut self) -> Result<u32, RecordError> {
        self.array().map(u32::from_le_bytes)
    }

    fn u64(&mut self) -> Result<u64, RecordError> {
        self.array().map(u64::from_le_bytes)
    }

    fn bytes(&mut self, length: u32) -> Result<&'a [u8], RecordError> {
        let length = usize::try_from(length).map_err(|_| RecordError::Short)?;
        let (value, rest) = self.0.split_at_checked(length).ok_or(RecordError::Short)?;
        self.0 = rest;
        Ok(value)
    }

    fn position(&mut self) -> Result<Position, RecordError> {
        let term = Term(self.u64()?);
        Ok(Position {
            term,
            index: Index(self.u64()?),
        })
    }

    fn entry(&mut self) -> Result<(Term, &'a [u8]), RecordError> {
        let term = Term(self.u64()?);
        let length = self.u32()?;
        Ok((term, self.bytes(length)?))
    }
}
