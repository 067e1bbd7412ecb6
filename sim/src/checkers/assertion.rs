//! What kapu itself found broken: a task of a node or of a client that panicked, with what it said.
//!
//! The invariants that kapu asserts are the nearest look at it that there is. A panic is a finding of its own, whatever it leads to later.

use super::Violation;
use crate::evidence::Evidence;

/// No task panicked.
///
/// # Errors
/// When one did; the first is named.
pub fn check(evidence: &Evidence) -> Result<(), Violation> {
    match evidence.ending.panics.first() {
        Some(said) => Err(Violation::new("assertion", format!("a task panicked: {said}"))),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checkers::samples::cluster;
    use crate::evidence::Ending;

    fn ended(panics: &[&str]) -> Evidence {
        let panics = panics.iter().map(|said| (*said).to_owned()).collect();
        let ending = Ending {
            panics,
            ..Ending::default()
        };
        Evidence { ending, ..cluster() }
    }

    #[test]
    fn a_broken_invariant_is_objected_to_in_its_own_words() {
        let violation = check(&ended(&["partition: the term went back"])).unwrap_err();
        assert_eq!(violation.checker, "assertion");
        assert!(violation.message.contains("the term went back"));
    }

    #[test]
    fn a_run_without_a_panic_is_fine() {
        assert_eq!(check(&ended(&[])), Ok(()));
    }

    #[test]
    fn a_node_that_ended_without_a_panic_is_for_liveness() {
        let mut run = ended(&[]);
        run.ending.failures.push((1, "its disk cannot be read".to_owned()));
        assert_eq!(check(&run), Ok(()));
    }
}
