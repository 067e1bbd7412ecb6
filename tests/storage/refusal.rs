//! What a data directory is refused for, in words that name the file, both values, and what to do.

use std::path::Path;
use std::sync::{Arc, mpsc};

use bytes::Bytes;
use kapu::env::Disk;
use kapu::limits;
use kapu::raft::Membership;
use kapu::storage::file::FileDisk;
use kapu::storage::{self, Identity, Opened, PeerLife, StateMark, StorageError};
use kapu::types::{Incarnation, Index, LogTime, NodeId, PartitionId, StorageId};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use redb::ReadableTable as _;

use crate::state_model::{MARKS, StateModel, StateOp};
use crate::support::{at, entry, env_with_threads, hard_state, identity, log_write, membership, no_failure, runtime};

const META: redb::TableDefinition<&str, &str> = redb::TableDefinition::new("meta");
const WAL: redb::TableDefinition<u64, &[u8]> = redb::TableDefinition::new("wal");

fn open(directory: &Path, identity: &Identity) -> Result<Opened, StorageError> {
    storage::open(&env_with_threads(FileDisk::new(directory)), identity, no_failure())
}

/// The message of a refusal.
fn refused(directory: &Path, identity: &Identity) -> String {
    match open(directory, identity) {
        Ok(_) => panic!("it was not refused"),
        Err(error) => error.to_string(),
    }
}

fn close(opened: Opened) {
    let Opened { log, state, closed, .. } = opened;
    drop((log, state));
    runtime().block_on(closed);
}

/// A directory with four group commits in it, closed.
fn written() -> tempfile::TempDir {
    let directory = tempfile::tempdir().unwrap();
    let opened = open(directory.path(), &identity(2)).unwrap();
    for index in 1..=4 {
        let (done, finished) = mpsc::channel();
        let entries = vec![entry(1, index, &"x".repeat(100))];
        opened.log.write(log_write(0, Some(hard_state(1, 2)), entries, move || {
            done.send(()).unwrap()
        }));
        finished.recv().unwrap();
    }
    close(opened);
    directory
}

/// Changes a file behind our back, with redb's own means.
fn tamper(directory: &Path, file: &str, change: impl FnOnce(&redb::WriteTransaction)) {
    let database = redb::Database::open(directory.join(file)).unwrap();
    let transaction = database.begin_write().unwrap();
    change(&transaction);
    transaction.commit().unwrap();
    database.close().unwrap();
}

fn set_meta(directory: &Path, file: &str, name: &str, value: &str) {
    tamper(directory, file, |transaction| {
        transaction.open_table(META).unwrap().insert(name, value).unwrap();
    });
}

#[test]
fn every_start_is_counted_and_the_directory_keeps_its_name() {
    let directory = written();
    let first = open(directory.path(), &identity(2)).unwrap();
    let (id, incarnation) = (first.storage_id, first.incarnation);
    assert_eq!(incarnation.starts(), 2);
    assert_eq!(first.log.recover(PartitionId(0)).unwrap().log.last, at(1, 4));
    close(first);
    let second = open(directory.path(), &identity(2)).unwrap();
    assert_eq!((second.storage_id, second.incarnation.starts()), (id, 3));
    close(second);
}

#[test]
fn a_directory_that_only_counted_its_starts_goes_on_counting_above_that() {
    let directory = written();
    set_meta(directory.path(), "log.redb", "incarnation", "7");
    let opened = open(directory.path(), &identity(2)).unwrap();
    assert!(opened.incarnation > Incarnation(7), "{}", opened.incarnation);
    assert!(opened.peers.is_empty(), "and it knows of no peer");
    close(opened);
}

#[test]
fn the_latest_lives_are_remembered() {
    let directory = written();
    let mut lives = Vec::new();
    for _ in 0..=limits::EARLIER_LIVES_MAX {
        let opened = open(directory.path(), &identity(2)).unwrap();
        lives.push(opened.incarnation);
        close(opened);
    }
    let opened = open(directory.path(), &identity(2)).unwrap();
    assert_eq!(opened.earlier, lives[1..]);
    close(opened);
}

#[test]
fn a_disk_that_peers_refused_is_refused_at_the_next_start() {
    let directory = written();
    let opened = open(directory.path(), &identity(2)).unwrap();
    (opened.remember_refusal)("node 2 says: it was rolled back".to_owned());
    close(opened);
    for _ in 0..2 {
        let message = refused(directory.path(), &identity(2));
        assert!(
            message.contains("node 2 says") && message.contains("restore the disk"),
            "{message}"
        );
    }
}

#[test]
fn what_was_met_is_known_at_the_next_start() {
    let directory = written();
    let life = |incarnation| PeerLife {
        storage_id: StorageId(u64::MAX),
        incarnation: Incarnation::new(incarnation, 3),
    };
    let opened = open(directory.path(), &identity(2)).unwrap();
    for (peer, incarnation) in [(2, 1), (3, 5), (2, 2)] {
        let (done, finished) = mpsc::channel();
        (opened.remember_peer)(
            NodeId(peer),
            life(incarnation),
            Box::new(move || done.send(()).unwrap()),
        );
        finished.recv().unwrap();
    }
    let remember = Arc::clone(&opened.remember_peer);
    close(opened);
    remember(NodeId(2), life(9), Box::new(|| panic!("the files are closed")));
    let opened = open(directory.path(), &identity(2)).unwrap();
    assert_eq!(opened.peers, [(NodeId(2), life(2)), (NodeId(3), life(5))].into());
    close(opened);
}

#[test]
fn a_directory_of_something_else_is_refused_with_both_values() {
    let directory = written();
    let ours = identity(2);
    let cases = [
        (
            Identity {
                cluster: "other".to_owned(),
                ..ours.clone()
            },
            "cluster test",
            "cluster other",
        ),
        (
            Identity {
                node_id: NodeId(2),
                ..ours.clone()
            },
            "node id 1",
            "node id 2",
        ),
        (
            Identity {
                partitions: 3,
                ..ours.clone()
            },
            "partitions 2",
            "partitions 3",
        ),
    ];
    for (other, theirs, started) in cases {
        let message = refused(directory.path(), &other);
        assert!(
            message.contains("log.redb") && message.contains(theirs) && message.contains(started),
            "{message}"
        );
    }
    close(open(directory.path(), &ours).unwrap());
}

#[test]
fn another_format_is_refused_and_not_touched() {
    for (file, format, words) in [
        ("log.redb", "1", "is of format 1, of an older kapu"),
        ("state.redb", "1", "is of format 1, of an older kapu"),
        ("log.redb", "3", "is of format 3, and this kapu"),
        ("state.redb", "3", "is of format 3, and this kapu"),
    ] {
        let directory = written();
        set_meta(directory.path(), file, "format", format);
        for _ in 0..2 {
            let message = refused(directory.path(), &identity(2));
            assert!(message.contains(file) && message.contains(words), "{message}");
        }
        set_meta(directory.path(), file, "format", "2");
        close(open(directory.path(), &identity(2)).unwrap());
    }
}

#[test]
fn the_initial_membership_is_kept_whatever_is_said_later() {
    let directory = tempfile::tempdir().unwrap();
    for membership in [membership([1, 2, 3]), membership([1]), membership([])] {
        let ours = Identity {
            membership,
            ..identity(2)
        };
        let opened = open(directory.path(), &ours).unwrap();
        assert_eq!(opened.initial_membership, identity(2).membership);
        close(opened);
    }
    let directory = tempfile::tempdir().unwrap();
    let waits = Identity {
        membership: Membership::default(),
        ..identity(2)
    };
    close(open(directory.path(), &waits).unwrap());
    let opened = open(directory.path(), &identity(2)).unwrap();
    assert_eq!(
        opened.initial_membership,
        Membership::default(),
        "it was created to be added"
    );
    close(opened);
}

#[test]
fn a_damaged_initial_membership_is_refused() {
    for damaged in ["00", "0", "zz", "é", ""] {
        let directory = written();
        set_meta(directory.path(), "log.redb", "initial_membership", damaged);
        let message = refused(directory.path(), &identity(2));
        let words = "log.redb is corrupt: its initial membership is damaged";
        assert!(message.contains(words), "{damaged:?}: {message}");
    }
}

#[test]
fn a_damaged_mark_is_refused_when_it_is_loaded() {
    let directory = written();
    tamper(directory.path(), "state.redb", |transaction| {
        let mut marks = transaction.open_table(MARKS).unwrap();
        marks.insert(0, (1, 1, 1, 1, 1, false, &[7][..])).unwrap();
    });
    let opened = open(directory.path(), &identity(2)).unwrap();
    let snapshot = opened.state.snapshot(PartitionId(0)).map(drop).unwrap_err();
    let loaded = opened.state.load(PartitionId(0), &mut |_, _| Ok(())).unwrap_err();
    for error in [snapshot, loaded] {
        let words = "state.redb is corrupt: the mark of partition 0 is damaged";
        assert!(error.to_string().contains(words), "{error}");
    }
    close(opened);
}

#[test]
fn a_directory_in_use_is_refused_until_it_is_closed() {
    let directory = tempfile::tempdir().unwrap();
    let opened = open(directory.path(), &identity(2)).unwrap();
    let message = refused(directory.path(), &identity(2));
    assert!(message.contains("log.redb is in use by another process"), "{message}");
    close(opened);
    close(open(directory.path(), &identity(2)).unwrap());
}

#[test]
fn a_directory_that_cannot_be_made_is_named() {
    let directory = tempfile::tempdir().unwrap();
    let occupied = directory.path().join("occupied");
    std::fs::File::create(&occupied).unwrap();
    let message = refused(&occupied.join("data"), &identity(2));
    assert!(message.contains("occupied/data/log.redb"), "{message}");
}

#[test]
fn files_of_two_directories_do_not_go_together() {
    let (one, other) = (written(), written());
    set_meta(other.path(), "state.redb", "storage_id", "12345");
    std::fs::copy(other.path().join("state.redb"), one.path().join("state.redb")).unwrap();
    let message = refused(one.path(), &identity(2));
    assert!(message.contains("state.redb belongs to storage 12345"), "{message}");
}

#[test]
fn a_file_that_was_lost_is_not_replaced_by_an_empty_one() {
    let directory = written();
    std::fs::remove_file(directory.path().join("state.redb")).unwrap();
    let message = refused(directory.path(), &identity(2));
    assert!(
        message.contains("state.redb is empty, and log.redb beside it says that it was written"),
        "{message}"
    );

    let directory = written();
    set_meta(directory.path(), "state.redb", "storage_id", "12345");
    std::fs::remove_file(directory.path().join("log.redb")).unwrap();
    for _ in 0..2 {
        let message = refused(directory.path(), &identity(2));
        assert!(message.contains("state.redb belongs to storage 12345"), "{message}");
    }
}

#[test]
fn a_file_that_is_no_database_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let disk = FileDisk::new(directory.path());
    disk.open("log.redb").unwrap().write(0, &[7; 5000]).unwrap();
    let message = refused(directory.path(), &identity(2));
    assert!(message.contains("log.redb is corrupt"), "{message}");
}

/// Symptom: a node that lost power while it created its data directory could never start again. Cause: redb makes the file long before it
/// writes its magic number, and takes a file without one for something else. Fix: such a file, all zeros behind its header, is emptied.
#[test]
fn a_file_whose_creation_was_cut_short_is_created_again() {
    let directory = tempfile::tempdir().unwrap();
    let file = FileDisk::new(directory.path()).open("log.redb").unwrap();
    file.set_len(1_000_000).unwrap();
    file.write(9, &[3; 300]).unwrap();
    drop(file);
    close(open(directory.path(), &identity(2)).unwrap());
}

#[test]
fn a_bit_flip_in_a_blob_is_refused_with_its_number() {
    let directory = written();
    tamper(directory.path(), "log.redb", |transaction| {
        let mut wal = transaction.open_table(WAL).unwrap();
        let mut blob = wal.get(3).unwrap().unwrap().value().to_vec();
        let middle = blob.len() / 2;
        blob[middle] ^= 4;
        wal.insert(3, blob.as_slice()).unwrap();
    });
    let message = refused(directory.path(), &identity(2));
    assert!(
        message.contains("log.redb is corrupt: blob 3 is not what was written"),
        "{message}"
    );
}

#[test]
fn a_missing_blob_is_refused_with_its_number() {
    let directory = written();
    tamper(directory.path(), "log.redb", |transaction| {
        transaction.open_table(WAL).unwrap().remove(2).unwrap();
    });
    let message = refused(directory.path(), &identity(2));
    assert!(message.contains("log.redb is corrupt: blob 2 is missing"), "{message}");
}

#[expect(
    clippy::disallowed_methods,
    reason = "the test damages a file behind the store's back"
)]
fn read_all(path: &Path) -> Vec<u8> {
    std::fs::read(path).unwrap()
}

/// Flips one bit after another of a closed file, and lets `check` look at what could be opened nevertheless.
fn flip_bits(directory: &Path, file: &str, check: impl Fn(&Opened)) {
    let path = directory.join(file);
    let intact = read_all(&path);
    let mut rng = StdRng::seed_from_u64(1);
    let used: Vec<usize> = (0..intact.len()).filter(|&at| intact[at] != 0).collect();
    let mut refusals = 0;
    for _ in 0..60 {
        let bit = used[rng.random_range(0..used.len())] * 8 + rng.random_range(0..8);
        println!("bit {bit}");
        let mut damaged = intact.clone();
        damaged[bit / 8] ^= 1 << (bit % 8);
        std::io::Write::write_all(&mut std::fs::File::create(&path).unwrap(), &damaged).unwrap();
        match open(directory, &identity(2)) {
            Ok(opened) => {
                check(&opened);
                close(opened);
            }
            Err(error) => {
                refusals += 1;
                assert!(error.to_string().contains(file), "{error}");
            }
        }
    }
    assert!(
        refusals > 2,
        "{refusals} of 60 were refused: the rest hit pages that are not in use"
    );
}

#[test]
fn a_bit_flip_anywhere_in_a_closed_log_is_refused_or_changes_nothing() {
    let directory = written();
    flip_bits(directory.path(), "log.redb", |opened| {
        let entries = opened.log.read(PartitionId(0), Index(1), Index(4), usize::MAX).unwrap();
        assert_eq!(entries, [1, 2, 3, 4].map(|index| entry(1, index, &"x".repeat(100))));
        assert_eq!(opened.log.recover(PartitionId(0)).unwrap().hard_state, hard_state(1, 2));
    });
}

#[test]
fn a_bit_flip_anywhere_in_a_closed_state_is_refused_or_changes_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let opened = open(directory.path(), &identity(2)).unwrap();
    let ops = [
        StateOp::Stage(at(1, 5), pairs(30)),
        StateOp::Install(mark(5)),
        StateOp::Stage(at(1, 9), pairs(20)),
    ];
    let mut expected = StateModel::default();
    for op in ops {
        expected.apply(&op);
        let (done, finished) = mpsc::channel();
        op.submit(&*opened.state, PartitionId(0), Box::new(move || done.send(()).unwrap()));
        finished.recv().unwrap();
    }
    close(opened);
    flip_bits(directory.path(), "state.redb", |opened| {
        let found = StateModel::found(&*opened.state, PartitionId(0));
        assert_eq!(found.unwrap(), expected);
    });
}

fn pairs(count: u8) -> Vec<(Bytes, Bytes)> {
    let pair = |number: u8| (Bytes::from(vec![number]), Bytes::from(vec![number; 100]));
    (0..count).map(pair).collect()
}

fn mark(index: u64) -> StateMark {
    StateMark {
        applied: at(1, index),
        log_time: LogTime(index),
        hlc: None,
        membership: membership([1, 2]),
    }
}
