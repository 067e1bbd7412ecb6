//! Three replicas of tikv's `raft` crate, driven as its documentation says, on its own storage in memory.

use std::collections::VecDeque;

use bytes::Bytes;
use raft::eraftpb::{Entry, Message, MessageType};
use raft::storage::MemStorage;
use raft::{RawNode, StateRole};

use crate::Three;

struct Replica {
    node: RawNode<MemStorage>,
    applied: usize,
}

impl Replica {
    fn new(id: u64) -> Self {
        let config = raft::Config {
            id,
            election_tick: 10,
            heartbeat_tick: 1,
            max_size_per_msg: raft::NO_LIMIT,
            max_inflight_msgs: 256,
            check_quorum: true,
            pre_vote: true,
            skip_bcast_commit: true,
            ..raft::Config::default()
        };
        let storage = MemStorage::new_with_conf_state((vec![1, 2, 3], vec![]));
        let silent = slog::Logger::root(slog::Discard, slog::o!());
        Self {
            node: RawNode::new(&config, storage, &silent).expect("the settings are valid"),
            applied: 0,
        }
    }

    fn apply(&mut self, entries: &[Entry]) {
        self.applied += entries.iter().filter(|entry| !entry.data.is_empty()).count();
    }

    /// Does what the replica wants done; the messages go to `network`.
    fn flush(&mut self, network: &mut VecDeque<Message>) {
        while self.node.has_ready() {
            let mut ready = self.node.ready();
            network.extend(ready.take_messages());
            self.apply(ready.committed_entries());
            self.save(&ready);
            network.extend(ready.take_persisted_messages());
            let mut light = self.node.advance(ready);
            network.extend(light.take_messages());
            self.apply(light.committed_entries());
            self.node.advance_apply();
        }
    }

    fn save(&self, ready: &raft::Ready) {
        if ready.entries().is_empty() && ready.hs().is_none() {
            return;
        }
        let mut storage = self.node.store().wl();
        storage.append(ready.entries()).expect("it follows");
        if let Some(hard_state) = ready.hs() {
            storage.set_hardstate(hard_state.clone());
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
            let to = usize::try_from(message.to).expect("three nodes") - 1;
            self.replicas[to].node.step(message).expect("it knows the sender");
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
        while cluster.replicas[0].node.raft.state != StateRole::Leader {
            cluster.replicas[0].node.tick();
            cluster.replicas[0].flush(&mut cluster.network);
            cluster.settle();
        }
        cluster
    }

    fn replicate(&mut self, payloads: Vec<Bytes>) {
        let mut proposal = Message::default();
        proposal.set_msg_type(MessageType::MsgPropose);
        proposal.from = 1;
        let entry = |data| Entry {
            data,
            ..Entry::default()
        };
        proposal.set_entries(payloads.into_iter().map(entry).collect());
        self.replicas[0].node.step(proposal).expect("it leads");
        self.replicas[0].flush(&mut self.network);
        self.settle();
    }

    fn beat(&mut self) {
        self.replicas[0].node.ping();
        self.replicas[0].flush(&mut self.network);
        self.settle();
    }

    fn applied(&self) -> [usize; 3] {
        [0, 1, 2].map(|at| self.replicas[at].applied)
    }
}
