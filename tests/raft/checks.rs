//! What must hold across replicas, checked after every event (Raft section 5, figure 3).
//!
//! - Election safety: one leader a term, and it has the durable vote of itself.
//! - Log matching: a position has one payload and one predecessor, in every log that ever held it.
//! - Leader completeness: a leader has everything that was committed in earlier terms.
//! - State-machine safety: every replica applies the same entries in the same order, each once.
//! - Only an entry of the leader's own term commits by counting (section 5.4.2).
//! - What is committed is durable on a majority, disks of crashed nodes counted, and stays so.
//! - Votes and acknowledgements are durable before they leave, and no vote is given twice in a term, over restarts too.
//!
//! It sees all replicas at once, and remembers all of the past. It knows nothing of how Raft comes by its results.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use kapu::raft::{Body, Entry, Message, Position, Raft, Role};
use kapu::types::{Index, NodeId, Term};

use crate::disk::{Disk, position};
use crate::replica::Replica;

type Replicas = BTreeMap<NodeId, Replica>;

/// The past of all replicas.
#[derive(Default)]
pub struct Checks {
    leaders: BTreeMap<Term, NodeId>,
    votes: BTreeMap<(Term, NodeId), NodeId>,
    history: BTreeMap<Position, (Position, Bytes)>,
    /// What was committed, from index 1, each with the term of the leader that first counted it.
    committed: Vec<(Entry, Term)>,
    payloads: BTreeSet<Bytes>,
}

fn slot(index: Index) -> usize {
    usize::try_from(index.0).expect("a log fits in memory") - 1
}

/// Whether two payloads are equal, at a glance where they are one.
fn same(a: &Bytes, b: &Bytes) -> bool {
    a.as_ptr() == b.as_ptr() && a.len() == b.len() || a == b
}

/// The whole log of a replica above its base, as memory and disk together give it.
fn log_of(raft: &Raft) -> Vec<Entry> {
    let (mut next, last) = (raft.log().base().index.next(), raft.log().last().index);
    let mut all = Vec::new();
    while next <= last {
        let some = raft.log().entries(next, usize::MAX);
        assert!(!some.is_empty(), "entry {next} of node {} cannot be read", raft.id());
        next = some[some.len() - 1].index.next();
        all.extend(some);
    }
    all
}

impl Checks {
    /// How far the cluster has committed.
    pub fn committed(&self) -> Index {
        Index(self.committed.len() as u64)
    }

    pub fn has_committed(&self, payload: &Bytes) -> bool {
        self.payloads.contains(payload)
    }

    /// How many leaders there were.
    pub fn elections(&self) -> usize {
        self.leaders.len()
    }

    /// One replica had an event.
    pub fn replica(&mut self, id: NodeId, replicas: &Replicas) {
        let Some(raft) = &replicas[&id].raft else { return };
        let log = log_of(raft);
        self.log_matching(raft, &log);
        let newly_led = self.election_safety(raft, &replicas[&id].disk);
        let newly_committed = self.commits(raft, &log, replicas);
        if newly_led || newly_committed {
            self.leader_completeness(replicas);
        }
    }

    fn log_matching(&mut self, raft: &Raft, log: &[Entry]) {
        let mut prev = raft.log().base();
        for entry in log {
            assert_eq!(
                entry.index,
                prev.index.next(),
                "the log of node {} has a gap",
                raft.id()
            );
            assert!(entry.term >= prev.term, "the terms of node {}'s log go back", raft.id());
            let (known_prev, known_payload) = self
                .history
                .entry(position(entry))
                .or_insert_with(|| (prev, entry.payload.clone()));
            assert!(
                *known_prev == prev && same(known_payload, &entry.payload),
                "log matching: node {} has another entry {}@{}, or other ones before it",
                raft.id(),
                entry.index,
                entry.term
            );
            prev = position(entry);
        }
        assert_eq!(prev, raft.log().last(), "node {} knows its last entry", raft.id());
    }

    fn election_safety(&mut self, raft: &Raft, disk: &Disk) -> bool {
        if raft.role() != Role::Leader {
            return false;
        }
        let (id, term) = (raft.id(), raft.term());
        let durable = disk.hard_state;
        let voted = durable.term > term || durable.term == term && durable.vote == Some(id);
        assert!(voted, "node {id} leads term {term}, and its own vote is not durable");
        match self.leaders.insert(term, id) {
            Some(other) => {
                assert_eq!(other, id, "election safety: two leaders in term {term}");
                false
            }
            None => true,
        }
    }

    fn commits(&mut self, raft: &Raft, log: &[Entry], replicas: &Replicas) -> bool {
        let (id, commit, before) = (raft.id(), raft.log().commit(), self.committed());
        for entry in log.iter().take_while(|entry| entry.index <= commit) {
            if let Some((known, _)) = self.committed.get(slot(entry.index)) {
                assert!(
                    position(known) == position(entry) && same(&known.payload, &entry.payload),
                    "state-machine safety: node {id} commits another entry {}",
                    entry.index
                );
            } else {
                assert_eq!(
                    raft.role(),
                    Role::Leader,
                    "node {id} commits entry {} before any leader",
                    entry.index
                );
                let fresh = entry.payload.is_empty() || self.payloads.insert(entry.payload.clone());
                assert!(fresh, "entry {} was committed before, at another index", entry.index);
                assert_durable_on_majority(entry, replicas);
                self.committed.push((entry.clone(), raft.term()));
            }
        }
        assert!(commit <= self.committed(), "node {id} commits what it does not have");
        let news = self.committed() > before;
        let own_term = raft.log().term_at(commit) == Some(raft.term());
        assert!(
            !news || own_term,
            "leader {id} of term {} commits an entry of an earlier term by counting",
            raft.term()
        );
        news
    }

    fn leader_completeness(&self, replicas: &Replicas) {
        let running = replicas.values().filter_map(|replica| replica.raft.as_ref());
        for raft in running.filter(|raft| raft.role() == Role::Leader) {
            for (entry, committed_in) in self.committed.iter().skip(slot(raft.log().base().index.next())) {
                let held = *committed_in >= raft.term() || raft.log().term_at(entry.index) == Some(entry.term);
                assert!(
                    held,
                    "leader completeness: node {} leads term {} without entry {}, committed in term {committed_in}",
                    raft.id(),
                    raft.term(),
                    entry.index
                );
            }
        }
    }

    /// A message leaves `from`, whose disk holds `disk`.
    pub fn sending(&mut self, message: &Message, replicas: &Replicas) {
        let disk = &replicas[&message.from].disk;
        if matches!(message.body, Body::PreVote { .. } | Body::PreVoteResponse { .. }) {
            return;
        }
        let (durable, Message { from, to, term, .. }) = (disk.hard_state, message);
        assert!(
            durable.term >= *term,
            "node {from} sends in term {term}, which is not durable"
        );
        let voted_for = |node: NodeId| durable.term > *term || durable.vote == Some(node);
        match message.body {
            Body::Vote { .. } => assert!(voted_for(*from), "node {from} asks for votes before its own is durable"),
            Body::VoteResponse { granted: true } => {
                assert!(voted_for(*to), "node {from} tells of a vote that is not durable");
                let first = *self.votes.entry((*term, *from)).or_insert(*to);
                assert_eq!(first, *to, "node {from} votes twice in term {term}");
            }
            Body::AppendResponse { matched, .. } => {
                assert!(
                    disk.last().index >= matched,
                    "node {from} acknowledges {matched}, which is not durable"
                );
                assert_leader_agrees(message, matched, replicas);
            }
            _ => {}
        }
    }

    /// A write replaced entries on a disk: what was committed must still be on a majority.
    pub fn replaced(&self, entries: &[Entry], replicas: &Replicas) {
        for entry in entries {
            if self
                .committed
                .get(slot(entry.index))
                .is_some_and(|(known, _)| known == entry)
            {
                assert_durable_on_majority(entry, replicas);
            }
        }
    }

    /// A state machine takes its next entry.
    pub fn applying(&self, entry: &Entry, replica: &Replica) {
        let expected = Index(replica.applied.len() as u64).next();
        assert_eq!(entry.index, expected, "node {} applies out of order", replica.id);
        let known = self.committed.get(slot(entry.index)).map(|(known, _)| known);
        assert_eq!(
            known,
            Some(entry),
            "state-machine safety: node {} applies another entry",
            replica.id
        );
        assert!(
            replica.disk.holds(entry),
            "node {} applies what is not durable there",
            replica.id
        );
    }
}

fn assert_durable_on_majority(entry: &Entry, replicas: &Replicas) {
    let holders = replicas.values().filter(|replica| replica.disk.holds(entry)).count();
    assert!(
        2 * holders > replicas.len(),
        "entry {}@{} is committed, and durable on {holders} of {}",
        entry.index,
        entry.term,
        replicas.len()
    );
}

/// What is acknowledged is the leader's log, as far as that leader still leads.
fn assert_leader_agrees(message: &Message, matched: Index, replicas: &Replicas) {
    let Some(leader) = replicas.get(&message.to).and_then(|replica| replica.raft.as_ref()) else {
        return;
    };
    let disk = &replicas[&message.from].disk;
    let known = matched >= leader.log().base().index.max(disk.base().index);
    if leader.role() == Role::Leader && leader.term() == message.term && known {
        assert_eq!(
            disk.term_at(matched),
            leader.log().term_at(matched),
            "node {} acknowledges entry {matched}, which is not the leader's",
            message.from
        );
    }
}
