//! What a node is made of, before it starts: the world, the settings, the state machines, and what only some want beside them.

use std::sync::Arc;

use crate::config::NodeConfig;
use crate::env::Env;
use crate::events::{Events, Feed};
use crate::machine::{NewMachine, StateMachine};
use crate::node::{Node, StartError};
use crate::partition::Observer;
use crate::storage::{FailureHandler, Identity, Opened, StorageError};
use crate::types::PartitionId;

/// Opens the storage of a node: told who the node is, and where to report the first failure.
pub type OpenStorage = Box<dyn FnOnce(&Identity, FailureHandler) -> Result<Opened, StorageError> + Send>;

/// A node that has not started.
pub struct NodeBuilder {
    pub(super) env: Env,
    pub(super) config: NodeConfig,
    pub(super) machines: NewMachine,
    pub(super) observer: Option<Arc<dyn Observer>>,
    pub(super) storage: Option<OpenStorage>,
    pub(super) feed: Feed,
}

impl Node {
    /// A node in the world `env` that replicates what `machines` makes, for each partition and each snapshot an empty one.
    #[must_use]
    pub fn builder(
        env: Env,
        config: NodeConfig,
        machines: impl Fn(PartitionId) -> Box<dyn StateMachine> + Send + Sync + 'static,
    ) -> NodeBuilder {
        NodeBuilder {
            env,
            config,
            machines: Arc::new(machines),
            observer: None,
            storage: None,
            feed: Feed::default(),
        }
    }

    /// Builds a node with nothing special, and starts it.
    ///
    /// # Errors
    /// As [`NodeBuilder::start`].
    pub async fn start(
        env: Env,
        config: NodeConfig,
        machines: impl Fn(PartitionId) -> Box<dyn StateMachine> + Send + Sync + 'static,
    ) -> Result<Self, StartError> {
        Self::builder(env, config, machines).start().await
    }
}

impl NodeBuilder {
    /// With somebody who looks into every partition.
    #[must_use]
    pub fn observer(mut self, observer: Arc<dyn Observer>) -> Self {
        self.observer = Some(observer);
        self
    }

    /// With storage of its own, in the place of redb on the disk of the environment. [`Opened`] says what it is to bring; whether logs and rows keep
    /// their promises, [`crate::storage::conformance`] tells.
    #[must_use]
    pub fn storage(
        mut self,
        open: impl FnOnce(&Identity, FailureHandler) -> Result<Opened, StorageError> + Send + 'static,
    ) -> Self {
        self.storage = Some(Box::new(open));
        self
    }

    /// The events of the node, from before it starts.
    #[must_use]
    pub fn events(&self) -> Events {
        self.feed.listen()
    }
}
