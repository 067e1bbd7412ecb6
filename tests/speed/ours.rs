//! Three replicas of kapu's core, with the least of a shell around them that does what a shell must.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use kapu::raft::{Config, DurableLog, Entry, EntryReader, HardState, Membership, Message, Raft, Role};
use kapu::types::{Index, NodeId};
use rand::SeedableRng;
use rand::rngs::StdRng;

use crate::Three;

/// A log in memory, from index 1.
#[derive(Clone, Default)]
struct Shelf(Arc<Mutex<Vec<Entry>>>);

impl EntryReader for Shelf {
    fn read(&self, first: Index, last: Index, _bytes_max: usize) -> Vec<Entry> {
        let at = |index: Index| usize::try_from(index.0).expect("a log fits in memory");
        self.0.lock().expect("one thread")[at(first) - 1..at(last)].to_vec()
    }
}

struct Replica {
    raft: Raft,
    shelf: Shelf,
    applied: usize,
}

impl Replica {
    fn new(id: u64) -> Self {
        let shelf = Shelf::default();
        let config = Config {
            id: NodeId(id),
            heartbeat_ticks: 1,
            election_ticks: 10,
        };
        let (log, rng) = (DurableLog::default(), StdRng::seed_from_u64(id));
        let reader = Box::new(shelf.clone());
        let membership = Membership::of_voters((1..=3).map(|node| (NodeId(node), format!("node-{node}:1"))));
        Self {
            raft: Raft::new(config, HardState::default(), log, Index(0), membership, reader, rng),
            shelf,
            applied: 0,
        }
    }

    /// Does what the replica wants done; the messages go to `network`.
    fn flush(&mut self, network: &mut VecDeque<Message>) {
        loop {
            let ready = self.raft.ready();
            network.extend(ready.send);
            self.applied += ready.apply.iter().filter(|entry| !entry.payload.is_empty()).count();
            let Some(persist) = ready.persist else {
                if ready.apply.is_empty() {
                    return;
                }
                continue;
            };
            self.shelf.0.lock().expect("one thread").extend(persist.entries);
            self.raft.persisted(persist.id);
        }
    }
}

pub struct Cluster {
    replicas: [Replica; 3],
    network: VecDeque<Message>,
}

impl Cluster {
    /// Delivers until nothing is under way.
    fn settle(&mut self) {
        while let Some(message) = self.network.pop_front() {
            let to = usize::try_from(message.to.0).expect("three nodes") - 1;
            self.replicas[to].raft.step(message);
            self.replicas[to].flush(&mut self.network);
        }
    }
}

impl Three for Cluster {
    fn elect() -> Self {
        let mut cluster = Self {
            replicas: [1, 2, 3].map(Replica::new),
            network: VecDeque::new(),
        };
        while cluster.replicas[0].raft.role() != Role::Leader {
            cluster.replicas[0].raft.tick();
            cluster.replicas[0].flush(&mut cluster.network);
            cluster.settle();
        }
        cluster
    }

    fn replicate(&mut self, payloads: Vec<Bytes>) {
        self.replicas[0].raft.propose(payloads).expect("it leads");
        self.replicas[0].flush(&mut self.network);
        self.settle();
    }

    fn beat(&mut self) {
        self.replicas[0].raft.tick();
        self.replicas[0].flush(&mut self.network);
        self.settle();
    }

    fn applied(&self) -> [usize; 3] {
        [0, 1, 2].map(|at| self.replicas[at].applied)
    }
}
