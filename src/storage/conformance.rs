//! What every store must do, whatever it is made of: rules to run on one of your own, from a test.
//!
//! Give a function that opens the store. The first call opens an empty one; each later call comes after every handle of the one before was
//! dropped, and opens it again: a durable store as it was left, a store in memory by handing out the same one. A broken rule panics, with
//! words. A store that never completes a write is waited for, for ever.
//!
//! Not tested here: what a store does when the power fails, or the disk, or when it is given a write that cannot be.

mod log;
mod state;

use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};

use bytes::Bytes;

use crate::raft::Position;
use crate::storage::{Completion, LogStore, StateStore};
use crate::types::{Index, Term};

/// How many partitions the store must have, counted from zero.
pub const PARTITIONS: u32 = 32;

/// Runs every rule on the log store that `open` opens.
///
/// # Panics
/// When a rule is broken.
pub fn log_store(open: &mut dyn FnMut() -> Arc<dyn LogStore>) {
    log::check(open);
}

/// Runs every rule on the state store that `open` opens.
///
/// # Panics
/// When a rule is broken.
pub fn state_store(open: &mut dyn FnMut() -> Arc<dyn StateStore>) {
    state::check(open);
}

/// Counts completions, by the numbers of their writes.
struct Completions {
    done: Sender<u64>,
    completed: Receiver<u64>,
    given: Vec<u64>,
}

impl Completions {
    fn new() -> Self {
        let (done, completed) = channel();
        let given = Vec::new();
        Self { done, completed, given }
    }

    /// The completion of one more write.
    fn next(&mut self) -> Completion {
        let number = self.given.len() as u64;
        self.given.push(number);
        let done = self.done.clone();
        Box::new(move || done.send(number).expect("somebody waits for each completion"))
    }

    /// Waits for all of them.
    fn wait(self) {
        let Self { done, completed, given } = self;
        drop(done);
        let completed: Vec<u64> = completed.iter().collect();
        assert_eq!(
            completed, given,
            "each write is completed once, in the order in which they were given"
        );
    }
}

/// Hands over one write, and waits for it.
fn wait_for(give: impl FnOnce(Completion)) {
    let mut completions = Completions::new();
    give(completions.next());
    completions.wait();
}

fn at(term: u64, index: u64) -> Position {
    Position {
        term: Term(term),
        index: Index(index),
    }
}

fn bytes(text: &str) -> Bytes {
    Bytes::copy_from_slice(text.as_bytes())
}
