//! What can be asked of the lock table: commands go through the log, queries do not.

use crate::types::{Owner, Resource};

/// A change, decided when its entry is applied and never before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// Takes the lock if it is free; prolongs it if `owner` has it.
    TryLock {
        /// What to lock.
        resource: Resource,
        /// For whom.
        owner: Owner,
        /// The lease, in milliseconds of log time.
        ttl_ms: u64,
    },
    /// Prolongs the lease of a lock that `owner` has.
    Extend {
        /// What is locked.
        resource: Resource,
        /// By whom.
        owner: Owner,
        /// The lease from now, in milliseconds of log time.
        ttl_ms: u64,
    },
    /// Frees a lock that `owner` has.
    Unlock {
        /// What is locked.
        resource: Resource,
        /// By whom.
        owner: Owner,
    },
}

/// A question, answered from the applied state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Query {
    /// Who holds this lock?
    Get {
        /// Which lock.
        resource: Resource,
    },
}

/// Either of the two.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Request {
    /// A change.
    Command(Command),
    /// A linearizable question.
    Query(Query),
}

impl Request {
    /// The lock that the request is about.
    #[must_use]
    pub const fn resource(&self) -> &Resource {
        match self {
            Self::Command(command) => command.resource(),
            Self::Query(Query::Get { resource }) => resource,
        }
    }
}

impl Command {
    /// The lock that the command is about.
    #[must_use]
    pub const fn resource(&self) -> &Resource {
        match self {
            Self::TryLock { resource, .. } | Self::Extend { resource, .. } | Self::Unlock { resource, .. } => resource,
        }
    }
}
