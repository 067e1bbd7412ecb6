//! Election safety: at most one leader a term (Raft section 5.2).
//!
//! Two witnesses are believed: what a replica says of itself, and what it sends as a leader. That a partition has a leader at all is not
//! asked here.

use std::collections::BTreeMap;

use super::Violation;
use crate::evidence::{Evidence, Fact};
use kapu::raft::Role;

/// No two nodes lead one partition in one term.
///
/// # Errors
/// When two do.
pub fn check(evidence: &Evidence) -> Result<(), Violation> {
    let mut leaders = BTreeMap::new();
    for seen in &evidence.observations {
        let (Fact::Led { term }
        | Fact::Status {
            role: Role::Leader,
            term,
            ..
        }) = seen.fact
        else {
            continue;
        };
        let first = *leaders.entry((seen.partition, term)).or_insert(seen.node);
        if first != seen.node {
            return Err(Violation::new(
                "election",
                format!(
                    "nodes {first} and {} both led partition {} in term {term}; the second at {} ns",
                    seen.node, seen.partition, seen.at_ns
                ),
            ));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checkers::samples::{led, observed, status};

    #[test]
    fn one_leader_a_term_is_fine_in_each_partition() {
        let run = observed(vec![
            (1, 0, led(4)),
            (2, 1, led(4)),
            (1, 0, led(4)),
            (2, 0, led(5)),
            (3, 0, status(Role::Follower, 5, 9, 9)),
        ]);
        assert_eq!(check(&run), Ok(()));
    }

    #[test]
    fn two_leaders_of_one_term_are_objected_to() {
        let sent = observed(vec![(1, 0, led(4)), (2, 0, led(4))]);
        assert!(check(&sent).is_err());
        let said = observed(vec![(1, 0, led(4)), (2, 0, status(Role::Leader, 4, 9, 9))]);
        assert!(check(&said).is_err());
    }
}
