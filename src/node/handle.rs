//! The one entrance for requests, used by the API and by simulation alike.

use std::sync::{Arc, PoisonError};

use bytes::Bytes;
use tokio::sync::oneshot;

use crate::admin::{AdminReply, AdminRequest};
use crate::config::NodeConfig;
use crate::error::{AdminError, LeaderHint, RequestError};
use crate::lock::{Outcome, Request};
use crate::network::Inbound;
use crate::node::failure::FailureCell;
use crate::node::roster::NodeRoster;
use crate::node::router::Router;
use crate::partition::actor::StatusCell;
use crate::partition::{self, AdminRefusal, Event, Refusal};
use crate::raft::{Change, Member};
use crate::status::{NodeInfo, NodeStatus};
use crate::storage::PeerLife;
use crate::types::{NodeId, PartitionId};
use crate::wire::lock;

/// Takes the answer to one request; called exactly once, on any thread.
pub type Reply = Box<dyn FnOnce(Result<Outcome, RequestError>) + Send>;

/// A cheap, cloneable way to ask a node.
#[derive(Clone)]
pub struct NodeHandle(Arc<Inner>);

struct Inner {
    config: NodeConfig,
    router: Arc<Router>,
    inbound: Arc<Inbound>,
    roster: Arc<NodeRoster>,
    statuses: Vec<StatusCell>,
    failure: FailureCell,
}

impl NodeHandle {
    pub(super) fn new(
        config: NodeConfig,
        router: Arc<Router>,
        inbound: Arc<Inbound>,
        roster: Arc<NodeRoster>,
        statuses: Vec<StatusCell>,
        failure: FailureCell,
    ) -> Self {
        Self(Arc::new(Inner {
            config,
            router,
            inbound,
            roster,
            statuses,
            failure,
        }))
    }

    /// Hands a request to its partition. Never blocks. `reply` is called exactly once.
    pub fn submit(&self, request: Request, reply: Reply) {
        if self.0.failure.is_closed() {
            return reply(Err(RequestError::Stopping));
        }
        let (partition, mailbox) = self.0.router.route(request.resource());
        let inner = Arc::clone(&self.0);
        let reply = partition::Reply::new(move |result| reply(inner.translate(partition, result)));
        match request {
            Request::Command(command) => mailbox.propose(lock::encode_command(&command), reply),
            Request::Query(query) => mailbox.query(lock::encode_query(&query), reply),
        }
    }

    /// Asks and waits.
    ///
    /// # Errors
    /// [`RequestError`] when there is no outcome.
    pub async fn request(&self, request: Request) -> Result<Outcome, RequestError> {
        let (sender, receiver) = oneshot::channel();
        self.submit(request, Box::new(move |result| drop(sender.send(result))));
        receiver.await.unwrap_or(Err(RequestError::Unknown(
            "the node ended before the outcome was known",
        )))
    }

    /// Does something that only the leader of a partition can do.
    ///
    /// # Errors
    /// [`AdminError`]; then nothing has happened, but where it says that it cannot know.
    pub async fn administer(&self, request: AdminRequest) -> Result<AdminReply, AdminError> {
        match request {
            AdminRequest::ChangeMember(_, Change::AddLearner { .. }) if self.0.config.peer_listen.is_none() => {
                Err(AdminError::Refused(
                    "this node was started without --peer-listen and has no peers; start it with one first".to_owned(),
                ))
            }
            AdminRequest::ChangeMember(partition, change) => self.change_member(partition, change).await,
            AdminRequest::TransferLeader(partition, to) => self.transfer_leader(partition, to).await,
        }
    }

    async fn change_member(&self, partition: PartitionId, change: Change) -> Result<AdminReply, AdminError> {
        let is_done = self
            .ask(partition, |reply| Event::ChangeMember { change, reply })
            .await?;
        Ok(if is_done { AdminReply::Done } else { AdminReply::Begun })
    }

    async fn transfer_leader(&self, partition: PartitionId, to: Option<NodeId>) -> Result<AdminReply, AdminError> {
        let to = self.ask(partition, |reply| Event::TransferLeader { to, reply }).await?;
        Ok(AdminReply::HandingOverTo(to))
    }

    async fn ask<T: Send + 'static>(
        &self,
        partition: PartitionId,
        event: impl FnOnce(partition::AdminReply<T>) -> Event,
    ) -> Result<T, AdminError> {
        let mailbox = self.0.router.get(partition);
        let mailbox = mailbox.ok_or(AdminError::NoPartition(partition, self.0.router.partitions()))?;
        let (sender, receiver) = oneshot::channel();
        mailbox.push(event(Box::new(move |result| drop(sender.send(result)))));
        match receiver.await {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(AdminRefusal::NotLeader(leader))) => {
                Err(AdminError::NotLeader(self.0.not_leader(partition, leader)))
            }
            Ok(Err(refusal)) if refusal.is_passing() => Err(AdminError::NotNow(refusal.to_string())),
            Ok(Err(refusal)) => Err(AdminError::Refused(refusal.to_string())),
            Err(_) => Err(AdminError::Unknown("the partition ended".to_owned())),
        }
    }

    /// This node's id, the address that its peers reach it at, and its priority.
    #[must_use]
    pub fn own_place(&self) -> (NodeId, String, u8) {
        let config = &self.0.config;
        (config.node_id, config.peer_address.clone(), config.priority)
    }

    /// The partitions in which this node is no voter yet, or one at another address or of another priority.
    #[must_use]
    pub fn unsettled(&self) -> Vec<PartitionId> {
        let (node, address, priority) = self.own_place();
        self.0.roster.unsettled(node, &address, priority)
    }

    /// Whether this node has ever been a member, as far as its own logs say.
    #[must_use]
    pub fn was_member(&self) -> bool {
        self.0.roster.was_member(self.0.config.node_id)
    }

    /// Whether this node is a member of any partition, as far as it knows.
    #[must_use]
    pub fn is_member(&self) -> bool {
        self.0.roster.members().contains_key(&self.0.config.node_id)
    }

    /// How often the node has started on its data directory.
    #[must_use]
    pub fn starts(&self) -> u64 {
        self.0.inbound.starts()
    }

    /// The life in which this node last met `peer`, as its disk knows it; none until they have met.
    #[must_use]
    pub fn peer_life(&self, peer: NodeId) -> Option<PeerLife> {
        self.0.inbound.life(peer)
    }

    /// What the node says of itself now.
    #[must_use]
    pub fn status(&self) -> NodeStatus {
        let Inner {
            config,
            inbound,
            roster,
            statuses,
            ..
        } = &*self.0;
        let info = |(node, member): (NodeId, Member)| {
            let own = (node == config.node_id).then(|| config.client_address.clone());
            let client_address = own.or_else(|| inbound.address(node)).unwrap_or_default();
            let Member { address, priority, .. } = member;
            NodeInfo {
                node,
                client_address,
                peer_address: address,
                priority,
            }
        };
        NodeStatus {
            cluster: config.cluster.clone(),
            node_id: config.node_id,
            client_address: config.client_address.clone(),
            nodes: roster.members().into_iter().map(info).collect(),
            partitions: statuses
                .iter()
                .map(|cell| cell.lock().unwrap_or_else(PoisonError::into_inner).clone())
                .collect(),
            clocks_ahead: inbound.clocks_ahead(),
        }
    }
}

impl Inner {
    fn not_leader(&self, partition: PartitionId, leader: Option<NodeId>) -> RequestError {
        let hint = |node| LeaderHint {
            node,
            address: self.inbound.address(node).unwrap_or_default(),
        };
        RequestError::NotLeader {
            partition,
            partitions: self.router.partitions(),
            leader: leader.map(hint),
        }
    }

    fn translate(&self, partition: PartitionId, result: Result<Bytes, Refusal>) -> Result<Outcome, RequestError> {
        match result {
            Ok(outcome) => Ok(lock::decode_outcome(&outcome).expect("an outcome comes from this very node")),
            Err(Refusal::NotLeader(leader)) => Err(self.not_leader(partition, leader)),
            Err(Refusal::Overloaded { what, limit }) => Err(RequestError::Overloaded { what, limit }),
            Err(Refusal::Stopping) => Err(RequestError::Stopping),
            Err(Refusal::Unknown(reason)) => Err(RequestError::Unknown(reason)),
        }
    }
}
