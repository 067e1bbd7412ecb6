//! Locks.
pub mod command;
pub mod outcome;
pub use command::{Command, Query, Request};
pub use outcome::Outcome;
