//! What was committed is on the disks of a quorum when all is over, those of dead nodes counted.
//!
//! A quorum is one of the voters that the leader had which committed the last entry first. The disks are read as they are, past every node. A disk that is lost, wiped or rotten, holds nothing: those that remain must. What the state machines saved is not looked at: they can be made again from the log.

use std::collections::BTreeMap;

use kapu::raft::Role;

use super::Violation;
use crate::evidence::{DurableReplica, Evidence, Fact, Voters};

const NAME: &str = "durability";

/// Every committed entry is durable on a quorum, and every led term on its leader.
///
/// # Errors
/// When one is not.
pub fn check(evidence: &Evidence) -> Result<(), Violation> {
    let known = Known::of(evidence);
    for partition in 0..evidence.partitions {
        let committed = known.committed.get(&partition).copied().unwrap_or_default();
        let term = known.terms.get(&(partition, committed)).copied();
        let disks = || evidence.disks.iter().filter(move |disk| disk.partition == partition);
        let holders = disks().filter(|disk| !disk.spoiled && holds(disk, committed, term));
        let holders: Vec<_> = holders.map(|disk| disk.node).collect();
        let decided = known.deciders.get(&partition);
        let voters = decided.map_or([Voters::first(evidence.nodes); 2], |(_, voters)| *voters);
        let is_held = voters
            .iter()
            .any(|voters| voters.are_decided_by(holders.iter().copied()));
        if committed > 0 && !is_held {
            let found: Vec<_> = disks().map(|disk| (disk.node, disk.term, disk.last)).collect();
            let voters = voters.map(|voters| voters.nodes().collect::<Vec<_>>());
            let message = format!(
                "partition {partition}: entry {committed} of term {term:?} was committed, and only the disks of {holders:?} have it, of voters {voters:?}; (node, term, last): {found:?}"
            );
            return Err(Violation::new(NAME, message));
        }
    }
    evidence.disks.iter().try_for_each(|disk| known.demand_term(disk))
}

/// Whether the entry at `index` is there, with its term where both are known.
fn holds(disk: &DurableReplica, index: u64, term: Option<u64>) -> bool {
    let there = disk.runs.iter().rev().find(|(first, _)| *first <= index);
    let same = match (there, term) {
        (Some((_, there)), Some(term)) => *there == term,
        _ => true,
    };
    disk.last >= index && same
}

#[derive(Default)]
struct Known {
    /// By partition: the greatest committed index.
    committed: BTreeMap<u32, u64>,
    /// By partition: the greatest index that a leader committed, and who decided on it, by the leader's membership just before or then.
    deciders: BTreeMap<u32, (u64, [Voters; 2])>,
    /// By (partition, node): the latest voters.
    voters: BTreeMap<(u32, u64), Voters>,
    /// By (partition, index): the term of the entry that was applied.
    terms: BTreeMap<(u32, u64), u64>,
    /// By (node, partition): the greatest term that it led.
    led: BTreeMap<(u64, u32), u64>,
}

impl Known {
    fn of(evidence: &Evidence) -> Self {
        let mut known = Self::default();
        for seen in &evidence.observations {
            match seen.fact {
                Fact::Status {
                    role,
                    term,
                    commit,
                    voters,
                    ..
                } => {
                    let before = known.voters.insert((seen.partition, seen.node), voters);
                    if role == Role::Leader {
                        known.decide(seen.partition, commit, [before.unwrap_or(voters), voters]);
                    }
                    known.commit(seen.partition, commit);
                    if role == Role::Leader {
                        known.lead(seen.node, seen.partition, term);
                    }
                }
                Fact::Applied { index, term, .. } => {
                    known.commit(seen.partition, index);
                    known.terms.insert((seen.partition, index), term);
                }
                Fact::Led { term } => known.lead(seen.node, seen.partition, term),
                Fact::Sent { .. } => {}
            }
        }
        known
    }

    fn commit(&mut self, partition: u32, index: u64) {
        let committed = self.committed.entry(partition).or_default();
        *committed = index.max(*committed);
    }

    fn decide(&mut self, partition: u32, commit: u64, voters: [Voters; 2]) {
        let decided = self.deciders.entry(partition).or_default();
        if decided.0 < commit {
            *decided = (commit, voters);
        }
    }

    fn lead(&mut self, node: u64, partition: u32, term: u64) {
        let led = self.led.entry((node, partition)).or_default();
        *led = term.max(*led);
    }

    fn demand_term(&self, disk: &DurableReplica) -> Result<(), Violation> {
        let led = self.led.get(&(disk.node, disk.partition)).copied().unwrap_or_default();
        if disk.spoiled || disk.term >= led {
            return Ok(());
        }
        let DurableReplica {
            node, partition, term, ..
        } = disk;
        let message = format!("node {node} led partition {partition} in term {led}, and its disk knows of term {term}");
        Err(Violation::new(NAME, message))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checkers::samples::{applied, led, observed};

    fn disk(node: u64, last: u64) -> DurableReplica {
        DurableReplica {
            node,
            term: 3,
            last,
            runs: vec![(0, 0), (1, 2), (5, 3)],
            ..DurableReplica::default()
        }
    }

    /// Entry 4 of term 2 was committed.
    fn run(disks: Vec<DurableReplica>) -> Evidence {
        Evidence {
            disks,
            ..observed(vec![(1, 0, applied(4, 2, 0, 0))])
        }
    }

    #[test]
    fn a_committed_entry_on_a_minority_of_disks_is_objected_to() {
        assert_eq!(check(&run(vec![disk(1, 4), disk(2, 6), disk(3, 1)])), Ok(()));
        assert!(check(&run(vec![disk(1, 4), disk(2, 3), disk(3, 1)])).is_err());
        assert!(check(&run(vec![])).is_err(), "no disk was read");
    }

    #[test]
    fn another_entry_in_its_place_does_not_count() {
        let other = DurableReplica {
            runs: vec![(0, 0), (1, 1)],
            ..disk(2, 6)
        };
        assert!(check(&run(vec![disk(1, 4), other, disk(3, 1)])).is_err());
    }

    #[test]
    fn a_lost_disk_counts_for_nothing() {
        let spoiled = DurableReplica {
            spoiled: true,
            ..disk(2, 9)
        };
        assert!(check(&run(vec![disk(1, 4), spoiled.clone(), disk(3, 1)])).is_err());
        assert_eq!(check(&run(vec![disk(1, 4), spoiled, disk(3, 4)])), Ok(()));
    }

    #[test]
    fn a_led_term_that_is_not_durable_is_objected_to() {
        let disks = || vec![disk(1, 0), disk(2, 0), disk(3, 0)];
        let run = |term| Evidence {
            disks: disks(),
            ..observed(vec![(1, 0, led(term))])
        };
        assert_eq!(check(&run(3)), Ok(()));
        assert!(check(&run(4)).is_err());
    }
}
