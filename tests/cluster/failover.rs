//! The leader is killed under load, again and again; then everybody at once.

use std::time::Duration;

use kapu::client::Client;
use kapu::clock::{Clock, SystemClock};
use kapu::types::NodeId;

use crate::harness::Cluster;
use crate::ledger::{HELD, Ledger};
use crate::load::Load;
use crate::requests::{lock_when_free, name};

const ROUNDS_DEFAULT: usize = 3;
const WORKERS: u64 = 8;

fn rounds() -> usize {
    let set = std::env::var("KAPU_ROUNDS").ok();
    set.map_or(ROUNDS_DEFAULT, |rounds| {
        rounds.parse().expect("KAPU_ROUNDS is a number")
    })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_acknowledged_lock_is_lost_when_leaders_are_killed() {
    let mut cluster = Cluster::start(3).await;
    let client = cluster.client().await;
    let ledger = Ledger::default();
    let load = Load::start(&client, &ledger, WORKERS);
    let mut times = Vec::new();
    for round in 0..rounds() {
        load.make_progress().await;
        let (victim, time) = kill_a_leader(&mut cluster, &client, &ledger, round).await;
        times.push(time);
        load.make_progress().await;
        cluster.start_node(victim);
        cluster.ready().await;
    }
    load.stop().await;
    report(times, ledger.grants());
    ledger.check(&client).await;

    for id in cluster.ids() {
        cluster.kill(id);
    }
    cluster.start_all();
    cluster.ready().await;
    ledger.check(&client).await;
    let after = name("after-everybody-was-killed");
    let floor = ledger.floor(&after);
    ledger.granted(
        &after,
        floor,
        lock_when_free(&client, &after, &client.new_owner(), HELD).await,
    );
    ledger.check(&client).await;
}

/// Kills the node that leads a lock's partition, and returns it with the time until that lock is granted.
async fn kill_a_leader(cluster: &mut Cluster, client: &Client, ledger: &Ledger, round: usize) -> (NodeId, Duration) {
    let probe = name(&format!("probe-{round}"));
    let victim = cluster.leader_of(&probe).await;
    let owner = client.new_owner();
    let floor = ledger.floor(&probe);
    let start = SystemClock.now();
    cluster.kill(victim);
    let token = lock_when_free(client, &probe, &owner, HELD).await;
    let time = SystemClock.now() - start;
    ledger.granted(&probe, floor, token);
    ledger.keeps(&probe, &owner, token);
    (victim, time)
}

fn report(mut times: Vec<Duration>, grants: u64) {
    times.sort();
    let (median, max) = (times[times.len() / 2], times[times.len() - 1]);
    println!(
        "{} kills under {grants} grants: next grant after {median:?} (median), {max:?} (most)",
        times.len()
    );
}
