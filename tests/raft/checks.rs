//! What must hold across replicas, checked after every event (Raft section 5, figure 3).
//!
//! - Election safety: one leader a term, and it has the durable vote of itself.
//! - Log matching: a position has one payload and one predecessor, in every log that ever held it.
//! - Leader completeness: a leader has everything that was committed in earlier terms.
//! - State-machine safety: every replica applies the same entries in the same order, each once.
//! - Only an entry of the leader's own term commits by counting (section 5.4.2).
//! - What commits is durable on a majority of the voters, disks of crashed nodes counted: of the old ones and of the new ones while they
//!   change. It stays on a majority of those who vote when all that is committed is done.
//! - A leader has the votes of such majorities.
//! - No replica that lacks what is committed could be elected by its own membership, whoever of it would vote ([`crate::electable`]).
//! - The membership in force is that of the newest entry in the log that names one.
//! - Votes and acknowledgements are durable before they leave, and no vote is given twice in a term, over restarts too.
//!
//! It sees all replicas at once, and remembers all of the past. It knows nothing of how Raft comes by its results, and counts majorities
//! by itself.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bytes::Bytes;
use kapu::raft::{Body, Entry, Membership, Message, Position, Raft, Role, is_membership};
use kapu::types::{Index, NodeId, Term};

use crate::disk::{Disk, position};
use crate::electable::{assert_none_electable, has_majorities};
use crate::replica::Replica;

pub type Replicas = BTreeMap<NodeId, Replica>;

/// What a replica was before an event.
#[derive(Default)]
pub struct Before {
    pub commit: Index,
    led: bool,
    membership: Arc<Membership>,
}

impl Before {
    pub fn of(raft: &Raft) -> Self {
        Self {
            commit: raft.log().commit(),
            led: raft.role() == Role::Leader,
            membership: Arc::clone(raft.membership()),
        }
    }
}

/// The past of all replicas.
pub struct Checks {
    leaders: BTreeMap<Term, NodeId>,
    votes: BTreeMap<(Term, NodeId), NodeId>,
    history: BTreeMap<Position, (Position, Bytes)>,
    /// What was committed, from index 1, each with the term of the leader that first counted it.
    committed: Vec<(Entry, Term)>,
    payloads: BTreeSet<Bytes>,
    /// What the entries name that are committed, and what the cluster began with.
    memberships: Vec<(Index, Membership)>,
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
    /// Of a cluster that begins with these members.
    pub fn new(founders: Membership) -> Self {
        Self {
            leaders: BTreeMap::new(),
            votes: BTreeMap::new(),
            history: BTreeMap::new(),
            committed: Vec::new(),
            payloads: BTreeSet::new(),
            memberships: vec![(Index(0), founders)],
        }
    }

    /// How many changes of members were committed; a change of voters is two.
    pub fn changes(&self) -> usize {
        self.memberships.len() - 1
    }

    /// The members that were in force at a committed entry.
    pub fn membership_at(&self, index: Index) -> &Membership {
        let mut all = self.memberships.iter().rev();
        &all.find(|(from, _)| *from <= index).expect("it began with members").1
    }

    /// The last committed entry.
    pub fn last_committed(&self) -> Position {
        self.committed
            .last()
            .map_or_else(Position::default, |(entry, _)| position(entry))
    }

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
    pub fn replica(&mut self, id: NodeId, before: &Before, replicas: &Replicas) {
        let Some(raft) = &replicas[&id].raft else { return };
        let log = log_of(raft);
        self.log_matching(raft, &log);
        self.membership_in_force(raft, &log);
        let newly_led = self.election_safety(raft, &replicas[&id].disk);
        let newly_committed = self.commits(raft, &log, before, replicas);
        if newly_led || newly_committed {
            self.leader_completeness(replicas);
        }
        assert_none_electable(self.last_committed(), replicas);
    }

    /// A node that waited to be added knows no members before the log names some.
    fn membership_in_force(&self, raft: &Raft, log: &[Entry]) {
        let named = log.iter().rev().find(|entry| is_membership(&entry.payload));
        let named = named.map(|entry| Membership::decode(&entry.payload).expect("it was appended"));
        let expected = named
            .as_ref()
            .unwrap_or_else(|| self.membership_at(raft.log().base().index));
        let waits = named.is_none() && **raft.membership() == Membership::default();
        assert!(
            waits || **raft.membership() == *expected,
            "node {} goes by {:?}, and its log says {expected:?}",
            raft.id(),
            raft.membership()
        );
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
        if let Some(other) = self.leaders.insert(term, id) {
            assert_eq!(other, id, "election safety: two leaders in term {term}");
            return false;
        }
        let voted = |node| node == id || self.votes.get(&(term, node)) == Some(&id);
        assert!(
            has_majorities(raft.membership(), voted),
            "node {id} leads term {term} without the votes of {:?}",
            raft.membership()
        );
        true
    }

    fn commits(&mut self, raft: &Raft, log: &[Entry], was: &Before, replicas: &Replicas) -> bool {
        let (id, commit, before) = (raft.id(), raft.log().commit(), self.committed());
        for entry in log.iter().take_while(|entry| entry.index <= commit) {
            if let Some((known, _)) = self.committed.get(slot(entry.index)) {
                assert!(
                    position(known) == position(entry) && same(&known.payload, &entry.payload),
                    "state-machine safety: node {id} commits another entry {}",
                    entry.index
                );
            } else {
                // A leader that is no voter any more steps down when it commits that.
                let led = was.led || raft.role() == Role::Leader;
                assert!(led, "node {id} commits entry {} before any leader", entry.index);
                assert_may_commit(entry, [&was.membership, raft.membership()], replicas);
                self.commit(entry, raft.term());
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

    fn commit(&mut self, entry: &Entry, term: Term) {
        if is_membership(&entry.payload) {
            let membership = Membership::decode(&entry.payload).expect("it was appended");
            self.memberships.push((entry.index, membership));
        } else {
            let fresh = entry.payload.is_empty() || self.payloads.insert(entry.payload.clone());
            assert!(fresh, "entry {} was committed before, at another index", entry.index);
        }
        self.committed.push((entry.clone(), term));
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
            Body::Snapshot { at } => {
                let known = self.committed.get(slot(at.index)).map(|(known, _)| position(known));
                assert_eq!(known, Some(at), "node {from} offers a state that was never committed");
                assert!(disk.saved.at >= at, "node {from} offers a state that is not durable");
            }
            _ => {}
        }
    }

    /// A write replaced entries on a disk: what was committed must still be on a majority of those who vote in the end.
    pub fn replaced(&self, entries: &[Entry], replicas: &Replicas) {
        let (_, membership) = self.memberships.last().expect("it began with members");
        let voters: Vec<_> = membership
            .members()
            .iter()
            .filter(|(_, member)| member.is_voter)
            .collect();
        for entry in entries {
            let known = self.committed.get(slot(entry.index));
            if known.is_some_and(|(known, _)| known == entry) {
                let holders = voters.iter().filter(|(node, _)| holds(**node, entry, replicas)).count();
                assert!(
                    2 * holders > voters.len(),
                    "entry {}@{} is committed, and now durable on {holders} of {} voters",
                    entry.index,
                    entry.term,
                    voters.len()
                );
            }
        }
        assert_none_electable(self.last_committed(), replicas);
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

fn holds(node: NodeId, entry: &Entry, replicas: &Replicas) -> bool {
    replicas.get(&node).is_some_and(|replica| replica.disk.holds(entry))
}

/// In one event a joint membership may commit and the one that it leads to come into force, and either may have counted. An entry that names
/// a membership is committed by that one.
fn assert_may_commit(entry: &Entry, in_force: [&Membership; 2], replicas: &Replicas) {
    let durable_on = |membership: &Membership| has_majorities(membership, |node| holds(node, entry, replicas));
    let durable = if is_membership(&entry.payload) {
        durable_on(&Membership::decode(&entry.payload).expect("it was appended"))
    } else {
        in_force.into_iter().any(durable_on)
    };
    let (index, term) = (entry.index, entry.term);
    assert!(
        durable,
        "entry {index}@{term} is committed without majorities of {in_force:?}"
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
