//! What may be found after a crash.
//!
//! It is what one of the operations since the last recovery left, for the log the same one in all partitions, and no earlier than the last
//! that was completed. The workload itself is not drawn here, but by the models.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use kapu::storage::{LogStore, Opened, StateSnapshot, StateStore};
use kapu::types::{Incarnation, PartitionId};
use rand::RngExt;
use rand::rngs::StdRng;

use crate::model::{Model, Op};
use crate::state_model::{self, Rows, StateModel, StateOp};
use crate::support::log_write;

/// How many partitions there are.
pub const PARTITIONS: u32 = 3;

/// What was asked for and what was answered since the last recovery, and what was there before.
pub struct Expectation {
    pub log: Model,
    log_ops: Vec<Op>,
    log_completed: Arc<AtomicUsize>,
    state: Vec<StateExpectation>,
    incarnation: Incarnation,
}

/// One partition after each operation; the first is what was there before.
struct StateExpectation {
    versions: Vec<StateModel>,
    completed: Arc<AtomicUsize>,
}

impl Default for StateExpectation {
    fn default() -> Self {
        Self {
            versions: vec![StateModel::default()],
            completed: Arc::default(),
        }
    }
}

impl Expectation {
    pub fn new() -> Self {
        Self {
            log: Model::new(PARTITIONS),
            log_ops: Vec::new(),
            log_completed: Arc::default(),
            state: (0..PARTITIONS).map(|_| StateExpectation::default()).collect(),
            incarnation: Incarnation(0),
        }
    }

    pub fn submit_log(&mut self, log: &dyn LogStore, newest: &mut Model, active: usize, rng: &mut StdRng) {
        let op = newest.draw(rng, active);
        newest.apply(&op);
        self.give_log(log, op);
    }

    pub fn give_log(&mut self, log: &dyn LogStore, op: Op) {
        self.log_ops.push(op.clone());
        match op {
            Op::Compact { partition, through } => log.compact(PartitionId(partition), through),
            Op::Write {
                partition,
                hard_state,
                reset,
                entries,
            } => {
                let place = self.log_ops.len();
                let completed = Arc::clone(&self.log_completed);
                let mut write = log_write(partition, hard_state, entries, move || {
                    let before = completed.swap(place, Ordering::SeqCst);
                    assert!(before < place, "write {place} completed after {before}");
                });
                write.persist.reset = reset;
                log.write(write);
            }
        }
    }

    pub fn submit_state(&mut self, state: &dyn StateStore, rng: &mut StdRng) {
        let partition = rng.random_range(0..PARTITIONS);
        let version = self.state[partition as usize].versions.last().unwrap();
        let op = version.draw(rng);
        self.give_state(state, partition, op);
    }

    pub fn give_state(&mut self, state: &dyn StateStore, partition: u32, op: StateOp) {
        let expected = &mut self.state[partition as usize];
        let place = expected.versions.len();
        let mut version = expected.versions[place - 1].clone();
        version.apply(&op);
        expected.versions.push(version);
        let completed = Arc::clone(&expected.completed);
        let done = Box::new(move || assert_eq!(completed.swap(place, Ordering::SeqCst), place - 1));
        op.submit(state, PartitionId(partition), done);
    }

    /// A snapshot, with what it must hold: one of the states since the last that was completed. None after the power failed.
    pub fn snapshot(&self, state: &dyn StateStore, rng: &mut StdRng) -> Option<(Box<dyn StateSnapshot>, Rows)> {
        let partition = rng.random_range(0..PARTITIONS);
        let snapshot = state.snapshot(PartitionId(partition)).ok()?;
        let rows = state_model::rows_of(&*snapshot, rng.random_range(0..3000)).ok()?;
        let expected = &self.state[partition as usize];
        let completed = expected.completed.load(Ordering::SeqCst);
        let fits = |version: &StateModel| version.loaded.mark == *snapshot.mark() && version.rows == rows;
        assert!(
            expected.versions[completed..].iter().any(fits),
            "a snapshot is of one moment"
        );
        Some((snapshot, rows))
    }

    /// Checks what was found after a crash, and goes on from there.
    pub fn check(&mut self, opened: &Opened) {
        assert!(opened.incarnation > self.incarnation, "a start was not counted");
        self.incarnation = opened.incarnation;
        self.check_log(&*opened.log);
        for (partition, expected) in (0..).map(PartitionId).zip(&mut self.state) {
            expected.check(&*opened.state, partition);
        }
    }

    fn check_log(&mut self, log: &dyn LogStore) {
        let completed = self.log_completed.swap(0, Ordering::SeqCst);
        let mut newest = self.log.clone();
        self.log_ops.iter().for_each(|op| newest.apply(op));
        self.log_ops[..completed].iter().for_each(|op| self.log.apply(op));
        let mut differences = Vec::new();
        let mut later = self.log_ops.drain(..).skip(completed);
        loop {
            match self.log.compare(log, &newest) {
                Ok(()) => break,
                Err(difference) => differences.push(difference),
            }
            let Some(op) = later.next() else {
                panic!("no state after {completed} fits: {differences:#?}")
            };
            self.log.apply(&op);
        }
        drop(later);
        self.log.take_bases(log);
    }
}

impl StateExpectation {
    fn check(&mut self, state: &dyn StateStore, partition: PartitionId) {
        let found = StateModel::found(state, partition).expect("state is readable");
        let completed = self.completed.swap(0, Ordering::SeqCst);
        let possible = &self.versions[completed..];
        assert!(
            possible.contains(&found),
            "what is found is what an operation left, no earlier than the last completed"
        );
        self.versions = vec![found];
    }
}
