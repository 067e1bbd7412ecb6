//! Power failures at every sync, between syncs, during recovery, and again and again.
//!
//! A random workload runs on the simulated disk until it dies. What is found afterwards must be the state after one of the operations, the
//! same one for all partitions, and not before the last that was completed. The seed is printed with every failure.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use kapu::storage::{self, LogStore, Opened, Options, StateSnapshot, StateStore, StorageError};
use kapu::types::{Incarnation, PartitionId};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use crate::disk::Platters;
use crate::model::{Model, Op};
use crate::state_model::{self, Rows, StateModel};
use crate::support::{env_with_tasks, identity, log_write, runtime, small_options};

const PARTITIONS: u32 = 3;
/// Seeds whose every sync is a place to crash.
const SYNC_SEEDS: u64 = 3;
/// Seeds that crash at random, and how often each.
const CHAIN_SEEDS: u64 = 20;
const CHAIN_CRASHES: u64 = 25;
/// Operations between two crashes.
const OPERATIONS: usize = 40;
/// More leftovers than one step removes.
const LEFT_ROWS_MIN: usize = 5;
/// Long enough for all leftovers of such a life to be removed.
const IDLE_TURNS: usize = 200;

/// What was asked for and what was answered since the last recovery, and what was there before.
struct Expectation {
    log: Model,
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
    fn new() -> Self {
        Self {
            log: Model::new(PARTITIONS),
            log_ops: Vec::new(),
            log_completed: Arc::default(),
            state: (0..PARTITIONS).map(|_| StateExpectation::default()).collect(),
            incarnation: Incarnation(0),
        }
    }

    fn submit_log(&mut self, log: &dyn LogStore, newest: &mut Model, active: usize, rng: &mut StdRng) {
        let op = newest.draw(rng, active);
        newest.apply(&op);
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

    fn submit_state(&mut self, state: &dyn StateStore, rng: &mut StdRng) {
        let partition = rng.random_range(0..PARTITIONS);
        let expected = &mut self.state[partition as usize];
        let place = expected.versions.len();
        let mut version = expected.versions[place - 1].clone();
        let op = version.draw(rng);
        version.apply(&op);
        expected.versions.push(version);
        let completed = Arc::clone(&expected.completed);
        let done = Box::new(move || assert_eq!(completed.swap(place, Ordering::SeqCst), place - 1));
        op.submit(state, PartitionId(partition), done);
    }

    /// A snapshot, with what it must hold: one of the states since the last that was completed. None after the power failed.
    fn snapshot(&self, state: &dyn StateStore, rng: &mut StdRng) -> Option<(Box<dyn StateSnapshot>, Rows)> {
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

    /// The workload since the last recovery did everything that there is to crash in.
    fn check_variety(&self) {
        let is_reset = |op: &Op| matches!(op, Op::Write { reset: Some(_), .. });
        assert!(self.log_ops.iter().any(is_reset), "the log is replaced");
        let steps = || self.state.iter().flat_map(|state| state.versions.windows(2));
        let installs = |pair: &[StateModel]| pair[0].rows.len() > LEFT_ROWS_MIN && pair[1].loaded.installed;
        assert!(
            steps().any(installs),
            "a snapshot replaces rows, which go in several steps"
        );
        let staged = |state: &StateModel| state.staging.as_ref().map(|(at, _)| *at);
        let overtakes = |pair: &[StateModel]| match (staged(&pair[0]), staged(&pair[1])) {
            (Some(was), Some(is)) => was != is,
            _ => false,
        };
        assert!(steps().any(overtakes), "a snapshot overtakes another");
    }

    /// Checks what was found after a crash, and goes on from there.
    fn check(&mut self, opened: &Opened) {
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

/// Opens, checks what is there, and works until the workload ends or the disk dies. Returns whether it got as far as to open.
async fn live(platters: &Platters, expected: &mut Expectation, dies_at: Option<u64>, seed: u64) -> bool {
    let env = env_with_tasks(platters.boot(dies_at));
    let on_failure = Arc::new(|error: StorageError| assert!(matches!(error, StorageError::Io { .. }), "{error}"));
    let mut rng = StdRng::seed_from_u64(seed);
    let options = Options {
        wal_blobs_max: rng.random_range(1..16),
        ..small_options()
    };
    let opened = match storage::open_with(&env, &identity(PARTITIONS), on_failure, options) {
        Ok(opened) => opened,
        Err(error) => {
            assert!(
                dies_at.is_some() && error.to_string().contains("power failure"),
                "{error}"
            );
            return false;
        }
    };
    expected.check(&opened);
    let mut newest = expected.log.clone();
    // Some lives leave partitions idle: then only garbage collection touches them.
    let active = rng.random_range(1..=3);
    let mut snapshots = VecDeque::new();
    for _ in 0..OPERATIONS {
        expected.submit_log(&*opened.log, &mut newest, active, &mut rng);
        if rng.random_bool(0.4) {
            expected.submit_state(&*opened.state, &mut rng);
        }
        if rng.random_bool(0.2) {
            snapshots.extend(expected.snapshot(&*opened.state, &mut rng));
        }
        if rng.random_bool(0.1) {
            check_snapshot(snapshots.pop_front());
        }
        for _ in 0..rng.random_range(0..4) {
            tokio::task::yield_now().await;
        }
    }
    drop(snapshots);
    for _ in 0..IDLE_TURNS {
        tokio::task::yield_now().await;
    }
    let Opened { log, state, closed, .. } = opened;
    drop((log, state));
    closed.await;
    true
}

/// It still holds what it held, or the power failed meanwhile.
fn check_snapshot(snapshot: Option<(Box<dyn StateSnapshot>, Rows)>) {
    if let Some((snapshot, rows)) = snapshot {
        let now = state_model::rows_of(&*snapshot, 1000);
        assert!(now.is_err() || now == Ok(rows), "a snapshot changed");
    }
}

/// Runs one life after another on a runtime of its own; a task that a crash left behind ends with it.
fn live_once(platters: &Platters, expected: &mut Expectation, dies_at: Option<u64>, seed: u64) -> bool {
    runtime().block_on(live(platters, expected, dies_at, seed))
}

#[test]
fn a_crash_at_and_after_every_sync_loses_nothing_that_was_completed() {
    for seed in 0..SYNC_SEEDS {
        let platters = Platters::default();
        let mut expected = Expectation::new();
        assert!(live_once(&platters, &mut expected, None, seed));
        expected.check_variety();
        let (operations, syncs) = platters.operations();
        assert!(syncs.len() > 20, "the workload syncs");
        let mut rng = StdRng::seed_from_u64(seed);
        for window in syncs.windows(2).chain([&[*syncs.last().unwrap(), operations][..]]) {
            for dies_at in [window[0], rng.random_range(window[0] + 1..=window[1])] {
                println!("seed {seed}, dies at operation {dies_at}");
                let platters = Platters::default();
                let mut expected = Expectation::new();
                live_once(&platters, &mut expected, Some(dies_at), seed);
                platters.crash(rng.random());
                assert!(live_once(&platters, &mut expected, None, seed + 1));
                assert_eq!(state_model::leftovers(&platters), 0);
            }
        }
    }
}

#[test]
fn crash_after_crash_and_in_recovery_loses_nothing_that_was_completed() {
    for seed in 0..CHAIN_SEEDS {
        let mut rng = StdRng::seed_from_u64(seed);
        let platters = Platters::default();
        let mut expected = Expectation::new();
        let mut in_recovery = 0;
        for crash in 0..CHAIN_CRASHES {
            let dies_at = if rng.random_bool(0.4) {
                rng.random_range(0..20)
            } else {
                rng.random_range(0..600)
            };
            println!("seed {seed}, crash {crash}, dies at operation {dies_at}");
            let opened = live_once(&platters, &mut expected, Some(dies_at), rng.random());
            in_recovery += u64::from(!opened);
            platters.crash(rng.random());
        }
        assert!(live_once(&platters, &mut expected, None, seed));
        assert_eq!(state_model::leftovers(&platters), 0);
        assert!(in_recovery > 1, "recovery itself was interrupted");
    }
}
