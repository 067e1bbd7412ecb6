//! What happens when the disk fails: nothing is completed any more, the handler hears of it once, and nothing is tried again.

use std::sync::{Arc, Mutex};

use kapu::machine::Row;
use kapu::raft::Position;
use kapu::storage::memory::{MemoryLog, MemoryState};
use kapu::storage::{
    self, Completion, FailureHandler, InstallWrite, LogStore, Opened, StageWrite, StateMark, StateStore, StateWrite,
    StorageError,
};
use kapu::types::PartitionId;

use crate::disk::Platters;
use crate::support::{at, entry, env_with_tasks, identity, log_reset, log_write, runtime, small_options};

/// A handler that keeps what it hears.
fn listen() -> (FailureHandler, Arc<Mutex<Vec<StorageError>>>) {
    let heard = Arc::new(Mutex::new(Vec::new()));
    let keep = Arc::clone(&heard);
    (Arc::new(move |error| keep.lock().unwrap().push(error)), heard)
}

/// Lets every task run until none can go on.
async fn settle() {
    for _ in 0..50 {
        tokio::task::yield_now().await;
    }
}

#[test]
fn a_failed_sync_is_fatal_and_never_tried_again() {
    runtime().block_on(async {
        let platters = Platters::default();
        let (on_failure, heard) = listen();
        let env = env_with_tasks(platters.boot(None));
        let opened = storage::open_with(&env, &identity(1), on_failure, small_options()).unwrap();
        let completed = Arc::new(Mutex::new(Vec::new()));
        let write = |index| {
            let completed = Arc::clone(&completed);
            opened
                .log
                .write(log_write(0, None, vec![entry(1, index, "x")], move || {
                    completed.lock().unwrap().push(index)
                }));
        };
        write(1);
        settle().await;
        platters.fail_next_sync();
        write(2);
        settle().await;
        write(3);
        settle().await;
        assert_eq!(
            *completed.lock().unwrap(),
            [1],
            "nothing is completed after the failure"
        );
        let heard = std::mem::take(&mut *heard.lock().unwrap());
        assert!(
            matches!(&heard[..], [StorageError::Io { file, .. }] if file == "sim/log.redb"),
            "{heard:?}"
        );
        let Opened { log, state, closed, .. } = opened;
        drop((log, state));
        closed.await;
        assert_eq!(
            platters.failed(),
            Some(("log.redb".to_owned(), 0)),
            "not even when it is closed"
        );
    });
}

#[test]
fn a_failed_sync_of_the_state_is_fatal_too() {
    runtime().block_on(async {
        let platters = Platters::default();
        let (on_failure, heard) = listen();
        let env = env_with_tasks(platters.boot(None));
        let opened = storage::open_with(&env, &identity(1), on_failure, small_options()).unwrap();
        let completed = Arc::new(Mutex::new(0));
        platters.fail_next_sync();
        for index in 1..=2 {
            let completed = Arc::clone(&completed);
            opened.state.write(StateWrite {
                partition: PartitionId(0),
                mark: StateMark {
                    applied: at(1, index),
                    ..StateMark::default()
                },
                rows: vec![Row {
                    key: "k".into(),
                    value: Some("v".into()),
                }],
                done: Box::new(move || *completed.lock().unwrap() += 1),
            });
            settle().await;
        }
        assert_eq!(*completed.lock().unwrap(), 0);
        let heard = std::mem::take(&mut *heard.lock().unwrap());
        assert!(
            matches!(&heard[..], [StorageError::Io { file, .. }] if file == "sim/state.redb"),
            "{heard:?}"
        );
        assert_eq!(platters.failed(), Some(("state.redb".to_owned(), 0)));
    });
}

/// What the handler hears of a write that no correct caller makes, after five entries were written; the write is never completed.
fn refused(give: impl FnOnce(&Opened, Completion)) -> String {
    runtime().block_on(async {
        let (on_failure, heard) = listen();
        let env = env_with_tasks(Platters::default().boot(None));
        let opened = storage::open_with(&env, &identity(1), on_failure, small_options()).unwrap();
        let entries = (1..=5).map(|index| entry(1, index, "x")).collect();
        opened.log.write(log_write(0, None, entries, || ()));
        give(&opened, Box::new(|| panic!("it was completed")));
        settle().await;
        let heard = std::mem::take(&mut *heard.lock().unwrap());
        assert_eq!(heard.len(), 1, "{heard:?}");
        heard[0].to_string()
    })
}

/// Where there is no handler, the caller hears of it at once.
fn panics(give: impl FnOnce()) {
    let panic = std::panic::catch_unwind(std::panic::AssertUnwindSafe(give));
    assert!(panic.is_err(), "it was taken");
}

#[test]
fn a_write_with_a_hole_is_refused_before_it_reaches_the_disk() {
    let message = refused(|opened, done| opened.log.write(log_write(0, None, vec![entry(1, 7, "x")], done)));
    let words = "entries from 7 do not follow a log from 0 to 5";
    assert!(message.contains(words), "{message}");
    panics(|| MemoryLog::default().write(log_write(0, None, vec![entry(1, 2, "x")], || ())));
}

#[test]
fn entries_that_do_not_follow_the_reset_of_their_write_are_refused() {
    let write = |done: Completion| log_reset(0, at(2, 9), vec![entry(2, 6, "x")], done);
    let message = refused(|opened, done| opened.log.write(write(done)));
    let words = "entries from 6 do not follow a log from 9 to 9";
    assert!(message.contains(words), "{message}");
    panics(|| MemoryLog::default().write(write(Box::new(|| ()))));
}

#[test]
fn a_reset_to_before_the_base_is_refused() {
    let message = refused(|opened, done| {
        opened.log.compact(PartitionId(0), at(1, 4));
        opened.log.write(log_reset(0, at(2, 4), Vec::new(), done));
    });
    let words = "a log from 4 is not replaced by one from 4";
    assert!(message.contains(words), "{message}");
    panics(|| {
        let log = MemoryLog::default();
        log.write(log_reset(0, at(1, 4), Vec::new(), || ()));
        log.write(log_reset(0, at(1, 4), Vec::new(), || ()));
        log.write(log_reset(0, at(2, 4), Vec::new(), || panic!("it was completed")));
    });
}

#[test]
fn compaction_at_what_the_log_does_not_have_is_refused() {
    for (through, words) in [(at(1, 6), "entry 6 of term 1"), (at(2, 5), "entry 5 of term 2")] {
        let message = refused(|opened, _| opened.log.compact(PartitionId(0), through));
        assert!(message.contains(words) && message.contains("log up to 5"), "{message}");
    }
    panics(|| MemoryLog::default().compact(PartitionId(0), at(1, 1)));
}

fn install(state: &dyn StateStore, applied: Position, done: Completion) {
    let mark = StateMark {
        applied,
        ..StateMark::default()
    };
    let partition = PartitionId(0);
    state.install(InstallWrite { partition, mark, done });
}

fn stage(state: &dyn StateStore, at: Position) {
    state.stage(StageWrite {
        partition: PartitionId(0),
        at,
        rows: vec![("k".into(), "v".into())],
        done: Box::new(|| ()),
    });
}

#[test]
fn installing_another_snapshot_than_was_staged_is_refused_with_both() {
    let other = |state: &dyn StateStore, done| {
        stage(state, at(2, 7));
        install(state, at(3, 8), done);
    };
    let message = refused(|opened, done| other(&*opened.state, done));
    assert!(
        message.contains("entry 8 of term 3") && message.contains("entry 7 of term 2"),
        "{message}"
    );
    panics(|| other(&MemoryState::default(), Box::new(|| ())));
    let message = refused(|opened, done| install(&*opened.state, at(3, 8), done));
    assert!(message.contains("nothing is staged"), "{message}");
    panics(|| install(&MemoryState::default(), at(3, 8), Box::new(|| ())));
}

#[test]
fn an_older_snapshot_is_not_installed_over_a_newer_state() {
    let older = |state: &dyn StateStore, done| {
        stage(state, at(2, 7));
        install(state, at(2, 7), Box::new(|| ()));
        stage(state, at(2, 6));
        install(state, at(2, 6), done);
    };
    let message = refused(|opened, done| older(&*opened.state, done));
    assert!(
        message.contains("entry 6 of term 2") && message.contains("entry 7 is applied already"),
        "{message}"
    );
    panics(|| older(&MemoryState::default(), Box::new(|| ())));
}
