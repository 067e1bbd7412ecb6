//! What a snapshot replaced goes in the background, a few rows at a time, also after a restart.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use kapu::machine::Row;
use kapu::storage::{self, Opened, StateMark, StateStore};
use kapu::types::PartitionId;

use crate::disk::Platters;
use crate::state_model::{StateModel, StateOp, leftovers};
use crate::support::{at, env_with_tasks, identity, no_failure, runtime, small_options};

const P: PartitionId = PartitionId(1);

fn open(platters: &Platters) -> Opened {
    let env = env_with_tasks(platters.boot(None));
    storage::open_with(&env, &identity(2), no_failure(), small_options()).unwrap()
}

async fn close(opened: Opened) {
    let Opened { log, state, closed, .. } = opened;
    drop((log, state));
    closed.await;
}

/// Hands over one operation after another, and returns as soon as the last is completed.
async fn run(state: &dyn StateStore, ops: Vec<StateOp>) {
    for op in ops {
        let completed = Arc::new(AtomicBool::new(false));
        let done = Arc::clone(&completed);
        op.submit(state, P, Box::new(move || done.store(true, Ordering::SeqCst)));
        while !completed.load(Ordering::SeqCst) {
            tokio::task::yield_now().await;
        }
    }
}

fn key(number: u8) -> Bytes {
    Bytes::from(vec![number])
}

fn mark(index: u64) -> StateMark {
    StateMark {
        applied: at(1, index),
        ..StateMark::default()
    }
}

fn write(index: u64, rows: u8) -> StateOp {
    let row = |number| Row {
        key: key(number),
        value: Some("old".into()),
    };
    StateOp::Write(mark(index), (0..rows).map(row).collect())
}

fn stage(index: u64, rows: u8) -> StateOp {
    StateOp::Stage(
        at(1, index),
        (0..rows).map(|number| (key(number), "new".into())).collect(),
    )
}

#[test]
fn leftovers_go_a_few_at_a_time_also_after_a_restart() {
    runtime().block_on(async {
        let platters = Platters::default();
        let opened = open(&platters);
        run(
            &*opened.state,
            vec![write(1, 33), stage(5, 2), StateOp::Install(mark(5))],
        )
        .await;
        close(opened).await;
        let mut left = vec![leftovers(&platters)];
        assert!(left[0] > 20, "{} rows are left when it is installed", left[0]);
        while left.last() != Some(&0) {
            let opened = open(&platters);
            run(&*opened.state, vec![write(left.len() as u64 + 5, 1)]).await;
            close(opened).await;
            left.push(leftovers(&platters));
        }
        let steps = left.windows(2).map(|pair| pair[0] - pair[1]);
        let max = small_options().leftover_rows_max;
        assert!(
            steps.clone().all(|step| step <= 2 * max) && steps.count() > 2,
            "{left:?}"
        );
    });
}

#[test]
fn leftovers_go_while_nothing_is_written_and_take_nothing_along() {
    runtime().block_on(async {
        let platters = Platters::default();
        let opened = open(&platters);
        let ops = vec![
            write(1, 33),
            stage(4, 50),
            stage(5, 20),
            StateOp::Install(mark(5)),
            stage(9, 40),
            stage(8, 7),
        ];
        let mut expected = StateModel::default();
        ops.iter().for_each(|op| expected.apply(op));
        run(&*opened.state, ops).await;
        for _ in 0..100 {
            tokio::task::yield_now().await;
        }
        let (_, before) = platters.operations();
        for _ in 0..100 {
            tokio::task::yield_now().await;
        }
        let (_, after) = platters.operations();
        assert_eq!(before, after, "once they are gone, the disk is left alone");
        assert_eq!(StateModel::found(&*opened.state, P).unwrap(), expected);
        close(opened).await;
        assert_eq!(leftovers(&platters), 0);
        let opened = open(&platters);
        assert_eq!(StateModel::found(&*opened.state, P).unwrap(), expected);
        close(opened).await;
    });
}
