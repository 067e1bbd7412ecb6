//! Three nodes become five and then three others, under load.

use kapu::types::NodeId;

use crate::Args;
use crate::harness::Cluster;
use crate::ledger::Ledger;
use crate::load::Load;
use crate::measure::Phases;

/// Each worker keeps every so many locks, to be found at the end.
const HOLD_EVERY: u64 = 100;

pub async fn run(args: &Args) {
    let mut phases = Phases::of("members");
    let mut cluster = Cluster::start_with(3, args.partitions).await;
    let (client, ledger) = (cluster.client().await, Ledger::new(args.partitions));
    let load = Load::start_holding(&client, &ledger, args.workers, HOLD_EVERY);
    load.make_progress().await;
    phases.pass(&load, "before", args.phase()).await;
    for id in [4, 5] {
        join(&mut cluster, id, &load, &mut phases).await;
    }
    for id in [1, 2] {
        remove(&mut cluster, id, &load, &mut phases).await;
    }
    join(&mut cluster, 6, &load, &mut phases).await;
    remove(&mut cluster, 3, &load, &mut phases).await;
    phases.pass(&load, "after", args.phase()).await;
    phases.sizes(&cluster, "at the end");
    load.stop().await;
    let kept = ledger.check(&client).await;
    phases.say(format_args!(
        "{} grants, {kept} locks kept; lost acknowledgements 0, repeated tokens 0",
        ledger.grants()
    ));
}

async fn join(cluster: &mut Cluster, id: u64, load: &Load, phases: &mut Phases) {
    phases.begin(load);
    let through = cluster.ids()[0];
    let new = cluster.add(id, through);
    cluster.settled(new).await;
    phases.end(load, &format!("node {id} joins"));
    load.make_progress().await;
}

async fn remove(cluster: &mut Cluster, id: u64, load: &Load, phases: &mut Phases) {
    phases.begin(load);
    cluster.remove(NodeId(id)).await;
    load.make_progress().await;
    phases.end(load, &format!("node {id} is removed"));
}
