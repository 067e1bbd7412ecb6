//! Log matching: one entry has one content, and terms along a log never fall (Raft section 5.3).
//!
//! It sees only what leaders send; what followers keep of it shows when they apply it. Between its first and its last message in a term a leader's
//! log only grows, so all that a node sends in one term is one log.

use std::collections::BTreeMap;

use super::Violation;
use crate::evidence::{Evidence, Fact, Observation};

const NAME: &str = "log";

/// One payload for each (partition, index, term) that was sent, and terms that never fall along the log of a leader.
///
/// # Errors
/// When one of the two is not so.
pub fn check(evidence: &Evidence) -> Result<(), Violation> {
    let mut payloads = BTreeMap::new();
    let mut logs = Logs::default();
    for seen in &evidence.observations {
        match seen.fact {
            Fact::Led { term } => logs.lead(seen, term),
            Fact::Sent { index, term, payload } => {
                let first = *payloads.entry((seen.partition, index, term)).or_insert(payload);
                if first != payload {
                    let message = format!(
                        "entry {index} of term {term} in partition {} has payloads {first:x} and, sent by node {} at {} ns, {payload:x}",
                        seen.partition, seen.node, seen.at_ns
                    );
                    return Err(Violation::new(NAME, message));
                }
                logs.send(seen, index, term)?;
            }
            Fact::Status { .. } | Fact::Applied { .. } => {}
        }
    }
    Ok(())
}

/// What each leader has sent in its term: the term of each index.
#[derive(Default)]
struct Logs {
    /// By (node, boot, partition).
    terms: BTreeMap<(u64, u64, u32), u64>,
    /// By (node, boot, partition, the leader's term).
    sent: BTreeMap<(u64, u64, u32, u64), BTreeMap<u64, u64>>,
}

impl Logs {
    fn lead(&mut self, seen: &Observation, term: u64) {
        self.terms.insert((seen.node, seen.boot, seen.partition), term);
    }

    fn send(&mut self, seen: &Observation, index: u64, term: u64) -> Result<(), Violation> {
        let Some(&leads) = self.terms.get(&(seen.node, seen.boot, seen.partition)) else {
            return Ok(());
        };
        let log = self
            .sent
            .entry((seen.node, seen.boot, seen.partition, leads))
            .or_default();
        let before = log.range(..index).next_back().map(|(_, term)| *term);
        let after = log.range(index + 1..).next().map(|(_, term)| *term);
        let same = log.insert(index, term);
        let fits = term <= leads
            && before.is_none_or(|before| before <= term)
            && after.is_none_or(|after| term <= after)
            && same.is_none_or(|same| same == term);
        if fits {
            return Ok(());
        }
        let message = format!(
            "node {} leads partition {} in term {leads} and at {} ns sent entry {index} of term {term}; before, it sent term {same:?} there, {before:?} below and {after:?} above",
            seen.node, seen.partition, seen.at_ns
        );
        Err(Violation::new(NAME, message))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checkers::samples::{led, lived, observed, sent};

    #[test]
    fn one_log_sent_twice_by_two_leaders_is_fine() {
        let run = observed(vec![
            (1, 0, led(2)),
            (1, 0, sent(5, 1, 0xa)),
            (1, 0, sent(6, 2, 0xb)),
            (2, 0, led(3)),
            (2, 0, sent(5, 1, 0xa)),
            (2, 0, sent(6, 3, 0xc)),
            (1, 1, sent(6, 2, 0xd)),
        ]);
        assert_eq!(check(&run), Ok(()));
    }

    #[test]
    fn two_payloads_of_one_entry_are_objected_to() {
        let run = observed(vec![(1, 0, led(2)), (1, 0, sent(5, 1, 0xa)), (2, 0, sent(5, 1, 0xb))]);
        assert!(check(&run).is_err());
    }

    #[test]
    fn a_term_that_falls_along_a_log_is_objected_to() {
        let falls = |low, high| observed(vec![(1, 0, led(4)), (1, 0, sent(5, low, 1)), (1, 0, sent(6, high, 2))]);
        assert_eq!(check(&falls(2, 3)), Ok(()));
        assert!(check(&falls(3, 2)).is_err());
        assert!(check(&falls(4, 5)).is_err(), "an entry of a term that is still to come");
    }

    #[test]
    fn a_leader_that_rewrites_its_log_is_objected_to() {
        let rewrites = |boot, term| {
            let fresh = (1, boot, 0, led(term));
            lived(vec![
                (1, 1, 0, led(4)),
                (1, 1, 0, sent(5, 2, 1)),
                fresh,
                (1, boot, 0, sent(5, 3, 2)),
            ])
        };
        assert!(check(&rewrites(1, 4)).is_err());
        assert_eq!(check(&rewrites(1, 5)), Ok(()), "it followed in between");
        assert_eq!(check(&rewrites(2, 5)), Ok(()), "it died in between");
    }
}
