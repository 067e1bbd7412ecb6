//! Mutual exclusion by true time: two holds that are certain never overlap.
//!
//! A hold is certain from when its holder was told until the lease may have ended, or until it may have been released, whichever comes first.
//! Nobody in the cluster knows true time; an overlap here is a double grant that no fence was needed to see. A hold whose holder never
//! learnt of it is not looked at.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use super::Violation;
use super::lease::LeaseTime;
use crate::evidence::Evidence;
use crate::history::{Op, Operation, Seen};

/// How close a run came.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Approach {
    /// How many holds were certain for a while.
    pub holds: u64,
    /// The least time between the certain end of a hold and the beginning of the next one of somebody else.
    pub closest_ns: Option<u64>,
    /// As above, where the lease and no release was the end.
    pub closest_expiry_ns: Option<u64>,
}

/// A hold while it is certain.
#[derive(Clone, Copy, Debug)]
struct Hold<'e> {
    owner: &'e str,
    token: u64,
    from_ns: u64,
    until_ns: u64,
    released: bool,
}

impl Hold<'_> {
    fn is_same_ownership(&self, other: &Self) -> bool {
        self.owner == other.owner && self.token == other.token
    }
}

/// No two certain holds of a resource overlap.
///
/// # Errors
/// When two do.
pub fn check(evidence: &Evidence) -> Result<(), Violation> {
    for (resource, holds) in certain_holds(evidence) {
        for (earlier, later) in neighbours(&holds) {
            if later.from_ns < earlier.until_ns {
                let message = format!("{resource}: two holds at once: {earlier:?} and {later:?}");
                return Err(Violation::new("exclusion", message));
            }
        }
    }
    Ok(())
}

/// Measures how close a run came to an overlap.
#[must_use]
pub fn measure(evidence: &Evidence) -> Approach {
    let mut approach = Approach::default();
    let nearer = |closest: Option<u64>, gap: u64| Some(closest.map_or(gap, |closest| gap.min(closest)));
    for holds in certain_holds(evidence).values() {
        approach.holds += u64::try_from(holds.len()).expect("a count fits");
        for (earlier, later) in neighbours(holds) {
            let gap = later.from_ns.saturating_sub(earlier.until_ns);
            approach.closest_ns = nearer(approach.closest_ns, gap);
            if !earlier.released {
                approach.closest_expiry_ns = nearer(approach.closest_expiry_ns, gap);
            }
        }
    }
    approach
}

/// The certain holds of each resource, in the order of their beginnings. A renewal is a hold of its own.
fn certain_holds(evidence: &Evidence) -> BTreeMap<&str, Vec<Hold<'_>>> {
    let time = LeaseTime::of(evidence);
    let mut ends: BTreeMap<(&str, &str), Vec<&Operation>> = BTreeMap::new();
    let may_end =
        |operation: &&Operation| matches!(operation.op, Op::Extend | Op::Unlock) && operation.outcome != Seen::Refused;
    for operation in evidence.operations.iter().filter(may_end) {
        ends.entry((&operation.resource, &operation.owner))
            .or_default()
            .push(operation);
    }
    let mut holds: BTreeMap<&str, Vec<Hold<'_>>> = BTreeMap::new();
    for grant in &evidence.operations {
        let ends = ends
            .get(&(&*grant.resource, &*grant.owner))
            .map_or(&[][..], Vec::as_slice);
        holds
            .entry(&grant.resource)
            .or_default()
            .extend(certain_hold(time, grant, ends));
    }
    holds
        .values_mut()
        .for_each(|holds| holds.sort_by_key(|hold| hold.from_ns));
    holds
}

/// The hold that a grant or a renewal made certain, if it was certain at all. `ends` is what its owner did that may have cut it short.
fn certain_hold<'e>(time: LeaseTime, grant: &'e Operation, ends: &[&Operation]) -> Option<Hold<'e>> {
    if !matches!(grant.outcome, Seen::Locked | Seen::Extended) {
        return None;
    }
    let mut hold = Hold {
        owner: &grant.owner,
        token: grant.token?,
        from_ns: grant.return_ns?,
        until_ns: time.end_ns(grant.call_ns, grant.lease_ms?),
        released: false,
    };
    let over = |end: &&&Operation| end.return_ns.is_some_and(|returned| returned < grant.call_ns);
    for end in ends.iter().filter(|end| !over(end)) {
        let releases = end.op == Op::Unlock;
        let end_ns = if releases {
            end.call_ns
        } else {
            time.end_ns(end.call_ns, end.ttl_ms)
        };
        if end_ns < hold.until_ns {
            hold.until_ns = end_ns;
            hold.released = releases;
        }
    }
    (hold.from_ns < hold.until_ns).then_some(hold)
}

/// For each hold, the one of another ownership that began before it and ends last.
fn neighbours<'h, 'e>(holds: &'h [Hold<'e>]) -> impl Iterator<Item = (Hold<'e>, Hold<'e>)> + 'h {
    // Of two ownerships at most: the one that ends last, and the last of all others.
    let mut latest: Vec<Hold<'e>> = Vec::new();
    holds.iter().filter_map(move |hold| {
        let earlier = latest.iter().find(|earlier| !earlier.is_same_ownership(hold)).copied();
        match latest.iter_mut().find(|earlier| earlier.is_same_ownership(hold)) {
            Some(same) if same.until_ns < hold.until_ns => *same = *hold,
            Some(_) => {}
            None => latest.push(*hold),
        }
        latest.sort_by_key(|hold| Reverse(hold.until_ns));
        latest.truncate(2);
        earlier.map(|earlier| (earlier, *hold))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checkers::samples::{MS, extended, history, locked, operation, unlocked};

    fn judge(operations: Vec<Operation>) -> Result<(), Violation> {
        check(&history(operations))
    }

    #[test]
    fn a_grant_inside_of_a_certain_lease_is_objected_to() {
        let second = |back| judge(vec![locked("a", (0, 5), 1), locked("b", (90, back), 2)]);
        assert!(second(98).is_err());
        assert_eq!(second(99), Ok(()));
    }

    #[test]
    fn a_release_ends_a_hold_with_its_first_attempt() {
        let lost = operation(Op::Unlock, "a", (20, 0), Seen::Unknown);
        let again = unlocked("a", (40, 50));
        assert_eq!(
            judge(vec![locked("a", (0, 5), 1), lost, again, locked("b", (22, 30), 2)]),
            Ok(())
        );
        let refused = operation(Op::Unlock, "a", (20, 21), Seen::Refused);
        assert!(judge(vec![locked("a", (0, 5), 1), refused, locked("b", (22, 30), 2)]).is_err());
    }

    #[test]
    fn a_release_of_an_earlier_hold_does_not_end_a_later_one() {
        let earlier = vec![locked("a", (0, 1), 1), unlocked("a", (2, 3)), locked("a", (4, 5), 2)];
        assert!(judge([earlier, vec![locked("b", (6, 7), 3)]].concat()).is_err());
    }

    #[test]
    fn a_renewal_lengthens_a_hold_from_its_own_call() {
        let renewed = vec![locked("a", (0, 5), 1), extended("a", (60, 65), 1)];
        assert!(judge([renewed.clone(), vec![locked("b", (100, 120), 2)]].concat()).is_err());
        assert_eq!(judge([renewed, vec![locked("b", (100, 160), 2)]].concat()), Ok(()));
    }

    #[test]
    fn a_shorter_renewal_that_may_have_taken_effect_cuts_a_hold() {
        let mut shorter = operation(Op::Extend, "a", (10, 0), Seen::Unknown);
        shorter.ttl_ms = 20;
        assert_eq!(
            judge(vec![locked("a", (0, 5), 1), shorter, locked("b", (20, 30), 2)]),
            Ok(())
        );
    }

    #[test]
    fn a_long_hold_is_remembered_past_short_ones_of_its_owner() {
        let mut long = locked("a", (0, 1), 1);
        long.lease_ms = Some(1000);
        let run = vec![long, locked("b", (100, 101), 2), locked("b", (300, 301), 2)];
        assert!(judge(run).is_err());
        let mut long = locked("b", (0, 1), 2);
        long.lease_ms = Some(1000);
        let run = vec![long, locked("b", (300, 301), 2), locked("c", (500, 501), 3)];
        assert!(judge(run).is_err());
    }

    #[test]
    fn the_closest_approach_is_measured() {
        let run = vec![
            locked("a", (0, 5), 1),
            unlocked("a", (20, 25)),
            locked("b", (22, 27), 2),
            locked("c", (120, 130), 3),
        ];
        let approach = measure(&history(run));
        assert_eq!(approach.holds, 3);
        assert_eq!(approach.closest_ns, Some(7 * MS));
        // 22 ms + 100 ms, less a thousandth and a millisecond of rounding, to 130 ms.
        assert_eq!(approach.closest_expiry_ns, Some(9 * MS + MS / 10));
    }
}
