//! One run from its beginning to its end, inside of the simulation.
//!
//! Safety first, under faults and load; then everything is healed and must come to live: a leader everywhere, every client answered, all
//! replicas equal, leases that end. At the very end the power goes, and the disks are read. What was seen is handed to the checkers; nothing is judged here.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use crate::cluster::{Cluster, wait_until};
use crate::evidence::{Ending, Evidence};
use crate::front::{self, SimOutfitter};
use crate::nemesis::Nemesis;
use crate::options::Options;
use crate::plan::Plan;
use crate::report::Counts;
use crate::trace::Trace;
use crate::workload::{Setting, Workload};
use crate::world::clock::SimClock;
use crate::world::links::Links;
use crate::world::spawn::SimSpawn;
use crate::world::{true_ns, true_sleep, true_time};

/// A cluster without faults has its leaders well within this time.
const START_MAX: Duration = Duration::from_secs(20);

/// What a run leaves behind.
pub struct Remains {
    /// For the checkers.
    pub evidence: Evidence,
    /// For people.
    pub counts: Counts,
    /// How much true time has passed.
    pub simulated: Duration,
}

/// Runs a plan.
pub async fn play(plan: Plan, trace: Trace) -> Remains {
    let options = &plan.options;
    let links = Links::new(options.seed, trace.clone());
    let spawn = SimSpawn::new(trace.clone());
    let cluster = Cluster::new(
        options,
        &links,
        &trace,
        &spawn,
        Arc::new(|handle, port| Box::pin(front::serve(handle, port))),
    );
    cluster.core().for_each(|node| cluster.start(node));
    wait_until(START_MAX, || all_led(&cluster, options)).await;

    let workload = Workload::start(setting(&plan, &cluster, &spawn));
    let nemesis = Nemesis::start(&cluster, &plan, &trace);
    true_sleep(Duration::from_millis(options.faulty_ms)).await;

    nemesis.stop();
    let (unanswered, calm_ns) = revive(&cluster, options, &workload).await;

    let reigns = cluster.leaders();
    let mut ending = Ending {
        core: cluster.core().collect(),
        members: cluster.register(|register| register.members().iter().copied().collect()),
        leaders: reigns.iter().map(|reign| (reign.partition, reign.leader)).collect(),
        voters: reigns.iter().map(|reign| (reign.partition, reign.voters)).collect(),
        digests: cluster.digests(),
        unanswered,
        calm_ns,
        failures: Vec::new(),
        panics: Vec::new(),
    };
    let simulated = true_time().unwrap_or_default();
    cluster.nodes().for_each(|node| cluster.crash(node));
    let disks = cluster.durable();
    (ending.failures, ending.panics) = (cluster.failures(), spawn.panics());
    let counts = count(&cluster, &workload, &nemesis);
    // What is left of the nodes is dropped while there is still a world to be dropped in.
    true_sleep(Duration::from_millis(1)).await;
    let evidence = Evidence {
        nodes: options.nodes,
        partitions: options.partitions,
        drift_ppm_max: 2 * options.drift_ppm_max.unsigned_abs(),
        operations: workload.operations(),
        writes: workload.writes(),
        observations: cluster.recorder().observations(),
        disks,
        ending,
    };
    Remains {
        evidence,
        counts,
        simulated,
    }
}

/// Heals everything, and waits until all is well: says what was never answered, and since when all was well and only the last look asked.
async fn revive(cluster: &Cluster, options: &Options, workload: &Workload) -> (Vec<String>, Option<u64>) {
    cluster.heal();
    let patience = Duration::from_millis(options.healing_ms_max);
    expel(cluster, patience).await;
    // A node that was told to stop, or whose disk failed just before, may still be on its way out, and is started again when it is gone.
    let all_back = || {
        cluster.core().for_each(|node| cluster.start(node));
        all_led(cluster, options) && !cluster.core().any(|node| cluster.is_stopping(node))
    };
    wait_until(patience, all_back).await;
    finish_change(cluster, patience).await;
    let mut unanswered = workload.stop_and_drain().await;
    let is_well = wait_until(patience, || all_back() && cluster.is_level()).await;
    let calm_ns = (is_well && unanswered.is_empty()).then(true_ns);
    if calm_ns.is_some() {
        unanswered = workload.last_look().await;
        wait_until(patience, || all_back() && cluster.is_level()).await;
    }
    (unanswered, calm_ns)
}

fn all_led(cluster: &Cluster, options: &Options) -> bool {
    cluster.leaders().len() == options.partitions as usize
}

/// Everybody reaches everybody: a node on a disk that is not its own must be gone soon, if anybody hears of it. Then the right disks are put back.
async fn expel(cluster: &Cluster, patience: Duration) {
    let intruders = || {
        cluster
            .nodes()
            .filter(|node| cluster.is_intruder(*node) && cluster.is_alive(*node) && cluster.is_in_touch(*node))
    };
    if !wait_until(patience, || intruders().next().is_none()).await {
        intruders().for_each(|node| cluster.accuse(node, "nobody refused a disk that is not the one it had"));
    }
    cluster.nodes().for_each(|node| cluster.put_back(node));
}

/// A change of members that was under way comes to its end now that all is well, and who was removed is told so and ends.
async fn finish_change(cluster: &Cluster, patience: Duration) {
    let under_way = cluster.register(|register| register.under_way());
    if !cluster.operate(patience).await {
        cluster.accuse(0, format!("this change of members comes to no end: {under_way:?}"));
    }
    let strays = || cluster.nodes().filter(|node| cluster.is_stray(*node));
    if !wait_until(patience, || strays().next().is_none()).await {
        strays().for_each(|node| cluster.accuse(node, "it was removed, and goes on"));
    }
}

fn setting(plan: &Plan, cluster: &Cluster, spawn: &SimSpawn) -> Setting {
    Setting {
        seed: plan.options.seed,
        load: plan.options.load.clone(),
        endpoints: cluster.endpoints(),
        truth: Arc::new(SimClock::new(Duration::ZERO, 0)),
        spawn: Arc::new(spawn.clone()),
        outfitter: Arc::new(SimOutfitter::new(cluster.links().clone(), &plan.options)),
    }
}

fn count(cluster: &Cluster, workload: &Workload, nemesis: &Nemesis) -> Counts {
    let (seen, disks, carried) = (cluster.recorder().seen(), cluster.disks(), cluster.links().carried());
    let met = cluster.met();
    let own = [
        ("leader_changes", seen.leader_changes),
        ("truncations", seen.truncations),
        ("applied", seen.applied),
        ("snapshots", seen.snapshots),
        ("snapshots_within", seen.snapshots_within),
        ("restarts", cluster.restarts()),
        ("syncs", disks.syncs),
        ("syncs_lost", disks.crashes_with_loss),
        ("sectors_lost", disks.sectors_lost),
        ("disk_errors", disks.errors),
        ("disks_found_corrupt", met.corrupt),
        ("disks_refused", met.refused),
        ("disks_mismatched", met.mismatched),
        ("faults_spared", met.spared),
        ("members_changed", met.changes),
        ("ambushes", met.ambushes),
        ("removed_nodes_ended", met.removed),
        ("datagrams", carried.sent),
        ("datagrams_lost", carried.lost),
        ("datagrams_cut", carried.cut),
        ("datagrams_doubled", carried.doubled),
        ("datagrams_overtaken", carried.overtaken),
    ];
    let named = |(name, count): (&str, u64)| (name.to_owned(), count);
    let mut others: BTreeMap<_, _> = own.into_iter().map(named).collect();
    others.extend(workload.facts());
    let faults = nemesis.done().into_iter().map(named).collect();
    Counts { faults, others }
}
