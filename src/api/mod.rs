//! The public service: gRPC at the node's door.
//!
//! It turns bytes into checked requests, hands them to the node, and turns answers into bytes. It decides nothing, keeps no state beside
//! its open streams, and starts no task for a request. No REST, no TLS, no authentication yet.

mod cluster;
mod failure;
mod lock;
mod pipeline;
#[cfg(test)]
mod tests;

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use crate::admin::{AdminReply, AdminRequest};
use crate::clock::BoxFuture;
use crate::env::NetworkError;
use crate::error::AdminError;
use crate::limits;
use crate::lock::Request as LockRequest;
use crate::network::grpc;
use crate::service::{LockHandle, Reply};
use crate::status::NodeStatus;
use crate::wire::pb;
use cluster::ClusterApi;
use lock::LockApi;
use pb::cluster_service_server::{ClusterServiceServer, SERVICE_NAME as CLUSTER_SERVICE};
use pb::lock_service_server::LockServiceServer;
use tokio::sync::watch;
use tonic::body::Body;
use tonic::codegen::Service;
use tonic::transport::Server;

/// A client on whose connection nothing comes back for this long, twice, is gone.
const KEEP_ALIVE: Duration = Duration::from_secs(10);

/// What answers requests: a node, or its double in a test.
pub trait Backend: Send + Sync + 'static {
    /// Hands a request on. Never blocks. `reply` is called exactly once, on any thread, perhaps before this returns.
    fn submit(&self, request: LockRequest, reply: Reply);
    /// What the node says of itself now.
    fn status(&self) -> NodeStatus;
    /// Does something that only the leader of a partition can do.
    fn administer(&self, request: AdminRequest) -> BoxFuture<'static, Result<AdminReply, AdminError>>;
}

impl Backend for LockHandle {
    fn submit(&self, request: LockRequest, reply: Reply) {
        Self::submit(self, request, reply);
    }

    fn status(&self) -> NodeStatus {
        self.node().status()
    }

    fn administer(&self, request: AdminRequest) -> BoxFuture<'static, Result<AdminReply, AdminError>> {
        let node = self.node().clone();
        Box::pin(async move { node.administer(request).await })
    }
}

/// Binds `address`, and returns where it is bound and what serves it until `stop` completes. Then requests are read no more, those in
/// flight are answered, and connections are closed, all within a grace of two seconds.
///
/// # Errors
/// [`NetworkError::Listen`] when the address cannot be bound.
pub async fn serve(
    address: &str,
    backend: Arc<dyn Backend>,
    stop: BoxFuture<'static, ()>,
) -> Result<(SocketAddr, BoxFuture<'static, ()>), NetworkError> {
    let listener = grpc::bind(address).await?;
    let bound = listener.local_addr().map_err(|error| NetworkError::Listen {
        address: address.to_owned(),
        reason: error.to_string(),
    })?;
    let server = Server::builder()
        .max_concurrent_streams(limits::CONNECTION_STREAMS_MAX)
        .http2_keepalive_interval(Some(KEEP_ALIVE))
        .http2_keepalive_timeout(Some(KEEP_ALIVE));
    let door = |stopped| Door::new(backend, stopped);
    Ok((bound, Box::pin(grpc::serve(server, listener, door, stop))))
}

/// Shows a call to its service by the path. The lock service refuses what nobody knows.
#[derive(Clone)]
struct Door {
    lock: LockServiceServer<LockApi>,
    cluster: ClusterServiceServer<ClusterApi>,
}

impl Door {
    fn new(backend: Arc<dyn Backend>, stopped: watch::Receiver<()>) -> Self {
        let cluster = ClusterApi(Arc::clone(&backend));
        let lock = LockApi { backend, stopped };
        Self {
            lock: LockServiceServer::new(lock).max_decoding_message_size(limits::REQUEST_BYTES_MAX),
            cluster: ClusterServiceServer::new(cluster).max_decoding_message_size(limits::REQUEST_BYTES_MAX),
        }
    }
}

impl Service<http::Request<Body>> for Door {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        let service = request.uri().path().split('/').nth(1);
        if service == Some(CLUSTER_SERVICE) {
            self.cluster.call(request)
        } else {
            self.lock.call(request)
        }
    }
}
