//! Embedded nodes come and go: through handles of the same process.

use std::sync::Mutex;

use kapu::env::Env;
use kapu::error::AdminError;
use kapu::node::{NodeFailure, NodeHandle};
use kapu::raft::Standing;
use kapu::types::NodeId;

use crate::bench_top::{Cluster, P, eventually, status};

fn standing(node: &NodeHandle, of: u64) -> Option<Standing> {
    status(node).membership.standing(NodeId(of))
}

#[tokio::test]
async fn a_fourth_node_joins_and_the_first_leaves() {
    let mut cluster = Cluster::start(3).await;
    cluster.replicate("a").await;
    let fourth = cluster.run(cluster.builder(4)).await;
    let notes = Mutex::new(Vec::new());
    let note = |words| notes.lock().unwrap().push(words);
    fourth.join(&cluster.handles(), &note).await.unwrap();
    let last = notes.lock().unwrap().last().cloned();
    assert_eq!(last.as_deref(), Some("a voter of partition 0 (1 of 1)"));
    assert_eq!(fourth.wait_for_leader(P).await.unwrap().0, cluster.leader().await);
    eventually(|| fourth.unsettled().is_empty()).await;
    // Once it has its place, nobody is asked any more.
    fourth.join(&Vec::new(), &drop).await.unwrap();

    let leader = cluster.leader().await;
    let leaving = cluster.handle(leader);
    let failed = cluster.node(leader).failed();
    leaving.leave(&cluster.handles(), &note).await.unwrap();
    assert_eq!(failed.await, NodeFailure::Removed, "a leader may leave too");
    cluster.stop(leader).await;
    assert_eq!(cluster.replicate("b").await, "2");
    let now = cluster.handle(cluster.leader().await);
    assert_eq!(standing(&now, leader), None);
    assert_eq!(standing(&now, 4), Some(Standing::Voter));
    assert_eq!(cluster.journal().await, "ab");
    cluster.close().await;
}

#[tokio::test]
async fn an_id_that_was_given_before_never_joins() {
    let mut cluster = Cluster::start(1).await;
    cluster.leader().await;
    let second = cluster.run(cluster.builder(2)).await;
    second.join(&cluster.handles(), &drop).await.unwrap();
    let failed = cluster.node(2).failed();
    second.leave(&cluster.handles(), &drop).await.unwrap();
    failed.await;
    cluster.stop(2).await;
    let seniors = cluster.handles();
    let again = cluster
        .run(cluster.builder_in(2, Env::memory(&cluster.network).unwrap()))
        .await;
    let refused = again.join(&seniors, &drop).await.unwrap_err();
    assert!(matches!(refused, AdminError::Refused(_)), "{refused}");
    assert!(!refused.is_retryable());
    cluster.close().await;
}

#[tokio::test]
async fn the_last_voter_cannot_leave() {
    let cluster = Cluster::start(1).await;
    cluster.leader().await;
    let refused = cluster.handle(1).leave(&cluster.handles(), &drop).await.unwrap_err();
    let last = "node 1 is the last voter and cannot be removed";
    assert_eq!(refused, AdminError::Refused(last.to_owned()));
    cluster.close().await;
}

#[tokio::test]
async fn a_node_that_stops_while_it_joins_gives_up() {
    let mut cluster = Cluster::of(0);
    let alone = cluster.run(cluster.builder(1)).await;
    let nobody = Vec::new();
    let (told, ()) = tokio::join!(alone.join(&nobody, &drop), cluster.close());
    assert!(matches!(told, Err(AdminError::Unreachable(_))), "{told:?}");
}
