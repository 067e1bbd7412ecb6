//! One replica on a disk that never waits, and the voices of all others.

use bytes::Bytes;
use kapu::raft::{Body, Config, DurableLog, Entry, EntryReader, HardState, Membership, Message, Position, Raft, Role};
use kapu::types::{Index, NodeId, Term};
use rand::SeedableRng;
use rand::rngs::StdRng;

pub const ELECTION_TICKS: u32 = 10;

pub struct One {
    pub raft: Raft,
    pub nodes: u64,
    /// What is durable.
    pub hard_state: HardState,
    pub applied: Vec<Entry>,
}

struct Found(Vec<Entry>);

impl EntryReader for Found {
    fn read(&self, first: Index, last: Index, _bytes_max: usize) -> Vec<Entry> {
        let wanted = self
            .0
            .iter()
            .filter(|entry| first <= entry.index && entry.index <= last);
        wanted.cloned().collect()
    }
}

/// Entries of these terms from `first` on.
pub fn entries(first: u64, terms: &[u64]) -> Vec<Entry> {
    let entry = |(index, term): (u64, &u64)| Entry {
        index: Index(index),
        term: Term(*term),
        payload: Bytes::from(format!("{index}@{term}")),
    };
    (first..).zip(terms).map(entry).collect()
}

pub fn position(index: u64, term: u64) -> Position {
    Position {
        term: Term(term),
        index: Index(index),
    }
}

fn durable_log(entries: &[Entry]) -> DurableLog {
    let mut term_runs: Vec<Position> = Vec::new();
    for entry in entries {
        if term_runs.last().is_none_or(|run| run.term != entry.term) {
            term_runs.push(position(entry.index.0, entry.term.0));
        }
    }
    DurableLog {
        base: Position::default(),
        last: entries
            .last()
            .map_or_else(Position::default, |entry| position(entry.index.0, entry.term.0)),
        term_runs,
        replaced: false,
    }
}

/// An append of a leader.
pub fn append(prev: Position, entries: Vec<Entry>, commit: u64) -> Body {
    Body::Append {
        prev,
        entries,
        commit: Index(commit),
        round: 0,
    }
}

impl One {
    /// Node 1 of so many, found in `term` with a log of entries of these terms.
    pub fn new(nodes: u64, term: u64, terms: &[u64]) -> Self {
        Self::seeded(nodes, term, terms, 1)
    }

    pub fn seeded(nodes: u64, term: u64, terms: &[u64], seed: u64) -> Self {
        let config = Config {
            id: NodeId(1),
            heartbeat_ticks: 1,
            election_ticks: ELECTION_TICKS,
        };
        let hard_state = HardState {
            term: Term(term),
            vote: None,
        };
        let found = entries(1, terms);
        let (log, rng) = (durable_log(&found), StdRng::seed_from_u64(seed));
        let membership = Membership::of_voters((1..=nodes).map(|node| (NodeId(node), format!("node-{node}:1"))));
        let reader = Box::new(Found(found));
        Self {
            raft: Raft::new(config, hard_state, log, Index(0), membership, reader, rng),
            nodes,
            hard_state,
            applied: Vec::new(),
        }
    }

    /// Does what it wants done, and returns what it says.
    fn flush(&mut self) -> Vec<Message> {
        let mut said = Vec::new();
        loop {
            let ready = self.raft.ready();
            if ready.is_empty() {
                return said;
            }
            said.extend(ready.send);
            self.applied.extend(ready.apply);
            if let Some(persist) = ready.persist {
                self.hard_state = persist.hard_state.unwrap_or(self.hard_state);
                self.raft.persisted(persist.id);
            }
        }
    }

    pub fn tick(&mut self) -> Vec<Message> {
        self.raft.tick();
        self.flush()
    }

    pub fn hear(&mut self, from: u64, term: u64, body: Body) -> Vec<Message> {
        let (from, to, term) = (NodeId(from), NodeId(1), Term(term));
        self.raft.step(Message { from, to, term, body });
        self.flush()
    }

    pub fn propose(&mut self, payload: &'static str) -> Vec<Message> {
        self.raft.propose(vec![Bytes::from(payload)]).expect("it leads");
        self.flush()
    }

    /// Ticks until it campaigns; returns how many, and what it then says.
    pub fn wait_for_campaign(&mut self) -> (u32, Vec<Message>) {
        for ticks in 1.. {
            let role = self.raft.role();
            let term = self.raft.term();
            let said = self.tick();
            let asks = said.iter().any(|message| matches!(message.body, Body::PreVote { .. }));
            if asks || role != self.raft.role() || term != self.raft.term() {
                return (ticks, said);
            }
        }
        unreachable!("ticks never end")
    }

    /// Campaigns, and all would vote for it: it asks for votes. Returns what it then says.
    pub fn become_candidate(&mut self) -> Vec<Message> {
        let (_, mut said) = self.wait_for_campaign();
        let next = self.raft.term().0 + 1;
        for peer in 2..=self.nodes {
            if self.raft.role() == Role::PreCandidate {
                said = self.hear(peer, next, Body::PreVoteResponse { granted: true });
            }
        }
        said
    }

    /// Campaigns, and all vote for it. Returns what it says as a leader.
    pub fn become_leader(&mut self) -> Vec<Message> {
        let mut said = self.become_candidate();
        let term = self.raft.term().0;
        for peer in 2..=self.nodes {
            if self.raft.role() == Role::Candidate {
                said = self.hear(peer, term, Body::VoteResponse { granted: true });
            }
        }
        assert_eq!(self.raft.role(), Role::Leader);
        said
    }

    /// A follower says that it has everything up to `matched`.
    pub fn acknowledge(&mut self, from: u64, matched: u64) -> Vec<Message> {
        let matched = Index(matched);
        self.hear(from, self.raft.term().0, Body::AppendResponse { matched, round: 0 })
    }

    /// The terms of its log, from index 1.
    pub fn terms(&self) -> Vec<u64> {
        let last = self.raft.log().last().index.0;
        (1..=last)
            .map(|index| self.raft.log().term_at(Index(index)).expect("nothing is compacted").0)
            .collect()
    }

    pub fn commit(&self) -> u64 {
        self.raft.log().commit().0
    }
}

/// Who is told.
pub fn receivers(said: &[Message]) -> Vec<u64> {
    said.iter().map(|message| message.to.0).collect()
}
