//! Power failures at every sync, between syncs, during recovery, and again and again.
//!
//! A random workload runs on the simulated disk until it dies. What is found afterwards must be the state after one of the operations, the
//! same one for all partitions, and not before the last that was completed. The seed is printed with every failure.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use kapu::hlc::Hlc;
use kapu::machine::Row;
use kapu::storage::{self, LogStore, Opened, Options, StateMark, StateStore, StateWrite, StorageError};
use kapu::types::{Incarnation, LogTime, PartitionId};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use crate::disk::Platters;
use crate::model::{Model, Op};
use crate::support::{at, env_with_tasks, identity, log_write, runtime, small_options};

const PARTITIONS: u32 = 3;
/// Seeds whose every sync is a place to crash.
const SYNC_SEEDS: u64 = 3;
/// Seeds that crash at random, and how often each.
const CHAIN_SEEDS: u64 = 20;
const CHAIN_CRASHES: u64 = 25;
/// Operations between two crashes.
const OPERATIONS: usize = 40;

/// What was asked for and what was answered since the last recovery, and what was there before.
struct Expectation {
    log: Model,
    log_ops: Vec<Op>,
    log_completed: Arc<AtomicUsize>,
    state: Vec<StateExpectation>,
    incarnation: Incarnation,
}

type Rows = BTreeMap<Bytes, Bytes>;

/// The rows of one partition after each write; the first is what was there before.
struct StateExpectation {
    versions: Vec<(StateMark, Rows)>,
    completed: Arc<AtomicUsize>,
}

impl Default for StateExpectation {
    fn default() -> Self {
        Self {
            versions: vec![(StateMark::default(), Rows::new())],
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
                entries,
            } => {
                let place = self.log_ops.len();
                let completed = Arc::clone(&self.log_completed);
                log.write(log_write(partition, hard_state, entries, move || {
                    let before = completed.swap(place, Ordering::SeqCst);
                    assert!(before < place, "write {place} completed after {before}");
                }));
            }
        }
    }

    fn submit_state(&mut self, state: &dyn StateStore, rng: &mut StdRng) {
        let partition = rng.random_range(0..PARTITIONS);
        let expected = &mut self.state[partition as usize];
        let place = expected.versions.len();
        let (mark, mut rows) = expected.versions[place - 1].clone();
        let index = mark.applied.index.0 + 1;
        let mark = StateMark {
            applied: at(1, index),
            log_time: LogTime(index * 3),
            hlc: Some(Hlc(index * 7)),
        };
        let mut changes = Vec::new();
        for _ in 0..rng.random_range(0..4) {
            let key = Bytes::from(vec![rng.random_range(0..10_u8)]);
            let value = rng
                .random_bool(0.7)
                .then(|| Bytes::from(vec![rng.random(); rng.random_range(0..2000)]));
            match &value {
                Some(value) => rows.insert(key.clone(), value.clone()),
                None => rows.remove(&key),
            };
            changes.push(Row { key, value });
        }
        expected.versions.push((mark, rows));
        let completed = Arc::clone(&expected.completed);
        let done = Box::new(move || assert_eq!(completed.swap(place, Ordering::SeqCst), place - 1));
        state.write(StateWrite {
            partition: PartitionId(partition),
            mark,
            rows: changes,
            done,
        });
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
        let mut rows = Rows::new();
        let mark = state.load(partition, &mut |key, value| {
            rows.insert(Bytes::copy_from_slice(key), Bytes::copy_from_slice(value));
            Ok(())
        });
        let found = (mark.expect("state is readable"), rows);
        let completed = self.completed.swap(0, Ordering::SeqCst);
        let place = self.versions.iter().position(|version| *version == found);
        let place = place.expect("rows and mark are those of one write");
        assert!(
            place >= completed,
            "the state went back from write {completed} to {place}"
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
    for _ in 0..OPERATIONS {
        expected.submit_log(&*opened.log, &mut newest, active, &mut rng);
        if rng.random_bool(0.2) {
            expected.submit_state(&*opened.state, &mut rng);
        }
        for _ in 0..rng.random_range(0..4) {
            tokio::task::yield_now().await;
        }
    }
    let Opened { log, state, closed, .. } = opened;
    drop((log, state));
    closed.await;
    true
}

/// Runs one life after another on a runtime of its own; a task that a crash left behind ends with it.
fn live_once(platters: &Platters, expected: &mut Expectation, dies_at: Option<u64>, seed: u64) -> bool {
    runtime().block_on(live(platters, expected, dies_at, seed))
}

#[test]
fn a_crash_at_and_after_every_sync_loses_nothing_that_was_completed() {
    for seed in 0..SYNC_SEEDS {
        let platters = Platters::default();
        assert!(live_once(&platters, &mut Expectation::new(), None, seed));
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
        assert!(in_recovery > 1, "recovery itself was interrupted");
    }
}
