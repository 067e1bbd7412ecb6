//! Which partition a key belongs to: a hash, and nothing else.

use crate::partition::Mailbox;
use crate::types::PartitionId;

/// The mailboxes of all partitions, by number.
pub struct Router {
    mailboxes: Vec<Mailbox>,
}

impl Router {
    /// A router over these partitions, the first of which is number zero.
    #[must_use]
    pub const fn new(mailboxes: Vec<Mailbox>) -> Self {
        Self { mailboxes }
    }

    /// How many partitions there are.
    #[must_use]
    pub fn partitions(&self) -> u32 {
        u32::try_from(self.mailboxes.len()).expect("limited to PARTITIONS_MAX")
    }

    /// The partition of `key`.
    #[must_use]
    pub fn partition_of(&self, key: &[u8]) -> PartitionId {
        PartitionId::of_key(key, self.partitions())
    }

    /// The mailbox of `partition`, if there is such a partition.
    #[must_use]
    pub fn get(&self, partition: PartitionId) -> Option<&Mailbox> {
        self.mailboxes.get(partition.0 as usize)
    }

    /// Every mailbox.
    #[must_use]
    pub fn all(&self) -> &[Mailbox] {
        &self.mailboxes
    }
}
