//! The log against a naive model: plain vectors of entries, searched from one end to the other.

use proptest::prelude::*;

use super::*;

/// A disk that holds whatever was completed.
#[derive(Clone, Default)]
struct Shelf(std::sync::Arc<std::sync::Mutex<Vec<Entry>>>);

impl Shelf {
    fn write(&self, entries: &[Entry]) {
        let mut shelf = self.0.lock().unwrap();
        for entry in entries {
            shelf.retain(|kept| kept.index < entry.index);
            shelf.push(entry.clone());
        }
    }
}

impl EntryReader for Shelf {
    fn read(&self, first: Index, last: Index, bytes_max: usize) -> Vec<Entry> {
        let mut bytes = 0;
        let shelf = self.0.lock().unwrap();
        let wanted = shelf.iter().filter(|entry| (first..=last).contains(&entry.index));
        wanted
            .take_while(|entry| {
                let fits = bytes == 0 || bytes + entry.payload.len() <= bytes_max;
                bytes += entry.payload.len();
                fits
            })
            .cloned()
            .collect()
    }
}

fn entry(index: u64, term: u64, payload: Vec<u8>) -> Entry {
    Entry {
        index: Index(index),
        term: Term(term),
        payload: payload.into(),
    }
}

fn position(index: u64, term: u64) -> Position {
    Position {
        index: Index(index),
        term: Term(term),
    }
}

#[derive(Clone, Debug)]
enum Step {
    /// A leader of this term sends entries that follow the given share of the log.
    Splice {
        keep: usize,
        term_step: u64,
        count: usize,
    },
    /// The oldest write completes.
    Persist,
    Commit(usize),
    Apply,
    Compact(usize),
    Restart,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (0..6usize, 0..2u64, 1..5usize)
            .prop_map(|(keep, term_step, count)| Step::Splice { keep, term_step, count }),
        4 => Just(Step::Persist),
        2 => (0..6usize).prop_map(Step::Commit),
        2 => Just(Step::Apply),
        1 => (0..6usize).prop_map(Step::Compact),
        1 => Just(Step::Restart),
    ]
}

/// The log and the model of it, moved together.
struct Pair {
    log: Log,
    shelf: Shelf,
    model: Vec<Entry>,
    writes: VecDeque<(PersistId, Vec<Entry>)>,
    next_write: u64,
    term: u64,
}

impl Pair {
    fn new() -> Self {
        let shelf = Shelf::default();
        let log = Log::new(DurableLog::default(), Index(0), Arc::default(), Box::new(shelf.clone()));
        Self {
            log,
            shelf,
            model: Vec::new(),
            writes: VecDeque::new(),
            next_write: 1,
            term: 1,
        }
    }

    fn run(&mut self, step: &Step) {
        match *step {
            Step::Splice { keep, term_step, count } => self.splice(keep, term_step, count),
            Step::Persist => self.persist(),
            Step::Commit(back) => drop(
                self.log
                    .commit_to(Index(self.log.last().index.0.saturating_sub(back as u64))),
            ),
            Step::Apply => {
                for entry in self.log.take_unapplied() {
                    assert_eq!(entry, self.model[usize::try_from(entry.index.0).unwrap() - 1]);
                }
            }
            Step::Compact(back) => {
                let through = Index(self.log.applied().0.saturating_sub(back as u64));
                if through > self.log.base().index {
                    self.log.compact(through);
                }
            }
            Step::Restart => self.restart(),
        }
        self.compare();
    }

    fn splice(&mut self, keep: usize, term_step: u64, count: usize) {
        self.term += term_step;
        let floor = usize::try_from(self.log.commit().0).unwrap();
        let prev = self.model.len().saturating_sub(keep).max(floor);
        // What an entry carries is settled by its position: one leader per term.
        let size = if self.term.is_multiple_of(3) { 300_000 } else { 10 };
        let new = (0..count)
            .map(|i| entry((prev + i + 1) as u64, self.term, vec![7; size]))
            .collect::<Vec<_>>();
        let agree = |entry: &Entry| self.model.get(usize::try_from(entry.index.0).unwrap() - 1) == Some(entry);
        let expected_news = !new.iter().all(agree);
        if expected_news {
            let first = new.iter().position(|entry| !agree(entry)).unwrap();
            self.model.truncate(prev + first);
            self.model.extend(new[first..].iter().cloned());
        }
        assert_eq!(self.log.splice(new), expected_news);
        if self.log.has_unwritten() {
            let id = PersistId(self.next_write);
            self.next_write += 1;
            self.writes.push_back((id, self.log.take_unwritten(id)));
        }
    }

    fn persist(&mut self) {
        if let Some((id, entries)) = self.writes.pop_front() {
            self.shelf.write(&entries);
            self.log.persisted(id);
        }
    }

    /// Everything that was not durable is gone; the rest is read back from the shelf.
    fn restart(&mut self) {
        self.writes.clear();
        let durable = self.shelf.0.lock().unwrap().clone();
        let base = self.log.base();
        let mut runs: Vec<Position> = Vec::new();
        for entry in durable.iter().filter(|entry| entry.index > base.index) {
            if runs.last().is_none_or(|run| run.term != entry.term) {
                runs.push(Position {
                    index: entry.index,
                    term: entry.term,
                });
            }
        }
        let last = durable
            .last()
            .map_or(base, |entry| Position {
                index: entry.index,
                term: entry.term,
            })
            .max(base);
        let found = DurableLog {
            base,
            last,
            term_runs: runs,
            replaced: false,
        };
        self.log = Log::new(found, self.log.applied(), Arc::default(), Box::new(self.shelf.clone()));
        self.model = durable;
        self.term += 1;
    }

    fn compare(&self) {
        let base = self.log.base();
        let last = self.model.last().map_or(base, |entry| Position {
            index: entry.index,
            term: entry.term,
        });
        assert_eq!(self.log.last(), last);
        for entry in self.model.iter().filter(|entry| entry.index >= base.index) {
            assert_eq!(self.log.term_at(entry.index), Some(entry.term));
        }
        assert_eq!(self.log.term_at(last.index.next()), None);
        let shelf = self.shelf.0.lock().unwrap();
        let durable = &self.model[..usize::try_from(self.log.durable().0).unwrap()];
        assert!(
            durable.iter().all(|entry| shelf.contains(entry)),
            "what counts as durable is on the shelf"
        );
        self.compare_meeting_points(base);
    }

    fn compare_meeting_points(&self, base: Position) {
        for bound in [position(2, 1), position(5, 2), position(9, 3), position(40, 4)] {
            let fits =
                |entry: &&Entry| entry.index <= bound.index && entry.term <= bound.term && entry.index > base.index;
            let model = self.model.iter().rfind(fits);
            let model = model.map_or(base, |entry| Position {
                index: entry.index,
                term: entry.term,
            });
            assert_eq!(self.log.meeting_point(bound), model, "below {bound:?}");
        }
    }
}

proptest! {
    #[test]
    fn log_behaves_like_a_plain_vector(steps in prop::collection::vec(step(), 1..60)) {
        let mut pair = Pair::new();
        for step in &steps {
            pair.run(step);
        }
    }
}

fn written(log: &mut Log, id: u64) -> Vec<Entry> {
    log.take_unwritten(PersistId(id))
}

#[test]
fn late_completion_for_a_truncated_suffix_counts_for_nothing() {
    let mut log = Log::new(
        DurableLog::default(),
        Index(0),
        Arc::default(),
        Box::new(Shelf::default()),
    );
    log.splice(vec![entry(1, 1, vec![]), entry(2, 1, vec![]), entry(3, 1, vec![])]);
    assert_eq!(written(&mut log, 1).len(), 3);
    log.splice(vec![entry(2, 2, vec![]), entry(3, 2, vec![])]);
    assert_eq!(written(&mut log, 2).len(), 2);
    log.persisted(PersistId(1));
    assert_eq!(log.durable(), Index(1), "entries 2 and 3 of term 1 are overwritten");
    log.persisted(PersistId(2));
    assert_eq!(log.durable(), Index(3));
}

#[test]
fn matching_suffix_is_never_truncated() {
    let mut log = Log::new(
        DurableLog::default(),
        Index(0),
        Arc::default(),
        Box::new(Shelf::default()),
    );
    log.splice(vec![entry(1, 1, vec![]), entry(2, 1, vec![]), entry(3, 1, vec![])]);
    assert!(
        !log.splice(vec![entry(1, 1, vec![])]),
        "a delayed append brings nothing new"
    );
    assert_eq!(log.last(), position(3, 1));
}

#[test]
#[should_panic(expected = "is committed")]
fn committed_entry_is_never_truncated() {
    let mut log = Log::new(
        DurableLog::default(),
        Index(0),
        Arc::default(),
        Box::new(Shelf::default()),
    );
    log.splice(vec![entry(1, 1, vec![]), entry(2, 1, vec![])]);
    log.commit_to(Index(1));
    log.truncate(Index(1));
}

#[test]
fn tail_stays_within_its_limit_once_applied() {
    let shelf = Shelf::default();
    let mut log = Log::new(DurableLog::default(), Index(0), Arc::default(), Box::new(shelf.clone()));
    for index in 1..=40 {
        log.splice(vec![entry(index, 1, vec![1; 256 * 1024])]);
        shelf.write(&written(&mut log, index));
        log.persisted(PersistId(index));
        log.commit_to(Index(index));
        while log.has_unapplied() {
            assert!(!log.take_unapplied().is_empty());
        }
    }
    assert!(log.tail_bytes <= limits::LOG_TAIL_BYTES_MAX);
    assert_eq!(log.entries(Index(1), 1).len(), 1, "older entries are read back");
}
