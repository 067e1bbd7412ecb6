//! Both sides in lockstep: the same partitions, crashes and proposals, the same election timeouts, everything delivered at once.
//!
//! A schedule is a row of phases. A phase changes who runs and which links are cut, lets time pass until both sides should have settled, and
//! then has entries proposed to whoever leads. After every tick and every proposal the sides are compared.

use std::collections::BTreeMap;
use std::fmt::Write;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use crate::cluster::Cluster;
use crate::ours::Ours;
use crate::replica::{Replica, Role, Shape};
use crate::schedule::payloads;
use crate::theirs::Theirs;

const PHASES_MAX: usize = 12;
const NODES: [u64; 5] = [2, 3, 3, 4, 5];
/// Both sides mostly have settled after so many election times.
const ELECTION_TIMES_TO_SETTLE: u32 = 8;
/// All have heard everything when terms and leaders have stayed the same for so many heartbeats. Some one-way links make elections go on for ever.
const HEARTBEATS_TO_QUIET: u32 = 6;

/// How often a node of theirs had learnt a commit index from a candidate. Rare.
pub const VOTED: &str = "nodes that theirs told by a vote";

/// How often what was compared.
#[derive(Default)]
struct Compared {
    ticks: usize,
    quiet_points: usize,
    proposals: usize,
    crashes: usize,
    differences: BTreeMap<Difference, usize>,
}

struct Pair {
    ours: Cluster<Ours>,
    theirs: Cluster<Theirs>,
    rng: StdRng,
    proposed: u64,
    story: String,
    /// Term and leader of each node of ours, and for how many ticks they have been so.
    reign: (Vec<Option<(u64, u64)>>, u32),
    compared: Compared,
}

/// Runs schedule `number`.
pub fn run(number: u64) -> [(&'static str, usize); 8] {
    let mut rng = StdRng::seed_from_u64(!number);
    let heartbeat_ticks = rng.random_range(1..3);
    let shape = Shape {
        nodes: NODES[rng.random_range(0..NODES.len())],
        heartbeat_ticks,
        election_ticks: heartbeat_ticks * rng.random_range(3..6),
        seed: number,
    };
    let mut pair = Pair {
        ours: Cluster::new(shape),
        theirs: Cluster::new(shape),
        rng,
        proposed: 0,
        story: format!("lockstep schedule {number}: {shape:?}\n"),
        reign: (Vec::new(), 0),
        compared: Compared::default(),
    };
    pair.mirror();
    for _ in 0..pair.rng.random_range(3..PHASES_MAX) {
        pair.phase();
    }
    let compared = pair.compared;
    let differences = |difference| compared.differences.get(&difference).copied().unwrap_or_default();
    [
        ("ticks", compared.ticks),
        ("quiet points", compared.quiet_points),
        ("proposals", compared.proposals),
        ("crashes", compared.crashes),
        ("elections", pair.ours.checks.elections()),
        ("nodes that ours refused an answer to", differences(Difference::Refused)),
        (VOTED, differences(Difference::Voted)),
        ("nodes of ours that heard later", differences(Difference::Late)),
    ]
}

impl Pair {
    /// What happens, to both.
    fn both(&mut self, what: &str, ours: impl FnOnce(&mut Cluster<Ours>), theirs: impl FnOnce(&mut Cluster<Theirs>)) {
        writeln!(self.story, "{what}").expect("a string takes everything");
        ours(&mut self.ours);
        theirs(&mut self.theirs);
        self.mirror();
    }

    /// Their election timeouts are what ours were drawn to be.
    fn mirror(&mut self) {
        for id in self.ours.ids() {
            let ticks = self.ours.up(id).map(Ours::timeout);
            if let (Some(ticks), Some(theirs)) = (ticks, self.theirs.up_mut(id)) {
                theirs.set_timeout(ticks);
            }
        }
    }

    fn phase(&mut self) {
        self.change_nodes();
        self.change_links();
        for _ in 0..ELECTION_TIMES_TO_SETTLE * self.ours.shape.election_ticks {
            self.tick();
        }
        self.compare_if_quiet();
        for _ in 0..self.rng.random_range(0..4) {
            self.propose();
        }
        for _ in 0..HEARTBEATS_TO_QUIET * self.ours.shape.heartbeat_ticks {
            self.tick();
        }
        self.compare_if_quiet();
    }

    fn tick(&mut self) {
        self.both("tick", Cluster::calm_tick, Cluster::calm_tick);
        self.compared.ticks += 1;
        self.compare(false);
        let view = |id| self.ours.view(id).map(|view| (view.term, view.leader));
        let now: Vec<_> = self.ours.ids().map(view).collect();
        let same = now == self.reign.0;
        self.reign = (now, if same { self.reign.1 + 1 } else { 0 });
    }

    /// Time has passed: if terms and leaders have lasted, what may differ for a while may no longer.
    fn compare_if_quiet(&mut self) {
        if self.reign.1 >= HEARTBEATS_TO_QUIET * self.ours.shape.heartbeat_ticks {
            self.compared.quiet_points += 1;
            self.compare(true);
        }
    }

    fn change_nodes(&mut self) {
        for id in self.ours.ids() {
            let kept = self.rng.random();
            match self.rng.random_range(0..10) {
                0 => {
                    self.compared.crashes += 1;
                    self.both(
                        &format!("{id} crashes"),
                        |cluster| cluster.crash(id, 0, kept),
                        |cluster| cluster.crash(id, 0, kept),
                    );
                }
                1..5 => self.both(
                    &format!("{id} restarts, if it is down"),
                    |cluster| cluster.restart(id),
                    |cluster| cluster.restart(id),
                ),
                _ => {}
            }
        }
    }

    fn change_links(&mut self) {
        self.both("all links are mended", Cluster::mend, Cluster::mend);
        let nodes = self.ours.shape.nodes;
        let cuts: Vec<(u64, u64)> = match self.rng.random_range(0..4) {
            0 => Vec::new(),
            1 => self.halves(),
            _ => (0..self.rng.random_range(1..2 * nodes))
                .map(|_| (self.rng.random_range(1..=nodes), self.rng.random_range(1..=nodes)))
                .collect(),
        };
        for (from, to) in cuts {
            self.both(
                &format!("the link from {from} to {to} is cut"),
                |cluster| cluster.cut(from, to),
                |cluster| cluster.cut(from, to),
            );
        }
    }

    /// A partition into two sides.
    fn halves(&mut self) -> Vec<(u64, u64)> {
        let left: Vec<bool> = self.ours.ids().map(|_| self.rng.random()).collect();
        let all = || (1..).zip(left.clone());
        all()
            .flat_map(|(from, a)| all().filter(move |(_, b)| a != *b).map(move |(to, _)| (from, to)))
            .collect()
    }

    fn propose(&mut self) {
        let batch = payloads(self.rng.random_range(1..4), &mut self.proposed);
        for leader in self.ours.leaders() {
            self.compared.proposals += batch.len();
            let marked: Vec<_> = batch
                .iter()
                .map(|payload| [payload, &leader.to_be_bytes()[..]].concat())
                .collect();
            let marked: Vec<bytes::Bytes> = marked.into_iter().map(bytes::Bytes::from).collect();
            self.both(
                &format!("{leader} is given {} entries", batch.len()),
                |cluster| give(cluster, leader, marked.clone()),
                |cluster| give(cluster, leader, marked.clone()),
            );
            self.compare(false);
        }
    }

    /// Node by node. What may differ for a while may not differ at a quiet point.
    fn compare(&mut self, quiet: bool) {
        for id in self.ours.ids() {
            let (Some(ours), Some(theirs)) = (self.ours.up(id), self.theirs.up(id)) else {
                assert_eq!(self.ours.up(id).is_some(), self.theirs.up(id).is_some());
                continue;
            };
            for difference in differences(ours, theirs) {
                let allowed = match difference {
                    Difference::Refused => true,
                    Difference::Voted => theirs.view().commit <= self.ours.checks.committed() as u64,
                    Difference::Late => !quiet || self.ours.is_cut(id, ours.view().leader),
                    Difference::Other => false,
                };
                let (story, ours, theirs) = (&self.story, ours.view(), theirs.view());
                assert!(
                    allowed,
                    "{story}node {id}, quiet {quiet}, {difference:?}: ours {ours:?}, theirs {theirs:?}"
                );
                *self.compared.differences.entry(difference).or_default() += 1;
            }
        }
    }
}

/// In what the two replicas of a node differ. The head of this test has the reasons.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Difference {
    /// Ours was told that it would lose, and follows nobody; theirs got no answer, and still asks.
    Refused,
    /// Theirs learnt from a candidate what is committed.
    Voted,
    /// Both follow one leader, and ours has yet to hear what theirs has heard.
    Late,
    /// Nothing that is allowed.
    Other,
}

fn differences(ours: &Ours, theirs: &Theirs) -> Vec<Difference> {
    let (a, b) = (ours.view(), theirs.view());
    let same_log = a.last == b.last && ours.log() == theirs.log();
    if a == b && same_log {
        return Vec::new();
    }
    let behind = |(index, term): (u64, u64)| (term, index);
    let led = a.role == Role::Follower && b.role == Role::Follower && a.leader != 0;
    if (a.term, a.leader) != (b.term, b.leader) || a.commit > b.commit || behind(a.last) > behind(b.last) {
        return vec![Difference::Other];
    }
    if led {
        return vec![Difference::Late];
    }
    let mut differences = Vec::new();
    if (a.role, b.role) == (Role::Follower, Role::PreCandidate) {
        differences.push(Difference::Refused);
    } else if a.role != b.role {
        differences.push(Difference::Other);
    }
    if a.commit != b.commit {
        differences.push(if a.leader == 0 {
            Difference::Voted
        } else {
            Difference::Other
        });
    }
    if !same_log {
        differences.push(Difference::Other);
    }
    differences
}

fn give<R: Replica>(cluster: &mut Cluster<R>, leader: u64, payloads: Vec<bytes::Bytes>) {
    let leads = cluster.view(leader).is_some_and(|view| view.role == Role::Leader);
    if leads {
        assert!(cluster.propose(leader, payloads), "a leader takes entries");
    }
    cluster.flush(leader);
    cluster.settle();
}
