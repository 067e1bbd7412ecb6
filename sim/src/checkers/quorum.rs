//! What a leader commits, at the moment at which it does: durable on a quorum, and of its own term.
//!
//! The other checkers look at what a wrong commit leads to, which takes a crash at the right moment. This one needs none: a replica is seen
//! before anything it says leaves it, so whatever a leader may count on was seen before it counts. It does not look at disks.

use std::collections::BTreeMap;

use kapu::raft::Role;

use super::Violation;
use crate::evidence::{Evidence, Fact, Observation};

/// Whenever a leader's commit index moves, a quorum was seen to hold that entry durably, and the entry is of the leader's term.
///
/// # Errors
/// When it was not, or is not.
pub fn check(evidence: &Evidence) -> Result<(), Violation> {
    let mut known = Known {
        terms: terms(evidence),
        ..Known::default()
    };
    for seen in &evidence.observations {
        if let Fact::Status {
            role,
            term,
            commit,
            durable,
            ..
        } = seen.fact
        {
            known.durable.insert((seen.partition, seen.node), durable);
            if known.committed_as_leader(seen, role, term, commit) {
                known.demand(evidence.nodes, seen, term, commit)?;
            }
        }
    }
    Ok(())
}

/// What was seen until now.
#[derive(Default)]
struct Known {
    /// By (partition, index): the term of the entry.
    terms: BTreeMap<(u32, u64), u64>,
    /// By (partition, node): the last durable entry.
    durable: BTreeMap<(u32, u64), u64>,
    /// By (partition, node): life, term and commit index of one that leads.
    leading: BTreeMap<(u32, u64), (u64, u64, u64)>,
}

impl Known {
    /// Whether a replica that led already moved its commit index in the same term.
    fn committed_as_leader(&mut self, seen: &Observation, role: Role, term: u64, commit: u64) -> bool {
        let replica = (seen.partition, seen.node);
        if role != Role::Leader {
            self.leading.remove(&replica);
            return false;
        }
        let before = self.leading.insert(replica, (seen.boot, term, commit));
        before.is_some_and(|(boot, led, had)| (boot, led) == (seen.boot, term) && had < commit)
    }

    fn demand(&self, nodes: u64, seen: &Observation, term: u64, commit: u64) -> Result<(), Violation> {
        let replicas = self.durable.range((seen.partition, 0)..=(seen.partition, u64::MAX));
        let holders = replicas.filter(|(_, durable)| **durable >= commit).count() as u64;
        if holders < nodes / 2 + 1 {
            let what = format!("committed entry {commit}, which is durable on {holders} of {nodes}");
            return Err(object(seen, &what));
        }
        match self.terms.get(&(seen.partition, commit)) {
            Some(of) if *of != term => {
                let what = format!("leads term {term}, and committed up to entry {commit} of term {of}");
                Err(object(seen, &what))
            }
            _ => Ok(()),
        }
    }
}

fn terms(evidence: &Evidence) -> BTreeMap<(u32, u64), u64> {
    let mut terms = BTreeMap::new();
    for seen in &evidence.observations {
        if let Fact::Applied { index, term, .. } = seen.fact {
            terms.entry((seen.partition, index)).or_insert(term);
        }
    }
    terms
}

fn object(seen: &Observation, what: &str) -> Violation {
    let message = format!(
        "partition {}, node {} in its life {} at {} ns {what}",
        seen.partition, seen.node, seen.boot, seen.at_ns
    );
    Violation::new("quorum", message)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checkers::samples::{applied, observed, status};

    fn leader(durable: u64, commit: u64) -> Fact {
        status(Role::Leader, 2, durable, commit)
    }

    fn follower(durable: u64) -> Fact {
        status(Role::Follower, 2, durable, 0)
    }

    #[test]
    fn what_two_of_three_hold_may_be_committed() {
        let run = observed(vec![
            (1, 0, leader(5, 0)),
            (2, 0, follower(5)),
            (1, 0, leader(5, 5)),
            (1, 0, applied(5, 2, 0, 0)),
        ]);
        assert_eq!(check(&run), Ok(()));
    }

    #[test]
    fn what_one_of_three_holds_may_not() {
        let run = observed(vec![
            (1, 0, leader(5, 0)),
            (2, 0, follower(4)),
            (2, 1, follower(9)),
            (1, 0, leader(5, 5)),
        ]);
        assert!(check(&run).is_err());
    }

    #[test]
    fn an_entry_of_an_earlier_term_may_not_be_counted() {
        let run = observed(vec![
            (1, 0, leader(5, 0)),
            (2, 0, follower(5)),
            (1, 0, leader(5, 4)),
            (1, 0, applied(4, 1, 0, 0)),
        ]);
        assert!(check(&run).is_err());
    }

    #[test]
    fn what_was_committed_before_it_led_is_not_asked() {
        let run = observed(vec![(1, 0, follower(5)), (1, 0, leader(5, 5))]);
        assert_eq!(check(&run), Ok(()));
    }
}
