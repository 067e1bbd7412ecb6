//! The resource that the locks are for: it compares fencing tokens, and remembers every write.
//!
//! Locks promise nothing by themselves to who may be late; what holds always is this: once a write with a token was accepted, no lower
//! token is. Each write is recorded with what its writer believed at the very moment it arrived, which no real system can know, so that a
//! checker can tell a refusal that had to be from one that broke a promise. It judges nothing itself.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use crate::history::FencedWrite;

/// One write on its arrival.
#[derive(Clone, Debug)]
pub struct Attempt<'a> {
    /// Who writes.
    pub client: u64,
    /// To what.
    pub resource: &'a str,
    /// As which owner.
    pub owner: &'a str,
    /// With which token.
    pub token: u64,
    /// Now, in true nanoseconds.
    pub at_ns: u64,
    /// Whether the writer's guard says now that it holds the lock.
    pub believed_held: bool,
}

/// All fenced resources, by name.
#[derive(Debug, Default)]
pub struct Fenced {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    greatest: BTreeMap<String, u64>,
    writes: Vec<FencedWrite>,
}

impl Fenced {
    /// Takes a write unless a greater token was seen; says whether it did.
    pub fn write(&self, attempt: &Attempt<'_>) -> bool {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let greatest = state.greatest.entry(attempt.resource.to_owned()).or_default();
        let accepted = attempt.token >= *greatest;
        *greatest = attempt.token.max(*greatest);
        state.writes.push(FencedWrite {
            client: attempt.client,
            resource: attempt.resource.to_owned(),
            owner: attempt.owner.to_owned(),
            token: attempt.token,
            at_ns: attempt.at_ns,
            believed_held: attempt.believed_held,
            accepted,
        });
        accepted
    }

    /// Every write so far, in the order of arrival.
    #[must_use]
    pub fn writes(&self) -> Vec<FencedWrite> {
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.writes.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(fenced: &Fenced, resource: &str, token: u64) -> bool {
        fenced.write(&Attempt {
            client: 1,
            resource,
            owner: "o",
            token,
            at_ns: 5,
            believed_held: false,
        })
    }

    #[test]
    fn nothing_below_the_greatest_token_is_accepted() {
        let fenced = Fenced::default();
        assert!(write(&fenced, "a", 7));
        assert!(write(&fenced, "a", 7), "a holder writes as often as it likes");
        assert!(!write(&fenced, "a", 6));
        assert!(write(&fenced, "a", 9));
        assert!(!write(&fenced, "a", 8), "a refused write does not lower the bar");
    }

    #[test]
    fn each_resource_has_its_own_bar() {
        let fenced = Fenced::default();
        assert!(write(&fenced, "a", 7));
        assert!(write(&fenced, "b", 1));
    }

    #[test]
    fn refused_writes_are_remembered_too() {
        let fenced = Fenced::default();
        for token in [2, 1] {
            write(&fenced, "a", token);
        }
        let seen: Vec<_> = fenced.writes().iter().map(|w| (w.token, w.accepted)).collect();
        assert_eq!(seen, [(2, true), (1, false)]);
    }
}
