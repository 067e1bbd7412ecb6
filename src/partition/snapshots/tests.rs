//! The receiver's side without tasks: what is asked for, what is taken, what is given up. The sender's side needs a whole partition.

use bytes::Bytes;

use super::*;
use crate::machine::{RestoreError, Row};
use crate::types::{Index, LogTime, Term};

const LEADER: NodeId = NodeId(1);

/// A machine that is only handed around.
struct Nothing;

impl StateMachine for Nothing {
    fn advance(&mut self, _: LogTime) {}

    fn apply(&mut self, _: LogTime, _: &[u8]) -> Bytes {
        Bytes::new()
    }

    fn query(&self, _: LogTime, _: &[u8]) -> Bytes {
        Bytes::new()
    }

    fn next_deadline(&self) -> Option<LogTime> {
        None
    }

    fn changes(&self) -> usize {
        0
    }

    fn take_changes(&mut self) -> Vec<Row> {
        Vec::new()
    }

    fn restore(&mut self, _: &[u8], _: &[u8]) -> Result<(), RestoreError> {
        Ok(())
    }

    fn digest(&self) -> u64 {
        0
    }
}

fn at(index: u64) -> Position {
    Position {
        term: Term(3),
        index: Index(index),
    }
}

fn rows(index: u64, after: &'static str, keys: &[&'static str]) -> SnapshotRows {
    let mut rows = SnapshotRows {
        at: at(index),
        after: Bytes::from_static(after.as_bytes()),
        rows: keys
            .iter()
            .map(|key| (Bytes::from_static(key.as_bytes()), Bytes::from_static(b"value")))
            .collect(),
        checksum: 0,
        end: None,
    };
    rows.checksum = rows.computed_checksum();
    rows
}

/// The keys after which rows were asked for since the last call.
fn asked(snapshots: &mut Snapshots) -> Vec<(NodeId, Bytes)> {
    let of = |(to, body)| match body {
        Body::SnapshotRequest { after, .. } => (to, after),
        body => panic!("{body:?}"),
    };
    snapshots.send.drain(..).map(of).collect()
}

/// One that has got ready for the state up to 10.
fn receiving() -> Snapshots {
    let mut snapshots = Snapshots::default();
    snapshots.offered(LEADER, at(10));
    assert!(matches!(snapshots.steps.pop(), Some(Step::Receive(position)) if position == at(10)));
    snapshots.staged(at(10), Bytes::new(), None);
    assert_eq!(asked(&mut snapshots), [(LEADER, Bytes::new())]);
    snapshots
}

fn is_staging(snapshots: &mut Snapshots) -> bool {
    matches!(snapshots.steps.pop(), Some(Step::Stage(_)))
}

#[test]
fn rows_are_asked_for_after_what_is_kept() {
    let mut snapshots = receiving();
    snapshots.arrived(rows(10, "", &["a", "b"]));
    assert!(is_staging(&mut snapshots));
    assert!(
        asked(&mut snapshots).is_empty(),
        "nothing is asked for before rows are durable"
    );
    snapshots.staged(at(10), Bytes::from_static(b"b"), None);
    assert_eq!(asked(&mut snapshots), [(LEADER, Bytes::from_static(b"b"))]);
}

#[test]
fn rows_that_do_not_follow_are_not_taken() {
    let mut snapshots = receiving();
    snapshots.arrived(rows(10, "b", &["c"]));
    snapshots.arrived(rows(11, "", &["a"]));
    assert!(!is_staging(&mut snapshots), "of another place, and of another state");
    snapshots.arrived(rows(10, "", &["a"]));
    assert!(is_staging(&mut snapshots));
    snapshots.arrived(rows(10, "", &["a"]));
    assert!(!is_staging(&mut snapshots), "a double");
}

#[test]
fn damaged_rows_are_not_taken() {
    let mut snapshots = receiving();
    let mut damaged = rows(10, "", &["a", "b"]);
    damaged.rows[1].1 = Bytes::from_static(b"other");
    snapshots.arrived(damaged);
    assert!(!is_staging(&mut snapshots));
}

#[test]
fn a_value_that_moves_into_its_key_changes_the_checksum() {
    let split = |key: &'static [u8], value: &'static [u8]| SnapshotRows {
        rows: vec![(Bytes::from_static(key), Bytes::from_static(value))],
        ..rows(1, "", &[])
    };
    assert_ne!(
        split(b"ab", b"c").computed_checksum(),
        split(b"a", b"bc").computed_checksum()
    );
}

#[test]
fn a_lost_answer_is_asked_for_again() {
    let mut snapshots = receiving();
    (1..limits::SNAPSHOT_ASK_AGAIN_TICKS).for_each(|_| snapshots.tick());
    assert!(asked(&mut snapshots).is_empty());
    snapshots.tick();
    assert_eq!(asked(&mut snapshots), [(LEADER, Bytes::new())]);
}

#[test]
fn between_two_ticks_only_so_much_is_asked_for() {
    let mut snapshots = receiving();
    let mut answered = 0;
    loop {
        snapshots.arrived(rows(10, "", &[]));
        assert!(is_staging(&mut snapshots));
        snapshots.staged(at(10), Bytes::new(), None);
        answered += 1;
        if asked(&mut snapshots).is_empty() {
            break;
        }
    }
    assert_eq!(answered, limits::SNAPSHOT_MESSAGES_PER_TICK_MAX);
    snapshots.tick();
    assert_eq!(asked(&mut snapshots).len(), 1, "the next tick goes on");
}

#[test]
fn a_transfer_that_moves_is_not_given_up_for_a_newer_offer() {
    let mut snapshots = receiving();
    snapshots.offered(NodeId(2), at(20));
    assert!(snapshots.steps.is_empty());
    (0..limits::SNAPSHOT_PATIENCE_TICKS).for_each(|_| snapshots.tick());
    snapshots.offered(NodeId(2), at(20));
    assert!(matches!(snapshots.steps.pop(), Some(Step::Receive(position)) if position == at(20)));
    snapshots.staged(at(10), Bytes::from_static(b"z"), None);
    assert_eq!(
        snapshots.incoming.as_ref().map(|incoming| incoming.after.clone()),
        Some(Bytes::new()),
        "what was kept of the old one is not taken for the new one"
    );
}

#[test]
fn another_who_offers_the_same_state_is_asked_from_then_on() {
    let mut snapshots = receiving();
    snapshots.offered(NodeId(3), at(10));
    (0..limits::SNAPSHOT_ASK_AGAIN_TICKS).for_each(|_| snapshots.tick());
    assert_eq!(asked(&mut snapshots), [(NodeId(3), Bytes::new())]);
}

#[test]
fn rows_are_read_only_of_what_is_open() {
    let mut snapshots = Snapshots::default();
    snapshots.requested(NodeId(2), at(10), Bytes::new());
    assert!(snapshots.steps.is_empty());
    snapshots.outgoing.open = Some(at(10));
    snapshots.requested(NodeId(2), at(9), Bytes::new());
    assert!(snapshots.steps.is_empty());
    snapshots.requested(NodeId(2), at(10), Bytes::new());
    assert!(matches!(snapshots.steps.pop(), Some(Step::Read(NodeId(2), _))));
}

#[test]
fn what_nobody_asks_for_is_closed() {
    let mut snapshots = Snapshots::default();
    snapshots.outgoing.open = Some(at(10));
    (1..limits::SNAPSHOT_IDLE_TICKS_MAX).for_each(|_| snapshots.tick());
    assert!(snapshots.pinned().is_some());
    snapshots.tick();
    assert!(snapshots.pinned().is_none() && matches!(snapshots.steps.pop(), Some(Step::Close)));
}

#[test]
fn the_last_rows_bring_the_machine_and_it_is_kept_until_it_is_installed() {
    let mut snapshots = receiving();
    snapshots.arrived(rows(10, "", &["a"]));
    let machine: Box<dyn StateMachine> = Box::new(Nothing);
    let end = SnapshotEnd {
        log_time: LogTime(7),
        hlc: None,
        membership: crate::raft::Membership::default(),
    };
    snapshots.staged(at(10), Bytes::from_static(b"a"), Some(Finished { machine, end }));
    assert!(!snapshots.is_installing());
    assert!(asked(&mut snapshots).is_empty(), "it is whole");
}
