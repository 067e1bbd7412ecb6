//! A node that leaves all decisions to the test.
//!
//! It hands every stream to the test, which answers as it likes. It lives on a runtime of its own, so that it can vanish with all its
//! sockets at once, in the middle of a call.

use std::convert::Infallible;
use std::io::ErrorKind;
use std::net::SocketAddr;
use std::task::{Context, Poll};

use tokio::net::TcpListener;
use tokio::runtime::{Builder, Runtime};
use tokio::sync::mpsc;
use tokio_stream::wrappers::{ReceiverStream, TcpListenerStream};
use tonic::body::Body;
use tonic::transport::Server;
use tonic::{Request as Call, Response, Status, Streaming};

use crate::clock::BoxFuture;
use crate::wire::pb;
use pb::cluster_service_server::{ClusterService, ClusterServiceServer};
use pb::lock_service_server::{LockService, LockServiceServer};
use pb::pipeline_reply::Result as PbResult;
use pb::pipeline_request::Operation;

pub type Replies = mpsc::Sender<Result<pb::PipelineReply, Status>>;

/// One stream of a client, in the hands of the test.
pub struct Stream {
    pub requests: Streaming<pb::PipelineRequest>,
    pub replies: Replies,
}

/// A node that leaves all decisions to the test. Dropped, it vanishes.
pub struct Double {
    pub address: SocketAddr,
    pub streams: mpsc::Receiver<Stream>,
    runtime: Option<Runtime>,
}

impl Drop for Double {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

struct Service(mpsc::Sender<Stream>);

#[tonic::async_trait]
impl LockService for Service {
    type PipelineStream = ReceiverStream<Result<pb::PipelineReply, Status>>;

    async fn pipeline(
        &self,
        call: Call<Streaming<pb::PipelineRequest>>,
    ) -> Result<Response<Self::PipelineStream>, Status> {
        let (replies, stream) = mpsc::channel(16);
        let requests = call.into_inner();
        self.0
            .send(Stream { requests, replies })
            .await
            .map_err(|_| Status::unavailable("the test is over"))?;
        Ok(Response::new(ReceiverStream::new(stream)))
    }

    async fn try_lock(&self, _: Call<pb::TryLockRequest>) -> Result<Response<pb::LockReply>, Status> {
        Err(Status::unimplemented("not used by the client"))
    }

    async fn extend(&self, _: Call<pb::ExtendRequest>) -> Result<Response<pb::LockReply>, Status> {
        Err(Status::unimplemented("not used by the client"))
    }

    async fn unlock(&self, _: Call<pb::UnlockRequest>) -> Result<Response<pb::LockReply>, Status> {
        Err(Status::unimplemented("not used by the client"))
    }

    async fn get(&self, _: Call<pb::GetRequest>) -> Result<Response<pb::LockReply>, Status> {
        Err(Status::unimplemented("not used by the client"))
    }
}

struct Statuses;

#[tonic::async_trait]
impl ClusterService for Statuses {
    async fn status(&self, _: Call<pb::StatusRequest>) -> Result<Response<pb::StatusReply>, Status> {
        let role = "leader".to_owned();
        let partitions = vec![pb::PartitionStatus {
            role,
            term: 3,
            ..Default::default()
        }];
        Ok(Response::new(pb::StatusReply {
            node_id: 7,
            partitions,
            ..Default::default()
        }))
    }

    async fn change_member(&self, _: Call<pb::ChangeMemberRequest>) -> Result<Response<pb::ChangeMemberReply>, Status> {
        Ok(Response::new(pb::ChangeMemberReply { done: true }))
    }

    async fn transfer_leader(
        &self,
        _: Call<pb::TransferLeaderRequest>,
    ) -> Result<Response<pb::TransferLeaderReply>, Status> {
        Err(Status::unimplemented("this double leads nothing"))
    }
}

/// Both services on one port.
#[derive(Clone)]
struct Both(LockServiceServer<Service>, ClusterServiceServer<Statuses>);

impl tonic::codegen::Service<http::Request<Body>> for Both {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<http::Response<Body>, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        if request.uri().path().starts_with("/kapu.v1.ClusterService/") {
            self.1.call(request)
        } else {
            self.0.call(request)
        }
    }
}

impl Double {
    pub async fn start() -> Self {
        Self::start_at("127.0.0.1:0".parse().unwrap()).await
    }

    /// Listens at `address`, as soon as its last user has let go of it.
    pub async fn start_at(address: SocketAddr) -> Self {
        let listener = loop {
            match std::net::TcpListener::bind(address) {
                Ok(listener) => break listener,
                Err(error) if error.kind() == ErrorKind::AddrInUse => tokio::task::yield_now().await,
                Err(error) => panic!("{error}"),
            }
        };
        let address = listener.local_addr().unwrap();
        listener.set_nonblocking(true).unwrap();
        let (sender, streams) = mpsc::channel(16);
        let service = Both(
            LockServiceServer::new(Service(sender)),
            ClusterServiceServer::new(Statuses),
        );
        let runtime = Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap();
        runtime.spawn(async move {
            let incoming = TcpListenerStream::new(TcpListener::from_std(listener).unwrap());
            Server::builder().serve_with_incoming(service, incoming).await.unwrap();
        });
        Self {
            address,
            streams,
            runtime: Some(runtime),
        }
    }

    pub async fn stream(&mut self) -> Stream {
        self.streams.recv().await.unwrap()
    }
}

impl Stream {
    /// The id and the name in the next request.
    pub async fn request(&mut self) -> (u64, String) {
        let request = self.requests.message().await.unwrap().unwrap();
        let Some(Operation::Get(get)) = request.operation else {
            panic!("not a question")
        };
        (request.id, get.resource)
    }

    /// Answers with the name's number as token.
    pub async fn answer(&self, id: u64, name: &str) {
        let reply = pb::LockReply {
            outcome: pb::Outcome::Got.into(),
            fencing_token: name.parse().unwrap(),
            owner: b"me".to_vec().into(),
            ..Default::default()
        };
        self.result(id, Some(PbResult::Reply(reply))).await;
    }

    pub async fn result(&self, id: u64, result: Option<PbResult>) {
        self.replies.send(Ok(pb::PipelineReply { id, result })).await.unwrap();
    }
}
