//! Millions of cycles: what each node takes must not grow with them.

use crate::Args;
use crate::harness::Cluster;
use crate::ledger::Ledger;
use crate::load::Load;
use crate::measure::Phases;

/// How often each node is looked at.
const SAMPLE_CYCLES: u64 = 1_000_000;
/// No worker keeps a lock.
const NEVER: u64 = u64::MAX;

pub async fn run(args: &Args) {
    let mut phases = Phases::of("cycles");
    let cluster = Cluster::start_with(3, args.partitions).await;
    let (client, ledger) = (cluster.client().await, Ledger::new(args.partitions));
    phases.sizes(&cluster, "0 cycles");
    let load = Load::start_holding(&client, &ledger, args.workers, NEVER);
    phases.begin(&load);
    for sample in 1..=args.cycles.div_ceil(SAMPLE_CYCLES) {
        let wanted = (sample * SAMPLE_CYCLES).min(args.cycles);
        while ledger.grants() < wanted {
            load.make_progress().await;
        }
        let name = format!("{wanted} cycles");
        phases.end(&load, &name);
        phases.sizes(&cluster, &name);
    }
    load.stop().await;
    let violations = ledger.violations();
    assert!(violations.is_empty(), "{}", violations.join("\n"));
    phases.say(format_args!("{} grants; repeated tokens 0", ledger.grants()));
}
