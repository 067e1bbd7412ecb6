//! Hybrid time: along the log of a partition each entry that has one has a later one than those before, whatever wall clocks do.
//!
//! Nothing is decided by it, so this is a promise to people: what is read off a log is in order.

use std::collections::BTreeMap;

use kapu::hlc::Hlc;

use super::Violation;
use crate::evidence::{Evidence, Fact};

const NAME: &str = "hybrid";

/// One hybrid time for each entry, and strict growth along each log.
///
/// # Errors
/// When two replicas see another time in one entry, or an entry is not after the one before.
pub fn check(evidence: &Evidence) -> Result<(), Violation> {
    let mut stamps = BTreeMap::new();
    for seen in &evidence.observations {
        // A snapshot says the latest time up to its entry, not the entry's own.
        let Fact::Applied {
            index,
            hlc,
            is_snapshot: false,
            ..
        } = seen.fact
        else {
            continue;
        };
        let first = *stamps.entry((seen.partition, index)).or_insert(hlc);
        if first != hlc {
            let what = format!(
                "entry {index} is of {hlc:?} on node {}, and was of {first:?}",
                seen.node
            );
            return Err(object(seen.partition, &what));
        }
    }
    let mut latest: BTreeMap<u32, (u64, u64)> = BTreeMap::new();
    for ((partition, index), hlc) in stamps {
        let Some(hlc) = hlc else { continue };
        if let Some((lower, before)) = latest.insert(partition, (index, hlc))
            && before >= hlc
        {
            let what = format!("entry {lower} is of {}, and entry {index} of {}", Hlc(before), Hlc(hlc));
            return Err(object(partition, &what));
        }
    }
    Ok(())
}

fn object(partition: u32, what: &str) -> Violation {
    Violation::new(NAME, format!("partition {partition}: {what}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checkers::samples::{applied, observed, stamped};

    #[test]
    fn logs_that_grow_are_fine_and_entries_without_a_time_do_not_matter() {
        let run = observed(vec![
            (1, 0, stamped(1, 10)),
            (1, 0, applied(2, 1, 0, 0)),
            (2, 0, stamped(1, 10)),
            (1, 0, stamped(3, 11)),
            (1, 1, stamped(4, 5)),
        ]);
        assert_eq!(check(&run), Ok(()));
    }

    #[test]
    fn a_time_that_stands_still_or_falls_is_objected_to() {
        for hlc in [10, 9] {
            let run = observed(vec![
                (1, 0, stamped(1, 10)),
                (1, 0, applied(2, 1, 0, 0)),
                (2, 0, stamped(3, hlc)),
            ]);
            assert!(check(&run).is_err());
        }
    }

    #[test]
    fn two_times_of_one_entry_are_objected_to() {
        let run = observed(vec![(1, 0, stamped(1, 10)), (2, 0, stamped(1, 11))]);
        assert!(check(&run).is_err());
    }
}
