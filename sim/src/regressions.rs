//! Plans that broke kapu once, kept after what they found was fixed. Each begins with its story.
//!
//! A plan outlives the code that it was drawn for: the seed may draw something else by now.

/// Name and plan of each.
pub const REGRESSIONS: [(&str, &str); 1] = [
    // Symptom: a node on an old copy of its disk was refused, then welcome, and a committed entry was on two of five disks; later the true disk
    // was refused. Cause: peers compared only how often a node had started, so it had to be started often enough. Fix: a frame says which lives
    // the sender's disk knows, and a disk that was refused is not opened again.
    (
        "old_disk_started_often",
        include_str!("regressions/old_disk_started_often.json"),
    ),
];

#[cfg(all(test, madsim))]
mod tests {
    use madsim::runtime::Runtime;

    use super::*;
    use crate::checkers::CHECKERS;
    use crate::plan::Plan;
    use crate::scenario;
    use crate::trace::Trace;

    #[test]
    fn what_was_fixed_stays_fixed() {
        for (name, plan) in REGRESSIONS {
            let plan = Plan::from_json(plan).expect("it is kept up to date");
            let runtime = Runtime::with_seed_and_config(plan.options.seed, madsim::Config::default());
            let remains = runtime.block_on(scenario::play(plan, Trace::new(None).expect("without a file")));
            for (checker, check) in CHECKERS {
                assert_eq!(check(&remains.evidence), Ok(()), "{name}: {checker}");
            }
            assert!(remains.counts.others["disks_refused"] > 0, "{name} goes where it went");
        }
    }
}
