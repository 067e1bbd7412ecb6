//! The service over real sockets of the loopback, in front of a double of the node that answers when the test says so.
//!
//! Here are the double and its clients; the tests are in the files beside.

mod pipeline;
mod serving;
mod unary;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::{mpsc, oneshot};
use tokio_stream::wrappers::UnboundedReceiverStream;
use tonic::transport::Channel;
use tonic::{Code, Streaming};

use super::*;
use crate::env::{Spawn as _, TokioSpawn};
use crate::error::{LeaderHint, NotLeader, RequestError};
use crate::lock::{Command, Outcome};
use crate::raft::Role;
use crate::status::{NodeInfo, PartitionStatus};
use crate::types::{FencingToken, Index, InvalidInput, NodeId, PartitionId, Resource, Term};
use crate::wire::{decode_reply, decode_status, encode_request};
use pb::cluster_service_client::ClusterServiceClient;
use pb::lock_service_client::LockServiceClient;

type Asked = (LockRequest, Reply);

/// Hands every request to the test.
struct Double(mpsc::UnboundedSender<Asked>);

impl Backend for Double {
    fn submit(&self, request: LockRequest, reply: Reply) {
        let _ = self.0.send((request, reply));
    }

    fn status(&self) -> NodeStatus {
        status()
    }

    fn administer(&self, request: AdminRequest) -> BoxFuture<'static, Result<AdminReply, AdminError>> {
        let answer = match request {
            AdminRequest::ChangeMember(PartitionId(0), _) => Ok(AdminReply::Begun),
            AdminRequest::ChangeMember(..) => Err(AdminError::NotNow("another change".to_owned())),
            AdminRequest::TransferLeader(_, Some(to)) => Ok(AdminReply::HandingOverTo(to)),
            AdminRequest::TransferLeader(partition, None) => Err(AdminError::NoPartition(partition, 1)),
        };
        Box::pin(async move { answer })
    }
}

fn status() -> NodeStatus {
    let partition = PartitionStatus {
        partition: PartitionId(0),
        role: Role::Leader,
        term: Term(2),
        leader: Some(NodeId(1)),
        last: Index(5),
        commit: Index(5),
        applied: Index(4),
        durable: Index(5),
        base: Index(0),
        membership: Arc::default(),
        followers: Arc::new([]),
        applied_at: None,
    };
    NodeStatus {
        cluster: "test".to_owned(),
        node_id: NodeId(1),
        client_address: "127.0.0.1:2070".to_owned(),
        nodes: vec![NodeInfo {
            node: NodeId(1),
            client_address: "127.0.0.1:2070".to_owned(),
            peer_address: "127.0.0.1:2071".to_owned(),
            priority: 1,
        }],
        partitions: vec![partition],
        clocks_ahead: Vec::new(),
    }
}

/// A served double.
struct Served {
    address: SocketAddr,
    asked: mpsc::UnboundedReceiver<Asked>,
    stop: oneshot::Sender<()>,
    ended: oneshot::Receiver<()>,
}

async fn start() -> Served {
    let (double, asked) = mpsc::unbounded_channel();
    let (stop, stopped) = oneshot::channel();
    let (end, ended) = oneshot::channel();
    let stopped = async move { stopped.await.unwrap_or_default() };
    let served = serve("127.0.0.1:0", Arc::new(Double(double)), Box::pin(stopped)).await;
    let (address, serving) = served.unwrap();
    let task = async move {
        serving.await;
        let _ = end.send(());
    };
    TokioSpawn.spawn("api", Box::pin(task));
    Served {
        address,
        asked,
        stop,
        ended,
    }
}

impl Served {
    async fn client(&self) -> LockServiceClient<Channel> {
        LockServiceClient::connect(format!("http://{}", self.address))
            .await
            .unwrap()
    }

    async fn next(&mut self) -> Asked {
        self.asked.recv().await.unwrap()
    }

    /// Answers the next request, and returns it.
    async fn answer(&mut self, result: Result<Outcome, RequestError>) -> LockRequest {
        let (request, reply) = self.next().await;
        reply(result);
        request
    }

    /// A client that asks is answered: the service lives.
    async fn expect_good(&mut self) {
        let mut client = self.client().await;
        let (reply, asked) = tokio::join!(client.get(get("good")), self.answer(Ok(Outcome::LockDoesNotExist)));
        let outcome = reply.unwrap().into_inner().outcome();
        assert_eq!(outcome, pb::Outcome::LockDoesNotExist);
        assert_eq!(asked.resource().as_str(), "good");
    }
}

fn get(resource: &str) -> pb::GetRequest {
    pb::GetRequest {
        resource: resource.to_owned(),
    }
}

/// One open pipeline.
struct Line {
    requests: mpsc::UnboundedSender<pb::PipelineRequest>,
    replies: Streaming<pb::PipelineReply>,
}

async fn open(client: &mut LockServiceClient<Channel>) -> Line {
    let (requests, stream) = mpsc::unbounded_channel();
    let replies = client.pipeline(UnboundedReceiverStream::new(stream)).await.unwrap();
    Line {
        requests,
        replies: replies.into_inner(),
    }
}

impl Line {
    fn ask(&self, id: u64, resource: &str) {
        let resource = Resource::new(resource).unwrap();
        let request = LockRequest::Query(crate::lock::Query::Get { resource });
        self.requests.send(encode_request(id, &request)).unwrap();
    }

    async fn reply(&mut self) -> (u64, Result<Outcome, RequestError>) {
        let (id, result) = decode_reply(self.replies.message().await.unwrap().unwrap());
        (id, result.unwrap())
    }
}

fn locked(token: u64) -> Outcome {
    Outcome::Locked {
        fencing_token: FencingToken(token),
        expires_in_ms: 900,
    }
}
