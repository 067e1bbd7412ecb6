//! The calls of those who run a cluster: unary, on the connection that the requests use.

use tonic::{Code, Status};

use super::connection::Connection;
use crate::admin::{AdminReply, AdminRequest};
use crate::clock::BoxFuture;
use crate::error::{AdminError, LeaderHint, NotLeader};
use crate::types::{NodeId, PartitionId};
use crate::wire::admin::encode_change;
use crate::wire::pb;
use pb::cluster_service_client::ClusterServiceClient;

impl Connection {
    /// Makes one attempt that ends when `timer` completes.
    ///
    /// # Errors
    /// [`AdminError`].
    pub async fn administer(
        &self,
        request: AdminRequest,
        timer: BoxFuture<'static, ()>,
    ) -> Result<AdminReply, AdminError> {
        let ask = async {
            let pipeline = self.pipeline().await.map_err(AdminError::Unreachable)?;
            let client = ClusterServiceClient::new(pipeline.channel().clone());
            let partition = request.partition();
            let answer = send(client, request).await;
            answer.map_err(|status| error_of(partition, &status))
        };
        tokio::select! {
            biased;
            answer = ask => answer,
            () = timer => Err(AdminError::Unknown("no answer in time".to_owned())),
        }
    }
}

async fn send(
    mut client: ClusterServiceClient<tonic::transport::Channel>,
    request: AdminRequest,
) -> Result<AdminReply, Status> {
    match request {
        AdminRequest::ChangeMember(partition, change) => {
            let reply = client.change_member(encode_change(partition, &change)).await?;
            let done = reply.into_inner().done;
            Ok(if done { AdminReply::Done } else { AdminReply::Begun })
        }
        AdminRequest::TransferLeader(partition, to) => {
            let request = pb::TransferLeaderRequest {
                partition: partition.0,
                node_id: to.map_or(0, |node| node.0),
            };
            let reply = client.transfer_leader(request).await?;
            Ok(AdminReply::HandingOverTo(NodeId(reply.into_inner().node_id)))
        }
    }
}

/// What the node meant. A status without a kind comes from the transport, which never knows whether a request took effect.
fn error_of(partition: PartitionId, status: &Status) -> AdminError {
    let text = |key: &str| status.metadata().get(key).and_then(|value| value.to_str().ok());
    let message = status.message().to_owned();
    match (text("kapu-failure"), status.code()) {
        (Some("not-leader"), _) => {
            let node = text("kapu-leader-node").and_then(|node| node.parse().ok());
            AdminError::NotLeader(NotLeader {
                partition,
                partitions: text("kapu-partitions")
                    .and_then(|count| count.parse().ok())
                    .unwrap_or_default(),
                leader: node.map(|node| LeaderHint {
                    node: NodeId(node),
                    address: text("kapu-leader-address").unwrap_or_default().to_owned(),
                }),
            })
        }
        (Some("refused"), _) | (None, Code::InvalidArgument) => AdminError::Refused(message),
        (Some("not-now"), _) => AdminError::NotNow(message),
        (Some("stopping"), _) => AdminError::Unreachable(message),
        _ => AdminError::Unknown(message),
    }
}
