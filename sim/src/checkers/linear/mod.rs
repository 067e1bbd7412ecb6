//! Linearizability of each lock: one order of all operations that one lock table could have answered so.
//!
//! The search is Wing and Gong's in Lowe's form (G. Lowe, "Testing for linearizability", 2017): it walks through calls and returns in the order of
//! true time and keeps every configuration that the returns so far allow. An operation is put into the order only when it returns, or when one
//! that returns needs it before. What has returned is forgotten, so the history is cut by itself wherever nothing is under way: there a
//! configuration is a state of the lock and nothing else.
//!
//! # What is not seen
//!
//! - **Log time.** A lease ends in a step of its own, which is allowed from the first true time at which the lease may have ended (see
//!   `lease`), and may come as late as it likes: log time stands still without a leader.
//! - **Unknown operations** may take effect at any time after their call, or never. A try with an unknown outcome is a grant that waits for
//!   a free lock, and happens once. A release or a renewal with an unknown outcome is an earlier end of its owner's holds. A try that would only
//!   prolong its own hold is left out: a lease that ends earlier allows everything that a later end does.
//! - **Tokens of unknown grants** are a blank that the first witness fills in, greater than all before.
//!
//! # Why it ends soon
//!
//! - An operation that changes nothing is put into the order as soon as it fits: moved to the front it disturbs nobody.
//! - A configuration that has passed the token of an operation which is still open is dropped.
//! - Of two unknown tries whose owners are never heard of again, the one whose lease may end first is tried first: any order that uses
//!   the other one now, and this one later, is as good with the two exchanged.
//! - A configuration that is in no way better than another is dropped.
//!
//! It has a limit all the same. Past it, it looks once more with unknown tries that may take effect any number of times: what has no order
//! even then is a violation, and the rest is undecided, which is counted and is not a pass.
//!
//! Deliberately not modelled: the lease that is left in a `Busy`, and how late a lease may end at the most.

mod history;
mod model;
mod search;

#[cfg(test)]
mod generate;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use self::history::History;
use self::search::{Tries, Verdict, search};
use super::Violation;
use super::lease::LeaseTime;
use crate::evidence::Evidence;
use crate::history::Operation;

/// What came out for all resources.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Judgement {
    /// How many histories are linearizable.
    pub decided: u64,
    /// How many were too much for the search.
    pub undecided: u64,
    /// The first that is not.
    pub violation: Option<Violation>,
}

/// Every resource has a history that a lock table could have answered. It is judged once for both, whether it holds and how much was decided.
#[must_use]
pub fn judge(evidence: &Evidence) -> Judgement {
    let mut resources: BTreeMap<&str, Vec<&Operation>> = BTreeMap::new();
    for operation in &evidence.operations {
        resources.entry(&operation.resource).or_default().push(operation);
    }
    let mut judgement = Judgement::default();
    for (resource, operations) in resources {
        match judge_one(&History::new(LeaseTime::of(evidence), operations)) {
            Verdict::Linear => judgement.decided += 1,
            Verdict::Undecided => judgement.undecided += 1,
            Verdict::Broken(what) => {
                judgement.violation = Some(Violation::new("linear", format!("{resource}: {what}")));
                break;
            }
        }
    }
    judgement
}

fn judge_one(history: &History<'_>) -> Verdict {
    match search(history, Tries::Once) {
        Verdict::Undecided => match search(history, Tries::Often) {
            Verdict::Broken(what) => Verdict::Broken(what),
            Verdict::Linear | Verdict::Undecided => Verdict::Undecided,
        },
        decided => decided,
    }
}
