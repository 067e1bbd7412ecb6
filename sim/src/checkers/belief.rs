//! What a guard says of itself is certain: while it says held, no fence knows a newer token.
//!
//! The guard is asked at the true moment at which its write arrives. A guard that gives up early is safe, and not objected to.

use super::Violation;
use crate::evidence::Evidence;

/// No write of a guard that believed to hold its lock was refused.
///
/// # Errors
/// When one was.
pub fn check(evidence: &Evidence) -> Result<(), Violation> {
    let Some(write) = evidence
        .writes
        .iter()
        .find(|write| write.believed_held && !write.accepted)
    else {
        return Ok(());
    };
    let message = format!(
        "client {} believed at {} ns to hold {} as {} under token {}, and the fence knew a newer token",
        write.client, write.at_ns, write.resource, write.owner, write.token
    );
    Err(Violation::new("belief", message))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checkers::samples::{cluster, write};
    use crate::history::FencedWrite;

    #[test]
    fn only_a_refusal_of_a_believer_is_objected_to() {
        let judge = |believed_held, accepted| {
            let write = FencedWrite {
                believed_held,
                ..write("a", 1, 1, accepted)
            };
            check(&Evidence {
                writes: vec![write],
                ..cluster()
            })
        };
        assert_eq!(judge(true, true), Ok(()));
        assert_eq!(judge(false, false), Ok(()));
        assert!(judge(true, false).is_err());
    }
}
