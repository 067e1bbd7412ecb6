//! What happens when the disk fails: nothing is completed any more, the handler hears of it once, and nothing is tried again.

use std::sync::{Arc, Mutex};

use kapu::machine::Row;
use kapu::storage::{self, FailureHandler, Opened, StateMark, StateWrite, StorageError};
use kapu::types::PartitionId;

use crate::disk::Platters;
use crate::support::{at, entry, env_with_tasks, identity, log_write, runtime, small_options};

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

#[test]
fn a_write_with_a_hole_is_refused_before_it_reaches_the_disk() {
    runtime().block_on(async {
        let platters = Platters::default();
        let (on_failure, heard) = listen();
        let env = env_with_tasks(platters.boot(None));
        let opened = storage::open_with(&env, &identity(1), on_failure, small_options()).unwrap();
        opened.log.write(log_write(0, None, vec![entry(1, 2, "x")], || {
            panic!("a hole was completed")
        }));
        settle().await;
        let heard = std::mem::take(&mut *heard.lock().unwrap());
        assert!(
            heard[0]
                .to_string()
                .contains("entries from 2 do not follow a log from 0 to 0"),
            "{heard:?}"
        );
    });
}
