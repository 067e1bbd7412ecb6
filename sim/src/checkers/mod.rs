//! What must hold of every run. Each checker is one small file, sees only the evidence, and has a test in which it must object.

use crate::evidence::Evidence;

/// A promise that was broken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// Who found it.
    pub checker: &'static str,
    /// What was found, with the values, for a person.
    pub message: String,
}

/// Looks at a whole run.
pub type Checker = fn(&Evidence) -> Result<(), Violation>;

/// Every checker with its name, the cheap ones first.
pub const CHECKERS: &[(&str, Checker)] = &[];
