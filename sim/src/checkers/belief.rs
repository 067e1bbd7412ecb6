//! What a guard says of itself is certain: while it says held, nobody else can know of a newer token.
//!
//! The guard is asked at the true moment at which its write arrives. A fence may have seen a newer token by then, or another client may have been
//! told of one, which comes earlier. A guard that gives up early is safe, and not objected to.

use std::collections::BTreeMap;

use super::Violation;
use crate::evidence::Evidence;
use crate::history::FencedWrite;

/// What a client was told of a resource: (when it knew, the greatest token that anybody knew then).
type Told = Vec<(u64, u64)>;

/// No write of a guard that believed to hold its lock was refused, and none arrived after somebody was told of a newer token.
///
/// # Errors
/// When one was, or did.
pub fn check(evidence: &Evidence) -> Result<(), Violation> {
    let told = told(evidence);
    for write in evidence.writes.iter().filter(|write| write.believed_held) {
        if !write.accepted {
            return Err(object(write, "the fence knew a newer token"));
        }
        let known = told.get(&*write.resource).map_or(0, |told| known(told, write.at_ns));
        if known > write.token {
            return Err(object(write, &format!("a client had been told of token {known}")));
        }
    }
    Ok(())
}

fn told(evidence: &Evidence) -> BTreeMap<&str, Told> {
    let mut told: BTreeMap<&str, Told> = BTreeMap::new();
    for operation in &evidence.operations {
        if let (Some(return_ns), Some(token)) = (operation.return_ns, operation.token) {
            told.entry(&operation.resource).or_default().push((return_ns, token));
        }
    }
    for told in told.values_mut() {
        told.sort_unstable();
        let mut greatest = 0;
        for (_, token) in told {
            greatest = greatest.max(*token);
            *token = greatest;
        }
    }
    told
}

/// The greatest token that anybody was told of before `at_ns`.
fn known(told: &Told, at_ns: u64) -> u64 {
    let before = told.partition_point(|(return_ns, _)| *return_ns < at_ns);
    before.checked_sub(1).map_or(0, |last| told[last].1)
}

fn object(write: &FencedWrite, why: &str) -> Violation {
    let message = format!(
        "client {} believed at {} ns to hold {} as {} under token {}, and {why}",
        write.client, write.at_ns, write.resource, write.owner, write.token
    );
    Violation::new("belief", message)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checkers::samples::{cluster, got, history, locked, write};

    fn believed(at: u64, token: u64, accepted: bool) -> FencedWrite {
        FencedWrite {
            believed_held: true,
            ..write("a", at, token, accepted)
        }
    }

    fn written(writes: Vec<FencedWrite>) -> Evidence {
        Evidence { writes, ..cluster() }
    }

    #[test]
    fn only_a_refusal_of_a_believer_is_objected_to() {
        assert_eq!(check(&written(vec![believed(1, 1, true)])), Ok(()));
        assert_eq!(check(&written(vec![write("a", 1, 1, false)])), Ok(()));
        assert!(check(&written(vec![believed(1, 1, false)])).is_err());
    }

    #[test]
    fn a_believer_after_whom_somebody_was_told_of_a_newer_token_is_objected_to() {
        for newer in [locked("b", (100, 110), 2), got("b", (100, 110), 2, 50)] {
            let seen = history(vec![newer, locked("a", (0, 10), 1), locked("c", (500, 510), 3)]);
            let at = |at, token| Evidence {
                writes: vec![believed(at, token, true)],
                ..seen.clone()
            };
            assert_eq!(check(&at(110, 1)), Ok(()), "at the same moment nobody was told before");
            assert_eq!(check(&at(300, 2)), Ok(()), "it is the newest");
            assert!(check(&at(111, 1)).is_err());
        }
    }
}
