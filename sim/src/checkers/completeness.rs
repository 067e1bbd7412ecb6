//! Leader completeness: what was committed in an earlier term is in the log of every later leader (Raft section 5.4.3).
//!
//! An entry is known to be committed once a replica says so, and then was committed in that replica's term or before. A leader's log is known by
//! its length and by the entries that it sends; one that says little of itself is asked little.

use std::collections::BTreeMap;

use kapu::raft::Role;

use super::Violation;
use crate::evidence::{Evidence, Fact, Observation};

/// No leader lacks, or has another in the place of, what was committed in a term before its own.
///
/// # Errors
/// When one does.
pub fn check(evidence: &Evidence) -> Result<(), Violation> {
    let committed = Committed::of(evidence);
    for seen in &evidence.observations {
        match seen.fact {
            Fact::Status {
                role: Role::Leader,
                term,
                last,
                ..
            } => committed.demand_length(seen, term, last)?,
            Fact::Sent { leads, index, term, .. } => committed.demand_entry(seen, leads, index, term)?,
            Fact::Status { .. } | Fact::Applied { .. } | Fact::Led { .. } => {}
        }
    }
    Ok(())
}

#[derive(Default)]
struct Committed {
    /// By (partition, term): the greatest index that was known in that term or before to be committed.
    through: BTreeMap<(u32, u64), u64>,
    /// By (partition, index): the term of the entry that was applied.
    terms: BTreeMap<(u32, u64), u64>,
}

impl Committed {
    fn of(evidence: &Evidence) -> Self {
        let mut committed = Self::default();
        for seen in &evidence.observations {
            match seen.fact {
                Fact::Status { term, commit, .. } => {
                    let through = committed.through.entry((seen.partition, term)).or_default();
                    *through = commit.max(*through);
                }
                Fact::Applied { index, term, .. } => {
                    committed.terms.insert((seen.partition, index), term);
                }
                Fact::Led { .. } | Fact::Sent { .. } => {}
            }
        }
        committed.accumulate();
        committed
    }

    /// What is committed in a term is committed in every later one.
    fn accumulate(&mut self) {
        let mut before = (0, 0);
        for ((partition, _), through) in &mut self.through {
            if before.0 == *partition {
                *through = before.1.max(*through);
            }
            before = (*partition, *through);
        }
    }

    /// The greatest index that was committed in a term before `term`.
    fn before(&self, partition: u32, term: u64) -> u64 {
        let earlier = self.through.range((partition, 0)..(partition, term)).next_back();
        earlier.map_or(0, |(_, through)| *through)
    }

    fn demand_length(&self, seen: &Observation, term: u64, last: u64) -> Result<(), Violation> {
        let through = self.before(seen.partition, term);
        if last >= through {
            return Ok(());
        }
        Err(object(
            seen,
            term,
            &format!("has a log that ends at {last}, and entry {through} was committed before"),
        ))
    }

    fn demand_entry(&self, seen: &Observation, leads: u64, index: u64, term: u64) -> Result<(), Violation> {
        let applied = self.terms.get(&(seen.partition, index));
        match applied {
            Some(applied) if *applied != term && index <= self.before(seen.partition, leads) => {
                let what = format!("sent entry {index} of term {term}, and one of term {applied} was committed before");
                Err(object(seen, leads, &what))
            }
            _ => Ok(()),
        }
    }
}

fn object(seen: &Observation, leads: u64, what: &str) -> Violation {
    let message = format!(
        "node {}, leader of partition {} in term {leads}, at {} ns {what}",
        seen.node, seen.partition, seen.at_ns
    );
    Violation::new("completeness", message)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checkers::samples::{applied, observed, sent, status};

    #[test]
    fn a_later_leader_that_lacks_a_committed_entry_is_objected_to() {
        let run = |last| {
            observed(vec![
                (1, 0, status(Role::Leader, 2, 7, 6)),
                (2, 0, status(Role::Leader, 4, last, 3)),
                (2, 1, status(Role::Leader, 4, 1, 1)),
            ])
        };
        assert_eq!(check(&run(6)), Ok(()));
        assert!(check(&run(5)).is_err());
    }

    #[test]
    fn a_leader_of_an_earlier_term_that_wakes_late_need_not_have_it() {
        let run = observed(vec![
            (1, 0, status(Role::Leader, 4, 7, 6)),
            (2, 0, status(Role::Leader, 3, 5, 3)),
        ]);
        assert_eq!(check(&run), Ok(()));
    }

    #[test]
    fn another_entry_in_the_place_of_a_committed_one_is_objected_to() {
        let run = |term| {
            observed(vec![
                (1, 0, status(Role::Leader, 2, 7, 6)),
                (1, 0, applied(6, 2, 0, 0)),
                (2, 0, sent(4, 6, term, 0)),
                (2, 0, sent(4, 7, 4, 0)),
            ])
        };
        assert_eq!(check(&run(2)), Ok(()));
        assert!(check(&run(1)).is_err());
    }
}
