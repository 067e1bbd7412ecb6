//! What only the leader of a partition can do for those who run a cluster: other members, another leader.

use tokio::sync::oneshot;

use crate::admin::{AdminReply, AdminRequest};
use crate::error::AdminError;
use crate::node::NodeHandle;
use crate::partition::{self, AdminRefusal, Event};
use crate::raft::Change;
use crate::types::{NodeId, PartitionId};

impl NodeHandle {
    /// Does something that only the leader of a partition can do.
    ///
    /// # Errors
    /// [`AdminError`]; then nothing has happened, but where it says that it cannot know.
    pub async fn administer(&self, request: AdminRequest) -> Result<AdminReply, AdminError> {
        match request {
            AdminRequest::ChangeMember(_, Change::AddLearner { .. }) if self.0.config.peer_listen.is_none() => {
                Err(AdminError::Refused(
                    "this node listens for no peers: start it with --peer-listen (NodeConfig::peer_listen) first"
                        .to_owned(),
                ))
            }
            AdminRequest::ChangeMember(partition, change) => self.change_member(partition, change).await,
            AdminRequest::TransferLeader(partition, to) => self.transfer_leader(partition, to).await,
        }
    }

    async fn change_member(&self, partition: PartitionId, change: Change) -> Result<AdminReply, AdminError> {
        let is_done = self
            .order(partition, |reply| Event::ChangeMember { change, reply })
            .await?;
        Ok(if is_done { AdminReply::Done } else { AdminReply::Begun })
    }

    async fn transfer_leader(&self, partition: PartitionId, to: Option<NodeId>) -> Result<AdminReply, AdminError> {
        let to = self
            .order(partition, |reply| Event::TransferLeader { to, reply })
            .await?;
        Ok(AdminReply::HandingOverTo(to))
    }

    async fn order<T: Send + 'static>(
        &self,
        partition: PartitionId,
        event: impl FnOnce(partition::AdminReply<T>) -> Event,
    ) -> Result<T, AdminError> {
        let mailbox = self.0.router.get(partition);
        let mailbox = mailbox.ok_or(AdminError::NoPartition(partition, self.0.router.partitions()))?;
        let (sender, receiver) = oneshot::channel();
        mailbox.order(Box::new(move |result| drop(sender.send(result))), event);
        match receiver.await {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(AdminRefusal::NotLeader(leader))) => Err(self.0.not_leader(partition, leader).into()),
            Ok(Err(refusal)) if refusal.is_passing() => Err(AdminError::NotNow(refusal.to_string())),
            Ok(Err(refusal)) => Err(AdminError::Refused(refusal.to_string())),
            Err(_) => Err(AdminError::Unknown("the partition ended".to_owned())),
        }
    }
}
