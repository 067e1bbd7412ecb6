//! The calls for those who run a cluster: what it says of itself, who belongs to it, who leads.

use std::sync::Arc;

use tonic::{Request, Response, Status, async_trait};

use super::Backend;
use super::failure::admin_status_of;
use crate::admin::{AdminReply, AdminRequest};
use crate::types::{NodeId, PartitionId};
use crate::wire::admin::decode_change;
use crate::wire::{encode_status, pb};
use pb::cluster_service_server::ClusterService;

pub(super) struct ClusterApi(pub Arc<dyn Backend>);

impl ClusterApi {
    async fn administer(&self, request: AdminRequest) -> Result<AdminReply, Status> {
        let done = self.0.administer(request).await;
        done.map_err(|error| admin_status_of(&error))
    }
}

#[async_trait]
impl ClusterService for ClusterApi {
    async fn status(&self, _: Request<pb::StatusRequest>) -> Result<Response<pb::StatusReply>, Status> {
        Ok(Response::new(encode_status(self.0.status())))
    }

    async fn change_member(
        &self,
        request: Request<pb::ChangeMemberRequest>,
    ) -> Result<Response<pb::ChangeMemberReply>, Status> {
        let (partition, change) =
            decode_change(request.into_inner()).map_err(|error| Status::invalid_argument(error.to_string()))?;
        let reply = self.administer(AdminRequest::ChangeMember(partition, change)).await?;
        let done = reply == AdminReply::Done;
        Ok(Response::new(pb::ChangeMemberReply { done }))
    }

    async fn transfer_leader(
        &self,
        request: Request<pb::TransferLeaderRequest>,
    ) -> Result<Response<pb::TransferLeaderReply>, Status> {
        let pb::TransferLeaderRequest { partition, node_id } = request.into_inner();
        let to = (node_id != 0).then_some(NodeId(node_id));
        let request = AdminRequest::TransferLeader(PartitionId(partition), to);
        match self.administer(request).await? {
            AdminReply::HandingOverTo(NodeId(node_id)) => Ok(Response::new(pb::TransferLeaderReply { node_id })),
            AdminReply::Done | AdminReply::Begun => Err(Status::internal("the node answers another question")),
        }
    }
}
