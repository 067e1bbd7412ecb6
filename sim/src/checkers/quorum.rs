//! What a leader commits, at the moment at which it does: durable on a quorum, and of its own term.
//!
//! The other checkers look at what a wrong commit leads to, which takes a crash at the right moment. This one needs none: a replica is seen
//! before anything it says leaves it, so whatever a leader may count on was seen before it counts. Who counts is what the leader's membership said
//! when it was seen last or says now: no replica goes through two changes of it between two looks. It does not look at disks.

use std::collections::BTreeMap;

use kapu::raft::Role;

use super::Violation;
use crate::evidence::{Evidence, Fact, Observation, Voters};

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
            voters,
            ..
        } = seen.fact
        {
            known.durable.insert((seen.partition, seen.node), durable);
            if let Some(before) = known.committed_as_leader(seen, role, (term, commit, voters)) {
                known.demand([before, voters], seen, term, commit)?;
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
    /// By (partition, node): life, term, commit index and voters of one that leads.
    leading: BTreeMap<(u32, u64), (u64, Lead)>,
}

/// Term, commit index and voters of a leader.
type Lead = (u64, u64, Voters);

impl Known {
    /// The voters before, if a replica that led already moved its commit index in the same term.
    fn committed_as_leader(&mut self, seen: &Observation, role: Role, lead: Lead) -> Option<Voters> {
        let replica = (seen.partition, seen.node);
        if role != Role::Leader {
            self.leading.remove(&replica);
            return None;
        }
        let (boot, (led, had, voters)) = self.leading.insert(replica, (seen.boot, lead))?;
        let (term, commit, _) = lead;
        ((boot, led) == (seen.boot, term) && had < commit).then_some(voters)
    }

    fn demand(&self, voters: [Voters; 2], seen: &Observation, term: u64, commit: u64) -> Result<(), Violation> {
        let replicas = self.durable.range((seen.partition, 0)..=(seen.partition, u64::MAX));
        let holders = replicas.filter(|(_, durable)| **durable >= commit);
        let holders: Vec<_> = holders.map(|((_, node), _)| *node).collect();
        if !voters
            .iter()
            .any(|voters| voters.are_decided_by(holders.iter().copied()))
        {
            let voters = voters.map(|voters| voters.nodes().collect::<Vec<_>>());
            let what = format!("committed entry {commit}, which is durable on {holders:?} of {voters:?}");
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
    use crate::checkers::samples::{applied, observed, status, status_among};

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
    fn what_no_majority_of_the_old_voters_holds_may_not_while_they_count() {
        let run = |old| {
            let voters = Voters { new: 0b11_0010, old };
            let joint = |role, ends| status_among(voters, role, 2, ends);
            observed(vec![
                (1, 0, joint(Role::Leader, (5, 0))),
                (4, 0, joint(Role::Follower, (5, 0))),
                (1, 0, joint(Role::Leader, (5, 5))),
            ])
        };
        assert!(check(&run(0b1110)).is_err());
        assert_eq!(check(&run(0)), Ok(()));
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
