//! How fast the Raft core is without any I/O, beside the core of tikv's `raft` crate in the same run.
//!
//! Three replicas live on one thread. Entries of 128 bytes are proposed in batches; messages are passed by value, storage is memory, and a
//! batch is done when it is durable everywhere and the leader has applied it; the others learn of that with the next one. Each round makes new clusters, ours and theirs in turn, so that what else the
//! machine does meets both. What is told is the median of the rounds.
//!
//! Theirs is set up as favourably as it can be: no logging, one proposal for a batch, no limit on sizes, and commits travel with the
//! next append, as ours do, instead of by a message of their own.
//!
//! It judges nothing: a slow machine is no defect. `ci/bench --core` runs it.

#[path = "ours.rs"]
mod ours;
#[path = "theirs.rs"]
mod theirs;

use std::time::Duration;

use bytes::Bytes;
use kapu::clock::{Clock, SystemClock};

/// The bytes of one entry.
const ENTRY_BYTES: usize = 128;
/// How many entries are proposed at once, and how many entries one round has.
const LOADS: [(usize, usize); 2] = [(1, 200_000), (1024, 1_024_000)];
/// How many rounds there are unless more are asked for. Odd, so that one of them is the median.
const ROUNDS: usize = 7;

/// Three replicas, of which one leads.
trait Three {
    /// Makes them, and lets one be elected.
    fn elect() -> Self;
    /// Proposes a batch, and delivers until nothing is under way.
    fn replicate(&mut self, payloads: Vec<Bytes>);
    /// Lets the followers know how far the last batch is committed.
    fn beat(&mut self);
    /// How many entries with a payload each of the replicas has applied.
    fn applied(&self) -> [usize; 3];
}

fn payloads(count: usize) -> Vec<Bytes> {
    (0..count).map(|_| Bytes::from(vec![7; ENTRY_BYTES])).collect()
}

/// Entries a second of one round.
fn round<T: Three>(batch: usize, entries: usize) -> f64 {
    let mut three = T::elect();
    let started = SystemClock.now();
    for _ in 0..entries / batch {
        three.replicate(payloads(batch));
    }
    three.beat();
    let took = SystemClock.now().saturating_sub(started);
    let proposed = entries / batch * batch;
    assert_eq!(three.applied(), [proposed; 3], "every replica applies every entry once");
    per_second(proposed, took)
}

#[expect(clippy::cast_precision_loss, reason = "no round has 2^52 entries")]
fn per_second(entries: usize, took: Duration) -> f64 {
    entries as f64 / took.as_secs_f64()
}

fn median(values: &mut [f64]) -> f64 {
    values.sort_unstable_by(f64::total_cmp);
    values[values.len() / 2]
}

fn main() {
    // cargo bench says `--bench`; a number is the number of rounds.
    let rounds = std::env::args()
        .find_map(|argument| argument.parse().ok())
        .unwrap_or(ROUNDS);
    println!("three replicas on one thread, {ENTRY_BYTES}-byte entries, the median of {rounds} rounds each");
    for (batch, entries) in LOADS {
        let (mut ours, mut theirs) = (Vec::new(), Vec::new());
        for _ in 0..rounds {
            ours.push(round::<ours::Cluster>(batch, entries));
            theirs.push(round::<theirs::Cluster>(batch, entries));
        }
        let (ours, theirs) = (median(&mut ours), median(&mut theirs));
        let ratio = ours / theirs;
        println!("batch {batch:4}: kapu {ours:9.0} entries/s, tikv raft {theirs:9.0} entries/s, ratio {ratio:.2}");
    }
}
