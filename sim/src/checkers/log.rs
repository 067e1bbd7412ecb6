//! Log matching: one entry has one content, and terms along a log never fall (Raft section 5.3).
//!
//! It sees only what leaders send; what followers keep of it shows when they apply it. Between its first and its last message in a term a leader's
//! log only grows, so all that a node sends in one term is one log.

use std::collections::BTreeMap;

use super::Violation;
use crate::evidence::{Evidence, Fact, Observation};

/// One payload for each (partition, index, term) that was sent, and terms that never fall along the log of a leader.
///
/// # Errors
/// When one of the two is not so.
pub fn check(evidence: &Evidence) -> Result<(), Violation> {
    let mut payloads = BTreeMap::new();
    let mut logs: BTreeMap<(u64, u64, u32, u64), Sent> = BTreeMap::new();
    for seen in &evidence.observations {
        let Fact::Sent {
            leads,
            index,
            term,
            payload,
        } = seen.fact
        else {
            continue;
        };
        let first = *payloads.entry((seen.partition, index, term)).or_insert(payload);
        if first != payload {
            let what = format!("entry {index} of term {term} with payload {payload:x}, which was {first:x} before");
            return Err(object(seen, leads, &what));
        }
        let log = logs.entry((seen.node, seen.boot, seen.partition, leads)).or_default();
        log.add(leads, index, term).map_err(|what| object(seen, leads, &what))?;
    }
    Ok(())
}

/// What one leader has sent in one term: the term of each index.
#[derive(Default)]
struct Sent(BTreeMap<u64, u64>);

impl Sent {
    fn add(&mut self, leads: u64, index: u64, term: u64) -> Result<(), String> {
        let below = self.0.range(..index).next_back().map(|(_, term)| *term);
        let above = self.0.range(index + 1..).next().map(|(_, term)| *term);
        let same = self.0.insert(index, term);
        let fits = term <= leads
            && below.is_none_or(|below| below <= term)
            && above.is_none_or(|above| term <= above)
            && same.is_none_or(|same| same == term);
        if fits {
            return Ok(());
        }
        Err(format!(
            "entry {index} of term {term}; before, it sent term {same:?} there, {below:?} below and {above:?} above"
        ))
    }
}

fn object(seen: &Observation, leads: u64, what: &str) -> Violation {
    let message = format!(
        "node {}, leader of partition {} in term {leads}, sent at {} ns {what}",
        seen.node, seen.partition, seen.at_ns
    );
    Violation::new("log", message)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checkers::samples::{lived, observed, sent};

    #[test]
    fn one_log_sent_by_two_leaders_is_fine() {
        let run = observed(vec![
            (1, 0, sent(2, 5, 1, 0xa)),
            (1, 0, sent(2, 6, 2, 0xb)),
            (2, 0, sent(3, 5, 1, 0xa)),
            (2, 0, sent(3, 6, 3, 0xc)),
            (1, 1, sent(2, 6, 2, 0xd)),
        ]);
        assert_eq!(check(&run), Ok(()));
    }

    #[test]
    fn two_payloads_of_one_entry_are_objected_to() {
        let run = observed(vec![(1, 0, sent(2, 5, 1, 0xa)), (2, 0, sent(3, 5, 1, 0xb))]);
        assert!(check(&run).is_err());
    }

    #[test]
    fn a_term_that_falls_along_a_log_is_objected_to() {
        let falls = |low, high| observed(vec![(1, 0, sent(4, 5, low, 1)), (1, 0, sent(4, 6, high, 2))]);
        assert_eq!(check(&falls(2, 3)), Ok(()));
        assert!(check(&falls(3, 2)).is_err());
        assert!(check(&falls(4, 5)).is_err(), "an entry of a term that is still to come");
    }

    #[test]
    fn a_leader_that_rewrites_its_log_is_objected_to() {
        let rewrites = |boot, leads| lived(vec![(1, 1, 0, sent(4, 5, 2, 1)), (1, boot, 0, sent(leads, 5, 3, 2))]);
        assert!(check(&rewrites(1, 4)).is_err());
        assert_eq!(check(&rewrites(1, 5)), Ok(()), "it followed in between");
        assert_eq!(check(&rewrites(2, 5)), Ok(()), "it died in between");
    }
}
