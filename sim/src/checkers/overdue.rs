//! A lease ends in time: once all is well, nobody holds a lock much longer than its lease lasts.
//!
//! A lease that never ends breaks no promise to anybody who is told `Busy`; so it has to be looked for. The look comes last in a run, when faults are
//! over, every partition has its leader, and nobody but the one who looks asks for anything: then log time must go on as fast as a clock. Before
//! that it may stand still as long as nobody leads, and nothing is judged.

use std::collections::BTreeMap;

use super::Violation;
use super::lease::LeaseTime;
use crate::evidence::Evidence;
use crate::history::{Op, Operation};

/// The end of a lease is an entry, which a leader proposes with a tick and commits: much less than this, in nanoseconds.
const LATE_NS_MAX: u64 = 1_000_000_000;

/// After the beginning of the calm, a hold that was seen with so much of its lease left is not seen any more when that has passed, unless its owner
/// has asked for more.
///
/// # Errors
/// When one is.
pub fn check(evidence: &Evidence) -> Result<(), Violation> {
    let Some(calm_ns) = evidence.ending.calm_ns else {
        return Ok(());
    };
    let time = LeaseTime::of(evidence);
    let mut ends: BTreeMap<(&str, u64), u64> = BTreeMap::new();
    let mut calm: Vec<_> = evidence
        .operations
        .iter()
        .filter(|seen| seen.call_ns >= calm_ns)
        .collect();
    calm.sort_by_key(|seen| seen.call_ns);
    for seen in calm {
        let (Some(return_ns), Some(token), Some(lease_ms)) = (seen.return_ns, seen.token, seen.lease_ms) else {
            continue;
        };
        let end_ns = time.last_ns(return_ns, lease_ms) + LATE_NS_MAX;
        let known_ns = ends.entry((&seen.resource, token)).or_insert(end_ns);
        if seen.op != Op::Get {
            *known_ns = end_ns.max(*known_ns);
        } else if seen.call_ns > *known_ns {
            return Err(object(seen, *known_ns));
        }
    }
    Ok(())
}

fn object(seen: &Operation, end_ns: u64) -> Violation {
    let message = format!("nobody has prolonged it, and it should have ended by {end_ns} ns: {seen:?}");
    Violation::new("overdue", message)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checkers::samples::{MS, got, history, locked};
    use crate::evidence::Ending;

    /// A run that was calm from `calm` on, in milliseconds.
    fn calm_from(calm: u64, operations: Vec<Operation>) -> Evidence {
        Evidence {
            ending: Ending {
                calm_ns: Some(calm * MS),
                ..Ending::default()
            },
            ..history(operations)
        }
    }

    #[test]
    fn a_lease_that_is_seen_after_its_end_is_objected_to() {
        for first in [locked("a", (100, 110), 1), got("a", (100, 110), 1, 100)] {
            let seen_again_at = |at| calm_from(50, vec![first.clone(), got("a", (at, at + 5), 1, 100)]);
            assert_eq!(check(&seen_again_at(1200)), Ok(()), "it may be late by a second");
            assert!(check(&seen_again_at(1220)).is_err());
        }
    }

    #[test]
    fn what_was_prolonged_or_granted_anew_is_not_overdue() {
        let prolonged = locked("a", (1000, 1010), 1);
        let anew = got("b", (1300, 1305), 2, 0);
        let run = vec![
            locked("a", (100, 110), 1),
            prolonged,
            got("a", (1250, 1255), 1, 0),
            anew,
        ];
        assert_eq!(check(&calm_from(50, run)), Ok(()));
    }

    #[test]
    fn before_the_calm_nothing_is_judged() {
        let run = vec![locked("a", (100, 110), 1), got("a", (9000, 9010), 1, 100)];
        assert_eq!(check(&history(run.clone())), Ok(()));
        assert_eq!(check(&calm_from(5000, run)), Ok(()));
    }
}
