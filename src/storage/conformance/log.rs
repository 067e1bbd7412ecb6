//! The rules of a log store, each on partitions of its own.

use std::sync::Arc;

use super::{Completions, PARTITIONS, at, bytes, wait_for};
use crate::raft::{Entry, HardState, Persist, Position};
use crate::storage::{LogStore, LogWrite, Recovered};
use crate::types::{Index, NodeId, PartitionId, PersistId, Term};

type Rule = fn(&dyn LogStore, PartitionId, PartitionId);

/// Rules, each for two partitions that nothing was written to.
const RULES: [Rule; 11] = [
    an_empty_log_is_empty,
    writes_complete_in_order,
    entries_come_back_as_they_were_written,
    an_overwrite_replaces_the_suffix,
    reads_stop_at_the_limit_but_never_before_one_entry,
    reading_what_is_not_there_is_an_error,
    compacted_entries_are_gone_and_the_rest_stays,
    compaction_at_the_base_or_below_is_no_news,
    a_reset_replaces_the_log,
    a_reset_goes_before_the_entries_of_its_write,
    partitions_do_not_mix,
];

pub fn check(open: &mut dyn FnMut() -> Arc<dyn LogStore>) {
    let store = open();
    for (pair, rule) in (0..).zip(RULES) {
        rule(&*store, PartitionId(2 * pair), PartitionId(2 * pair + 1));
    }
    let before = content(&*store);
    drop(store);
    let store = open();
    check_reopened(&*store, before);
}

/// What each partition holds.
fn content(store: &dyn LogStore) -> Vec<(Recovered, Vec<Entry>)> {
    let of_partition = |partition| {
        let recovered = recover(store, partition);
        let base = recovered.log.base;
        let entries = entries_above(store, partition, base);
        (recovered, entries)
    };
    (0..PARTITIONS).map(PartitionId).map(of_partition).collect()
}

/// Everything is there again. What was compacted may be there too.
fn check_reopened(store: &dyn LogStore, before: Vec<(Recovered, Vec<Entry>)>) {
    for (partition, (before, entries)) in (0..).map(PartitionId).zip(before) {
        let after = recover(store, partition);
        let (was, is) = (before.log.base, after.log.base);
        if is != was {
            assert!(
                is.index < was.index,
                "partition {partition}: its base is {is:?}, and was {was:?}"
            );
            let term = read(store, partition, was.index.0, was.index.0)[0].term;
            assert_eq!(
                term, was.term,
                "partition {partition}: another entry than the compacted one came back"
            );
        }
        assert_eq!(
            (after.hard_state, after.log.last),
            (before.hard_state, before.log.last),
            "partition {partition}: term and vote, or the end, differ after reopening"
        );
        let again = entries_above(store, partition, before.log.base);
        assert_eq!(again, entries, "partition {partition}: entries differ after reopening");
    }
}

fn recover(store: &dyn LogStore, partition: PartitionId) -> Recovered {
    store.recover(partition).expect("a partition can be recovered")
}

fn read(store: &dyn LogStore, partition: PartitionId, first: u64, last: u64) -> Vec<Entry> {
    let entries = store.read(partition, Index(first), Index(last), usize::MAX);
    entries.expect("what was written can be read")
}

fn entries_above(store: &dyn LogStore, partition: PartitionId, base: Position) -> Vec<Entry> {
    let last = recover(store, partition).log.last.index;
    if last > base.index {
        read(store, partition, base.index.next().0, last.0)
    } else {
        Vec::new()
    }
}

fn is_refused(store: &dyn LogStore, partition: PartitionId, first: u64, last: u64) -> bool {
    store.read(partition, Index(first), Index(last), usize::MAX).is_err()
}

fn entry(term: u64, index: u64, payload: &str) -> Entry {
    Entry {
        term: Term(term),
        index: Index(index),
        payload: bytes(payload),
    }
}

fn persist(entries: Vec<Entry>) -> Persist {
    Persist {
        id: PersistId(1),
        hard_state: None,
        reset: None,
        entries,
    }
}

fn write(store: &dyn LogStore, partition: PartitionId, persist: Persist) {
    wait_for(|done| {
        store.write(LogWrite {
            partition,
            persist,
            done,
        })
    });
}

fn append(store: &dyn LogStore, partition: PartitionId, entries: Vec<Entry>) {
    write(store, partition, persist(entries));
}

/// Entries 1 to 5 of term 1.
fn append_five(store: &dyn LogStore, partition: PartitionId) {
    append(store, partition, (1..=5).map(|index| entry(1, index, "x")).collect());
}

fn an_empty_log_is_empty(store: &dyn LogStore, p: PartitionId, _: PartitionId) {
    assert_eq!(recover(store, p), Recovered::default(), "nothing was written");
}

fn writes_complete_in_order(store: &dyn LogStore, p: PartitionId, q: PartitionId) {
    let mut completions = Completions::new();
    for index in 1..=25 {
        for partition in [p, q] {
            store.write(LogWrite {
                partition,
                persist: persist(vec![entry(1, index, "x")]),
                done: completions.next(),
            });
        }
    }
    completions.wait();
    assert_eq!(recover(store, p).log.last, at(1, 25));
}

fn entries_come_back_as_they_were_written(store: &dyn LogStore, p: PartitionId, _: PartitionId) {
    let entries = vec![entry(1, 1, "a"), entry(1, 2, ""), entry(2, 3, "c")];
    let hard_state = HardState {
        term: Term(2),
        vote: Some(NodeId(3)),
    };
    let mut all = persist(entries.clone());
    all.hard_state = Some(hard_state);
    write(store, p, all);
    assert_eq!(read(store, p, 1, 3), entries);
    assert_eq!(read(store, p, 2, 2), entries[1..2]);
    let recovered = recover(store, p);
    assert_eq!((recovered.hard_state, recovered.log.last), (hard_state, at(2, 3)));
    assert_eq!(recovered.log.term_runs, [at(1, 1), at(2, 3)]);
}

fn an_overwrite_replaces_the_suffix(store: &dyn LogStore, p: PartitionId, _: PartitionId) {
    append_five(store, p);
    append(store, p, vec![entry(2, 2, "B")]);
    assert_eq!(read(store, p, 1, 2), [entry(1, 1, "x"), entry(2, 2, "B")]);
    assert!(is_refused(store, p, 3, 3), "the old suffix is gone");
    assert_eq!(recover(store, p).log.last, at(2, 2));
    let mut completions = Completions::new();
    for term in 3..=4 {
        store.write(LogWrite {
            partition: p,
            persist: persist(vec![entry(term, 3, "C"), entry(term, 4, "D")]),
            done: completions.next(),
        });
    }
    completions.wait();
    assert_eq!(read(store, p, 3, 4), [entry(4, 3, "C"), entry(4, 4, "D")]);
}

fn reads_stop_at_the_limit_but_never_before_one_entry(store: &dyn LogStore, p: PartitionId, _: PartitionId) {
    append(store, p, vec![entry(1, 1, "aaaa"), entry(1, 2, "bb")]);
    append(store, p, vec![entry(1, 3, "cc")]);
    let lengths = [0, 4, 5, 6, 7, 8].map(|bytes_max| {
        let entries = store.read(p, Index(1), Index(3), bytes_max);
        entries.expect("what was written can be read").len()
    });
    assert_eq!(lengths, [1, 1, 1, 2, 2, 3], "entries of 4, 2 and 2 bytes under a limit");
}

fn reading_what_is_not_there_is_an_error(store: &dyn LogStore, p: PartitionId, q: PartitionId) {
    append(store, p, vec![entry(1, 1, "a")]);
    assert!(is_refused(store, p, 1, 2), "beyond the end");
    assert!(is_refused(store, p, 0, 1), "before the beginning");
    assert!(is_refused(store, q, 1, 1), "in a log that is empty");
}

fn compacted_entries_are_gone_and_the_rest_stays(store: &dyn LogStore, p: PartitionId, _: PartitionId) {
    append_five(store, p);
    store.compact(p, at(1, 3));
    append(store, p, vec![entry(2, 6, "y")]);
    assert!(is_refused(store, p, 3, 4), "entry 3 is compacted");
    assert_eq!(read(store, p, 4, 6).len(), 3);
    let recovered = recover(store, p);
    assert_eq!((recovered.log.base, recovered.log.last), (at(1, 3), at(2, 6)));
    assert_eq!(recovered.log.term_runs, [at(1, 4), at(2, 6)]);
}

fn compaction_at_the_base_or_below_is_no_news(store: &dyn LogStore, p: PartitionId, _: PartitionId) {
    append_five(store, p);
    store.compact(p, at(1, 5));
    store.compact(p, at(1, 5));
    store.compact(p, at(1, 2));
    append(store, p, vec![entry(1, 6, "y")]);
    let recovered = recover(store, p);
    assert_eq!((recovered.log.base, recovered.log.last), (at(1, 5), at(1, 6)));
}

fn a_reset_replaces_the_log(store: &dyn LogStore, p: PartitionId, q: PartitionId) {
    for (partition, position) in [(p, at(4, 9)), (q, at(2, 3))] {
        append_five(store, partition);
        let mut reset = persist(Vec::new());
        reset.reset = Some(position);
        write(store, partition, reset);
        let recovered = recover(store, partition);
        assert_eq!((recovered.log.base, recovered.log.last), (position, position));
        assert_eq!(recovered.log.term_runs, [], "the log is empty");
        assert!(is_refused(store, partition, 2, 2) && is_refused(store, partition, 5, 5));
        append(store, partition, vec![entry(4, position.index.0 + 1, "j")]);
        let recovered = recover(store, partition);
        assert_eq!((recovered.log.base, recovered.log.last.term), (position, Term(4)));
    }
}

fn a_reset_goes_before_the_entries_of_its_write(store: &dyn LogStore, p: PartitionId, _: PartitionId) {
    append_five(store, p);
    let mut all = persist(vec![entry(3, 5, "new"), entry(3, 6, "new")]);
    all.reset = Some(at(2, 4));
    all.hard_state = Some(HardState {
        term: Term(3),
        vote: None,
    });
    let mut completions = Completions::new();
    for persist in [
        persist(vec![entry(1, 6, "old")]),
        all,
        persist(vec![entry(3, 7, "newer")]),
    ] {
        store.write(LogWrite {
            partition: p,
            persist,
            done: completions.next(),
        });
    }
    completions.wait();
    let recovered = recover(store, p);
    assert_eq!((recovered.log.base, recovered.log.last), (at(2, 4), at(3, 7)));
    assert_eq!(
        (recovered.hard_state.term, recovered.log.term_runs),
        (Term(3), vec![at(3, 5)])
    );
    assert_eq!(
        read(store, p, 5, 7),
        [entry(3, 5, "new"), entry(3, 6, "new"), entry(3, 7, "newer")]
    );
    assert!(is_refused(store, p, 4, 5), "entry 4 was replaced");
}

fn partitions_do_not_mix(store: &dyn LogStore, p: PartitionId, q: PartitionId) {
    append(store, p, vec![entry(1, 1, "of p")]);
    append(store, q, vec![entry(1, 1, "of q")]);
    assert_eq!(read(store, p, 1, 1), [entry(1, 1, "of p")]);
    assert_eq!(read(store, q, 1, 1), [entry(1, 1, "of q")]);
}
