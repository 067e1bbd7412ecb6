//! What Raft promises, checked on either side by the same code (Raft figure 3).
//!
//! - Election safety: a term has one leader, and a node one vote in it, over restarts too.
//! - Log matching: a position has one payload and one predecessor, in every log that ever held it.
//! - Leader completeness: who leads a later term has everything that was committed before.
//! - State-machine safety: what is committed at an index never changes, and is durable on a majority when it is counted.
//!
//! It sees all replicas and remembers all of the past.

use std::collections::BTreeMap;

use bytes::Bytes;

use crate::replica::{Durable, Entry, Replica, Role, View, slot};

#[derive(Default)]
pub struct Checks {
    leaders: BTreeMap<u64, u64>,
    votes: BTreeMap<(u64, u64), u64>,
    /// By index and term: the term before, and the payload.
    history: BTreeMap<(u64, u64), (u64, Bytes)>,
    /// Each with the term of the leader that counted it.
    committed: Vec<(Entry, u64)>,
    /// What each node was when it was last looked at, and its log then.
    seen: BTreeMap<u64, (View, Vec<Entry>)>,
}

impl Checks {
    pub fn elections(&self) -> usize {
        self.leaders.len()
    }

    pub fn committed(&self) -> usize {
        self.committed.len()
    }

    pub fn has_committed(&self, payload: &Bytes) -> bool {
        self.committed.iter().any(|(entry, _)| entry.payload == *payload)
    }

    /// Node `id` had an event.
    pub fn replica<R: Replica>(&mut self, id: u64, replica: &R, disks: &[&Durable]) {
        self.vote(id, replica.durable());
        let view = replica.view();
        let (before, log_before) = self.seen.remove(&id).unzip();
        if before == Some(view) {
            self.seen.extend(log_before.map(|log| (id, (view, log))));
            return;
        }
        let log = replica.log();
        assert_eq!(log.len() as u64, view.last.0, "node {id} knows its last index");
        assert!(view.commit <= view.last.0, "node {id} commits what it does not have");
        self.log_matching(id, &log, &log_before.unwrap_or_default());
        self.commits(id, view, &log, disks);
        self.leads(id, view, &log);
        self.seen.insert(id, (view, log));
    }

    /// The only node of a cluster crashed: terms that were not durable, and their entries, may come again. What was committed may not.
    pub fn forget_what_was_not_durable(&mut self, durable: &Durable) {
        self.leaders.retain(|term, _| *term <= durable.term);
        self.history
            .retain(|(index, term), _| durable.log.get(slot(*index)).is_some_and(|entry| entry.term == *term));
        self.seen.clear();
    }

    fn vote(&mut self, id: u64, durable: &Durable) {
        if durable.vote != 0 {
            let first = *self.votes.entry((durable.term, id)).or_insert(durable.vote);
            assert_eq!(first, durable.vote, "node {id} votes twice in term {}", durable.term);
        }
    }

    fn log_matching(&mut self, id: u64, log: &[Entry], known: &[Entry]) {
        let same = log.iter().zip(known).take_while(|(now, then)| now == then).count();
        let mut before = log[..same].last().map_or(0, |entry| entry.term);
        for (index, entry) in (1..).zip(log).skip(same) {
            assert!(entry.term >= before, "the terms of node {id}'s log go back at {index}");
            let here = (before, entry.payload.clone());
            let known = self.history.entry((index, entry.term)).or_insert_with(|| here.clone());
            assert_eq!(*known, here, "log matching at {index}@{} of node {id}", entry.term);
            before = entry.term;
        }
    }

    fn commits(&mut self, id: u64, view: View, log: &[Entry], disks: &[&Durable]) {
        let through = &log[..slot(view.commit + 1)];
        for (entry, (known, _)) in through.iter().zip(&self.committed) {
            assert_eq!(entry, known, "node {id} commits another entry");
        }
        if through.len() <= self.committed.len() {
            return;
        }
        assert_eq!(view.role, Role::Leader, "node {id} commits before any leader");
        let last = through[through.len() - 1].term;
        assert_eq!(
            last, view.term,
            "leader {id} commits an entry of an earlier term by counting"
        );
        for (at, entry) in through.iter().enumerate().skip(self.committed.len()) {
            let held = disks.iter().filter(|disk| disk.log.get(at) == Some(entry)).count();
            assert!(
                2 * held > disks.len(),
                "entry {} is committed with {held} copies",
                at + 1
            );
            self.committed.push((entry.clone(), view.term));
        }
    }

    fn leads(&mut self, id: u64, view: View, log: &[Entry]) {
        if view.role != Role::Leader {
            return;
        }
        let first = *self.leaders.entry(view.term).or_insert(id);
        assert_eq!(first, id, "two leaders in term {}", view.term);
        for (at, (entry, counted_in)) in self.committed.iter().enumerate() {
            let held = *counted_in >= view.term || log.get(at) == Some(entry);
            assert!(held, "leader {id} of term {} lacks entry {}", view.term, at + 1);
        }
    }
}
