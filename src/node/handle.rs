//! The one entrance for requests, used by the API and by simulation alike.

use std::sync::{Arc, PoisonError};

use bytes::Bytes;
use tokio::sync::oneshot;

use crate::config::NodeConfig;
use crate::error::{LeaderHint, RequestError};
use crate::lock::{Outcome, Request};
use crate::network::Inbound;
use crate::node::failure::FailureCell;
use crate::node::router::Router;
use crate::partition::actor::StatusCell;
use crate::partition::{self, Refusal};
use crate::status::NodeStatus;
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
    statuses: Vec<StatusCell>,
    failure: FailureCell,
}

impl NodeHandle {
    pub(super) fn new(
        config: NodeConfig,
        router: Arc<Router>,
        inbound: Arc<Inbound>,
        statuses: Vec<StatusCell>,
        failure: FailureCell,
    ) -> Self {
        Self(Arc::new(Inner {
            config,
            router,
            inbound,
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
            statuses,
            ..
        } = &*self.0;
        let address = |node: &NodeId| {
            let own = (*node == config.node_id).then(|| config.client_address.clone());
            (*node, own.or_else(|| inbound.address(*node)).unwrap_or_default())
        };
        NodeStatus {
            cluster: config.cluster.clone(),
            node_id: config.node_id,
            client_address: config.client_address.clone(),
            nodes: config.voters.keys().map(address).collect(),
            partitions: statuses
                .iter()
                .map(|cell| cell.lock().unwrap_or_else(PoisonError::into_inner).clone())
                .collect(),
            clocks_ahead: inbound.clocks_ahead(),
        }
    }
}

impl Inner {
    fn translate(&self, partition: PartitionId, result: Result<Bytes, Refusal>) -> Result<Outcome, RequestError> {
        match result {
            Ok(outcome) => Ok(lock::decode_outcome(&outcome).expect("an outcome comes from this very node")),
            Err(Refusal::NotLeader(leader)) => {
                let hint = |node| LeaderHint {
                    node,
                    address: self.inbound.address(node).unwrap_or_default(),
                };
                let (partitions, leader) = (self.router.partitions(), leader.map(hint));
                Err(RequestError::NotLeader {
                    partition,
                    partitions,
                    leader,
                })
            }
            Err(Refusal::Overloaded { what, limit }) => Err(RequestError::Overloaded { what, limit }),
            Err(Refusal::Stopping) => Err(RequestError::Stopping),
            Err(Refusal::Unknown(reason)) => Err(RequestError::Unknown(reason)),
        }
    }
}
