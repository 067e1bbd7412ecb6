//! A coup: the fault that makes logs diverge, and leaders that believe to lead when they do not.
//!
//! Nodes that are drawn up front seldom are leaders at the right moment. So a coup names a partition, and the nemesis finds out who leads it; everything
//! else is drawn as for any other fault.

use serde::{Deserialize, Serialize};

/// The leader of a partition is cut off from its peers, though not from all clients. Another one is elected. The old one returns, and the new one
/// falls at once.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Coup {
    /// Whose leader.
    pub partition: u32,
    /// So many clients of three stay with the old leader and reach nobody else; the others do not reach it.
    pub company: u64,
    /// The old leader's machine sleeps until there is another one. It wakes `linger_ms` before it returns, and believes to lead.
    pub asleep: bool,
    /// The old leader still hears its peers, and only they do not hear it.
    pub mute: bool,
    /// So long after the beginning, the old leader's disk stalls until the return: what it writes then is still under way when it hears of the other.
    pub stall_ms: Option<u64>,
    /// Every disk is slower by so much, from the beginning to the end.
    pub slow_ms: u64,
    /// How long the other one leads before the old one returns.
    pub linger_ms: u64,
    /// What happens to the other one then.
    pub fall: Fall,
    /// How long that lasts.
    pub fall_ms: u64,
}

/// How the second leader falls.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Fall {
    /// It does not.
    Stays,
    /// Nobody reaches it, but for every other client.
    Isolated,
    /// Its machine loses power.
    Crashed,
}
