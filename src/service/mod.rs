//! The lock service: a node whose state machine is the lock table, and a door that speaks of locks.
//!
//! It stands on what [`crate::node`] offers to everybody and has no other way in: commands become bytes, outcomes become words again, and a
//! resource is a key. It decides nothing.

mod handle;
mod machine;
#[cfg(test)]
mod tests;

pub use handle::{LockHandle, Reply};

use crate::config::NodeConfig;
use crate::env::Env;
use crate::node::{Node, NodeBuilder, StartError};
use machine::LockMachine;

/// A node that replicates locks and has not started.
#[must_use]
pub fn builder(env: Env, config: NodeConfig) -> NodeBuilder {
    Node::builder(env, config, |_| Box::new(LockMachine::default()))
}

/// Starts a node that replicates locks.
///
/// # Errors
/// As [`NodeBuilder::start`].
pub async fn start(env: Env, config: NodeConfig) -> Result<Node, StartError> {
    builder(env, config).start().await
}
