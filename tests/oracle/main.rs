//! An oracle that we did not write: tikv's `raft` crate (0.7), given the same schedules as our core.
//!
//! Both sides run with pre-vote and check-quorum, on disks whose writes complete when the schedule says so, under the same checks of what Raft
//! promises ([`checks`]). There are two kinds of schedules:
//!
//! - **Random** ones ([`plan`], [`schedule`]): losses, doubled and reordered messages, crashes that lose what was not durable, restarts, cut links,
//!   slow disks. Each side must be safe all the time, and work again when everything is healed, after a like number of ticks.
//! - **Lockstep** ones ([`lockstep`]): partitions and one-way links, crashes, restarts, proposals, with their election timeouts set to what ours were
//!   drawn to be. After every tick and every proposal, roles, terms, leaders, commit indices and logs of all nodes must be the same.
//!
//! # Where the two may differ
//! In lockstep everything must be equal but these, each under its own condition ([`lockstep`] has them in code):
//!
//! - *Refused.* A node that hears a leader answers a pre-vote with no in ours, and with nothing in theirs. So ours stops asking at once where theirs
//!   asks on until its timer rings. Term, timer and log are the same; only follower and pre-candidate differ, and neither knows a leader.
//! - *Voted.* Theirs tells its commit index in vote requests and refusals, and learns from them; in ours only leaders tell. So one that knows no leader
//!   may know more in theirs, and never more than is committed.
//! - *Late.* Both follow the same leader, and ours is behind. A restart or a campaign makes ours forget how far its log is the leader's, and until an
//!   append shows it again no heartbeat commits anything; theirs believes the heartbeat. Lost appends are suspected by ours after two answered
//!   heartbeats without news, by theirs after one. At a quiet point, when terms and leaders have lasted for some heartbeats, this is over, unless
//!   the follower's answers cannot get to the leader.
//!
//! What would differ for good is not in lockstep schedules: a lone node (it waits one tick in ours, an election time in theirs), disks that
//! stall (a leader whose disk does steps down in ours and leads on in theirs; a follower answers heartbeats meanwhile in ours and nothing in
//! theirs). Random schedules have both. Handovers and reads are in neither: theirs names the successor and forwards reads, ours does not.
//!
//! Under random schedules one thing is forgiven theirs ([`replica::Replica::LEADS_ALONE_AT_ONCE`]): a lone node leads before its vote is durable, so a crash
//! may undo a term with its entries, and the same term comes again with others. None of them was durable, so none was committed.
//!
//! Theirs is told not to announce each commit by a message of its own (`skip_bcast_commit`); ours never does.
//!
//! `KAPU_ORACLE_SCHEDULES=100000` runs more of each kind; `KAPU_ORACLE_SCHEDULE=17` runs one. A run in which some kind of event never happened
//! fails.

mod checks;
mod cluster;
mod lockstep;
mod ours;
mod plan;
mod replica;
mod schedule;
mod theirs;

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

use ours::Ours;
use plan::Plan;
use theirs::Theirs;

/// How many schedules run unless more are asked for.
const RANDOM_SCHEDULES: u64 = 400;
const LOCKSTEP_SCHEDULES: u64 = 60;
/// A side may take so many percent longer than the other, in the mean of many schedules: its election times are drawn by itself.
const LONGER_PERCENT_MAX: usize = 40;

/// What was counted, by name.
type Counts<const N: usize> = [(&'static str, usize); N];

fn number_from_environment(name: &str) -> Option<u64> {
    let value = std::env::var(name).ok()?;
    Some(value.parse().expect("the variable holds a number"))
}

/// Runs a schedule by its number, or many; returns the sums of what they counted. One that fails says how to see it again.
fn sweep<const N: usize>(schedules: u64, run: impl Fn(u64) -> Counts<N>) -> Option<BTreeMap<&'static str, usize>> {
    if let Some(number) = number_from_environment("KAPU_ORACLE_SCHEDULE") {
        println!("{:?}", run(number));
        return None;
    }
    let mut sums = BTreeMap::new();
    for number in 0..number_from_environment("KAPU_ORACLE_SCHEDULES").unwrap_or(schedules) {
        let counts = catch_unwind(AssertUnwindSafe(|| run(number))).unwrap_or_else(|panic| {
            eprintln!("schedule {number} failed; again: KAPU_ORACLE_SCHEDULE={number} cargo test --test oracle");
            resume_unwind(panic);
        });
        for (name, count) in counts {
            *sums.entry(name).or_default() += count;
        }
    }
    Some(sums)
}

/// Everything happened, except what may be too rare for a few schedules.
fn demand_all(side: &str, sums: &BTreeMap<&str, usize>, rare: &[&str]) {
    for (name, sum) in sums {
        println!("{side}: {sum} {name}");
        assert!(
            *sum > 0 || rare.contains(name),
            "schedules without {name} prove nothing about them"
        );
    }
}

#[test]
fn random_schedules_are_safe_and_both_sides_recover_alike() {
    let ours = sweep(RANDOM_SCHEDULES, |number| schedule::run::<Ours>(&Plan::draw(number)));
    let theirs = sweep(RANDOM_SCHEDULES, |number| schedule::run::<Theirs>(&Plan::draw(number)));
    let (Some(ours), Some(theirs)) = (ours, theirs) else {
        return;
    };
    demand_all("ours", &ours, &[]);
    demand_all("theirs", &theirs, &[]);
    for name in [schedule::TICKS_TO_REST, schedule::TICKS_TO_COMMIT] {
        let (a, b) = (ours[name], theirs[name]);
        let alike = a.max(b) * 100 <= a.min(b) * (100 + LONGER_PERCENT_MAX);
        assert!(alike, "{name}: ours {a}, theirs {b}");
    }
}

#[test]
fn lockstep_schedules_come_to_the_same() {
    if let Some(sums) = sweep(LOCKSTEP_SCHEDULES, lockstep::run) {
        demand_all("both", &sums, &[lockstep::VOTED]);
    }
}
