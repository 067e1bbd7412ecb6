//! What a history amounts to, in numbers: whether a run has exercised anything.
//!
//! Counted from what was written down, not beside it, so the numbers cannot say more than a checker sees. Each is a lower bound: an expiry
//! is counted only where nothing else explains why a lock changed hands.

use std::collections::{BTreeMap, BTreeSet};

use crate::history::{FencedWrite, Op, Operation, Seen};

/// What clients have seen, counted; every name is there, zeros too.
///
/// - `grants`: different (resource, token) that were given. `regrants`: answers that gave one again.
/// - `busy`, `extends`, `unlocks`, `gets`, `invalid_owner`, `does_not_exist`, `refused`, `unknown`: attempts with that outcome.
/// - `expiries`: grants that were followed by another though their owner's unlock was never attempted.
/// - `retries_after_unknown`: commands that were sent again, word by word, after an attempt with outcome unknown.
/// - `resolved_retries`: those of them that got an outcome.
/// - `fenced_writes`, `late_writes` (of who did not hold any more), `late_writes_refused`.
#[must_use]
pub fn count(operations: &[Operation], writes: &[FencedWrite]) -> BTreeMap<String, u64> {
    let (retries, resolved) = retries_after_unknown(operations);
    let outcomes = |seen: Seen| number(operations.iter().filter(|o| o.outcome == seen).count());
    let grants = distinct_grants(operations);
    let granted = number(grants.len());
    let late = || writes.iter().filter(|write| !write.believed_held);
    let facts = [
        ("attempts", number(operations.len())),
        ("grants", granted),
        ("regrants", outcomes(Seen::Locked) - granted),
        ("busy", outcomes(Seen::Busy)),
        ("extends", outcomes(Seen::Extended)),
        ("unlocks", outcomes(Seen::Unlocked)),
        ("gets", outcomes(Seen::Got)),
        ("invalid_owner", outcomes(Seen::InvalidOwner)),
        ("does_not_exist", outcomes(Seen::LockDoesNotExist)),
        ("refused", outcomes(Seen::Refused)),
        ("unknown", outcomes(Seen::Unknown)),
        ("expiries", expiries(operations, &grants)),
        ("retries_after_unknown", retries),
        ("resolved_retries", resolved),
        ("fenced_writes", number(writes.len())),
        ("late_writes", number(late().count())),
        (
            "late_writes_refused",
            number(late().filter(|write| !write.accepted).count()),
        ),
    ];
    facts.map(|(name, value)| (name.to_owned(), value)).into()
}

/// (resource, token) of each grant, with its owner.
fn distinct_grants(operations: &[Operation]) -> BTreeMap<(&str, u64), &str> {
    let locked = operations.iter().filter(|o| o.outcome == Seen::Locked);
    let grants = locked.filter_map(|o| Some(((o.resource.as_str(), o.token?), o.owner.as_str())));
    grants.collect()
}

fn expiries(operations: &[Operation], grants: &BTreeMap<(&str, u64), &str>) -> u64 {
    let unlocks = operations.iter().filter(|o| o.op == Op::Unlock);
    let freed: BTreeSet<_> = unlocks.map(|o| (o.resource.as_str(), o.owner.as_str())).collect();
    let pairs = grants.iter().zip(grants.iter().skip(1));
    let expired = pairs
        .filter(|(((resource, _), owner), ((next, _), _))| resource == next && !freed.contains(&(*resource, **owner)));
    number(expired.count())
}

/// How many commands were sent again after unknown, and how many of those got an outcome.
fn retries_after_unknown(operations: &[Operation]) -> (u64, u64) {
    let mut in_doubt = BTreeSet::new();
    let (mut retries, mut resolved) = (0, 0);
    for operation in operations.iter().filter(|o| o.op != Op::Get) {
        let same = (
            operation.op as u8,
            operation.resource.as_str(),
            operation.owner.as_str(),
        );
        if in_doubt.contains(&same) {
            retries += 1;
            resolved += u64::from(!matches!(operation.outcome, Seen::Unknown | Seen::Refused));
        }
        match operation.outcome {
            Seen::Unknown => _ = in_doubt.insert(same),
            Seen::Refused => {}
            _ => _ = in_doubt.remove(&same),
        }
    }
    (retries, resolved)
}

fn number(count: usize) -> u64 {
    u64::try_from(count).expect("a count fits into 64 bits")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn operation(op: Op, owner: &str, outcome: Seen, token: Option<u64>) -> Operation {
        Operation {
            client: 0,
            op,
            resource: "r".to_owned(),
            owner: owner.to_owned(),
            ttl_ms: 100,
            call_ns: 0,
            return_ns: Some(1),
            outcome,
            token,
            lease_ms: None,
            holder: None,
        }
    }

    fn locked(owner: &str, token: u64) -> Operation {
        operation(Op::TryLock, owner, Seen::Locked, Some(token))
    }

    #[test]
    fn a_lock_that_changed_hands_without_an_unlock_expired() {
        let unlock = operation(Op::Unlock, "b", Seen::Unknown, None);
        let operations = [locked("a", 1), locked("b", 2), unlock, locked("c", 3)];
        let facts = count(&operations, &[]);
        assert_eq!((facts["grants"], facts["expiries"]), (3, 1));
    }

    #[test]
    fn the_same_grant_counts_once() {
        let facts = count(&[locked("a", 1), locked("a", 1)], &[]);
        assert_eq!((facts["grants"], facts["regrants"], facts["expiries"]), (1, 1, 0));
    }

    #[test]
    fn a_retry_counts_while_there_is_doubt() {
        let lost = operation(Op::TryLock, "a", Seen::Unknown, None);
        let refused = operation(Op::TryLock, "a", Seen::Refused, None);
        let other = operation(Op::TryLock, "b", Seen::Busy, None);
        let operations = [lost, refused, other, locked("a", 1), locked("a", 1)];
        let facts = count(&operations, &[]);
        assert_eq!((facts["retries_after_unknown"], facts["resolved_retries"]), (2, 1));
    }

    #[test]
    fn a_late_write_is_one_of_who_does_not_hold() {
        let write = |believed_held, accepted| FencedWrite {
            client: 0,
            resource: "r".to_owned(),
            owner: "a".to_owned(),
            token: 1,
            at_ns: 0,
            believed_held,
            accepted,
        };
        let facts = count(&[], &[write(true, true), write(false, true), write(false, false)]);
        let got = ["fenced_writes", "late_writes", "late_writes_refused"].map(|name| facts[name]);
        assert_eq!(got, [3, 2, 1]);
    }
}
