//! The gRPC caller against a server double on a loopback port.
//!
//! The double hands every stream to the test, which answers as it likes. It lives on a runtime of its own, so that it can vanish with all
//! its sockets at once. Nothing here sleeps to synchronise: the test waits for what it wants to see.

use std::convert::Infallible;
use std::io::ErrorKind;
use std::net::SocketAddr;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::runtime::{Builder, Runtime};
use tokio::sync::{mpsc, oneshot};
use tokio_stream::wrappers::{ReceiverStream, TcpListenerStream};
use tonic::body::Body;
use tonic::transport::Server;
use tonic::{Request as Call, Response, Status, Streaming};

use super::convert::pb;
use super::*;
use crate::clock::SystemClock;
use crate::env::TokioSpawn;
use crate::error::RequestError;
use crate::lock::Query;
use crate::types::{NodeId, Resource};
use pb::cluster_service_server::{ClusterService, ClusterServiceServer};
use pb::lock_service_server::{LockService, LockServiceServer};
use pb::pipeline_reply::Result as PbResult;
use pb::pipeline_request::Operation;

const LONG: Duration = Duration::from_secs(60);

type Replies = mpsc::Sender<Result<pb::PipelineReply, Status>>;

/// One stream of a client, in the hands of the test.
struct Stream {
    requests: Streaming<pb::PipelineRequest>,
    replies: Replies,
}

/// A node that leaves all decisions to the test. Dropped, it vanishes.
struct Double {
    address: SocketAddr,
    streams: mpsc::Receiver<Stream>,
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
    async fn start() -> Self {
        Self::start_at("127.0.0.1:0".parse().unwrap()).await
    }

    /// Listens at `address`, as soon as its last user has let go of it.
    async fn start_at(address: SocketAddr) -> Self {
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

    async fn stream(&mut self) -> Stream {
        self.streams.recv().await.unwrap()
    }
}

impl Stream {
    /// The id and the name in the next request.
    async fn request(&mut self) -> (u64, String) {
        let request = self.requests.message().await.unwrap().unwrap();
        let Some(Operation::Get(get)) = request.operation else {
            panic!("not a question")
        };
        (request.id, get.resource)
    }

    /// Answers with the name's number as token.
    async fn answer(&self, id: u64, name: &str) {
        let reply = pb::LockReply {
            outcome: pb::Outcome::Got.into(),
            fencing_token: name.parse().unwrap(),
            owner: b"me".to_vec().into(),
            ..Default::default()
        };
        self.result(id, Some(PbResult::Reply(reply))).await;
    }

    async fn result(&self, id: u64, result: Option<PbResult>) {
        self.replies.send(Ok(pb::PipelineReply { id, result })).await.unwrap();
    }
}

fn caller() -> Arc<GrpcCaller> {
    Arc::new(GrpcCaller::new(Arc::new(SystemClock), Arc::new(TokioSpawn)))
}

fn get(name: &str) -> Request {
    Request::Query(Query::Get {
        resource: Resource::new(name).unwrap(),
    })
}

/// Starts a call beside the test.
fn call(caller: &GrpcCaller, at: SocketAddr, name: &str, timeout: Duration) -> oneshot::Receiver<Answer> {
    let call = caller.call(&at.to_string(), get(name), timeout);
    let (sender, receiver) = oneshot::channel();
    TokioSpawn.spawn("call", Box::pin(async move { _ = sender.send(call.await) }));
    receiver
}

type Answer = Result<Outcome, CallError>;

fn token(answer: Answer) -> u64 {
    match answer {
        Ok(Outcome::Got { fencing_token, .. }) => fencing_token.0,
        other => panic!("{other:?}"),
    }
}

/// How many calls wait on the live stream to `at`.
fn waiting(caller: &GrpcCaller, at: SocketAddr) -> usize {
    caller.connection(&at.to_string()).waiting()
}

#[tokio::test]
async fn answers_find_their_calls_in_any_order() {
    let (mut double, caller) = (Double::start().await, caller());
    let calls = ["1", "2", "3"].map(|name| call(&caller, double.address, name, LONG));
    let mut stream = double.stream().await;
    let mut requests = Vec::new();
    for _ in 0..3 {
        requests.push(stream.request().await);
    }
    for (id, name) in requests.iter().rev() {
        stream.answer(*id, name).await;
    }
    for (call, expected) in calls.into_iter().zip(1..) {
        assert_eq!(token(call.await.unwrap()), expected);
    }
    assert_eq!(waiting(&caller, double.address), 0);
}

#[tokio::test]
async fn ten_thousand_calls_share_one_stream() {
    let (mut double, caller) = (Double::start().await, caller());
    let calls: Vec<_> = (0..10_000)
        .map(|n| call(&caller, double.address, &n.to_string(), LONG))
        .collect();
    let mut stream = double.stream().await;
    let echo = async move {
        for _ in 0..10_000 {
            let (id, name) = stream.request().await;
            stream.answer(id, &name).await;
        }
        stream
    };
    let (sender, echoed) = oneshot::channel();
    TokioSpawn.spawn("echo", Box::pin(async move { _ = sender.send(echo.await) }));
    for (call, expected) in calls.into_iter().zip(0..) {
        assert_eq!(token(call.await.unwrap()), expected);
    }
    assert!(echoed.await.is_ok());
    assert!(double.streams.try_recv().is_err(), "no second stream");
    assert_eq!(waiting(&caller, double.address), 0);
}

#[tokio::test]
async fn a_node_that_vanishes_leaves_its_calls_lost_and_the_next_one_connects_again() {
    let (mut double, caller) = (Double::start().await, caller());
    let (at, lost) = (
        double.address,
        ["1", "2"].map(|name| call(&caller, double.address, name, LONG)),
    );
    let mut stream = double.stream().await;
    for _ in 0..2 {
        stream.request().await;
    }
    drop(double);
    for call in lost {
        assert!(matches!(call.await.unwrap(), Err(CallError::Lost { .. })));
    }
    let mut double = Double::start_at(at).await;
    let again = call(&caller, at, "5", LONG);
    let mut stream = double.stream().await;
    let (id, name) = stream.request().await;
    stream.answer(id, &name).await;
    assert_eq!(token(again.await.unwrap()), 5);
}

#[tokio::test]
async fn a_stream_that_the_node_ends_is_opened_again() {
    let (mut double, caller) = (Double::start().await, caller());
    let lost = call(&caller, double.address, "1", LONG);
    let mut stream = double.stream().await;
    stream.request().await;
    stream
        .replies
        .send(Err(Status::unavailable("going down")))
        .await
        .unwrap();
    let Err(CallError::Lost { reason, .. }) = lost.await.unwrap() else {
        panic!("it may take effect")
    };
    assert!(reason.contains("going down"), "{reason}");
    let again = call(&caller, double.address, "2", LONG);
    let mut stream = double.stream().await;
    let (id, name) = stream.request().await;
    stream.answer(id, &name).await;
    assert_eq!(token(again.await.unwrap()), 2);
}

#[tokio::test]
async fn a_call_without_an_answer_is_lost_when_its_time_is_over_and_forgotten() {
    let (mut double, caller) = (Double::start().await, caller());
    let first = call(&caller, double.address, "0", LONG);
    let mut stream = double.stream().await;
    let (id, name) = stream.request().await;
    stream.answer(id, &name).await;
    first.await.unwrap().unwrap();
    let silent = call(&caller, double.address, "1", Duration::from_millis(50));
    let (id, name) = stream.request().await;
    assert!(matches!(silent.await.unwrap(), Err(CallError::Lost { .. })));
    assert_eq!(waiting(&caller, double.address), 0);
    stream.answer(id, &name).await;
    let next = call(&caller, double.address, "2", LONG);
    let (id, name) = stream.request().await;
    stream.answer(id, &name).await;
    assert_eq!(token(next.await.unwrap()), 2, "the late answer went to nobody");
}

#[tokio::test]
async fn a_dropped_call_is_forgotten() {
    let (mut double, caller) = (Double::start().await, caller());
    let mut dropped = caller.call(&double.address.to_string(), get("1"), LONG);
    let mut stream = tokio::select! {
        biased;
        _ = &mut dropped => panic!("nobody answered"),
        stream = double.stream() => stream,
    };
    tokio::select! {
        biased;
        _ = &mut dropped => panic!("nobody answered"),
        _ = stream.request() => {}
    }
    assert_eq!(waiting(&caller, double.address), 1);
    drop(dropped);
    assert_eq!(waiting(&caller, double.address), 0);
}

#[tokio::test]
async fn a_port_that_nobody_listens_on_is_unreachable_for_all_who_wait() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let at = listener.local_addr().unwrap();
    drop(listener);
    let caller = caller();
    let calls: Vec<_> = (0..100).map(|n| call(&caller, at, &n.to_string(), LONG)).collect();
    for call in calls {
        let Err(CallError::Unreachable { endpoint, reason }) = call.await.unwrap() else {
            panic!("nothing was sent")
        };
        assert_eq!(endpoint, at.to_string());
        assert!(reason.contains("refused"), "{reason}");
    }
}

#[tokio::test]
async fn a_port_that_accepts_and_says_nothing_is_unreachable() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let at = listener.local_addr().unwrap();
    let call = call(&caller(), at, "1", LONG);
    assert!(matches!(call.await.unwrap(), Err(CallError::Unreachable { .. })));
}

#[tokio::test]
async fn a_refusal_comes_with_all_that_routing_needs() {
    let (mut double, caller) = (Double::start().await, caller());
    let refused = call(&caller, double.address, "1", LONG);
    let mut stream = double.stream().await;
    let (id, _) = stream.request().await;
    let leader_address = "10.0.0.7:2070".to_owned();
    let not_leader = pb::NotLeader {
        partition: 2,
        partitions: 8,
        leader_node: 7,
        leader_address,
    };
    let code = pb::failure::Code::NotLeader.into();
    let failure = pb::Failure {
        code,
        not_leader: Some(not_leader),
        ..Default::default()
    };
    stream.result(id, Some(PbResult::Failure(failure))).await;
    let Err(CallError::Request(RequestError::NotLeader { partitions, leader, .. })) = refused.await.unwrap() else {
        panic!("a definite refusal")
    };
    let leader = leader.unwrap();
    assert_eq!(
        (partitions, leader.node, leader.address.as_str()),
        (8, NodeId(7), "10.0.0.7:2070")
    );
}

#[tokio::test]
async fn an_answer_of_no_known_kind_is_no_answer() {
    let (mut double, caller) = (Double::start().await, caller());
    let nothing = call(&caller, double.address, "1", LONG);
    let newer = call(&caller, double.address, "2", LONG);
    let mut stream = double.stream().await;
    let ids = [stream.request().await.0, stream.request().await.0];
    stream.result(ids[0], None).await;
    let reply = pb::LockReply {
        outcome: 99,
        ..Default::default()
    };
    stream.result(ids[1], Some(PbResult::Reply(reply))).await;
    for call in [nothing, newer] {
        assert!(matches!(call.await.unwrap(), Err(CallError::Lost { .. })));
    }
}

#[tokio::test]
async fn an_answer_over_the_limit_ends_the_stream_and_not_the_client() {
    let (mut double, caller) = (Double::start().await, caller());
    let huge = call(&caller, double.address, "1", LONG);
    let mut stream = double.stream().await;
    let (id, _) = stream.request().await;
    let owner = vec![0; crate::limits::REQUEST_BYTES_MAX + 1].into();
    stream
        .result(
            id,
            Some(PbResult::Reply(pb::LockReply {
                owner,
                ..Default::default()
            })),
        )
        .await;
    assert!(matches!(huge.await.unwrap(), Err(CallError::Lost { .. })));
    let again = call(&caller, double.address, "2", LONG);
    let mut stream = double.stream().await;
    let (id, name) = stream.request().await;
    stream.answer(id, &name).await;
    assert_eq!(token(again.await.unwrap()), 2);
}

#[tokio::test]
async fn a_node_tells_its_status() {
    let (double, caller) = (Double::start().await, caller());
    let status = caller.status(&double.address.to_string(), LONG).await.unwrap();
    assert_eq!(status.node_id, NodeId(7));
    assert_eq!(status.partitions[0].term.0, 3);
}

#[tokio::test]
async fn connections_to_ever_new_endpoints_are_bounded() {
    let caller = caller();
    for n in 0..1000 {
        drop(caller.connection(&format!("n{n}:1")));
    }
    assert!(caller.connections.lock().unwrap().len() <= limits::CLIENT_ENDPOINTS_MAX);
}
