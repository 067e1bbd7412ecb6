//! Requests through a node in memory, and every way in which one has no outcome there.

use std::collections::BTreeMap;

use super::*;
use crate::error::{NotLeader, RequestError};
use crate::lock::{Command, Outcome, Query, Request};
use crate::network::MemoryNetwork;
use crate::types::{FencingToken, NodeId, Owner, PartitionId, Resource};

/// The first of so many nodes, which is the only one that starts.
async fn start_one_of(nodes: u64) -> (Node, LockHandle) {
    let voters: BTreeMap<_, _> = (1..=nodes).map(|id| (NodeId(id), format!("node-{id}:1"))).collect();
    let world = Env::memory(&MemoryNetwork::default()).unwrap();
    let node = start(world, NodeConfig::voter(NodeId(1), &voters)).await.unwrap();
    let locks = LockHandle::new(node.handle());
    (node, locks)
}

fn try_lock(owner: &str) -> Request {
    Request::Command(Command::TryLock {
        resource: Resource::new("name").unwrap(),
        owner: Owner::new(owner.as_bytes()).unwrap(),
        ttl_ms: 60_000,
    })
}

fn get() -> Request {
    let resource = Resource::new("name").unwrap();
    Request::Query(Query::Get { resource })
}

#[tokio::test]
async fn a_lock_is_granted_once() {
    let (node, locks) = start_one_of(1).await;
    locks.node().wait_for_leader(PartitionId(0)).await.unwrap();
    let first = locks.request(try_lock("a")).await.unwrap();
    let second = locks.request(try_lock("b")).await.unwrap();
    let got = locks.request(get()).await.unwrap();
    let token = FencingToken(1);
    assert!(matches!(first, Outcome::Locked { fencing_token, .. } if fencing_token == token));
    assert!(matches!(second, Outcome::Busy { .. }));
    assert!(matches!(got, Outcome::Got { fencing_token, .. } if fencing_token == token));
    node.stop().await;
}

#[tokio::test]
async fn a_node_that_does_not_lead_or_has_stopped_says_so() {
    let (node, locks) = start_one_of(2).await;
    let nobody_leads = RequestError::NotLeader(NotLeader {
        partition: PartitionId(0),
        partitions: 1,
        leader: None,
    });
    assert_eq!(locks.request(try_lock("a")).await, Err(nobody_leads.clone()));
    assert_eq!(locks.request(get()).await, Err(nobody_leads));
    node.close().await;
    assert_eq!(locks.request(try_lock("a")).await, Err(RequestError::Stopping));
    assert_eq!(locks.request(get()).await, Err(RequestError::Stopping));
}
