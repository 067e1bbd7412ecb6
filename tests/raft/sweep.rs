//! Many random schedules, and what they saw taken together.
//!
//! `KAPU_RAFT_SCHEDULES=100000` runs more of them; `KAPU_RAFT_SCHEDULE=17` runs one, and tells its story when it fails. A sweep in which some
//! kind of event never happened has tested nothing, and fails.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

use crate::counts::Counts;
use crate::schedules::Schedule;

/// How many schedules run unless more are asked for.
const SCHEDULES: u64 = 600;

/// Runs one schedule; when it fails, says how to see it again.
fn run(number: u64, recording: bool) -> Counts {
    let mut schedule = Schedule::new(number);
    schedule.cluster.trace.recording = recording;
    let result = catch_unwind(AssertUnwindSafe(|| schedule.run()));
    if let Err(panic) = result {
        eprintln!("{}", schedule.cluster.trace.take());
        eprintln!(
            "schedule {number} failed; again, with its story: KAPU_RAFT_SCHEDULE={number} cargo test --test raft random"
        );
        resume_unwind(panic);
    }
    schedule.cluster.counts()
}

fn number_from_environment(name: &str) -> Option<u64> {
    let value = std::env::var(name).ok()?;
    Some(value.parse().expect("the variable holds a number"))
}

#[test]
fn random_schedules_are_safe_and_come_to_rest() {
    if let Some(number) = number_from_environment("KAPU_RAFT_SCHEDULE") {
        run(number, true);
        return;
    }
    let schedules = number_from_environment("KAPU_RAFT_SCHEDULES").unwrap_or(SCHEDULES);
    let mut sums: BTreeMap<&str, usize> = BTreeMap::new();
    for number in 0..schedules {
        for (name, count) in run(number, false).by_name() {
            *sums.entry(name).or_default() += count;
        }
    }
    for (name, sum) in sums {
        println!("{sum} {name}");
        assert!(sum > 0, "{schedules} schedules without {name} prove nothing about them");
    }
}
