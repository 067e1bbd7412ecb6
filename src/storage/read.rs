//! What every store does alike when it is read: the limit on bytes, and the answer to who asks for what is not there.
//!
//! Where entries and rows come from is each store's own business.

use super::StorageError;
use crate::types::{Index, PartitionId};

/// The error of a read that asks for entries which are compacted or were never written.
pub(super) fn missing(file: &str, partition: PartitionId, first: Index, last: Index) -> StorageError {
    StorageError::Io {
        file: file.to_owned(),
        reason: format!("the log of partition {partition} has no entries {first} to {last}"),
    }
}

/// Counts bytes up to a limit; the first entry, or row, always passes.
pub(super) struct Budget {
    left: Option<usize>,
    bytes_max: usize,
}

impl Budget {
    pub(super) const fn new(bytes_max: usize) -> Self {
        Self { left: None, bytes_max }
    }

    /// Whether `bytes` more still fit; if so they are counted.
    pub(super) fn take(&mut self, bytes: usize) -> bool {
        let fits = self.left.is_none_or(|left| bytes <= left);
        if fits {
            self.left = Some(self.left.unwrap_or(self.bytes_max).saturating_sub(bytes));
        }
        fits
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_entry_passes_whatever_its_length() {
        let mut budget = Budget::new(10);
        assert!(budget.take(100));
        assert!(budget.take(0));
        assert!(!budget.take(1));
    }

    #[test]
    fn entries_pass_up_to_the_limit() {
        let mut budget = Budget::new(10);
        assert!(budget.take(4));
        assert!(budget.take(6));
        assert!(!budget.take(1));
    }
}
