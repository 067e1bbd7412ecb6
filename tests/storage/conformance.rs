//! What every store must do, whatever it is made of.

use std::sync::mpsc;

use bytes::Bytes;
use kapu::hlc::Hlc;
use kapu::machine::Row;
use kapu::storage::file::FileDisk;
use kapu::storage::memory::{MemoryLog, MemoryState};
use kapu::storage::{self, LogStore, Opened, Recovered, StateMark, StateStore, StateWrite};
use kapu::types::{Index, LogTime, PartitionId};

use crate::support::{at, entry, env_with_threads, hard_state, identity, log_write, no_failure};

const P: PartitionId = PartitionId(1);

/// Runs every rule against a fresh log store.
fn check_log(mut fresh: impl FnMut(&dyn Fn(&dyn LogStore))) {
    fresh(&an_empty_log_is_empty);
    fresh(&writes_complete_in_order);
    fresh(&entries_come_back_as_they_were_written);
    fresh(&an_overwrite_replaces_the_suffix);
    fresh(&reads_stop_at_the_limit_but_never_before_one_entry);
    fresh(&reading_what_is_not_there_is_an_error);
    fresh(&reading_compacted_entries_is_an_error);
    fresh(&compaction_beyond_the_log_replaces_it);
    fresh(&compaction_at_a_conflicting_entry_replaces_the_log);
    fresh(&partitions_do_not_mix);
}

#[test]
fn the_log_in_memory_conforms() {
    check_log(|rule| rule(&MemoryLog::default()));
}

#[test]
fn the_log_on_redb_conforms() {
    check_log(|rule| with_files(|opened| rule(&*opened.log)));
}

#[test]
fn the_state_in_memory_conforms() {
    check_state(&MemoryState::default());
}

#[test]
fn the_state_on_redb_conforms() {
    with_files(|opened| check_state(&*opened.state));
}

/// Opens a fresh directory with real threads, and waits until it is closed again.
fn with_files(action: impl FnOnce(&Opened)) {
    let directory = tempfile::tempdir().unwrap();
    let env = env_with_threads(FileDisk::new(directory.path()));
    let opened = storage::open(&env, &identity(3), no_failure()).unwrap();
    action(&opened);
    let Opened { log, state, closed, .. } = opened;
    drop((log, state));
    crate::support::runtime().block_on(closed);
}

/// Hands over writes to partition [`P`], and waits for all of them.
fn write(log: &dyn LogStore, writes: Vec<Vec<kapu::raft::Entry>>) {
    let (done, finished) = mpsc::channel();
    let count = writes.len();
    for entries in writes {
        let done = done.clone();
        log.write(log_write(P.0, None, entries, move || done.send(()).unwrap()));
    }
    assert_eq!(finished.iter().take(count).count(), count);
}

fn an_empty_log_is_empty(log: &dyn LogStore) {
    assert_eq!(log.recover(P).unwrap(), Recovered::default());
}

fn writes_complete_in_order(log: &dyn LogStore) {
    let (done, finished) = mpsc::channel();
    for index in 1..=50 {
        let done = done.clone();
        let persist = vec![entry(1, index, "x")];
        log.write(log_write(
            u32::try_from(index % 2).unwrap(),
            None,
            renumber(persist, index),
            move || {
                done.send(index).unwrap();
            },
        ));
    }
    drop(done);
    assert_eq!(finished.iter().collect::<Vec<u64>>(), (1..=50).collect::<Vec<u64>>());
}

/// Two partitions take turns: each one's entries are numbered without a hole.
fn renumber(mut entries: Vec<kapu::raft::Entry>, turn: u64) -> Vec<kapu::raft::Entry> {
    entries[0].index = Index(turn.div_ceil(2));
    entries
}

fn entries_come_back_as_they_were_written(log: &dyn LogStore) {
    let entries = vec![entry(1, 1, "a"), entry(1, 2, ""), entry(2, 3, "c")];
    let (done, finished) = mpsc::channel();
    log.write(log_write(P.0, Some(hard_state(2, 3)), entries.clone(), move || {
        done.send(()).unwrap()
    }));
    finished.recv().unwrap();
    assert_eq!(log.read(P, Index(1), Index(3), usize::MAX).unwrap(), entries);
    assert_eq!(log.read(P, Index(2), Index(2), usize::MAX).unwrap(), entries[1..2]);
    let recovered = log.recover(P).unwrap();
    assert_eq!((recovered.hard_state, recovered.log.last), (hard_state(2, 3), at(2, 3)));
    assert_eq!(recovered.log.term_runs, [at(1, 1), at(2, 3)]);
}

fn an_overwrite_replaces_the_suffix(log: &dyn LogStore) {
    let old = vec![entry(1, 1, "a"), entry(1, 2, "b"), entry(1, 3, "c")];
    write(log, vec![old, vec![entry(2, 2, "B")]]);
    assert_eq!(
        log.read(P, Index(1), Index(2), usize::MAX).unwrap(),
        [entry(1, 1, "a"), entry(2, 2, "B")]
    );
    assert!(
        log.read(P, Index(3), Index(3), usize::MAX).is_err(),
        "the old suffix is gone"
    );
    assert_eq!(log.recover(P).unwrap().log.last, at(2, 2));
    write(
        log,
        vec![
            vec![entry(2, 3, "C"), entry(2, 4, "D")],
            vec![entry(3, 3, "E"), entry(3, 4, "F")],
        ],
    );
    assert_eq!(
        log.read(P, Index(3), Index(4), usize::MAX).unwrap(),
        [entry(3, 3, "E"), entry(3, 4, "F")]
    );
}

fn reads_stop_at_the_limit_but_never_before_one_entry(log: &dyn LogStore) {
    write(
        log,
        vec![vec![entry(1, 1, "aaaa"), entry(1, 2, "bb")], vec![entry(1, 3, "cc")]],
    );
    let lengths = |bytes_max| log.read(P, Index(1), Index(3), bytes_max).unwrap().len();
    assert_eq!([0, 4, 5, 6, 7, 8].map(lengths), [1, 1, 1, 2, 2, 3]);
}

fn reading_what_is_not_there_is_an_error(log: &dyn LogStore) {
    write(log, vec![vec![entry(1, 1, "a")]]);
    assert!(log.read(P, Index(1), Index(2), usize::MAX).is_err());
    assert!(log.read(P, Index(0), Index(1), usize::MAX).is_err());
    assert!(log.read(PartitionId(0), Index(1), Index(1), usize::MAX).is_err());
}

fn reading_compacted_entries_is_an_error(log: &dyn LogStore) {
    write(log, vec![(1..=5).map(|index| entry(1, index, "x")).collect()]);
    log.compact(P, at(1, 3));
    write(log, vec![vec![entry(2, 6, "y")]]);
    assert!(log.read(P, Index(3), Index(4), usize::MAX).is_err());
    assert_eq!(log.read(P, Index(4), Index(6), usize::MAX).unwrap().len(), 3);
    let recovered = log.recover(P).unwrap();
    assert_eq!((recovered.log.base, recovered.log.last), (at(1, 3), at(2, 6)));
    assert_eq!(recovered.log.term_runs, [at(1, 4), at(2, 6)]);
}

fn compaction_beyond_the_log_replaces_it(log: &dyn LogStore) {
    write(log, vec![vec![entry(1, 1, "a"), entry(1, 2, "b")]]);
    log.compact(P, at(4, 9));
    write(log, vec![vec![entry(4, 10, "j")]]);
    let recovered = log.recover(P).unwrap();
    assert_eq!((recovered.log.base, recovered.log.last), (at(4, 9), at(4, 10)));
    assert!(log.read(P, Index(2), Index(2), usize::MAX).is_err());
}

fn compaction_at_a_conflicting_entry_replaces_the_log(log: &dyn LogStore) {
    write(log, vec![(1..=5).map(|index| entry(1, index, "x")).collect()]);
    log.compact(P, at(2, 3));
    write(log, vec![vec![entry(2, 4, "d")]]);
    let recovered = log.recover(P).unwrap();
    assert_eq!(
        (recovered.log.base, recovered.log.last),
        (at(2, 3), at(2, 4)),
        "the conflicting suffix is gone"
    );
}

fn partitions_do_not_mix(log: &dyn LogStore) {
    let (done, finished) = mpsc::channel();
    for partition in 0..3 {
        let done = done.clone();
        let payload = format!("of {partition}");
        log.write(log_write(partition, None, vec![entry(1, 1, &payload)], move || {
            done.send(()).unwrap()
        }));
    }
    assert_eq!(finished.iter().take(3).count(), 3);
    for partition in 0..3 {
        let entries = log
            .read(PartitionId(partition), Index(1), Index(1), usize::MAX)
            .unwrap();
        assert_eq!(entries, [entry(1, 1, &format!("of {partition}"))]);
    }
}

fn row(key: &str, value: Option<&str>) -> Row {
    let bytes = |text: &str| Bytes::copy_from_slice(text.as_bytes());
    Row {
        key: bytes(key),
        value: value.map(bytes),
    }
}

fn mark(index: u64) -> StateMark {
    StateMark {
        applied: at(1, index),
        log_time: LogTime(index * 10),
        hlc: (index > 1).then_some(Hlc(index * 100)),
    }
}

fn load(state: &dyn StateStore, partition: PartitionId) -> (StateMark, Vec<(String, String)>) {
    let mut rows = Vec::new();
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    let mark = state.load(partition, &mut |key, value| {
        rows.push((text(key), text(value)));
        Ok(())
    });
    (mark.unwrap(), rows)
}

fn check_state(state: &dyn StateStore) {
    assert_eq!(load(state, P), (StateMark::default(), Vec::new()));
    let (done, finished) = mpsc::channel();
    let writes = [
        (P, mark(1), vec![row("b", Some("1")), row("a", Some("2"))]),
        (PartitionId(2), mark(7), vec![row("a", Some("other"))]),
        (
            P,
            mark(2),
            vec![row("b", None), row("c", Some("3")), row("a", Some("4"))],
        ),
    ];
    for (at, (partition, mark, rows)) in writes.into_iter().enumerate() {
        let done = done.clone();
        state.write(StateWrite {
            partition,
            mark,
            rows,
            done: Box::new(move || done.send(at).unwrap()),
        });
    }
    assert_eq!(finished.iter().take(3).collect::<Vec<_>>(), [0, 1, 2]);
    let pair = |key: &str, value: &str| (key.to_owned(), value.to_owned());
    assert_eq!(load(state, P), (mark(2), vec![pair("a", "4"), pair("c", "3")]));
    assert_eq!(load(state, PartitionId(2)), (mark(7), vec![pair("a", "other")]));
    assert_eq!(load(state, PartitionId(0)).0, StateMark::default());
    let refused = state.load(P, &mut |_, _| Err("no row of ours".to_owned()));
    assert!(refused.unwrap_err().to_string().contains("no row of ours"));
}
