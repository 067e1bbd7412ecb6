//! Fencing tokens: one ownership each, growing in the order of grants, and a fence that holds.
//!
//! Tokens are compared only between really ordered events, where one had returned before the other was called; of concurrent ones nothing is
//! known. Whether a grant was right at its time is the business of `linear` and `exclusion`.

use std::collections::BTreeMap;

use kapu::types::Resource;

use super::Violation;
use crate::evidence::Evidence;
use crate::history::{Op, Seen};

const NAME: &str = "fencing";

/// Who was seen with a token, and when.
struct Witness<'e> {
    resource: &'e str,
    owner: &'e str,
    token: u64,
    call_ns: u64,
    return_ns: u64,
}

/// Tokens are fenced, belong to one ownership, and grow.
///
/// # Errors
/// When something of it is not so.
pub fn check(evidence: &Evidence) -> Result<(), Violation> {
    check_fence(evidence)?;
    let witnesses = witnesses(evidence);
    check_ownership(evidence, &witnesses)?;
    check_growth(&witnesses)?;
    check_grants(evidence, &witnesses)
}

/// No resource accepts a token after a greater one.
fn check_fence(evidence: &Evidence) -> Result<(), Violation> {
    let mut greatest: BTreeMap<&str, u64> = BTreeMap::new();
    for write in evidence.writes.iter().filter(|write| write.accepted) {
        let greatest = greatest.entry(&write.resource).or_default();
        if write.token < *greatest {
            let message = format!(
                "{} accepted token {} of {} at {} ns after token {greatest}",
                write.resource, write.token, write.owner, write.at_ns
            );
            return Err(Violation::new(NAME, message));
        }
        *greatest = write.token;
    }
    Ok(())
}

/// Everybody who was seen with a token, in the order of calls.
fn witnesses(evidence: &Evidence) -> Vec<Witness<'_>> {
    let operations = evidence.operations.iter().filter_map(|operation| {
        let owner = match operation.outcome {
            Seen::Locked | Seen::Extended => operation.owner.as_str(),
            Seen::Got => operation.holder.as_deref()?,
            _ => return None,
        };
        Some(Witness {
            resource: &operation.resource,
            owner,
            token: operation.token?,
            call_ns: operation.call_ns,
            return_ns: operation.return_ns?,
        })
    });
    let mut witnesses: Vec<_> = operations.collect();
    witnesses.sort_by_key(|witness| witness.call_ns);
    witnesses
}

/// A token of a partition belongs to one owner of one resource.
fn check_ownership(evidence: &Evidence, witnesses: &[Witness<'_>]) -> Result<(), Violation> {
    let written = evidence
        .writes
        .iter()
        .map(|write| (write.resource.as_str(), write.owner.as_str(), write.token));
    let told = witnesses.iter().map(|told| (told.resource, told.owner, told.token));
    let mut ownerships = BTreeMap::new();
    for (resource, owner, token) in told.chain(written) {
        let partition = partition(evidence, resource)?;
        let first = *ownerships.entry((partition, token)).or_insert((resource, owner));
        if first != (resource, owner) {
            let message = format!(
                "token {token} of partition {partition} was given for (resource, owner) {first:?} and {:?}",
                (resource, owner)
            );
            return Err(Violation::new(NAME, message));
        }
    }
    Ok(())
}

/// Whoever is seen with a token of a resource after another was seen with one has no smaller token.
fn check_growth(witnesses: &[Witness<'_>]) -> Result<(), Violation> {
    let mut resources: BTreeMap<&str, Vec<&Witness<'_>>> = BTreeMap::new();
    for witness in witnesses {
        resources.entry(witness.resource).or_default().push(witness);
    }
    for by_call in resources.values() {
        let mut by_return = by_call.clone();
        by_return.sort_by_key(|witness| witness.return_ns);
        let mut earlier = by_return.iter().peekable();
        let mut greatest: Option<&Witness<'_>> = None;
        for later in by_call {
            while let Some(returned) = earlier.next_if(|earlier| earlier.return_ns < later.call_ns) {
                greatest = greatest
                    .filter(|greatest| greatest.token >= returned.token)
                    .or(Some(returned));
            }
            if let Some(before) = greatest.filter(|before| before.token > later.token) {
                return Err(object_to_order(before, later));
            }
        }
    }
    Ok(())
}

fn object_to_order(before: &Witness<'_>, later: &Witness<'_>) -> Violation {
    let message = format!(
        "{}: {} was seen with token {} at {} ns, and after that, at {} ns, {} was given token {}",
        later.resource, before.owner, before.token, before.return_ns, later.call_ns, later.owner, later.token
    );
    Violation::new(NAME, message)
}

/// In a partition, a token was not granted before a smaller one was.
///
/// It was granted after its owner first asked for the lock, and before anybody was seen with it.
fn check_grants(evidence: &Evidence, witnesses: &[Witness<'_>]) -> Result<(), Violation> {
    let mut asked = BTreeMap::new();
    for try_lock in evidence
        .operations
        .iter()
        .filter(|operation| operation.op == Op::TryLock)
    {
        asked
            .entry((&*try_lock.resource, &*try_lock.owner))
            .and_modify(|first: &mut u64| *first = try_lock.call_ns.min(*first))
            .or_insert(try_lock.call_ns);
    }
    let mut grants: BTreeMap<(u32, u64), (&Witness<'_>, u64)> = BTreeMap::new();
    for told in witnesses {
        let partition = partition(evidence, told.resource)?;
        let grant = grants.entry((partition, told.token)).or_insert((told, told.return_ns));
        grant.1 = grant.1.min(told.return_ns);
    }
    let mut latest: Option<(u32, u64, &Witness<'_>)> = None;
    for ((partition, token), (told, seen_ns)) in grants {
        let Some(asked_ns) = asked.get(&(told.resource, told.owner)).copied() else {
            let message = format!(
                "{} holds {} under token {token}, and never asked for it",
                told.owner, told.resource
            );
            return Err(Violation::new(NAME, message));
        };
        latest = latest.filter(|(of, ..)| *of == partition);
        if let Some((_, after_ns, lower)) = latest.filter(|(_, after_ns, _)| *after_ns > seen_ns) {
            let message = format!(
                "partition {partition}: token {token} of {} was seen at {seen_ns} ns, and the lower token {} of {} was asked for only at {after_ns} ns",
                told.owner, lower.token, lower.owner
            );
            return Err(Violation::new(NAME, message));
        }
        if latest.is_none_or(|(_, after_ns, _)| asked_ns > after_ns) {
            latest = Some((partition, asked_ns, told));
        }
    }
    Ok(())
}

fn partition(evidence: &Evidence, resource: &str) -> Result<u32, Violation> {
    let resource = Resource::new(resource).map_err(|error| Violation::new(NAME, format!("the history has {error}")))?;
    Ok(resource.partition(evidence.partitions.max(1)).0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checkers::samples::{cluster, extended, got, history, locked, operation, write};
    use crate::history::Operation;

    fn of(resource: &str, operation: Operation) -> Operation {
        let resource = resource.to_owned();
        Operation { resource, ..operation }
    }

    fn judge(operations: Vec<Operation>) -> Result<(), Violation> {
        let partitions = 1;
        check(&Evidence {
            partitions,
            ..history(operations)
        })
    }

    #[test]
    fn a_fence_that_lets_an_old_token_through_is_objected_to() {
        let judge = |accepted| {
            check(&Evidence {
                writes: vec![
                    write("a", 1, 1, true),
                    write("b", 2, 2, true),
                    write("a", 3, 1, accepted),
                ],
                ..cluster()
            })
        };
        assert_eq!(judge(false), Ok(()));
        assert!(judge(true).is_err());
    }

    #[test]
    fn concurrent_grants_may_come_in_any_order() {
        assert_eq!(judge(vec![locked("a", (0, 10), 2), locked("b", (5, 15), 1)]), Ok(()));
    }

    #[test]
    fn a_token_that_goes_back_is_objected_to() {
        assert_eq!(
            judge(vec![
                locked("a", (0, 1), 1),
                locked("b", (5, 6), 2),
                locked("a", (7, 8), 3)
            ]),
            Ok(())
        );
        assert!(judge(vec![locked("a", (0, 1), 2), locked("b", (5, 6), 1)]).is_err());
        let late = vec![
            locked("b", (0, 9), 2),
            locked("a", (0, 1), 1),
            extended("a", (20, 21), 1),
        ];
        assert!(judge(late).is_err(), "extended after another was granted");
        let stale = vec![locked("a", (0, 1), 1), locked("b", (5, 6), 2), got("a", (7, 8), 1, 9)];
        assert!(judge(stale).is_err(), "a stale answer");
    }

    #[test]
    fn a_token_of_two_owners_or_two_resources_is_objected_to() {
        assert!(judge(vec![locked("a", (0, 1), 1), locked("b", (0, 1), 1)]).is_err());
        assert!(judge(vec![locked("a", (0, 1), 1), of("s", locked("a", (0, 1), 1))]).is_err());
        let run = Evidence {
            writes: vec![write("b", 1, 1, true)],
            ..history(vec![locked("a", (0, 1), 1)])
        };
        assert!(check(&run).is_err());
    }

    #[test]
    fn tokens_that_go_back_over_resources_are_objected_to() {
        assert_eq!(
            judge(vec![locked("a", (0, 1), 1), of("s", locked("b", (5, 6), 2))]),
            Ok(())
        );
        assert!(judge(vec![locked("a", (0, 1), 2), of("s", locked("b", (5, 6), 1))]).is_err());
    }

    #[test]
    fn a_holder_that_never_asked_is_objected_to() {
        let asked = operation(Op::TryLock, "a", (0, 0), Seen::Unknown);
        assert_eq!(judge(vec![asked, got("a", (1, 2), 1, 9)]), Ok(()));
        assert!(judge(vec![got("a", (1, 2), 1, 9)]).is_err());
    }
}
