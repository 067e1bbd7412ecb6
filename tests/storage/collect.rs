//! Garbage collection of the log: the file stays small, idle partitions pin nothing, and what is live stays.

use std::path::Path;
use std::sync::mpsc;

use kapu::raft::{Entry, HardState};
use kapu::storage::file::FileDisk;
use kapu::storage::{self, LogStore, Opened};
use kapu::types::{Index, PartitionId};
use redb::ReadableTableMetadata as _;

use crate::support::{
    at, entry, env_with_threads, hard_state, identity, log_reset, log_write, no_failure, runtime, small_options,
};

const WAL: redb::TableDefinition<u64, &[u8]> = redb::TableDefinition::new("wal");
const REWRITE: redb::TableDefinition<(u32, u64), &[u8]> = redb::TableDefinition::new("rewrite");

fn open(directory: &Path) -> Opened {
    let env = env_with_threads(FileDisk::new(directory));
    storage::open_with(&env, &identity(2), no_failure(), small_options()).unwrap()
}

fn close(opened: Opened) {
    let Opened { log, state, closed, .. } = opened;
    drop((log, state));
    runtime().block_on(closed);
}

/// One group commit of one write.
fn commit(log: &dyn LogStore, partition: u32, hard_state: Option<HardState>, entries: Vec<Entry>) {
    let (done, finished) = mpsc::channel();
    log.write(log_write(partition, hard_state, entries, move || {
        done.send(()).unwrap()
    }));
    finished.recv().unwrap();
}

/// How many rows `wal` and `rewrite` have in a closed file.
fn rows(directory: &Path) -> (u64, u64) {
    use redb::ReadableDatabase as _;
    let database = redb::Database::open(directory.join("log.redb")).unwrap();
    let transaction = database.begin_read().unwrap();
    let wal = transaction.open_table(WAL).unwrap().len().unwrap();
    let rewrite = transaction.open_table(REWRITE).unwrap().len().unwrap();
    (wal, rewrite)
}

/// The indexes of the rows of `rewrite` that a partition has in a closed file.
fn rows_of(directory: &Path, partition: u32) -> Vec<u64> {
    use redb::ReadableDatabase as _;
    let database = redb::Database::open(directory.join("log.redb")).unwrap();
    let rewrite = database.begin_read().unwrap().open_table(REWRITE).unwrap();
    let rows = rewrite.range((partition, 0)..(partition + 1, 0)).unwrap();
    rows.map(|row| row.unwrap().0.value().1).collect()
}

#[test]
fn an_idle_partition_pins_nothing_and_loses_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let opened = open(directory.path());
    commit(
        &*opened.log,
        0,
        Some(hard_state(3, 2)),
        vec![entry(3, 1, "idle"), entry(3, 2, "too")],
    );
    for index in 1..=60 {
        commit(&*opened.log, 1, None, vec![entry(1, index, "busy")]);
        opened.log.compact(PartitionId(1), at(1, index));
    }
    close(opened);
    let (wal, rewrite) = rows(directory.path());
    assert!(wal <= 6, "{wal} blobs");
    assert_eq!(rewrite, 2, "the entries of the idle partition alone");
    let opened = open(directory.path());
    let recovered = opened.log.recover(PartitionId(0)).unwrap();
    assert_eq!((recovered.hard_state, recovered.log.last), (hard_state(3, 2), at(3, 2)));
    let entries = opened.log.read(PartitionId(0), Index(1), Index(2), usize::MAX).unwrap();
    assert_eq!(entries, [entry(3, 1, "idle"), entry(3, 2, "too")]);
    close(opened);
}

#[test]
fn moved_entries_go_step_by_step_once_they_are_compacted() {
    let directory = tempfile::tempdir().unwrap();
    let opened = open(directory.path());
    let many = kapu::limits::COLLECT_ROWS_MAX + 500;
    let entries = (1..=many + 10).map(|index| entry(1, index, "")).collect();
    commit(&*opened.log, 0, None, entries);
    let first = one_step(&*opened.log, 1);
    assert_eq!(
        opened
            .log
            .read(PartitionId(0), Index(1), Index(many), usize::MAX)
            .unwrap()
            .len() as u64,
        many
    );
    opened.log.compact(PartitionId(0), at(1, many));
    let second = one_step(&*opened.log, first);
    close(opened);
    let left = rows(directory.path()).1 - (second - 2);
    assert_eq!(left, 510, "a step removes {} of them", kapu::limits::COLLECT_ROWS_MAX);
    let opened = open(directory.path());
    assert_eq!(opened.log.recover(PartitionId(0)).unwrap().log.base, at(1, many));
    let third = one_step(&*opened.log, second);
    assert_eq!(
        opened
            .log
            .read(PartitionId(0), Index(many + 1), Index(many + 10), usize::MAX)
            .unwrap()
            .len(),
        10
    );
    close(opened);
    let left = rows(directory.path()).1 - (third - 2);
    assert_eq!(left, 10, "the next step removes the rest, also after a restart");
}

/// Commits to partition 1, from entry `next` on, until garbage is collected once more: six blobs beside the newest. Returns the next entry.
fn one_step(log: &dyn LogStore, next: u64) -> u64 {
    let blobs = small_options().wal_blobs_max as u64;
    for index in next..next + blobs {
        commit(log, 1, None, vec![entry(1, index, "")]);
    }
    next + blobs
}

/// Symptom: a node that restarted after its log was replaced could not start once more. Cause: the base was taken for saved although only a
/// blob had it, and that blob was removed. Fix: what is saved is what its row says, not what the scan arrived at.
#[test]
fn a_log_that_was_replaced_before_a_restart_outlives_its_blob() {
    let directory = tempfile::tempdir().unwrap();
    let opened = open(directory.path());
    let (done, finished) = mpsc::channel();
    let kept = vec![entry(4, 10, "kept")];
    opened
        .log
        .write(log_reset(0, at(4, 9), kept, move || done.send(()).unwrap()));
    finished.recv().unwrap();
    close(opened);
    let opened = open(directory.path());
    one_step(&*opened.log, 1);
    one_step(&*opened.log, 7);
    close(opened);
    let opened = open(directory.path());
    let recovered = opened.log.recover(PartitionId(0)).unwrap();
    assert_eq!((recovered.log.base, recovered.log.last), (at(4, 9), at(4, 10)));
    close(opened);
}

#[test]
fn the_last_blob_stays_however_large() {
    let directory = tempfile::tempdir().unwrap();
    let opened = open(directory.path());
    let large = "x".repeat(kapu::limits::ENTRY_BYTES_MAX);
    for round in 0..3 {
        commit(
            &*opened.log,
            0,
            None,
            (1..=8).map(|at| entry(1, round * 8 + at, &large)).collect(),
        );
    }
    close(opened);
    assert_eq!(rows(directory.path()), (1, 16));
    let opened = open(directory.path());
    assert_eq!(opened.log.recover(PartitionId(0)).unwrap().log.last, at(1, 24));
    close(opened);
}

#[test]
fn moved_entries_of_a_log_that_was_replaced_do_not_come_back() {
    let directory = tempfile::tempdir().unwrap();
    let opened = open(directory.path());
    commit(
        &*opened.log,
        0,
        None,
        (1..=20).map(|index| entry(1, index, "old")).collect(),
    );
    let next = one_step(&*opened.log, 1);
    let (done, finished) = mpsc::channel();
    opened
        .log
        .write(log_reset(0, at(2, 10), Vec::new(), move || done.send(()).unwrap()));
    finished.recv().unwrap();
    close(opened);
    let opened = open(directory.path());
    let log = opened.log.recover(PartitionId(0)).unwrap().log;
    assert_eq!(
        (log.base, log.last),
        (at(2, 10), at(2, 10)),
        "its rows are still there, but dead"
    );
    let next = one_step(&*opened.log, next);
    commit(
        &*opened.log,
        0,
        None,
        (11..=15).map(|index| entry(2, index, "new")).collect(),
    );
    one_step(&*opened.log, next);
    close(opened);
    assert_eq!(rows_of(directory.path(), 0), (11..=15).collect::<Vec<_>>());
    let opened = open(directory.path());
    let log = opened.log.recover(PartitionId(0)).unwrap().log;
    assert_eq!(
        (log.base, log.last, log.term_runs),
        (at(2, 10), at(2, 15), vec![at(2, 11)])
    );
    close(opened);
}
