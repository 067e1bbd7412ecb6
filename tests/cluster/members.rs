//! Nodes come and go under load, until none of the first ones is left; and what may not be done is said in words.

use kapu::types::{NodeId, PartitionId};

use crate::harness::{Cluster, PARTITIONS};
use crate::ledger::{HELD, Ledger};
use crate::load::Load;
use crate::process::{run, stderr, stdout, until};
use crate::requests::{holder, must_lock, name, owner};

const WORKERS: u64 = 8;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_joins_becomes_a_voter_and_a_held_lock_keeps_its_token() {
    let mut cluster = Cluster::start(3).await;
    let (lock, keeper) = (name("kept"), owner("keeper"));
    let token = must_lock(&cluster.client().await, &lock, &keeper, HELD).await;
    let new = cluster.add(4, NodeId(1));
    cluster.settled(new).await;
    let standing = |row: &serde_json::Value| (row["node"].as_u64(), row["voter"].as_u64(), row["learner"].as_u64());
    let voter = |node| (Some(node), Some(PARTITIONS.into()), Some(0));
    until("all four vote everywhere", async || {
        let nodes = cluster.listed_nodes().await;
        let all: Vec<_> = nodes.iter().map(standing).collect();
        (all == [voter(1), voter(2), voter(3), voter(4)]).then_some(())
    })
    .await;
    let found = holder(&cluster.client().await, &lock).await;
    assert_eq!(found.map(|(owner, token, _)| (owner, token)), Some((keeper, token)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_is_removed_ends_with_code_0_and_its_id_is_never_used_again() {
    let mut cluster = Cluster::start(3).await;
    let data_dir = cluster.data_dir(NodeId(2));
    cluster.remove(NodeId(2)).await;
    let nodes = cluster.listed_nodes().await;
    assert!(nodes.iter().all(|row| row["node"] != 2), "{nodes:?}");

    // On its old disk it is told that it is out; on an empty one that its id is taken.
    let again = cluster.add(2, NodeId(1));
    assert_eq!(cluster.exit(again).await, Some(0), "{}", cluster.log(again));
    std::fs::remove_dir_all(data_dir).expect("nobody uses the directory");
    cluster.start_node(again);
    assert_eq!(cluster.exit(again).await, Some(1), "{}", cluster.log(again));
    let log = cluster.log(again);
    let last = log.lines().last().unwrap_or_default();
    assert!(
        last.contains("node id 2 cannot be given") && last.contains("use 4 or more"),
        "{last}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_cannot_be_removed_is_named_and_the_code_is_1() {
    let mut cluster = Cluster::start(3).await;
    let unknown = cluster.tell(&["node", "remove", "9"]).await;
    assert_eq!(unknown.status.code(), Some(1), "{}", stderr(&unknown));
    assert!(
        stderr(&unknown).contains("node 9 is not a member"),
        "{}",
        stderr(&unknown)
    );
    cluster.remove(NodeId(3)).await;
    cluster.remove(NodeId(1)).await;
    let last = cluster.tell(&["node", "remove", "2"]).await;
    assert_eq!(last.status.code(), Some(1), "{}", stderr(&last));
    assert!(stderr(&last).contains("node 2 is the last voter"), "{}", stderr(&last));
    must_lock(&cluster.client().await, &name("still"), &owner("served"), HELD).await;
    // A step that was made already may be asked for again.
    let again = cluster.tell(&["node", "remove", "1"]).await;
    assert_eq!(again.status.code(), Some(0), "{}", stderr(&again));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dead_node_is_replaced_under_load() {
    let mut cluster = Cluster::start(3).await;
    let (client, ledger) = (cluster.client().await, Ledger::default());
    let load = Load::start(&client, &ledger, WORKERS);
    load.make_progress().await;
    cluster.kill(NodeId(2));
    let new = cluster.add(4, NodeId(3));
    cluster.settled(new).await;
    cluster.remove(NodeId(2)).await;
    load.make_progress().await;
    // The new one counts: without it there is no majority.
    cluster.kill(NodeId(1));
    load.make_progress().await;
    load.stop().await;
    ledger.check(&client).await;
}

/// The client is given the addresses of the first three nodes and nothing else; at the end none of them exists.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn three_nodes_become_five_and_then_three_others_under_load() {
    let mut cluster = Cluster::start(3).await;
    let (client, ledger) = (cluster.client().await, Ledger::default());
    let load = Load::start(&client, &ledger, WORKERS);
    load.make_progress().await;
    for (id, through) in [(4, 1), (5, 2)] {
        let new = cluster.add(id, NodeId(through));
        cluster.settled(new).await;
        load.make_progress().await;
    }
    cluster.remove(NodeId(1)).await;
    load.make_progress().await;
    cluster.remove(NodeId(2)).await;
    load.make_progress().await;
    let new = cluster.add(6, NodeId(4));
    cluster.settled(new).await;
    cluster.remove(NodeId(3)).await;
    load.make_progress().await;
    load.stop().await;
    assert_eq!(cluster.ids(), [4, 5, 6].map(NodeId));
    let kept = ledger.check(&client).await;
    println!(
        "{} grants, {kept} locks kept, all found by a client of the first three nodes",
        ledger.grants()
    );
}

/// No log says where anybody is then: only the settings do.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cluster_that_is_moved_whole_finds_itself_by_its_settings() {
    let mut cluster = Cluster::start(3).await;
    let (lock, keeper) = (name("kept"), owner("keeper"));
    let token = must_lock(&cluster.client().await, &lock, &keeper, HELD).await;
    for id in cluster.ids() {
        cluster.kill(id);
    }
    cluster.relocate_all();
    cluster.start_all();
    cluster.ready().await;
    let found = holder(&cluster.client().await, &lock).await;
    assert_eq!(found.map(|(owner, token, _)| (owner, token)), Some((keeper, token)));

    // The logs say it soon, too.
    let places: Vec<_> = cluster
        .ids()
        .iter()
        .map(|id| cluster.peer_endpoint(*id).to_owned())
        .collect();
    until("every membership has the new places", async || {
        let nodes = cluster.listed_nodes().await;
        let listed: Vec<_> = nodes.iter().filter_map(|row| row["peer_address"].as_str()).collect();
        (listed == places).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn leadership_is_handed_over_by_hand() {
    let cluster = Cluster::start(3).await;
    let (lock, keeper) = (name("kept"), owner("keeper"));
    let client = cluster.client().await;
    let token = must_lock(&client, &lock, &keeper, HELD).await;
    let partition = lock.partition(PARTITIONS);
    let old = cluster.leader_of(&lock).await;
    let to = cluster.ids().into_iter().find(|id| *id != old).expect("three nodes");
    let line = ["partition", "transfer", &partition.to_string(), "--to", &to.to_string()];
    let output = cluster.tell(&line).await;
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    assert!(
        stdout(&output).contains(&format!("to node {to}")),
        "{}",
        stdout(&output)
    );
    until("the successor leads", async || {
        (cluster.view().await.leader(partition) == Some(to)).then_some(())
    })
    .await;
    let found = holder(&client, &lock).await;
    assert_eq!(found.map(|(owner, token, _)| (owner, token)), Some((keeper, token)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leadership_that_cannot_be_handed_over_stays_and_the_reason_is_said() {
    let cluster = Cluster::start(1).await;
    for (line, code, words) in [
        (["partition", "transfer", "0", "--to", "7"], 1, "no other voter"),
        (
            ["partition", "transfer", "9", "--to", "1"],
            1,
            "there is no partition 9",
        ),
    ] {
        let output = cluster.tell(&line).await;
        assert_eq!(output.status.code(), Some(code), "{}", stderr(&output));
        assert!(stderr(&output).contains(words), "{}", stderr(&output));
    }
    assert_eq!(cluster.view().await.leader(PartitionId(0)), Some(NodeId(1)));
    assert_eq!(run(&mut cluster.at(&["status"])).await.status.code(), Some(0));
}
