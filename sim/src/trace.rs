//! The trace: every event of a run in one hash, and on demand in a file.
//!
//! Two runs of one seed are the same run when their hashes are equal. Frames, disk operations, replicas, requests, replies and faults all pass here; each event
//! goes into the hash with its true time, who had it, and a hash of its bytes. The file has one JSON object a line, so that two of them can
//! be compared line by line. It decides nothing, and nobody reads it during the run but the watchdog.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use xxhash_rust::xxh3::{xxh3_64, xxh3_64_with_seed};

/// How many of the last events are kept in words, for a run that hangs.
const LAST_MAX: usize = 24;

/// Where events go. Cheap to clone.
#[derive(Clone)]
pub struct Trace(Arc<Mutex<State>>);

struct State {
    /// Of all events so far: each is hashed with the hash of those before it as the seed.
    hash: u64,
    events: u64,
    last: VecDeque<Line>,
    task: Option<Task>,
    file: Option<BufWriter<File>>,
}

/// A task that is at work: its name, and the number of its machine.
type Task = (&'static str, u64);

/// One event as it is written.
#[derive(Clone, Copy)]
struct Line {
    number: u64,
    at_ns: u64,
    kind: &'static str,
    who: u64,
    length: usize,
    hash: u64,
}

impl Trace {
    /// A trace without events, which also writes them to `file`, when one is given.
    ///
    /// # Errors
    /// When the file cannot be created.
    pub fn new(file: Option<&Path>) -> std::io::Result<Self> {
        let file = file.map(File::create).transpose()?.map(BufWriter::new);
        Ok(Self(Arc::new(Mutex::new(State {
            hash: 0,
            events: 0,
            last: VecDeque::new(),
            task: None,
            file,
        }))))
    }

    /// Notes that `who` had an event of this kind, with these bytes.
    pub fn note(&self, at_ns: u64, kind: &'static str, who: u64, bytes: &[u8]) {
        let mut state = self.lock();
        let line = Line {
            number: state.events,
            at_ns,
            kind,
            who,
            length: bytes.len(),
            hash: xxh3_64(bytes),
        };
        state.take(line);
    }

    /// Notes which task is at work from now on, for a run that hangs. Part of no hash.
    pub fn enter(&self, name: &'static str, machine: u64) {
        self.lock().task = Some((name, machine));
    }

    /// Notes that it is at work no more.
    pub fn leave(&self) {
        self.lock().task = None;
    }

    /// The task at work, in words.
    #[must_use]
    pub fn task(&self) -> String {
        match self.lock().task {
            Some((name, machine)) => format!("{name} on machine {machine}"),
            None => "none of a node or a client".to_owned(),
        }
    }

    /// How many events there were.
    #[must_use]
    pub fn events(&self) -> u64 {
        self.lock().events
    }

    /// The hash of all events so far.
    #[must_use]
    pub fn hash(&self) -> u64 {
        self.lock().hash
    }

    /// The last events, in words.
    #[must_use]
    pub fn last(&self) -> Vec<String> {
        self.lock().last.iter().map(Line::json).collect()
    }

    /// Writes out what is still in memory.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn finish(&self) -> std::io::Result<()> {
        self.lock().file.as_mut().map_or(Ok(()), Write::flush)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn take(&mut self, line: Line) {
        self.events += 1;
        let kind = xxh3_64(line.kind.as_bytes());
        self.hash = xxh3_64_with_seed(words([line.at_ns, line.who, line.hash, kind]).as_flattened(), self.hash);
        if self.last.len() == LAST_MAX {
            self.last.pop_front();
        }
        self.last.push_back(line);
        if let Some(file) = &mut self.file {
            // A full disk shows when the file is finished.
            drop(writeln!(file, "{}", line.json()));
        }
    }
}

/// Numbers as bytes, for [`Trace::note`].
#[must_use]
pub fn words<const N: usize>(numbers: [u64; N]) -> [[u8; 8]; N] {
    numbers.map(u64::to_le_bytes)
}

impl Line {
    fn json(&self) -> String {
        let Self {
            number,
            at_ns,
            kind,
            who,
            length,
            hash,
        } = self;
        format!(
            r#"{{"event":{number},"at_ns":{at_ns},"kind":"{kind}","who":{who},"bytes":{length},"hash":"{hash:016x}"}}"#
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hash_of(events: &[(u64, &'static str, u64, &[u8])]) -> u64 {
        let trace = Trace::new(None).unwrap();
        for (at_ns, kind, who, bytes) in events {
            trace.note(*at_ns, kind, *who, bytes);
        }
        trace.hash()
    }

    #[test]
    fn every_part_of_an_event_counts() {
        let one = hash_of(&[(1, "send", 2, b"x")]);
        assert_eq!(one, hash_of(&[(1, "send", 2, b"x")]));
        for other in [
            (2, "send", 2, &b"x"[..]),
            (1, "sync", 2, b"x"),
            (1, "send", 3, b"x"),
            (1, "send", 2, b"y"),
        ] {
            assert_ne!(one, hash_of(&[other]), "{other:?}");
        }
    }

    #[test]
    fn the_task_at_work_has_a_name_and_counts_for_nothing() {
        let trace = Trace::new(None).unwrap();
        let before = trace.hash();
        trace.enter("peer", 2);
        assert_eq!((trace.task().as_str(), trace.hash()), ("peer on machine 2", before));
        trace.leave();
        assert_eq!(trace.task(), "none of a node or a client");
    }

    #[test]
    fn the_order_counts() {
        let (a, b): ((u64, &'static str, u64, &[u8]), _) = ((1, "a", 1, b""), (1, "b", 1, &b""[..]));
        assert_ne!(hash_of(&[a, b]), hash_of(&[b, a]));
    }
}
