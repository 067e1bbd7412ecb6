//! What the lock table answers, in Kahuna's words.

use crate::types::{FencingToken, Owner};

/// The answer to a command or a query. Every one is definite.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The caller holds the lock.
    Locked {
        /// The number to fence with.
        fencing_token: FencingToken,
        /// What is left of the lease, in milliseconds of log time.
        expires_in_ms: u64,
    },
    /// Somebody else holds the lock.
    Busy {
        /// What is left of that holder's lease; zero when it is just ending.
        expires_in_ms: u64,
    },
    /// The lease was prolonged.
    Extended {
        /// The token, unchanged.
        fencing_token: FencingToken,
        /// What is left of the lease.
        expires_in_ms: u64,
    },
    /// The lock was freed.
    Unlocked,
    /// The lock is held.
    Got {
        /// By whom.
        owner: Owner,
        /// The holder's token.
        fencing_token: FencingToken,
        /// What is left of the lease; zero when it is just ending.
        expires_in_ms: u64,
    },
    /// Nobody holds the lock.
    LockDoesNotExist,
    /// Somebody else holds the lock that the caller wanted to extend or unlock.
    InvalidOwner,
}
