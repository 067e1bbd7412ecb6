//! State-machine safety: every replica that applies an entry comes to the same state (Raft section 5.4.3).
//!
//! The digest is of the whole state after the entry, so a replica that once went wrong differs for ever. What the state means is not looked at.

use std::collections::BTreeMap;

use super::Violation;
use crate::evidence::{Evidence, Fact, Observation};

const NAME: &str = "state";

/// What an entry came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Effect {
    term: u64,
    log_time: u64,
    digest: u64,
}

/// One effect of each (partition, index), over all nodes and their lives; in each life without a gap but where a snapshot fills it; log time that
/// never goes back.
///
/// # Errors
/// When one of these is not so.
pub fn check(evidence: &Evidence) -> Result<(), Violation> {
    let mut effects = BTreeMap::new();
    let mut last = BTreeMap::new();
    for seen in &evidence.observations {
        let Fact::Applied {
            index,
            term,
            log_time,
            digest,
            is_snapshot,
            ..
        } = seen.fact
        else {
            continue;
        };
        let effect = Effect { term, log_time, digest };
        let (first, by) = *effects.entry((seen.partition, index)).or_insert((effect, seen.node));
        if first != effect {
            return Err(object(
                seen,
                index,
                &format!("came to {effect:x?}, and on node {by} to {first:x?}"),
            ));
        }
        match last.insert((seen.node, seen.boot, seen.partition), index) {
            Some(before) if index <= before || index != before + 1 && !is_snapshot => {
                return Err(object(seen, index, &format!("follows entry {before}")));
            }
            _ => {}
        }
    }
    check_order(&effects)
}

/// Along the entries of a partition neither terms nor log time fall.
fn check_order(effects: &BTreeMap<(u32, u64), (Effect, u64)>) -> Result<(), Violation> {
    for (((partition, lower), (a, _)), ((same, upper), (b, _))) in effects.iter().zip(effects.iter().skip(1)) {
        if partition == same && (a.term > b.term || a.log_time > b.log_time) {
            let message = format!(
                "partition {partition}: entry {lower} is {a:x?} and entry {upper} is {b:x?}: term or log time fell"
            );
            return Err(Violation::new(NAME, message));
        }
    }
    Ok(())
}

fn object(seen: &Observation, index: u64, what: &str) -> Violation {
    let message = format!(
        "partition {}, node {} in its life {} at {} ns: entry {index} {what}",
        seen.partition, seen.node, seen.boot, seen.at_ns
    );
    Violation::new(NAME, message)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checkers::samples::{applied, installed, lived, observed};

    #[test]
    fn replicas_and_lives_that_agree_are_fine() {
        let run = lived(vec![
            (1, 1, 0, applied(1, 1, 10, 7)),
            (1, 1, 0, applied(2, 1, 20, 8)),
            (2, 1, 0, applied(1, 1, 10, 7)),
            (1, 2, 0, applied(2, 1, 20, 8)),
            (1, 2, 0, applied(3, 2, 20, 9)),
            (1, 2, 1, applied(1, 9, 99, 1)),
        ]);
        assert_eq!(check(&run), Ok(()));
    }

    #[test]
    fn two_effects_of_one_entry_are_objected_to() {
        for other in [applied(1, 2, 10, 7), applied(1, 1, 11, 7), applied(1, 1, 10, 8)] {
            let run = observed(vec![(1, 0, applied(1, 1, 10, 7)), (2, 0, other)]);
            assert!(check(&run).is_err());
        }
    }

    #[test]
    fn a_life_that_skips_or_repeats_an_entry_is_objected_to() {
        for index in [1, 3] {
            let run = observed(vec![(1, 0, applied(1, 1, 10, 7)), (1, 0, applied(index, 1, 10, 7))]);
            assert!(check(&run).is_err());
        }
    }

    #[test]
    fn a_snapshot_may_skip_entries_but_goes_forward_and_to_the_same_state() {
        let first = (1, 0, applied(1, 1, 10, 7));
        assert_eq!(
            check(&observed(vec![first.clone(), (1, 0, installed(9, 1, 10, 8))])),
            Ok(())
        );
        assert!(check(&observed(vec![first.clone(), (1, 0, installed(1, 1, 10, 7))])).is_err());
        let other = (2, 0, applied(9, 1, 10, 3));
        assert!(check(&observed(vec![first, (1, 0, installed(9, 1, 10, 8)), other])).is_err());
    }

    #[test]
    fn log_time_and_terms_that_fall_are_objected_to() {
        for later in [applied(2, 1, 9, 8), applied(2, 0, 10, 8)] {
            let run = observed(vec![(1, 0, applied(1, 1, 10, 7)), (2, 0, later)]);
            assert!(check(&run).is_err());
        }
    }
}
