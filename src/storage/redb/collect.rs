//! Garbage collection of `log.redb`: old blobs go, and what is still live in them moves to rows of its own.
//!
//! Blobs are removed from the front only, a bounded number at a time, when there are more than the limits allow. Live entries of a removed
//! blob go to `rewrite`, hard states and bases to `parts`, all in one transaction with the removal, so that a crash leaves either the
//! blobs or their rows. A partition that writes nothing any more is moved once and pins nothing.
//!
//! Nothing here decides what is live: that follows from the indexes.

use std::collections::VecDeque;

use super::log_file::LogFile;
use super::scan::Scanned;
use super::step::Step;
use crate::limits;
use crate::raft::Position;
use crate::storage::StorageError;
use crate::storage::index::LogIndex;
use crate::types::Index;

/// How many old blobs may be there before they are removed.
#[derive(Clone, Copy, Debug)]
pub struct CollectBounds {
    /// The most blobs.
    pub blobs_max: usize,
    /// The most bytes of blobs.
    pub bytes_max: usize,
}

/// What the file holds, as far as removal needs to know.
#[derive(Debug)]
pub struct Collector {
    bounds: CollectBounds,
    first_blob: u64,
    blob_bytes: VecDeque<usize>,
    bytes: usize,
    saved: Vec<Saved>,
}

/// What the rows of one partition say.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Saved {
    /// The base in `parts`.
    pub(super) base: Position,
    /// The first and last row of `rewrite`; there may be holes.
    rows: Option<(Index, Index)>,
}

impl Collector {
    /// Begins with what the scan found.
    #[must_use]
    pub fn new(bounds: CollectBounds, scanned: Scanned) -> Self {
        let saved = scanned
            .saved_bases
            .into_iter()
            .zip(scanned.moved)
            .map(|(base, rows)| Saved { base, rows });
        Self {
            bounds,
            first_blob: scanned.first_blob,
            bytes: scanned.blob_bytes.iter().sum(),
            blob_bytes: scanned.blob_bytes.into(),
            saved: saved.collect(),
        }
    }

    /// The number of the next blob.
    #[must_use]
    pub fn next_blob(&self) -> u64 {
        self.first_blob + self.blob_bytes.len() as u64
    }

    /// One more blob of `bytes` was written.
    pub fn push(&mut self, bytes: usize) {
        self.blob_bytes.push_back(bytes);
        self.bytes += bytes;
    }

    /// Whether there are more blobs than the limits allow. The last blob always stays.
    #[must_use]
    pub fn is_due(&self) -> bool {
        let over = self.blob_bytes.len() > self.bounds.blobs_max || self.bytes > self.bounds.bytes_max;
        over && self.blob_bytes.len() > 1
    }

    /// Removes some of the oldest blobs. Readers wait meanwhile: what the index names must be in the file.
    ///
    /// # Errors
    /// [`StorageError`]; then nothing may be assumed of the file.
    pub fn step(&mut self, file: &LogFile) -> Result<(), StorageError> {
        let count = self.count();
        let cut = self.first_blob + count as u64;
        let mut indexes = file.indexes();
        let transaction = file.database().begin_write()?;
        Step {
            file,
            transaction: &transaction,
            cut,
        }
        .run(&indexes, &self.saved)?;
        file.database().commit(transaction)?;
        for (index, saved) in indexes.iter_mut().zip(&mut self.saved) {
            index.move_below(cut);
            *saved = saved.after(index);
        }
        self.first_blob = cut;
        self.bytes -= self.blob_bytes.drain(..count).sum::<usize>();
        Ok(())
    }

    /// How many blobs one step removes: at least one, and the last one never.
    fn count(&self) -> usize {
        let mut bytes = 0;
        let fits = |length: &&usize| {
            bytes += **length;
            bytes <= limits::COLLECT_BYTES_MAX
        };
        let count = self
            .blob_bytes
            .iter()
            .take(limits::COLLECT_BLOBS_MAX)
            .take_while(fits)
            .count();
        count.clamp(1, self.blob_bytes.len() - 1)
    }
}

impl Saved {
    /// What the rows say after a step that left `index`.
    fn after(self, index: &LogIndex) -> Self {
        let dead_from = self.dead(index).map(|(_, end)| end);
        let live = index.moved();
        let first = match (dead_from, self.rows) {
            (Some(next), Some((_, last))) if next <= last.min(index.base().index) => Some(next),
            _ => live.map(|(first, _)| first),
        };
        let last = live.map_or(index.base().index, |(_, last)| last);
        Self {
            base: index.base(),
            rows: first.map(|first| (first, last)),
        }
    }

    /// Rows at or below the base that one step removes: from the first, before the second. A bounded number; the rest waits.
    pub(super) fn dead(self, index: &LogIndex) -> Option<(Index, Index)> {
        let (first, _) = self.rows?;
        let end = index
            .base()
            .index
            .next()
            .min(Index(first.0.saturating_add(limits::COLLECT_ROWS_MAX)));
        (first < end).then_some((first, end))
    }

    /// Rows of entries that were replaced, end excluded: all of them go, before a blob that replaced them can go.
    pub(super) fn replaced(self, index: &LogIndex) -> Option<(Index, Index)> {
        let (first, last) = self.rows?;
        let live = index.moved().map_or(index.base().index, |(_, last)| last);
        let from = live.next().max(first);
        (from <= last).then_some((from, last.next()))
    }
}
