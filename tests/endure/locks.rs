//! A million locks that are held: what they take, how long a node needs to come back with them, and to be copied to a new one.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use kapu::client::Client;
use kapu::clock::{Clock, SystemClock};
use kapu::lock::Outcome;
use kapu::types::{FencingToken, NodeId, Resource};
use tokio::task::JoinSet;

use crate::Args;
use crate::harness::Cluster;
use crate::ledger::{HELD, Ledger};
use crate::load::Load;
use crate::measure::{Phases, as_f64};
use crate::process::until;
use crate::requests::{Direct, lock_when_free, name, owner, try_lock};

/// How many requests are under way while the locks are taken.
const TAKERS: u64 = 1024;
/// Every so many locks are looked for again.
const CHECK_EVERY: u64 = 1000;
/// The longest lease that there is.
const LEASE: Duration = Duration::from_millis(kapu::limits::TTL_MS_MAX);
/// Nothing that is tried over and over may wait for long.
const ATTEMPT: Duration = Duration::from_millis(500);
/// No worker of the load keeps a lock.
const NEVER: u64 = u64::MAX;

pub async fn run(args: &Args) {
    let mut phases = Phases::of("locks");
    let mut cluster = Cluster::start_with(3, args.partitions).await;
    let client = cluster.client().await;
    phases.sizes(&cluster, "0 locks");
    let began = SystemClock.now();
    let taken = take(&client, args.locks).await;
    let took = (SystemClock.now() - began).as_secs_f64();
    phases.say(format_args!(
        "{} locks taken in {took:.1} s, {:.0} locks/s",
        args.locks,
        as_f64(args.locks) / took
    ));
    phases.sizes(&cluster, "all are held");

    restart_leader(&mut cluster, &client, &phases).await;
    restart_all(&mut cluster, &client, &phases).await;
    check(&client, &taken, &phases).await;
    join(args, &mut cluster, &client, &mut phases).await;
    check(&client, &taken, &phases).await;
}

fn held(number: u64) -> Resource {
    name(&format!("held-{number}"))
}

/// Takes so many locks; returns some of them with their tokens.
async fn take(client: &Client, locks: u64) -> Vec<(u64, FencingToken)> {
    let next = Arc::new(AtomicU64::new(0));
    let mut takers = JoinSet::new();
    for _ in 0..TAKERS {
        let (client, next) = (client.clone(), Arc::clone(&next));
        takers.spawn(async move {
            let mut taken = Vec::new();
            loop {
                let number = next.fetch_add(1, Ordering::Relaxed);
                if number >= locks {
                    return taken;
                }
                let answer = client.request(try_lock(&held(number), &owner("endure"), LEASE)).await;
                let Ok(Outcome::Locked { fencing_token, .. }) = answer else {
                    panic!("lock {number} should be free: {answer:?}");
                };
                taken.extend((number % CHECK_EVERY == 0).then_some((number, fencing_token)));
            }
        });
    }
    takers.join_all().await.concat()
}

/// Checks that what was taken is there, with its token.
async fn check(client: &Client, taken: &[(u64, FencingToken)], phases: &Phases) {
    for (number, token) in taken {
        let found = client.request(try_lock(&held(*number), &owner("endure"), LEASE)).await;
        assert!(
            matches!(&found, Ok(Outcome::Locked { fencing_token, .. }) if fencing_token == token),
            "lock {number} had token {token}, found {found:?}"
        );
    }
    phases.say(format_args!("{} of the locks looked at, all as they were", taken.len()));
}

/// SIGKILL of the leader, until the others grant; then its start, until it answers, and until it leads again and grants.
async fn restart_leader(cluster: &mut Cluster, client: &Client, phases: &Phases) {
    let leader = preferred_leader(cluster).await;
    let began = SystemClock.now();
    cluster.kill(leader);
    grant(client, "failover").await;
    let failover = SystemClock.now() - began;
    let began = SystemClock.now();
    cluster.start_node(leader);
    cluster.ready().await;
    let answers = SystemClock.now() - began;
    let direct = Direct::new(cluster.endpoint(leader));
    until("the node that was killed leads again and grants", async || {
        let request = try_lock(&name("probe"), &owner("prober"), HELD);
        matches!(direct.ask(request, ATTEMPT).await, Ok(Outcome::Locked { .. })).then_some(())
    })
    .await;
    let leads = SystemClock.now() - began;
    phases.say(format_args!(
        "the leader is killed: the next grant after {:.2} s; started again, it answers after {:.2} s, leads and grants after {:.2} s",
        failover.as_secs_f64(),
        answers.as_secs_f64(),
        leads.as_secs_f64()
    ));
}

/// The leader of the probe's partition, once that is the one that leadership goes back to by itself.
async fn preferred_leader(cluster: &Cluster) -> NodeId {
    until("the preferred node leads", async || {
        let view = cluster.view().await;
        let partition = name("probe").partition(u32::try_from(view.partitions().len()).ok()?);
        let leader = view.leader(partition)?;
        let mut replicas = view.replicas();
        let (_, replica) = replicas.find(|(node, replica)| *node == leader && replica.partition == partition)?;
        (replica.membership.preferred_leader(partition) == Some(leader)).then_some(leader)
    })
    .await
}

/// SIGKILL of every node; then their start, until a lock is granted.
async fn restart_all(cluster: &mut Cluster, client: &Client, phases: &Phases) {
    cluster.ids().into_iter().for_each(|id| cluster.kill(id));
    let began = SystemClock.now();
    cluster.start_all();
    grant(client, "restart").await;
    let took = SystemClock.now() - began;
    cluster.ready().await;
    phases.say(format_args!(
        "all nodes are killed and started again: the next grant after {:.2} s",
        took.as_secs_f64()
    ));
    phases.sizes(cluster, "all nodes started again");
}

/// A new node takes its place while there is load.
async fn join(args: &Args, cluster: &mut Cluster, client: &Client, phases: &mut Phases) {
    let ledger = Ledger::new(args.partitions);
    let load = Load::start_holding(client, &ledger, args.workers, NEVER);
    phases.pass(&load, "before the join", args.phase()).await;
    let new = cluster.add(4, NodeId(1));
    cluster.settled(new).await;
    phases.end(&load, "node 4 joins, empty");
    phases.pass(&load, "after the join", args.phase()).await;
    load.stop().await;
    phases.sizes(cluster, "after the join");
}

async fn grant(client: &Client, resource: &str) {
    let client = client.with_timeout(ATTEMPT);
    lock_when_free(&client, &name(resource), &owner("prober"), HELD).await;
}
