//! The way of an operator, or of a node that joins, to whoever leads: real clients of the library over a caller that carries administration.
//!
//! In production these calls are gRPC, once each, rare, and nobody's speed depends on them. So they go to the node's entrance in one step, after
//! a short while, where no cut is in the way and somebody is there; requests and answers may both be lost. Bytes are left to the tests of the wire.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use kapu::admin::{AdminReply, AdminRequest};
use kapu::client::{CallError, Caller, Client, ClientEnv};
use kapu::clock::{BoxFuture, Clock};
use kapu::error::AdminError;
use kapu::lock::{Outcome, Request};
use kapu::status::NodeStatus;
use rand::RngExt;

use super::Cluster;
use crate::world::clock::SimClock;
use crate::world::links::Place;
use crate::world::network::{CLIENT_PORT, node_address};
use crate::world::true_sleep;

/// How long a call is on its way.
const WAY: Duration = Duration::from_millis(1);
/// The machine of operators, which no cut between nodes and other clients concerns.
const OPERATOR: Place = Place::Client(1_000);

/// Carries what is asked from one place.
struct Steward {
    cluster: Cluster,
    place: Place,
    clock: Arc<dyn Clock>,
}

impl Cluster {
    /// The library at an operator's, who has a good clock.
    pub(super) fn operator(&self) -> Client {
        self.administrator(OPERATOR, Arc::new(SimClock::new(Duration::ZERO, 0)))
    }

    /// The library at a node that takes its place.
    pub(super) fn newcomer(&self, node: u64) -> Client {
        let machine = self.machine(node);
        self.administrator(machine.place(), Arc::new(machine.clock.clone()))
    }

    fn administrator(&self, place: Place, clock: Arc<dyn Clock>) -> Client {
        let env = ClientEnv {
            caller: Arc::new(Steward {
                cluster: self.clone(),
                place,
                clock: Arc::clone(&clock),
            }),
            clock,
            spawn: Arc::new(self.0.spawn.clone()),
            seed: kapu::env::rng(self.0.options.seed, "administration").random(),
        };
        Client::new(env, self.endpoints()).expect("the world names its nodes well")
    }

    /// The node that clients reach there.
    fn node_at(&self, endpoint: &str) -> Option<u64> {
        let at: SocketAddr = endpoint.parse().ok()?;
        self.nodes().find(|node| node_address(*node, CLIENT_PORT) == at)
    }

    /// Lets a call pass, or never returns where a datagram would be lost.
    async fn pass(&self, from: Place, to: Place) {
        true_sleep(WAY).await;
        if self.links().is_cut(from, to) {
            std::future::pending::<()>().await;
        }
    }
}

impl Steward {
    /// Asks once.
    async fn ask(cluster: Cluster, place: Place, node: u64, request: AdminRequest) -> Result<AdminReply, AdminError> {
        let own = Place::Node(node);
        cluster.pass(place, own).await;
        let Some(handle) = cluster.handle(node) else {
            return Err(AdminError::Unreachable(format!("node {node} does not listen")));
        };
        let answer = handle.administer(request).await;
        cluster.pass(own, place).await;
        answer
    }
}

impl Caller for Steward {
    fn call(&self, endpoint: &str, _: Request, _: Duration) -> BoxFuture<'static, Result<Outcome, CallError>> {
        let refused = no_business(endpoint);
        Box::pin(async move { Err(refused) })
    }

    fn administer(
        &self,
        endpoint: &str,
        request: AdminRequest,
        timeout: Duration,
    ) -> BoxFuture<'static, Result<AdminReply, AdminError>> {
        let Some(node) = self.cluster.node_at(endpoint) else {
            let why = AdminError::Unreachable(format!("nobody is at {endpoint}"));
            return Box::pin(async move { Err(why) });
        };
        let timer = self.clock.sleep(timeout);
        let asked = Self::ask(self.cluster.clone(), self.place, node, request);
        Box::pin(async move {
            tokio::select! {
                biased;
                answer = asked => answer,
                () = timer => Err(AdminError::Unknown("no answer in time".to_owned())),
            }
        })
    }

    fn status(&self, endpoint: &str, _: Duration) -> BoxFuture<'static, Result<NodeStatus, CallError>> {
        let refused = no_business(endpoint);
        Box::pin(async move { Err(refused) })
    }
}

fn no_business(endpoint: &str) -> CallError {
    CallError::Unreachable {
        endpoint: endpoint.to_owned(),
        reason: "only administration goes this way".to_owned(),
    }
}
