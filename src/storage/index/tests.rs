//! What the index keeps and lets go, write by write.

use super::*;

fn at(term: u64, index: u64) -> Position {
    Position {
        term: Term(term),
        index: Index(index),
    }
}

fn log(writes: &[(u64, &[u64], u64)]) -> LogIndex {
    let mut log = LogIndex::default();
    for (first, terms, seq) in writes {
        log.append(Index(*first), terms.iter().copied().map(Term), Home::Blob(*seq));
    }
    log
}

fn runs(log: &LogIndex) -> Vec<(u64, u64, Home)> {
    log.runs.iter().map(|run| (run.first.0, run.last.0, run.home)).collect()
}

#[test]
fn an_entry_replaces_everything_at_its_index_and_above() {
    let log = log(&[(1, &[1, 1, 1], 1), (4, &[2], 2), (3, &[3, 3], 3)]);
    assert_eq!(runs(&log), [(1, 2, Home::Blob(1)), (3, 4, Home::Blob(3))]);
    assert_eq!(log.recovered().log.term_runs, [at(1, 1), at(3, 3)]);
    assert_eq!((log.last(), log.gap()), (at(3, 4), None));
}

#[test]
fn a_shorter_overwrite_does_not_bring_the_old_suffix_back() {
    let log = log(&[(1, &[1, 1, 1, 1], 1), (2, &[2], 2)]);
    assert_eq!(log.last(), at(2, 2));
    assert_eq!(log.find(Index(1), Index(3)), None);
}

#[test]
fn writes_of_one_blob_are_one_run() {
    let log = log(&[(1, &[1], 7), (2, &[1, 2], 7), (4, &[2], 8)]);
    assert_eq!(runs(&log), [(1, 3, Home::Blob(7)), (4, 4, Home::Blob(8))]);
}

#[test]
fn compaction_keeps_its_position_as_the_base_and_what_follows() {
    let mut log = log(&[(1, &[1, 1, 2, 2, 3], 1)]);
    assert!(log.compact(at(2, 3)));
    assert_eq!(log.recovered().log.term_runs, [at(2, 4), at(3, 5)]);
    assert_eq!((log.base(), log.last(), log.gap()), (at(2, 3), at(3, 5), None));
    assert!(log.compact(at(3, 5)));
    assert_eq!((log.base(), log.last(), log.moved()), (at(3, 5), at(3, 5), None));
    assert_eq!(log.recovered().log.term_runs, []);
    assert!(log.compact(at(2, 4)), "an older position is no news");
    assert_eq!(log.base(), at(3, 5));
}

#[test]
fn compaction_at_an_entry_that_is_not_there_changes_nothing() {
    let mut log = log(&[(1, &[1, 1, 1], 1)]);
    assert!(!log.compact(at(1, 4)), "beyond the log");
    assert!(!log.compact(at(2, 2)), "of another term");
    assert_eq!((log.base(), log.last()), (Position::default(), at(1, 3)));
}

#[test]
fn a_reset_empties_the_log_wherever_it_begins() {
    let mut log = log(&[(1, &[1, 1, 1], 1)]);
    log.reset(at(2, 2));
    assert_eq!(
        (log.base(), log.last(), log.find(Index(3), Index(3))),
        (at(2, 2), at(2, 2), None)
    );
    log.append(Index(3), [Term(2)].into_iter(), Home::Blob(2));
    assert_eq!((log.last(), log.gap()), (at(2, 3), None));
}

#[test]
fn what_is_below_the_base_stays_compacted_when_it_is_replayed() {
    let mut log = LogIndex::default();
    log.reset(at(1, 3));
    log.append(Index(2), [1, 1, 1, 1].map(Term).into_iter(), Home::Blob(1));
    assert_eq!(runs(&log), [(4, 5, Home::Blob(1))]);
    assert_eq!(log.recovered().log.term_runs, [at(1, 4)]);
    log.append(Index(1), [1, 1].map(Term).into_iter(), Home::Blob(2));
    assert_eq!(log.last(), at(1, 3));
}

#[test]
fn a_missing_run_is_a_gap() {
    let log = log(&[(1, &[1], 1), (3, &[1], 2)]);
    assert_eq!(log.gap(), Some(Index(2)));
}

#[test]
fn finding_cuts_runs_to_the_range() {
    let log = log(&[(1, &[1, 1, 1], 1), (4, &[1, 1, 1], 2), (7, &[1], 3)]);
    let found = log.find(Index(3), Index(5)).expect("all there");
    let run = |first, last, seq| Run {
        first: Index(first),
        last: Index(last),
        home: Home::Blob(seq),
    };
    assert_eq!(found, [run(3, 3, 1), run(4, 5, 2)]);
    assert_eq!(log.find(Index(0), Index(1)), None);
    assert_eq!(log.find(Index(7), Index(8)), None);
}

#[test]
fn moving_leaves_one_run_of_moved_entries_in_front() {
    let mut log = log(&[(1, &[1, 1], 1), (3, &[1], 2), (4, &[1], 5)]);
    log.set_hard_state(
        HardState {
            term: Term(1),
            vote: None,
        },
        Home::Blob(2),
    );
    assert_eq!(log.in_blobs_below(3).count(), 2);
    log.move_below(3);
    assert_eq!(runs(&log), [(1, 3, Home::Moved), (4, 4, Home::Blob(5))]);
    assert_eq!(
        (log.hard_state_home(), log.moved()),
        (Home::Moved, Some((Index(1), Index(3))))
    );
    assert_eq!(log.in_blobs_below(3).count(), 0);
    log.move_below(3);
    log.append(Index(3), [Term(2)].into_iter(), Home::Blob(6));
    log.move_below(7);
    assert_eq!(runs(&log), [(1, 3, Home::Moved)]);
}
