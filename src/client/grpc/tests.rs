//! The gRPC caller against a server double on a loopback port.
//!
//! Nothing here sleeps to synchronise: the test waits for what it wants to see.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tonic::Status;

use super::double::Double;
use super::*;
use crate::clock::SystemClock;
use crate::env::TokioSpawn;
use crate::error::RequestError;
use crate::lock::Query;
use crate::types::{NodeId, Resource};
use crate::wire::pb;
use pb::pipeline_reply::Result as PbResult;

const LONG: Duration = Duration::from_secs(60);

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
    let calls: Vec<_> = (1..=10_000)
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
    for (call, expected) in calls.into_iter().zip(1..) {
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
    let first = call(&caller, double.address, "9", LONG);
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
    let Err(CallError::Request(RequestError::NotLeader(error))) = refused.await.unwrap() else {
        panic!("a definite refusal")
    };
    let leader = error.leader.unwrap();
    assert_eq!(
        (error.partitions, leader.node, leader.address.as_str()),
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
    let owner = vec![0; crate::limits::REPLY_BYTES_MAX + 1].into();
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
