//! How a node takes its place in a cluster, and gives it up: it asks the leader of each partition, again and again, until it is so.
//!
//! A node that joins asks to be added, waits until it has caught up, and asks to be made a voter. The same care is taken at every start of a node: one
//! that was stopped half-way goes on, and one that has moved to another address, or was given another priority, has its memberships say so.
//! Everything that is asked for is idempotent, so nothing is remembered here.
//!
//! A node that is being removed and starts once more is refused by the partitions that are through with it. The others still count on it, so it goes
//! on until all have removed it.

use std::time::Duration;

use crate::admin::{AdminReply, AdminRequest};
use crate::client::Client;
use crate::clock::BoxFuture;
use crate::error::AdminError;
use crate::node::NodeHandle;
use crate::raft::Change;
use crate::types::PartitionId;

/// A way to the leaders of a cluster.
pub trait Leaders: Send + Sync {
    /// Between two attempts at a partition.
    fn pause(&self) -> Duration {
        Duration::from_millis(500)
    }

    /// Has the leader of a partition make a change of members, and completes when it is made and committed, or cannot be made now.
    fn change_member(&self, partition: PartitionId, change: Change) -> BoxFuture<'_, Result<(), AdminError>>;
}

/// Over the network, and for as long as the client's timeout.
impl Leaders for Client {
    fn change_member(&self, partition: PartitionId, change: Change) -> BoxFuture<'_, Result<(), AdminError>> {
        Box::pin(Self::change_member(self, partition, change))
    }
}

/// Nodes of this process, each asked once.
impl Leaders for Vec<NodeHandle> {
    fn pause(&self) -> Duration {
        Duration::from_millis(50)
    }

    fn change_member(&self, partition: PartitionId, change: Change) -> BoxFuture<'_, Result<(), AdminError>> {
        Box::pin(async move {
            let mut last = AdminError::Unreachable("there is no node to ask".to_owned());
            for node in self {
                let request = AdminRequest::ChangeMember(partition, change.clone());
                last = match node.administer(request).await {
                    Ok(AdminReply::Done) => return Ok(()),
                    Ok(_) => return Err(AdminError::NotNow("it has begun and is not done".to_owned())),
                    Err(error @ (AdminError::NotLeader(_) | AdminError::Unreachable(_) | AdminError::Unknown(_))) => {
                        error
                    }
                    Err(error) => return Err(error),
                };
            }
            Err(last)
        })
    }
}

/// Told of progress, in words.
pub type Note<'a> = &'a (dyn Fn(String) + Send + Sync);

impl NodeHandle {
    /// Has this node made a voter of every partition that does not refuse it for good, at its present address and with its present priority, and
    /// returns when that is so; at once when it is so already. Asks through `cluster` for as long as it takes.
    ///
    /// # Errors
    /// [`AdminError`] when a partition refuses this node for good and it is a member of no other one, or the node has stopped.
    pub async fn join(&self, cluster: &dyn Leaders, note: Note<'_>) -> Result<(), AdminError> {
        let unsettled = self.unsettled();
        let all = unsettled.len();
        for (done, partition) in unsettled.into_iter().enumerate() {
            match self.join_in(cluster, partition, note).await {
                Ok(()) => note(format!("a voter of partition {partition} ({} of {all})", done + 1)),
                Err(error) if self.is_member() && !error.is_retryable() => {
                    note(format!(
                        "no voter of partition {partition}, and a member of others: {error}"
                    ));
                }
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    async fn join_in(&self, cluster: &dyn Leaders, partition: PartitionId, note: Note<'_>) -> Result<(), AdminError> {
        for change in self.steps() {
            self.insist(cluster, partition, &change, note).await?;
        }
        Ok(())
    }

    /// Has this node removed from every partition, for good: its id is never used again. Returns when that is so; soon after, the node ends by itself
    /// with [`super::NodeFailure::Removed`]. Asks through `cluster`, which must know other nodes than this one, for as long as it takes.
    ///
    /// # Errors
    /// [`AdminError`] when the cluster refuses, as it does for its last voter.
    pub async fn leave(&self, cluster: &dyn Leaders, note: Note<'_>) -> Result<(), AdminError> {
        let (node, ..) = self.own_place();
        let all = self.partitions();
        for partition in (0..all).map(PartitionId) {
            self.insist(cluster, partition, &Change::Remove { node }, note).await?;
            note(format!(
                "no member of partition {partition} any more ({} of {all})",
                partition.0 + 1
            ));
        }
        Ok(())
    }

    /// Asks for one change until it is made.
    async fn insist(
        &self,
        cluster: &dyn Leaders,
        partition: PartitionId,
        change: &Change,
        note: Note<'_>,
    ) -> Result<(), AdminError> {
        let mut said = String::new();
        while let Err(error) = cluster.change_member(partition, change.clone()).await {
            if !error.is_retryable() {
                return Err(error);
            }
            if self.has_stopped_before(change) {
                return Err(AdminError::Unreachable("this node has stopped".to_owned()));
            }
            let words = format!("partition {partition} is not there yet: {error}");
            if words != said {
                note(words.clone());
                said = words;
            }
            self.0.clock.sleep(cluster.pause()).await;
        }
        Ok(())
    }

    /// A node that leaves stops when the last partition has let it go, perhaps before that is known here. Any other stop ends the attempts.
    fn has_stopped_before(&self, change: &Change) -> bool {
        self.0.failure.is_closed() && !matches!(change, Change::Remove { .. })
    }

    fn steps(&self) -> [Change; 2] {
        let (node, address, priority) = self.own_place();
        let learner = Change::AddLearner {
            node,
            address,
            priority,
        };
        [learner, Change::Promote { node }]
    }
}
