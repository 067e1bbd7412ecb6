//! The words of the domain as types: who, where, when, which.
//!
//! Every number that crosses a module boundary has a type of its own, so that a term is never passed for an index. Nothing here does
//! I/O, reads a clock or draws entropy.

use std::fmt;
use std::sync::Arc;

use crate::limits;

/// Declares a number with a meaning: ordered, hashable, printed as the bare number.
macro_rules! number {
    ($(#[$doc:meta])* $name:ident($inner:ty)) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub $inner);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

number! {
    /// A node of the cluster. Never zero.
    NodeId(u64)
}
number! {
    /// One Raft group and its state machine, counted from zero.
    PartitionId(u32)
}
number! {
    /// A Raft term (Raft section 5.1). Zero is before the first election.
    Term(u64)
}
number! {
    /// The position of an entry in a partition's log. Zero is before the first entry.
    Index(u64)
}
number! {
    /// Milliseconds of replicated time: carried in every entry, it only grows, and no wall clock has a part in it.
    LogTime(u64)
}
number! {
    /// The number that a fenced resource compares. Never goes down and is never given twice in a partition. Never zero.
    FencingToken(u64)
}
number! {
    /// Names one write to the log store. Grows by one with each write of a partition.
    PersistId(u64)
}
number! {
    /// One life of a node on its data directory: how often it has started, and a random number of that start.
    ///
    /// The count is in the upper bits, so that later lives are greater; the luck below it tells two lives apart that were both started from
    /// one copy of a directory. Zero is before the first start.
    Incarnation(u64)
}
number! {
    /// Drawn at random when a data directory is created: two directories never share one.
    StorageId(u64)
}

impl PartitionId {
    /// The partition of `key`, in a cluster with `partitions` of them, at least one: xxh3-64 of its bytes, modulo their number.
    #[must_use]
    pub fn of_key(key: &[u8], partitions: u32) -> Self {
        assert!(partitions > 0, "a cluster has at least one partition");
        let hash = xxhash_rust::xxh3::xxh3_64(key);
        Self(u32::try_from(hash % u64::from(partitions)).expect("below a u32"))
    }
}

impl Incarnation {
    /// How many bits of it are luck.
    const LUCK_BITS: u32 = 24;

    /// The life that is the `starts`th, with the lower bits of `luck`.
    #[must_use]
    pub const fn new(starts: u64, luck: u64) -> Self {
        Self((starts << Self::LUCK_BITS) | (luck & ((1 << Self::LUCK_BITS) - 1)))
    }

    /// How often the node has started, this time included.
    #[must_use]
    pub const fn starts(self) -> u64 {
        self.0 >> Self::LUCK_BITS
    }

    /// The life after this one.
    #[must_use]
    pub const fn next(self, luck: u64) -> Self {
        Self::new(self.starts() + 1, luck)
    }
}

impl Index {
    /// The index after this one.
    #[must_use]
    pub const fn next(self) -> Self {
        Self(self.0 + 1)
    }

    /// The index before this one; zero stays zero.
    #[must_use]
    pub const fn prev(self) -> Self {
        Self(self.0.saturating_sub(1))
    }
}

impl Term {
    /// The term after this one.
    #[must_use]
    pub const fn next(self) -> Self {
        Self(self.0 + 1)
    }
}

impl LogTime {
    /// This time plus `ms` milliseconds.
    #[must_use]
    pub const fn after(self, ms: u64) -> Self {
        Self(self.0.saturating_add(ms))
    }

    /// Milliseconds from this time until `later`; zero when that has passed.
    #[must_use]
    pub const fn until(self, later: Self) -> u64 {
        later.0.saturating_sub(self.0)
    }
}

/// The name of what is locked: 1 to [`limits::RESOURCE_BYTES_MAX`] bytes of UTF-8.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Resource(Arc<str>);

/// Who holds or wants a lock: 1 to [`limits::OWNER_BYTES_MAX`] opaque bytes, one value per acquisition unless the caller says otherwise.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Owner(Arc<[u8]>);

/// Why a request was refused before anything was tried.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidInput {
    /// An empty resource name.
    #[error("the resource name is empty; give 1 to {max} bytes", max = limits::RESOURCE_BYTES_MAX)]
    EmptyResource,
    /// A resource name over the limit.
    #[error("the resource name has {0} bytes; at most {max} are allowed", max = limits::RESOURCE_BYTES_MAX)]
    LongResource(usize),
    /// An empty owner.
    #[error("the owner is empty; give 1 to {max} bytes", max = limits::OWNER_BYTES_MAX)]
    EmptyOwner,
    /// An owner over the limit.
    #[error("the owner has {0} bytes; at most {max} are allowed", max = limits::OWNER_BYTES_MAX)]
    LongOwner(usize),
    /// A ttl outside of the limits.
    #[error("the ttl is {0} ms; give {min} to {max} ms", min = limits::TTL_MS_MIN, max = limits::TTL_MS_MAX)]
    BadTtl(u64),
    /// A request that names no operation, as from a newer client.
    #[error("the request names no operation that this node knows; is the client newer than the node?")]
    NoOperation,
}

impl Resource {
    /// Checks a name.
    ///
    /// # Errors
    /// [`InvalidInput`] when it is empty or over the limit.
    pub fn new(name: &str) -> Result<Self, InvalidInput> {
        match name.len() {
            0 => Err(InvalidInput::EmptyResource),
            n if n > limits::RESOURCE_BYTES_MAX => Err(InvalidInput::LongResource(n)),
            _ => Ok(Self(name.into())),
        }
    }

    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The partition that owns this name, of a cluster with `partitions` of them.
    ///
    /// Part of the wire contract: clients use it to pick a node. xxh3-64 of the name's bytes, modulo the number of partitions.
    #[must_use]
    pub fn partition(&self, partitions: u32) -> PartitionId {
        PartitionId::of_key(self.0.as_bytes(), partitions)
    }
}

impl fmt::Display for Resource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Owner {
    /// Checks an owner.
    ///
    /// # Errors
    /// [`InvalidInput`] when it is empty or over the limit.
    pub fn new(bytes: &[u8]) -> Result<Self, InvalidInput> {
        match bytes.len() {
            0 => Err(InvalidInput::EmptyOwner),
            n if n > limits::OWNER_BYTES_MAX => Err(InvalidInput::LongOwner(n)),
            _ => Ok(Self(bytes.into())),
        }
    }

    /// The bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

/// Owners are shown as text where they are text, else in hexadecimal.
impl fmt::Display for Owner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match std::str::from_utf8(&self.0) {
            Ok(text) if !text.chars().any(char::is_control) => f.write_str(text),
            _ => self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}")),
        }
    }
}

impl fmt::Debug for Owner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Owner({self})")
    }
}

/// Checks a ttl in milliseconds.
///
/// # Errors
/// [`InvalidInput::BadTtl`] when it is zero or over the limit.
pub fn check_ttl(ttl_ms: u64) -> Result<u64, InvalidInput> {
    if (limits::TTL_MS_MIN..=limits::TTL_MS_MAX).contains(&ttl_ms) {
        Ok(ttl_ms)
    } else {
        Err(InvalidInput::BadTtl(ttl_ms))
    }
}
