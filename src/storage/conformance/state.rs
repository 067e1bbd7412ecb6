//! The rules of a state store, each on partitions of its own.

use std::sync::Arc;

use bytes::Bytes;

use super::{Completions, at, bytes, wait_for};
use crate::hlc::Hlc;
use crate::machine::Row;
use crate::raft::{Membership, Position};
use crate::storage::{
    InstallWrite, Loaded, StageWrite, StateMark, StateSnapshot, StateStore, StateWrite, StorageError, VisitRow,
};
use crate::types::{LogTime, NodeId, PartitionId};

type Open<'o> = dyn FnMut() -> Arc<dyn StateStore> + 'o;
type Rule = fn(&dyn StateStore, PartitionId, PartitionId);
type Rows = Vec<(String, String)>;

/// Rules, each for two partitions that nothing was written to.
const RULES: [Rule; 8] = [
    nothing_written_is_nothing_found,
    rows_and_mark_come_back_together,
    a_row_that_is_refused_is_an_error,
    a_snapshot_does_not_change,
    snapshots_are_read_in_parts,
    what_is_staged_is_not_the_state,
    another_position_throws_away_what_was_staged,
    what_is_staged_is_installed_as_a_whole,
];

pub fn check(open: &mut Open<'_>) {
    let store = open();
    for (pair, rule) in (0..).zip(RULES) {
        rule(&*store, PartitionId(2 * pair), PartitionId(2 * pair + 1));
    }
    drop(store);
    let next = PartitionId(2 * u32::try_from(RULES.len()).expect("there are few"));
    everything_is_there_again_when_it_is_reopened(open, next);
}

fn row(key: &str, value: Option<&str>) -> Row {
    Row {
        key: bytes(key),
        value: value.map(bytes),
    }
}

/// Everything in it grows with `index`, and differs.
fn mark(index: u64) -> StateMark {
    let voters = (1..=index % 3 + 1).map(|node| (NodeId(node), format!("node-{node}:{index}")));
    StateMark {
        applied: at(1, index),
        log_time: LogTime(index * 10),
        hlc: (index > 1).then_some(Hlc(index * 100)),
        membership: Membership::of_voters(voters),
    }
}

fn rows(pairs: &[(&str, &str)]) -> Rows {
    let owned = |(key, value): &(&str, &str)| ((*key).to_owned(), (*value).to_owned());
    pairs.iter().map(owned).collect()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn collect<T>(visit: impl FnOnce(&mut VisitRow<'_>) -> Result<T, StorageError>) -> (T, Rows) {
    let mut rows = Rows::new();
    let found = visit(&mut |key, value| {
        rows.push((text(key), text(value)));
        Ok(())
    });
    (found.expect("what was written can be read"), rows)
}

fn load(store: &dyn StateStore, partition: PartitionId) -> (Loaded, Rows) {
    collect(|row| store.load(partition, row))
}

fn staged(store: &dyn StateStore, partition: PartitionId) -> (Option<Position>, Rows) {
    collect(|row| store.staged(partition, row))
}

fn written(mark: StateMark) -> Loaded {
    let installed = false;
    Loaded { mark, installed }
}

fn installed(mark: StateMark) -> Loaded {
    let installed = true;
    Loaded { mark, installed }
}

fn write(store: &dyn StateStore, partition: PartitionId, mark: StateMark, rows: Vec<Row>) {
    wait_for(|done| {
        store.write(StateWrite {
            partition,
            mark,
            rows,
            done,
        })
    });
}

fn stage(store: &dyn StateStore, partition: PartitionId, at: Position, rows: &[(&str, &str)]) {
    let rows = rows.iter().map(|(key, value)| (bytes(key), bytes(value))).collect();
    wait_for(|done| {
        store.stage(StageWrite {
            partition,
            at,
            rows,
            done,
        })
    });
}

fn install(store: &dyn StateStore, partition: PartitionId, mark: StateMark) {
    wait_for(|done| store.install(InstallWrite { partition, mark, done }));
}

fn snapshot(store: &dyn StateStore, partition: PartitionId) -> Box<dyn StateSnapshot> {
    store.snapshot(partition).expect("a partition can be read")
}

/// A snapshot's rows, a few at a time.
fn read(snapshot: &dyn StateSnapshot) -> Rows {
    let mut rows = Rows::new();
    let mut after: Option<Bytes> = None;
    loop {
        let part = snapshot.rows(after.as_deref(), 4).expect("a snapshot can be read");
        let Some((last, _)) = part.last() else { return rows };
        after = Some(last.clone());
        rows.extend(part.iter().map(|(key, value)| (text(key), text(value))));
    }
}

fn nothing_written_is_nothing_found(store: &dyn StateStore, p: PartitionId, _: PartitionId) {
    assert_eq!(load(store, p), (Loaded::default(), Rows::new()));
    assert_eq!(staged(store, p), (None, Rows::new()));
    let snapshot = snapshot(store, p);
    assert_eq!(
        (snapshot.mark(), read(&*snapshot)),
        (&StateMark::default(), Rows::new())
    );
}

fn rows_and_mark_come_back_together(store: &dyn StateStore, p: PartitionId, q: PartitionId) {
    let mut completions = Completions::new();
    let writes = [
        (p, mark(1), vec![row("b", Some("1")), row("a", Some("2"))]),
        (q, mark(7), vec![row("a", Some("other")), row("", Some("no key"))]),
        (
            p,
            mark(2),
            vec![row("b", None), row("c", Some("3")), row("a", Some("4"))],
        ),
    ];
    for (partition, mark, rows) in writes {
        store.write(StateWrite {
            partition,
            mark,
            rows,
            done: completions.next(),
        });
    }
    completions.wait();
    assert_eq!(load(store, p), (written(mark(2)), rows(&[("a", "4"), ("c", "3")])));
    assert_eq!(
        load(store, q),
        (written(mark(7)), rows(&[("", "no key"), ("a", "other")]))
    );
}

fn a_row_that_is_refused_is_an_error(store: &dyn StateStore, p: PartitionId, _: PartitionId) {
    write(store, p, mark(1), vec![row("a", Some("1"))]);
    stage(store, p, at(1, 2), &[("a", "1")]);
    let refuse: &mut VisitRow<'_> = &mut |_, _| Err("no row of ours".to_owned());
    let loaded = store.load(p, refuse).map(drop);
    let staged = store.staged(p, refuse).map(drop);
    for refused in [loaded, staged] {
        let error = refused.expect_err("the row was refused").to_string();
        assert!(error.contains("no row of ours"), "the reason is not told: {error}");
    }
}

fn a_snapshot_does_not_change(store: &dyn StateStore, p: PartitionId, _: PartitionId) {
    write(store, p, mark(1), vec![row("a", Some("1")), row("b", Some("1"))]);
    let first = snapshot(store, p);
    write(
        store,
        p,
        mark(2),
        vec![row("a", None), row("b", Some("2")), row("c", Some("2"))],
    );
    let second = snapshot(store, p);
    stage(store, p, at(1, 9), &[("z", "9")]);
    install(store, p, mark(9));
    let third = snapshot(store, p);
    write(store, p, mark(10), vec![row("z", None)]);
    let seen = [first, second, third].map(|view| (view.mark().clone(), read(&*view)));
    assert_eq!(seen[0], (mark(1), rows(&[("a", "1"), ("b", "1")])));
    assert_eq!(seen[1], (mark(2), rows(&[("b", "2"), ("c", "2")])));
    assert_eq!(seen[2], (mark(9), rows(&[("z", "9")])));
}

fn snapshots_are_read_in_parts(store: &dyn StateStore, p: PartitionId, q: PartitionId) {
    write(store, q, mark(1), vec![row("zz", Some("not ours"))]);
    let all = vec![row("a", Some("123")), row("b", Some("1")), row("c", Some("1"))];
    write(store, p, mark(1), all);
    let view = snapshot(store, p);
    let lengths = |after: Option<&str>| {
        [0, 4, 5, 6, 7, 8].map(|bytes_max| {
            let part = view.rows(after.map(str::as_bytes), bytes_max);
            part.expect("a snapshot can be read").len()
        })
    };
    assert_eq!(
        lengths(None),
        [1, 1, 1, 2, 2, 3],
        "rows of 4, 2 and 2 bytes under a limit"
    );
    assert_eq!(lengths(Some("a")), [1, 2, 2, 2, 2, 2]);
    assert_eq!(lengths(Some("aa")), [1, 2, 2, 2, 2, 2], "a key that is not there");
    assert_eq!(lengths(Some("c")), [0; 6], "the end");
}

fn what_is_staged_is_not_the_state(store: &dyn StateStore, p: PartitionId, q: PartitionId) {
    write(store, p, mark(1), vec![row("a", Some("1"))]);
    stage(store, p, at(1, 9), &[("b", "9"), ("a", "9")]);
    stage(store, p, at(1, 9), &[("c", "9"), ("b", "again")]);
    assert_eq!(
        staged(store, p),
        (Some(at(1, 9)), rows(&[("a", "9"), ("b", "again"), ("c", "9")]))
    );
    assert_eq!(load(store, p), (written(mark(1)), rows(&[("a", "1")])));
    assert_eq!(staged(store, q), (None, Rows::new()), "of another partition");
    write(store, p, mark(2), vec![row("c", Some("2"))]);
    assert_eq!(load(store, p), (written(mark(2)), rows(&[("a", "1"), ("c", "2")])));
    assert_eq!(staged(store, p).1.len(), 3, "a write does not change what is staged");
}

fn another_position_throws_away_what_was_staged(store: &dyn StateStore, p: PartitionId, _: PartitionId) {
    stage(store, p, at(1, 9), &[("a", "9"), ("b", "9")]);
    stage(store, p, at(2, 9), &[("c", "10")]);
    assert_eq!(staged(store, p), (Some(at(2, 9)), rows(&[("c", "10")])));
    stage(store, p, at(1, 9), &[]);
    assert_eq!(
        staged(store, p),
        (Some(at(1, 9)), Rows::new()),
        "an older one, and from its beginning"
    );
}

fn what_is_staged_is_installed_as_a_whole(store: &dyn StateStore, p: PartitionId, q: PartitionId) {
    write(store, p, mark(1), vec![row("old", Some("1"))]);
    write(store, q, mark(1), vec![row("other", Some("1"))]);
    stage(store, p, at(1, 5), &[("a", "5"), ("b", "5")]);
    install(store, p, mark(5));
    assert_eq!(load(store, p), (installed(mark(5)), rows(&[("a", "5"), ("b", "5")])));
    assert_eq!(
        staged(store, p),
        (None, Rows::new()),
        "what is installed is staged no more"
    );
    assert_eq!(load(store, q), (written(mark(1)), rows(&[("other", "1")])));
    write(store, p, mark(6), vec![row("b", None)]);
    assert_eq!(
        load(store, p),
        (written(mark(6)), rows(&[("a", "5")])),
        "written to since"
    );
    stage(store, p, at(1, 7), &[]);
    install(store, p, mark(7));
    assert_eq!(
        load(store, p),
        (installed(mark(7)), Rows::new()),
        "a state without rows"
    );
}

fn everything_is_there_again_when_it_is_reopened(open: &mut Open<'_>, p: PartitionId) {
    let store = open();
    write(&*store, p, mark(1), vec![row("a", Some("1"))]);
    stage(&*store, p, at(1, 4), &[("thrown away", "4")]);
    stage(&*store, p, at(1, 5), &[("b", "5")]);
    drop(store);
    let store = open();
    assert_eq!(load(&*store, p), (written(mark(1)), rows(&[("a", "1")])));
    assert_eq!(staged(&*store, p), (Some(at(1, 5)), rows(&[("b", "5")])));
    stage(&*store, p, at(1, 5), &[("c", "5")]);
    install(&*store, p, mark(5));
    drop(store);
    let store = open();
    assert_eq!(load(&*store, p), (installed(mark(5)), rows(&[("b", "5"), ("c", "5")])));
    assert_eq!(staged(&*store, p), (None, Rows::new()));
    write(&*store, p, mark(6), Vec::new());
    drop(store);
    let store = open();
    assert_eq!(load(&*store, p), (written(mark(6)), rows(&[("b", "5"), ("c", "5")])));
}
