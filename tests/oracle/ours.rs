//! A replica of kapu's core as the oracle's cluster wants it.

use std::collections::VecDeque;

use bytes::Bytes;
use kapu::raft::{
    self, Config, DurableLog, EntryReader, HardState, Membership, Message, Persist, Position, Raft, Ready,
};
use kapu::types::{Index, NodeId, PersistId, Term};
use rand::SeedableRng;
use rand::rngs::StdRng;

use crate::replica::{Durable, Entry, Letter, Replica, Role, Shape, View};

pub struct Ours {
    raft: Raft,
    durable: Durable,
    under_way: VecDeque<Persist>,
    held: bool,
}

/// The entries that were there when the replica started; what came later is in its tail.
struct Found(Vec<Entry>);

impl EntryReader for Found {
    fn read(&self, first: Index, last: Index, _bytes_max: usize) -> Vec<raft::Entry> {
        let entry = |index: u64| {
            let Entry { term, payload } = self.0[crate::replica::slot(index)].clone();
            raft::Entry {
                index: Index(index),
                term: Term(term),
                payload,
            }
        };
        (first.0..=last.0).map(entry).collect()
    }
}

fn found(log: &[Entry]) -> DurableLog {
    let mut term_runs: Vec<Position> = Vec::new();
    for (index, entry) in (1..).zip(log) {
        let term = Term(entry.term);
        if term_runs.last().is_none_or(|run| run.term != term) {
            term_runs.push(Position {
                term,
                index: Index(index),
            });
        }
    }
    let last = log.last().map_or(Position::default(), |entry| Position {
        term: Term(entry.term),
        index: Index(log.len() as u64),
    });
    DurableLog {
        base: Position::default(),
        last,
        term_runs,
        replaced: false,
    }
}

impl Ours {
    fn carry_out(&mut self, ready: Ready, out: &mut Vec<Letter<Message>>) {
        let letter = |message: Message| Letter {
            from: message.from.0,
            to: message.to.0,
            message,
        };
        out.extend(ready.send.into_iter().map(letter));
        self.under_way.extend(ready.persist);
        self.durable.applied += ready.apply.len();
    }

    fn complete(&mut self) -> Option<PersistId> {
        let Persist {
            id,
            hard_state,
            entries,
            ..
        } = self.under_way.pop_front()?;
        if let Some(HardState { term, vote }) = hard_state {
            (self.durable.term, self.durable.vote) = (term.0, vote.map_or(0, |node| node.0));
        }
        if let Some(first) = entries.first().map(|entry| entry.index.0) {
            let entry = |entry: raft::Entry| Entry {
                term: entry.term.0,
                payload: entry.payload,
            };
            self.durable.write(first, entries.into_iter().map(entry));
        }
        Some(id)
    }
}

impl Replica for Ours {
    type Message = Message;
    const LEADS_ALONE_AT_ONCE: bool = false;

    fn start(shape: &Shape, id: u64, boots: u64, durable: Durable) -> Self {
        let config = Config {
            id: NodeId(id),
            heartbeat_ticks: shape.heartbeat_ticks,
            election_ticks: shape.election_ticks,
        };
        let hard_state = HardState {
            term: Term(durable.term),
            vote: (durable.vote != 0).then_some(NodeId(durable.vote)),
        };
        let rng = StdRng::seed_from_u64(shape.seed ^ (id << 32) ^ (boots << 40));
        let reader = Box::new(Found(durable.log.clone()));
        let applied = Index(durable.applied as u64);
        let membership = Membership::of_voters((1..=shape.nodes).map(|node| (NodeId(node), format!("node-{node}:1"))));
        Self {
            raft: Raft::new(
                config,
                hard_state,
                found(&durable.log),
                applied,
                membership,
                reader,
                rng,
            ),
            durable,
            under_way: VecDeque::new(),
            held: false,
        }
    }

    fn tick(&mut self) {
        self.raft.tick();
    }

    fn step(&mut self, message: Message) {
        self.raft.step(message);
    }

    fn propose(&mut self, payloads: Vec<Bytes>) -> bool {
        self.raft.propose(payloads).is_ok()
    }

    fn flush(&mut self, out: &mut Vec<Letter<Message>>) {
        loop {
            let ready = self.raft.ready();
            if ready.is_empty() {
                return;
            }
            self.carry_out(ready, out);
            if !self.held {
                self.complete_writes(usize::MAX, out);
            }
        }
    }

    fn hold(&mut self, held: bool) {
        self.held = held;
    }

    fn writes_under_way(&self) -> usize {
        self.under_way.len()
    }

    fn complete_writes(&mut self, count: usize, _out: &mut Vec<Letter<Message>>) {
        for _ in 0..count {
            let Some(id) = self.complete() else { return };
            self.raft.persisted(id);
        }
    }

    fn crash(mut self, reached: usize) -> Durable {
        for _ in 0..reached {
            self.complete();
        }
        self.durable
    }

    fn durable(&self) -> &Durable {
        &self.durable
    }

    fn view(&self) -> View {
        let Position { term, index } = self.raft.log().last();
        let role = match self.raft.role() {
            raft::Role::Follower => Role::Follower,
            raft::Role::PreCandidate => Role::PreCandidate,
            raft::Role::Candidate => Role::Candidate,
            raft::Role::Leader => Role::Leader,
        };
        View {
            term: self.raft.term().0,
            role,
            leader: self.raft.leader().map_or(0, |node| node.0),
            commit: self.raft.log().commit().0,
            last: (index.0, term.0),
        }
    }

    fn log(&self) -> Vec<Entry> {
        let log = self.raft.log();
        let mut all: Vec<Entry> = Vec::new();
        while (all.len() as u64) < log.last().index.0 {
            let some = log.entries(Index(all.len() as u64 + 1), usize::MAX);
            assert!(!some.is_empty(), "the log can be read");
            all.extend(some.into_iter().map(|entry| Entry {
                term: entry.term.0,
                payload: entry.payload,
            }));
        }
        all
    }

    fn timeout(&self) -> u32 {
        self.raft.election_timeout_ticks()
    }
}
