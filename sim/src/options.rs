//! What a run is like: drawn from its seed before anything happens, printed first, and part of the plan.
//!
//! Each seed turns on its own few kinds of faults and workloads, with intensities of its own (swarm testing): a run with everything at once
//! hides what only a few things bring out. Every purpose draws from a stream of its own, so that a new option changes no older one.

use std::collections::BTreeMap;

use kapu::env::rng;
use rand::RngExt;
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use serde::{Deserialize, Serialize};

use crate::plan::Kind;
use crate::workload::Load;

/// The clocks of two machines differ by at most twice this rate, which is what the client's allowance of 1 % bears.
const DRIFT_PPM_MAX: i64 = 4_900;

/// The pace of coups, one of these.
const COUP_EVERY_MS: [Option<u64>; 5] = [None, None, Some(1_500), Some(3_000), Some(6_000)];

/// The pace of changes of members, one of these.
const MEMBERS_EVERY_MS: [Option<u64>; 5] = [None, None, Some(1_500), Some(3_000), Some(6_000)];
/// Machines for nodes that may be added.
const SPARES: [u64; 4] = [1, 2, 3, 4];

/// Everything that was drawn but the faults themselves.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Options {
    /// What all of it was drawn from.
    pub seed: u64,
    /// How many nodes there are at first, all of them voters.
    pub nodes: u64,
    /// So many machines are there for nodes that join later.
    #[serde(default)]
    pub spares: u64,
    /// How many partitions.
    pub partitions: u32,
    /// How much is asked, and by whom.
    pub load: Load,
    /// A follower waits at least this long for its leader.
    pub election_ms: u64,
    /// How long the phase with faults is.
    pub faulty_ms: u64,
    /// After healing, everything must be well within this time.
    pub healing_ms_max: u64,
    /// Clocks run faster or slower than true time by at most so many parts per million.
    pub drift_ppm_max: i64,
    /// Wall clocks are wrong by at most so many milliseconds, in either direction, before any fault.
    #[serde(default)]
    pub wall_error_ms_max: i64,
    /// Between two faults pass about so many milliseconds.
    pub fault_every_ms: u64,
    /// What may go wrong, and how often compared with the others.
    pub faults: BTreeMap<Kind, u32>,
    /// Logs are cut very short: who lags a little behind needs a snapshot, and one that lies within what he has.
    #[serde(default)]
    pub keeps_little: bool,
    /// Between two coups pass about so many milliseconds; none when there are no coups.
    #[serde(default)]
    pub coup_every_ms: Option<u64>,
    /// Between two changes of the members pass about so many milliseconds; none when they stay as they are.
    #[serde(default)]
    pub members_every_ms: Option<u64>,
}

impl Options {
    /// The options of a seed.
    #[must_use]
    pub fn draw(seed: u64) -> Self {
        let from = |purpose| rng(seed, &format!("option {purpose}"));
        let nodes = pick(&mut from("nodes"), &[1, 3, 3, 3, 3, 3, 5, 5]);
        let members_every_ms = pick(&mut from("members"), &MEMBERS_EVERY_MS);
        let spares = pick(&mut from("spares"), &SPARES);
        Self {
            seed,
            nodes,
            spares: members_every_ms.map_or(0, |_| spares),
            partitions: pick(&mut from("partitions"), &[1, 1, 2, 3, 4, 8]),
            load: Load::draw(seed),
            election_ms: pick(&mut from("election"), &[200, 400, 400, 1_000]),
            faulty_ms: from("length").random_range(20_000..=40_000),
            healing_ms_max: 30_000,
            drift_ppm_max: pick(&mut from("drift"), &[0, 100, 1_000, DRIFT_PPM_MAX]),
            wall_error_ms_max: pick(&mut from("wall error"), &[0, 0, 20, 400, 2_000, 3_600_000]),
            fault_every_ms: pick(&mut from("fault pace"), &[400, 1_000, 2_000, 4_000]),
            faults: draw_faults(&mut from("faults"), nodes),
            coup_every_ms: pick(&mut from("coups"), &COUP_EVERY_MS).filter(|_| nodes > 1),
            members_every_ms,
            keeps_little: pick(&mut from("keeping"), &[true, false, false]),
        }
    }

    /// Every machine on which a node may run, counted from one: those of the first nodes, then the spare ones.
    #[must_use]
    pub const fn machines(&self) -> u64 {
        self.nodes + self.spares
    }

    /// Every option with its value, for a person.
    #[must_use]
    pub fn lines(&self) -> Vec<String> {
        let json = serde_json::to_value(self).expect("options are plain data");
        let object = json.as_object().expect("a struct");
        let line = |(name, value): (&String, &serde_json::Value)| format!("{name:>16}  {value}");
        object.iter().map(line).collect()
    }
}

fn pick<T: Copy>(rng: &mut StdRng, choices: &[T]) -> T {
    *choices.choose(rng).expect("there is a choice")
}

/// Some of the kinds that make sense, each with a weight of its own; now and then none at all.
fn draw_faults(rng: &mut StdRng, nodes: u64) -> BTreeMap<Kind, u32> {
    let share = pick(rng, &[0.0, 0.2, 0.4, 0.6, 0.8, 1.0, 0.5, 0.3]);
    let mut faults = BTreeMap::new();
    for kind in Kind::ALL.into_iter().filter(|kind| !kind.has_own_pace()) {
        let (wanted, weight) = (rng.random_bool(share), rng.random_range(1..=8));
        if wanted && (nodes > 1 || !kind.needs_peers()) {
            faults.insert(kind, weight);
        }
    }
    faults
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_always_draws_the_same() {
        assert_eq!(Options::draw(42), Options::draw(42));
        assert_ne!(Options::draw(42), Options::draw(43));
    }

    #[test]
    fn seeds_differ_in_every_option() {
        let drawn: Vec<_> = (0..200).map(Options::draw).collect();
        let nodes: std::collections::BTreeSet<_> = drawn.iter().map(|options| options.nodes).collect();
        assert_eq!(nodes.into_iter().collect::<Vec<_>>(), [1, 3, 5]);
        for kind in Kind::ALL.into_iter().filter(|kind| !kind.has_own_pace()) {
            let with = drawn
                .iter()
                .filter(|options| options.faults.contains_key(&kind))
                .count();
            assert!((40..160).contains(&with), "{kind:?} is on in {with} of 200 seeds");
        }
        assert!(
            drawn.iter().any(|options| options.faults.is_empty()),
            "some seeds have fair weather"
        );
    }

    #[test]
    fn drift_is_within_what_clients_allow_for() {
        // Two clocks at the two ends: a lease of the faster one must outlast 99 % of it on the slower one.
        let (fast, slow) = (1_000_000 + DRIFT_PPM_MAX, 1_000_000 - DRIFT_PPM_MAX);
        assert!(1_000_000 * slow >= 990_000 * fast);
    }
}
