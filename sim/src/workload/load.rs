//! How much is asked of a cluster, and by whom: drawn once, printed, and the same for the same seed.
//!
//! Clients that are all alike find what their common habits find. So each draws a mix of its own, within the options of the run: which acts
//! it does at all and how often, how it likes hot names, how long its leases are and how long it thinks. What an act does is not said here.

use rand::RngExt;
use rand::rngs::StdRng;
use serde::{Deserialize, Serialize};

/// The shortest and the longest lease of a run, one of these: from shorter than an election to longer than most faults. A lock that was
/// abandoned with a long one blocks its name for a good part of the run.
const TTL_MS: [(u64, u64); 5] = [(40, 400), (40, 3_000), (200, 2_000), (100, 8_000), (1_000, 20_000)];
/// The usual pause of the clients of a run between two acts, one of these.
const THINK_MS: [u64; 4] = [5, 20, 60, 150];
/// What a client thinks for between two acts, compared with what is usual in its run: one of these.
const THINK_TIMES: [u64; 4] = [1, 1, 3, 10];
/// How long a client gives one operation, one of these.
const TIMEOUT_MS: [u64; 4] = [300, 1_000, 3_000, 10_000];
/// Each act is left out by a client in this many cases of ten.
const LEFT_OUT: u32 = 3;

/// How many watchers a run has, one of these.
const WATCHERS: [u64; 5] = [0, 0, 1, 1, 2];
/// How long a watcher rests when it has asked every node, one of these.
const WATCH_MS: [u64; 3] = [5, 20, 60];

/// What a client may do next.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Act {
    /// Tries once; writes a little while it holds; releases.
    Try,
    /// Waits for a held lock; then as `Try`.
    Wait,
    /// Keeps a lock over several leases, renewed, and writes all the time.
    Keep,
    /// Asks with an owner of its own, without a guard: takes, prolongs, frees, each again after unknown.
    Raw,
    /// Asks who holds a lock.
    Look,
    /// Prolongs or frees what it does not hold: under a stranger's owner, or under one that it had before.
    Meddle,
    /// Stands still past its lease while it believes to hold, then writes late.
    Oversleep,
    /// Stands still in the middle of an acquisition.
    Stall,
    /// Drops its guard without a word.
    Leave,
    /// Drops an acquisition half-way.
    Cancel,
    /// Dies, in the middle of an acquisition or while it holds; another client takes its place.
    Vanish,
    /// Prolongs its lease at the last moment, while it asks who holds the lock.
    Brink,
    /// Asks again for what it holds, with a shorter lease, and looks when that would have ended.
    Shorten,
    /// Holds without a renewal until the very end, and writes then.
    Linger,
    /// Takes refusals at their word: each attempt after one is of another owner.
    Trust,
}

/// All of them, each with its greatest weight.
const ACTS: [(Act, u32); 15] = [
    (Act::Try, 12),
    (Act::Wait, 12),
    (Act::Keep, 4),
    (Act::Raw, 10),
    (Act::Look, 8),
    (Act::Meddle, 4),
    (Act::Oversleep, 6),
    (Act::Stall, 3),
    (Act::Leave, 4),
    (Act::Cancel, 3),
    (Act::Vanish, 2),
    (Act::Brink, 5),
    (Act::Shorten, 4),
    (Act::Linger, 5),
    (Act::Trust, 6),
];

/// The load of a whole run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Load {
    /// How many clients at a time.
    pub clients: u64,
    /// How many names everybody wants.
    pub hot_names: u64,
    /// How many names hardly anybody wants.
    pub cold_names: u64,
    /// The shortest and the longest lease, in milliseconds.
    pub ttl_ms: (u64, u64),
    /// The usual pause of a client between two acts, in milliseconds.
    pub think_ms: u64,
    /// How many watchers beside the clients.
    #[serde(default)]
    pub watchers: u64,
    /// The pause of a watcher between two rounds, in milliseconds.
    #[serde(default)]
    pub watch_ms: u64,
}

/// The habits of one client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mix {
    /// How often it takes a hot name, in cases of a hundred.
    pub hot_percent: u32,
    /// Its shortest and longest lease, in milliseconds.
    pub ttl_ms: (u64, u64),
    /// Its mean pause between two acts, in milliseconds.
    pub think_ms: u64,
    /// How long it gives one operation, in milliseconds.
    pub timeout_ms: u64,
    /// What it does, each with its weight.
    pub acts: Vec<(Act, u32)>,
}

impl Load {
    /// Draws the load of the run of `seed`.
    #[must_use]
    pub fn draw(seed: u64) -> Self {
        let rng = &mut kapu::env::rng(seed, "load");
        let watch = &mut kapu::env::rng(seed, "watchers");
        Self {
            clients: rng.random_range(3..=16),
            hot_names: rng.random_range(1..=3),
            cold_names: rng.random_range(2..=24),
            ttl_ms: pick(rng, &TTL_MS),
            think_ms: pick(rng, &THINK_MS),
            watchers: pick(watch, &WATCHERS),
            watch_ms: pick(watch, &WATCH_MS),
        }
    }

    /// Draws the habits of one client.
    pub fn draw_mix(&self, rng: &mut StdRng) -> Mix {
        let longest = draw_log(rng, self.ttl_ms);
        let ttl_ms = (draw_log(rng, (self.ttl_ms.0, longest)), longest);
        let drawn = ACTS.map(|(act, most)| (act, most * u32::from(rng.random_range(0..10) >= LEFT_OUT)));
        let mut acts: Vec<_> = drawn.into_iter().filter(|(_, most)| *most > 0).collect();
        for (_, weight) in &mut acts {
            *weight = rng.random_range(1..=*weight);
        }
        // Who does nothing else tries.
        acts.push((Act::Try, 1));
        Mix {
            hot_percent: pick(rng, &[5, 50, 80, 95]),
            ttl_ms,
            think_ms: self.think_ms * pick(rng, &THINK_TIMES),
            timeout_ms: pick(rng, &TIMEOUT_MS),
            acts,
        }
    }

    /// Every name, the hot ones first.
    pub fn names(&self) -> impl Iterator<Item = String> {
        let hot = (0..self.hot_names).map(|name| format!("hot-{name}"));
        hot.chain((0..self.cold_names).map(|name| format!("cold-{name}")))
    }

    /// One of the names that everybody wants.
    pub fn hot_name(&self, rng: &mut StdRng) -> String {
        format!("hot-{}", rng.random_range(0..self.hot_names))
    }

    /// One of the names: a hot one in so many cases of a hundred.
    pub fn name(&self, hot_percent: u32, rng: &mut StdRng) -> String {
        if self.cold_names == 0 || rng.random_range(0..100) < hot_percent {
            self.hot_name(rng)
        } else {
            format!("cold-{}", rng.random_range(0..self.cold_names))
        }
    }
}

impl Mix {
    /// What to do next.
    pub fn act(&self, rng: &mut StdRng) -> Act {
        let total: u32 = self.acts.iter().map(|(_, weight)| weight).sum();
        let mut at = rng.random_range(0..total);
        for (act, weight) in &self.acts {
            match at.checked_sub(*weight) {
                Some(left) => at = left,
                None => return *act,
            }
        }
        unreachable!("the place is below the sum of the weights")
    }

    /// A lease, in milliseconds.
    pub fn ttl(&self, rng: &mut StdRng) -> u64 {
        draw_log(rng, self.ttl_ms)
    }
}

fn pick<T: Copy>(rng: &mut StdRng, choices: &[T]) -> T {
    choices[rng.random_range(0..choices.len())]
}

/// A number of the range, each order of magnitude as likely as any other.
fn draw_log(rng: &mut StdRng, (min, max): (u64, u64)) -> u64 {
    let max = max.max(min);
    let octaves = (max / min).ilog2();
    let low = min << rng.random_range(0..=octaves);
    rng.random_range(low..=max.min(low * 2))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_draws_the_same_and_another_another() {
        assert_eq!(Load::draw(7), Load::draw(7));
        let different: Vec<_> = (0..20).map(Load::draw).collect();
        assert!(different.iter().any(|load| *load != different[0]));
    }

    #[test]
    fn every_act_is_done_by_some_client_and_left_out_by_another() {
        let mut rng = kapu::env::rng(1, "test");
        let mixes: Vec<_> = (0..50).map(|seed| Load::draw(seed).draw_mix(&mut rng)).collect();
        for (act, _) in ACTS {
            let doing = mixes.iter().filter(|mix| mix.acts.iter().any(|(a, _)| *a == act));
            let doing = doing.count();
            assert!(doing > 10, "{act:?} is done by {doing} of 50 clients");
            assert!(act == Act::Try || doing < 50, "{act:?} is never left out");
        }
    }

    #[test]
    fn acts_come_as_often_as_they_weigh() {
        let mut rng = kapu::env::rng(1, "test");
        let mut mix = Load::draw(1).draw_mix(&mut rng);
        mix.acts = vec![(Act::Look, 1), (Act::Wait, 9)];
        let looks = (0..10_000).filter(|_| mix.act(&mut rng) == Act::Look).count();
        assert!((800..1_200).contains(&looks), "{looks}");
    }

    #[test]
    fn leases_are_within_their_range_and_of_every_magnitude() {
        let mut rng = kapu::env::rng(1, "test");
        let drawn: Vec<_> = (0..2_000).map(|_| draw_log(&mut rng, (40, 8_000))).collect();
        assert!(drawn.iter().all(|ttl| (40..=8_000).contains(ttl)));
        for range in [40..=80_u64, 160..=320, 640..=1_280, 4_000..=8_000] {
            let count = drawn.iter().filter(|ttl| range.contains(*ttl)).count();
            assert!(count > 100, "{range:?}: {count}");
        }
        assert_eq!(draw_log(&mut rng, (40, 40)), 40);
    }

    #[test]
    fn every_name_can_come() {
        let mut rng = kapu::env::rng(1, "test");
        let load = Load::draw(3);
        let mix = Mix {
            hot_percent: 50,
            ..load.draw_mix(&mut rng)
        };
        let come: std::collections::BTreeSet<_> = (0..5_000).map(|_| load.name(mix.hot_percent, &mut rng)).collect();
        assert_eq!(come, load.names().collect());
    }
}
