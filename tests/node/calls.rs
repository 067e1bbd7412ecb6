//! Each call, and each of its errors.

use std::sync::Arc;
use std::sync::mpsc::channel;

use bytes::Bytes;
use kapu::config::NodeConfig;
use kapu::env::Env;
use kapu::error::{Overloaded, PartitionError};
use kapu::limits;
use kapu::node::{MemoryNetwork, Node, NodeFailure, StartError};
use kapu::types::{NodeId, PartitionId, Resource};

use crate::bench_top::{Cluster, Journal, P, TOO_LARGE, eventually, status, text};

#[tokio::test]
async fn what_is_replicated_is_read_back_and_survives_the_nodes() {
    let mut cluster = Cluster::start(3).await;
    assert_eq!(cluster.replicate("a").await, "1");
    assert_eq!(cluster.replicate("b").await, "2");
    let leader = cluster.handle(cluster.leader().await);
    assert_eq!(leader.query(P, text("all: ")).await.unwrap(), "all: ab");
    for id in 1..=3 {
        cluster.stop(id).await;
        cluster.run(cluster.builder(id)).await;
    }
    assert_eq!(cluster.journal().await, "ab");
    cluster.close().await;
}

#[tokio::test]
async fn many_commands_share_an_entry_and_have_an_outcome_each() {
    let cluster = Cluster::start(1).await;
    let node = cluster.handle(cluster.leader().await);
    let before = status(&node).last;
    let long = Bytes::from(vec![0; limits::COMMAND_BYTES_MAX + 1]);
    let results = node.replicate_many(P, vec![text("a"), long, text("b")]).await;
    let too_long = PartitionError::LongCommand(limits::COMMAND_BYTES_MAX + 1);
    assert_eq!(results, [Ok(text("1")), Err(too_long), Ok(text("2"))]);
    assert_eq!(status(&node).last, before.next());
    assert_eq!(node.replicate_many(P, Vec::new()).await, []);
    cluster.close().await;
}

#[tokio::test]
async fn a_follower_names_the_leader_and_takes_nothing() {
    let cluster = Cluster::start(3).await;
    let (leader, follower) = cluster.leader_and_follower().await;
    let (id, address, _) = leader.own_place();
    // A follower follows once it has heard.
    assert_eq!(follower.wait_for_leader(P).await, Ok(id));
    let refusal = follower.replicate(P, text("lost")).await.unwrap_err();
    assert!(refusal.is_definite() && refusal.is_retryable());
    assert_eq!(
        refusal.to_string(),
        format!("partition 0 is led by node {id} at {address}")
    );
    assert_eq!(follower.query(P, Bytes::new()).await.unwrap_err(), refusal);
    assert_eq!(follower.am_i_leader(P).await, Ok(false));
    assert_eq!(leader.am_i_leader(P).await, Ok(true));
    assert_eq!(cluster.journal().await, "");
    cluster.close().await;
}

#[tokio::test]
async fn a_leader_without_a_majority_does_not_say_that_it_leads() {
    let mut cluster = Cluster::start(3).await;
    let leader = cluster.leader().await;
    let handle = cluster.handle(leader);
    for id in (1..=3).filter(|id| *id != leader) {
        cluster.stop(id).await;
    }
    assert_eq!(handle.am_i_leader(P).await, Ok(false));
    cluster.close().await;
}

#[tokio::test]
async fn every_call_refuses_a_partition_that_there_is_not() {
    let cluster = Cluster::start(1).await;
    let (node, none) = (cluster.handle(1), PartitionId(1));
    let refusal = PartitionError::NoPartition(none, 1);
    assert!(refusal.is_definite() && !refusal.is_retryable());
    assert_eq!(node.replicate(none, Bytes::new()).await, Err(refusal.clone()));
    assert_eq!(
        node.replicate_many(none, vec![Bytes::new()]).await,
        [Err(refusal.clone())]
    );
    assert_eq!(node.query(none, Bytes::new()).await, Err(refusal.clone()));
    assert_eq!(node.checkpoint(none).await, Err(refusal.clone()));
    assert_eq!(node.am_i_leader(none).await, Err(refusal.clone()));
    assert_eq!(node.wait_for_leader(none).await, Err(refusal));
    cluster.close().await;
}

#[tokio::test]
async fn keys_are_spread_over_partitions_as_names_of_locks_are() {
    let voters = [(NodeId(1), "a:1".to_owned())].into();
    let config = NodeConfig {
        partitions: 8,
        ..NodeConfig::voter(NodeId(1), &voters)
    };
    let world = Env::memory(&MemoryNetwork::default()).unwrap();
    let node = Node::start(world, config, |_| Box::new(Journal::default()))
        .await
        .unwrap();
    let handle = node.handle();
    assert_eq!(handle.partitions(), 8);
    let mut hit = [false; 8];
    for number in 0..100 {
        let key = format!("key {number}");
        let partition = handle.partition_of(key.as_bytes());
        assert_eq!(partition, Resource::new(&key).unwrap().partition(8));
        hit[partition.0 as usize] = true;
    }
    assert_eq!(hit, [true; 8]);
    let last = PartitionId(7);
    assert_eq!(handle.wait_for_leader(last).await, Ok(NodeId(1)));
    assert_eq!(handle.replicate(last, text("a")).await.unwrap(), "1");
    node.stop().await;
}

/// Nothing runs beside this test while it does not wait: so nobody makes room.
#[tokio::test(flavor = "current_thread")]
async fn requests_over_the_limit_are_refused_as_overloaded() {
    let cluster = Cluster::start(1).await;
    let node = cluster.handle(cluster.leader().await);
    let (sender, results) = channel();
    for _ in 0..limits::PENDING_REQUESTS_MAX {
        let sender = sender.clone();
        node.propose(P, text("x"), move |result| drop(sender.send(result)));
    }
    let refusal = PartitionError::Overloaded(Overloaded {
        what: "the requests that wait in the partition",
        limit: limits::PENDING_REQUESTS_MAX,
    });
    assert!(refusal.is_definite() && refusal.is_retryable());
    assert_eq!(node.replicate(P, text("y")).await, Err(refusal.clone()));
    assert_eq!(node.query(P, Bytes::new()).await, Err(refusal));
    drop(sender);
    eventually(|| status(&node).applied == status(&node).last && status(&node).last.0 > 16).await;
    assert!(node.query(P, Bytes::new()).await.is_ok(), "by now there is room");
    let taken = results.try_iter().inspect(|result| assert!(result.is_ok()));
    assert_eq!(taken.count(), limits::PENDING_REQUESTS_MAX);
    cluster.close().await;
}

#[tokio::test]
async fn a_node_that_has_stopped_says_so_to_every_call() {
    let mut cluster = Cluster::start(1).await;
    let node = cluster.handle(cluster.leader().await);
    let mut events = node.events();
    cluster.stop(1).await;
    let stopping = Err(PartitionError::Stopping);
    assert_eq!(node.replicate(P, text("late")).await, stopping);
    assert_eq!(node.query(P, Bytes::new()).await, stopping);
    assert_eq!(node.checkpoint(P).await, Err(PartitionError::Stopping));
    assert_eq!(node.am_i_leader(P).await, Err(PartitionError::Stopping));
    assert_eq!(node.wait_for_leader(P).await, Err(PartitionError::Stopping));
    while events.next().await.is_some() {}
}

#[tokio::test(flavor = "current_thread")]
async fn what_is_under_way_when_a_node_closes_is_unknown() {
    let mut cluster = Cluster::start(1).await;
    let node = cluster.handle(cluster.leader().await);
    let (sender, results) = channel();
    node.propose(P, text("x"), move |result| drop(sender.send(result)));
    let closing = std::mem::take(&mut cluster);
    closing.close().await;
    let error = results.recv().unwrap().unwrap_err();
    assert!(!error.is_definite() && error.is_retryable(), "{error}");
}

#[tokio::test]
async fn who_waits_for_a_leader_is_told_when_the_node_stops() {
    let mut cluster = Cluster::of(2);
    let node = cluster.run(cluster.builder(1)).await;
    let (told, ()) = tokio::join!(node.wait_for_leader(P), cluster.close());
    assert_eq!(told, Err(PartitionError::Stopping), "one of two never leads");
}

#[tokio::test]
async fn a_checkpoint_saves_the_state_and_cuts_the_log() {
    let mut cluster = Cluster::start(3).await;
    for command in ["a", "b", "c"] {
        cluster.replicate(command).await;
    }
    for node in cluster.handles() {
        let leader = cluster.handle(cluster.leader().await);
        let applied = status(&leader).applied;
        eventually(|| status(&node).applied >= applied).await;
        assert_eq!(status(&node).base.0, 0, "so few entries are not cut by themselves");
        node.checkpoint(P).await.unwrap();
        eventually(|| status(&node).base >= applied).await;
    }
    // What is saved is enough to go on from.
    for id in 1..=3 {
        cluster.stop(id).await;
        cluster.run(cluster.builder(id)).await;
    }
    assert_eq!(cluster.replicate("d").await, "4");
    assert_eq!(cluster.journal().await, "abcd");
    cluster.close().await;
}

#[tokio::test]
async fn a_row_over_its_limit_stops_the_node_that_would_save_it() {
    let cluster = Cluster::start(1).await;
    cluster.leader().await;
    cluster.replicate(std::str::from_utf8(TOO_LARGE).unwrap()).await;
    let node = cluster.handle(1);
    let error = node.checkpoint(P).await.unwrap_err();
    assert!(!error.is_definite());
    assert_eq!(cluster.node(1).failed().await, NodeFailure::Panicked(P));
    assert_eq!(node.replicate(P, text("late")).await, Err(PartitionError::Stopping));
    cluster.close().await;
}

#[tokio::test]
async fn settings_that_cannot_be_used_are_refused_before_anything_is_opened() {
    let voters = [(NodeId(1), "a:1".to_owned())].into();
    let config = NodeConfig::voter(NodeId(2), &voters);
    let world = Env::memory(&MemoryNetwork::default()).unwrap();
    let disk = Arc::clone(&world.disk);
    let refused = Node::start(world, config, |_| Box::new(Journal::default())).await;
    assert!(matches!(refused.err(), Some(StartError::Config(_))));
    assert_eq!(disk.open("log.redb").unwrap().len().unwrap(), 0);
}
