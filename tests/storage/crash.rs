//! Power failures at every sync, between syncs, during recovery, and again and again.
//!
//! A random workload runs on the simulated disk until it dies. What is found afterwards must be the state after one of the operations, the
//! same one for all partitions, and not before the last that was completed. The seed is printed with every failure.

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use kapu::machine::Row;
use kapu::storage::{self, Opened, Options, StateMark, StateSnapshot, StorageError};
use kapu::types::LogTime;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use crate::disk::Platters;
use crate::expectation::{Expectation, PARTITIONS};
use crate::model::Op;
use crate::state_model::{self, Rows, StateOp};
use crate::support::{at, entry, env_with_tasks, hard_state, identity, membership, runtime, small_options};

/// Seeds whose every sync is a place to crash.
const SYNC_SEEDS: u64 = 3;
/// Seeds that crash at random, and how often each.
const CHAIN_SEEDS: u64 = 20;
const CHAIN_CRASHES: u64 = 25;
/// Operations between two crashes.
const OPERATIONS: usize = 40;
/// Long enough for all leftovers of such a life to be removed.
const IDLE_TURNS: usize = 200;

/// What a life is spent on.
#[derive(Clone, Copy, Debug)]
enum Work {
    /// Whatever the seed draws.
    Random,
    /// A snapshot replaces log and state.
    Replacement,
}

/// Opens, checks what is there, and works until the workload ends or the disk dies. Returns whether it got as far as to open.
async fn live(platters: &Platters, expected: &mut Expectation, dies_at: Option<u64>, seed: u64, work: Work) -> bool {
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
    match work {
        Work::Random => work_at_random(&opened, expected, &mut rng).await,
        Work::Replacement => be_replaced(&opened, expected).await,
    }
    turns(IDLE_TURNS).await;
    let Opened { log, state, closed, .. } = opened;
    drop((log, state));
    closed.await;
    true
}

async fn work_at_random(opened: &Opened, expected: &mut Expectation, rng: &mut StdRng) {
    let mut newest = expected.log.clone();
    // Some lives leave partitions idle: then only garbage collection touches them.
    let active = rng.random_range(1..=3);
    let mut snapshots = VecDeque::new();
    for _ in 0..OPERATIONS {
        expected.submit_log(&*opened.log, &mut newest, active, rng);
        if rng.random_bool(0.4) {
            expected.submit_state(&*opened.state, rng);
        }
        if rng.random_bool(0.2) {
            snapshots.extend(expected.snapshot(&*opened.state, rng));
        }
        if rng.random_bool(0.1) {
            check_snapshot(snapshots.pop_front());
        }
        turns(rng.random_range(0..4)).await;
    }
}

/// What happens to a follower that was left behind: a snapshot is received, overtaken by another, installed, and the log is replaced. The
/// rows that were there before are more than one step removes.
async fn be_replaced(opened: &Opened, expected: &mut Expectation) {
    let row = |key: u8| (Bytes::from(vec![key]), Bytes::from(vec![key; 50]));
    let rows = |keys: Range<u8>| keys.map(row).collect::<Vec<_>>();
    let write = |index, keys: Range<u8>| {
        let changed = keys.map(row).map(|(key, value)| Row {
            key,
            value: Some(value),
        });
        StateOp::Write(mark(index), changed.collect())
    };
    let append = |reset, from: u64| Op::Write {
        partition: 0,
        hard_state: Some(hard_state(from, 1)),
        reset,
        entries: (from..from + 3).map(|index| entry(from, index, "x")).collect(),
    };
    expected.give_log(&*opened.log, append(None, 1));
    let ops = [
        write(2, 0..14),
        StateOp::Stage(at(1, 5), rows(0..12)),
        StateOp::Stage(at(1, 9), rows(0..3)),
        StateOp::Stage(at(1, 9), rows(3..9)),
        StateOp::Install(mark(9)),
    ];
    for op in ops {
        expected.give_state(&*opened.state, 0, op);
        turns(5).await;
    }
    expected.give_log(&*opened.log, append(Some(at(1, 9)), 10));
    expected.give_state(&*opened.state, 0, write(10, 5..7));
    turns(5).await;
    expected.give_log(&*opened.log, append(None, 13));
}

fn mark(index: u64) -> StateMark {
    StateMark {
        applied: at(1, index),
        log_time: LogTime(index),
        hlc: None,
        membership: membership([1, index]),
    }
}

async fn turns(count: usize) {
    for _ in 0..count {
        tokio::task::yield_now().await;
    }
}

/// It still holds what it held, or the power failed meanwhile.
fn check_snapshot(snapshot: Option<(Box<dyn StateSnapshot>, Rows)>) {
    if let Some((snapshot, rows)) = snapshot {
        let now = state_model::rows_of(&*snapshot, 1000);
        assert!(now.is_err() || now == Ok(rows), "a snapshot changed");
    }
}

/// Runs one life after another on a runtime of its own; a task that a crash left behind ends with it.
fn live_once(platters: &Platters, expected: &mut Expectation, dies_at: Option<u64>, seed: u64, work: Work) -> bool {
    runtime().block_on(live(platters, expected, dies_at, seed, work))
}

/// Runs the same life again and again, and lets it die at each sync, and somewhere before the next.
fn crash_everywhere(seed: u64, work: Work) {
    let platters = Platters::default();
    assert!(live_once(&platters, &mut Expectation::new(), None, seed, work));
    let (operations, syncs) = platters.operations();
    assert!(syncs.len() > 20, "the workload syncs");
    let mut rng = StdRng::seed_from_u64(seed);
    for window in syncs.windows(2).chain([&[*syncs.last().unwrap(), operations][..]]) {
        for dies_at in [window[0], rng.random_range(window[0] + 1..=window[1])] {
            println!("{work:?}, seed {seed}, dies at operation {dies_at}");
            let platters = Platters::default();
            let mut expected = Expectation::new();
            live_once(&platters, &mut expected, Some(dies_at), seed, work);
            platters.crash(rng.random());
            assert!(live_once(&platters, &mut expected, None, seed + 1, Work::Random));
            assert_eq!(state_model::leftovers(&platters), 0);
        }
    }
}

#[test]
fn a_crash_at_and_after_every_sync_loses_nothing_that_was_completed() {
    (0..SYNC_SEEDS).for_each(|seed| crash_everywhere(seed, Work::Random));
}

#[test]
fn a_crash_at_and_after_every_sync_of_a_replacement_leaves_all_or_nothing_of_each_step() {
    (0..SYNC_SEEDS).for_each(|seed| crash_everywhere(seed, Work::Replacement));
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
            let opened = live_once(&platters, &mut expected, Some(dies_at), rng.random(), Work::Random);
            in_recovery += u64::from(!opened);
            platters.crash(rng.random());
        }
        assert!(live_once(&platters, &mut expected, None, seed, Work::Random));
        assert_eq!(state_model::leftovers(&platters), 0);
        assert!(in_recovery > 1, "recovery itself was interrupted");
    }
}
