//! What must hold of every run. Each checker is one small file, sees only the evidence, and has a test in which it must object.
//!
//! They stand outside of the system: none asks a node anything, and none believes a replica about a client or a client about a replica.
//! A checker names the first broken promise that it finds and does not look for the cause.

pub mod assertion;
pub mod belief;
pub mod completeness;
pub mod durability;
pub mod election;
pub mod exclusion;
pub mod fencing;
pub mod hybrid;
pub mod linear;
pub mod liveness;
pub mod log;
pub mod monotone;
pub mod overdue;
pub mod quorum;
pub mod state;

mod lease;

#[cfg(test)]
mod samples;

use serde::{Deserialize, Serialize};

use crate::evidence::Evidence;
use crate::history::{FencedWrite, Operation, Seen};

/// A promise that was broken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// Who found it.
    pub checker: &'static str,
    /// What was found, with the values, for a person.
    pub message: String,
}

impl Violation {
    /// What `checker` found.
    #[must_use]
    pub fn new(checker: &'static str, message: impl Into<String>) -> Self {
        let message = message.into();
        Self { checker, message }
    }
}

/// Looks at a whole run.
pub type Checker = fn(&Evidence) -> Result<(), Violation>;

/// Every checker with its name, the cheap ones first. [`linear`] is the last and measures too: see [`judge`].
pub const CHECKERS: &[(&str, Checker)] = &[
    ("assertion", assertion::check),
    ("liveness", liveness::check),
    ("election", election::check),
    ("log", log::check),
    ("state", state::check),
    ("hybrid", hybrid::check),
    ("monotone", monotone::check),
    ("quorum", quorum::check),
    ("completeness", completeness::check),
    ("durability", durability::check),
    ("belief", belief::check),
    ("overdue", overdue::check),
    ("fencing", fencing::check),
    ("exclusion", exclusion::check),
];

/// What the checkers measured, of a good run too.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Figures {
    /// How many operations clients began.
    pub operations: u64,
    /// How many of them have no known outcome.
    pub unknown: u64,
    /// How many writes reached fenced resources.
    pub writes: u64,
    /// How many of those a fence refused.
    pub writes_refused: u64,
    /// How many holds were certain for a while.
    pub certain_holds: u64,
    /// The least time, in microseconds, from the certain end of a hold to the beginning of another holder's.
    pub closest_approach_us: Option<u64>,
    /// As above, of holds that ended with their lease: how close the cluster came to a double grant.
    pub closest_expiry_us: Option<u64>,
    /// Resources whose history was found linearizable.
    pub linear_decided: u64,
    /// Resources whose history was too much for the search: neither good nor bad.
    pub linear_undecided: u64,
}

impl Figures {
    /// What no other count of a run says, by name. What was not measured is left out.
    #[must_use]
    pub fn numbers(&self) -> Vec<(String, u64)> {
        let numbers = [
            ("certain_holds", Some(self.certain_holds)),
            ("closest_approach_us", self.closest_approach_us),
            ("closest_expiry_us", self.closest_expiry_us),
            ("linear_decided", Some(self.linear_decided)),
            ("linear_undecided", Some(self.linear_undecided)),
        ];
        let known = |(name, number): (&str, Option<u64>)| number.map(|number| (name.to_owned(), number));
        numbers.into_iter().filter_map(known).collect()
    }
}

/// Asks every checker, and measures the run.
#[must_use]
pub fn judge(evidence: &Evidence) -> (Vec<Violation>, Figures) {
    let ask = |(_, checker): &(&str, Checker)| checker(evidence).err();
    let mut violations: Vec<_> = CHECKERS.iter().filter_map(ask).collect();
    let linear = linear::judge(evidence);
    let figures = figures(evidence, &linear);
    violations.extend(linear.violation);
    (violations, figures)
}

fn figures(evidence: &Evidence, linear: &linear::Judgement) -> Figures {
    let count = |n: usize| u64::try_from(n).expect("a count fits");
    let unknown = |operation: &&Operation| operation.outcome == Seen::Unknown;
    let refused = |write: &&FencedWrite| !write.accepted;
    let approach = exclusion::measure(evidence);
    Figures {
        operations: count(evidence.operations.len()),
        unknown: count(evidence.operations.iter().filter(unknown).count()),
        writes: count(evidence.writes.len()),
        writes_refused: count(evidence.writes.iter().filter(refused).count()),
        certain_holds: approach.holds,
        closest_approach_us: approach.closest_ns.map(|ns| ns / 1000),
        closest_expiry_us: approach.closest_expiry_ns.map(|ns| ns / 1000),
        linear_decided: linear.decided,
        linear_undecided: linear.undecided,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn a_run_in_which_nothing_was_seen_does_not_pass() {
        assert!(CHECKERS.iter().any(|(_, check)| check(&samples::cluster()).is_err()));
    }

    #[test]
    fn every_checker_has_a_name_of_its_own() {
        let names: BTreeSet<_> = CHECKERS.iter().map(|(name, _)| *name).collect();
        assert_eq!(names.len(), CHECKERS.len());
    }

    #[test]
    fn figures_count_what_was_seen() {
        use samples::{history, locked, operation, write};
        let lost = operation(crate::history::Op::Unlock, "a", (50, 0), Seen::Unknown);
        let mut run = history(vec![locked("a", (0, 1), 1), lost, locked("b", (140, 150), 2)]);
        run.writes = vec![write("a", 10, 1, true), write("a", 160, 1, false)];
        let (_, figures) = judge(&run);
        assert_eq!((figures.operations, figures.unknown), (3, 1));
        assert_eq!((figures.writes, figures.writes_refused), (2, 1));
        assert_eq!((figures.certain_holds, figures.closest_approach_us), (2, Some(100_000)));
        assert_eq!((figures.linear_decided, figures.linear_undecided), (1, 0));
    }
}
