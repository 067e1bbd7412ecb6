//! Leaders change, killed or asked to stop; held locks stay as they are.

use std::time::Duration;

use kapu::clock::{Clock, SystemClock};
use kapu::types::{NodeId, Resource};

use crate::harness::{Cluster, PARTITIONS};
use crate::ledger::HELD;
use crate::requests::{holder, must_lock, name, owner};

/// Lets the leader of `lock` go in the way of `end`, and checks that the hold is what it was, with no more gone from its lease than the
/// time that has passed.
async fn survives(cluster: &mut Cluster, lock: &Resource, end: impl AsyncFnOnce(&mut Cluster, NodeId)) {
    let client = cluster.client().await;
    let start = SystemClock.now();
    let (holding, token, before) = holder(&client, lock).await.expect("the lock is held");
    let leader = cluster.leader_of(lock).await;
    end(cluster, leader).await;
    let (still_holding, still_token, after) = holder(&client, lock).await.expect("the lock is still held");
    let passed = SystemClock.now() - start;
    assert_eq!((still_holding, still_token), (holding, token));
    assert!(
        after + passed + Duration::from_millis(1) >= before,
        "{before:?} were left, {after:?} are after {passed:?}"
    );
    assert_ne!(cluster.leader_of(lock).await, leader);
    cluster.start_node(leader);
    cluster.ready().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_held_lock_survives_a_leader_change_with_its_owner_token_and_lease() {
    let mut cluster = Cluster::start(3).await;
    let lock = name("kept");
    must_lock(
        &cluster.client().await,
        &lock,
        &owner("keeper"),
        Duration::from_secs(120),
    )
    .await;
    survives(&mut cluster, &lock, async |cluster, leader| cluster.kill(leader)).await;
    survives(&mut cluster, &lock, async |cluster, leader| {
        assert_eq!(cluster.terminate(leader).await, Some(0))
    })
    .await;
}

/// The last role that a node had in `partition`, as its log tells.
fn last_role(log: &str, partition: u32) -> &str {
    let words = format!("role partition={partition} role=");
    let role = log.lines().rev().find_map(|line| line.split_once(&words));
    role.and_then(|(_, rest)| rest.split('"').nth(1)).unwrap_or_default()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leader_that_is_asked_to_stop_leads_nothing_when_it_ends() {
    let mut cluster = Cluster::start(3).await;
    let leader = cluster.leader_of(&name("any")).await;
    assert!(
        (0..PARTITIONS).any(|partition| last_role(&cluster.log(leader), partition) == "leader"),
        "{}",
        cluster.log(leader)
    );
    assert_eq!(cluster.terminate(leader).await, Some(0));
    let log = cluster.log(leader);
    for partition in 0..PARTITIONS {
        assert_ne!(last_role(&log, partition), "leader", "partition {partition}: {log}");
    }
    assert!(!log.contains("no successor took over"), "{log}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_node_in_turn_stops_with_code_0_and_the_cluster_goes_on() {
    let mut cluster = Cluster::start(3).await;
    let client = cluster.client().await;
    let holding = owner("keeper");
    let mut held = Vec::new();
    for id in cluster.ids() {
        assert_eq!(cluster.terminate(id).await, Some(0), "{}", cluster.log(id));
        let lock = name(&format!("taken-without-{id}"));
        held.push((must_lock(&client, &lock, &holding, HELD).await, lock));
        cluster.start_node(id);
        cluster.ready().await;
    }
    for (token, lock) in held {
        let found = holder(&client, &lock).await.map(|(owner, token, _)| (owner, token));
        assert_eq!(found, Some((holding.clone(), token)), "{lock}");
    }
}
