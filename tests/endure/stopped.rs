//! A follower that stands still under full load, and goes on.

use std::time::Duration;

use kapu::clock::{Clock, SystemClock};
use kapu::types::NodeId;
use rustix::process::Signal;

use crate::Args;
use crate::harness::Cluster;
use crate::ledger::Ledger;
use crate::load::Load;
use crate::measure::Phases;
use crate::requests::name;

/// Each worker keeps every so many locks, to be found at the end.
const HOLD_EVERY: u64 = 100;

pub async fn run(args: &Args) {
    let mut phases = Phases::of("stopped");
    let mut cluster = Cluster::start_with(3, args.partitions).await;
    let (client, ledger) = (cluster.client().await, Ledger::new(args.partitions));
    let load = Load::start_holding(&client, &ledger, args.workers, HOLD_EVERY);
    let leader = cluster.leader_of(&name("any")).await;
    let follower = cluster
        .ids()
        .into_iter()
        .rfind(|id| *id != leader)
        .expect("three nodes");
    phases.say(format_args!("node {leader} leads, node {follower} is stopped"));
    phases.pass(&load, "before", args.phase()).await;
    phases.sizes(&cluster, "before");

    cluster.signal(follower, Signal::STOP);
    let mut passed = Duration::ZERO;
    while passed < Duration::from_secs(args.stop) {
        phases.pass(&load, "stopped", args.phase()).await;
        passed += args.phase();
        phases.sizes(&cluster, &format!("stopped for {} s", passed.as_secs()));
    }
    catch_up(&mut cluster, follower, &load, &mut phases).await;
    phases.pass(&load, "after", args.phase()).await;
    phases.sizes(&cluster, "after");
    load.stop().await;
    let kept = ledger.check(&client).await;
    phases.say(format_args!(
        "{} grants, {kept} locks kept; lost acknowledgements 0, repeated tokens 0",
        ledger.grants()
    ));
}

async fn catch_up(cluster: &mut Cluster, follower: NodeId, load: &Load, phases: &mut Phases) {
    phases.begin(load);
    let began = SystemClock.now();
    cluster.signal(follower, Signal::CONT);
    cluster.settled(follower).await;
    phases.end(load, "catches up");
    let took = (SystemClock.now() - began).as_secs_f64();
    phases.say(format_args!("node {follower} has caught up after {took:.2} s"));
}
