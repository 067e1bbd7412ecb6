//! What clients saw: every operation with its call, its return and its outcome, in true simulated time.
//!
//! One JSON object a line when written to a file; `sim/README.md` documents the format for outside checkers.

use serde::{Deserialize, Serialize};

/// What was asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Op {
    /// Take a lock.
    TryLock,
    /// Prolong it.
    Extend,
    /// Free it.
    Unlock,
    /// Who holds it?
    Get,
}

/// What came back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Seen {
    /// The caller holds it: `token`, `lease_ms`.
    Locked,
    /// Somebody else holds it.
    Busy,
    /// Prolonged: `token`, `lease_ms`.
    Extended,
    /// Freed.
    Unlocked,
    /// Held by `holder`: `token`, `lease_ms`.
    Got,
    /// Nobody holds it.
    LockDoesNotExist,
    /// Somebody else holds what was to be extended or unlocked.
    InvalidOwner,
    /// Definite: nothing happened and nothing will.
    Refused,
    /// May or may not have taken effect, at any time after the call. Also of a client that vanished.
    Unknown,
}

/// One attempt of one client at one endpoint. A retry is another operation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Operation {
    /// Which client, counted from zero.
    pub client: u64,
    /// What was asked.
    pub op: Op,
    /// Of which lock.
    pub resource: String,
    /// For which owner; empty for `Get`.
    pub owner: String,
    /// The lease asked for; zero where none was.
    pub ttl_ms: u64,
    /// When it left the client, in true nanoseconds since the start.
    pub call_ns: u64,
    /// When the client knew; none when it never did.
    pub return_ns: Option<u64>,
    /// What it knew then.
    pub outcome: Seen,
    /// The fencing token, where the outcome has one.
    pub token: Option<u64>,
    /// What was left of the lease, where the outcome says.
    pub lease_ms: Option<u64>,
    /// Who holds it, with `Got`.
    pub holder: Option<String>,
}

/// One write to the resource that a lock protects: it accepts no token lower than one that it has seen.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FencedWrite {
    /// Who wrote.
    pub client: u64,
    /// To what.
    pub resource: String,
    /// As which owner.
    pub owner: String,
    /// With which token.
    pub token: u64,
    /// When it arrived, in true nanoseconds.
    pub at_ns: u64,
    /// Whether the writer's guard said, at that true moment, that it holds the lock.
    pub believed_held: bool,
    /// Whether the resource took it.
    pub accepted: bool,
}
