//! Which partition a resource belongs to: a hash, and nothing else.

use crate::partition::Mailbox;
use crate::types::{PartitionId, Resource};

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

    /// The partition of `resource`.
    #[must_use]
    pub fn route(&self, resource: &Resource) -> (PartitionId, &Mailbox) {
        let partition = resource.partition(self.partitions());
        (partition, &self.mailboxes[partition.0 as usize])
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
