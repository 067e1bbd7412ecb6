//! How large a log is, roughly, above each of its entries: for the one question of what is too much to keep.
//!
//! It is exact to [`Sizes::STEP`] bytes and knows nothing of what the log held when the process began.

use std::collections::VecDeque;

use crate::raft::log::ENTRY_OVERHEAD;
use crate::raft::message::Entry;
use crate::types::Index;

/// How many bytes lie above which entry, kept for every so many bytes. What was there at the start counts for nothing.
#[derive(Clone, Debug, Default)]
pub struct Sizes {
    /// All bytes that were ever added.
    total: u64,
    /// An entry, and the bytes that were added up to it.
    marks: VecDeque<(Index, u64)>,
}

impl Sizes {
    /// Between two marks are at least so many bytes.
    const STEP: u64 = 256 * 1024;

    /// An entry was added at the end.
    pub fn push(&mut self, entry: &Entry) {
        self.total += (entry.payload.len() + ENTRY_OVERHEAD) as u64;
        if self
            .marks
            .back()
            .is_none_or(|(_, total)| self.total >= total + Self::STEP)
        {
            self.marks.push_back((entry.index, self.total));
        }
    }

    /// The entries from `from` on are gone.
    pub fn truncate(&mut self, from: Index) {
        while self.marks.pop_back_if(|(index, _)| *index >= from).is_some() {}
    }

    /// The entries up to `through` are gone.
    pub fn compact(&mut self, through: Index) {
        while self.marks.get(1).is_some_and(|(index, _)| *index <= through) {
            self.marks.pop_front();
        }
    }

    /// The last marked entry with more than `bytes` above it.
    #[must_use]
    pub fn surplus(&self, bytes: u64) -> Index {
        let over = self.marks.partition_point(|(_, total)| self.total - total > bytes);
        over.checked_sub(1).map_or(Index(0), |at| self.marks[at].0)
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::types::Term;

    fn filled(count: u64) -> Sizes {
        let mut sizes = Sizes::default();
        let payload = Bytes::from(vec![1; 64 * 1024 - ENTRY_OVERHEAD]);
        for index in (1..=count).map(Index) {
            sizes.push(&Entry {
                index,
                term: Term(1),
                payload: payload.clone(),
            });
        }
        sizes
    }

    #[test]
    fn surplus_leaves_what_may_be_kept() {
        let surplus = filled(1000).surplus(16 * 1024 * 1024);
        let kept = (1000 - surplus.0) * 64 * 1024;
        assert!(kept > 16 * 1024 * 1024, "{kept}");
        assert!(kept < 17 * 1024 * 1024, "{kept}");
    }

    #[test]
    fn a_small_log_has_no_surplus() {
        assert_eq!(filled(4).surplus(16 * 1024 * 1024), Index(0));
    }

    #[test]
    fn what_was_truncated_is_no_surplus() {
        let mut sizes = filled(1000);
        sizes.truncate(Index(10));
        assert!(sizes.surplus(0) < Index(10));
    }
}
