//! A replica of tikv's `raft` crate as the oracle's cluster wants it.
//!
//! Its writes are reported later (`advance_append_async`, `on_persist_ready`), so that a crash can lose them; until then its storage shows
//! them, as it demands. It draws its election timeouts from the operating system; here each is overwritten before it can matter.

use std::collections::VecDeque;

use bytes::Bytes;
use raft::eraftpb::{self, ConfState, HardState, Message, MessageType};
use raft::storage::MemStorage;
use raft::{RawNode, StateRole};

use crate::replica::{Durable, Entry, Letter, Replica, Role, Shape, View};

pub struct Theirs {
    node: RawNode<MemStorage>,
    durable: Durable,
    under_way: VecDeque<Write>,
    held: bool,
    draws: Draws,
}

/// A write under way, and the messages that may leave after it.
struct Write {
    number: u64,
    hard_state: Option<HardState>,
    entries: Vec<eraftpb::Entry>,
    then: Vec<Message>,
}

/// Election timeouts as a function of what is known: the same schedule is the same run.
struct Draws {
    seed: u64,
    campaigns: u64,
    shortest: u64,
    /// What is used instead.
    set: Option<u32>,
}

impl Draws {
    fn draw(&self, term: u64) -> usize {
        let drawn = || self.shortest + mix(self.seed ^ (term << 8) ^ (self.campaigns << 24)) % self.shortest;
        let ticks = self.set.map_or_else(drawn, u64::from);
        usize::try_from(ticks).expect("a few ticks")
    }
}

/// A number that looks like no other (Steele, Lea and Flood: `SplitMix`).
pub fn mix(number: u64) -> u64 {
    let mut z = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

fn storage(shape: &Shape, durable: &Durable) -> MemStorage {
    let voters: Vec<u64> = (1..=shape.nodes).collect();
    let storage = MemStorage::new_with_conf_state(ConfState::from((voters, vec![])));
    let entry = |(index, entry): (u64, &Entry)| eraftpb::Entry {
        index,
        term: entry.term,
        data: entry.payload.clone(),
        ..eraftpb::Entry::default()
    };
    let entries: Vec<_> = (1..).zip(&durable.log).map(entry).collect();
    let mut inside = storage.wl();
    inside.append(&entries).expect("they follow");
    inside.set_hardstate(HardState {
        term: durable.term,
        vote: durable.vote,
        commit: durable.applied as u64,
        ..HardState::default()
    });
    drop(inside);
    storage
}

fn entry(entry: &eraftpb::Entry) -> Entry {
    Entry {
        term: entry.term,
        payload: entry.data.clone(),
    }
}

fn letter(message: Message) -> Letter<Message> {
    Letter {
        from: message.from,
        to: message.to,
        message,
    }
}

impl Theirs {
    /// Uses this election timeout, until another is set.
    pub fn set_timeout(&mut self, ticks: u32) {
        self.draws.set = Some(ticks);
        self.overwrite_timeout();
    }

    fn overwrite_timeout(&mut self) {
        let ticks = self.draws.draw(self.node.raft.term);
        self.node.raft.set_randomized_election_timeout(ticks);
    }

    fn carry_out(&mut self, out: &mut Vec<Letter<Message>>) {
        let mut ready = self.node.ready();
        out.extend(ready.take_messages().into_iter().map(letter));
        self.durable.applied += ready.take_committed_entries().len();
        let write = Write {
            number: ready.number(),
            hard_state: ready.hs().cloned(),
            entries: ready.take_entries(),
            then: ready.take_persisted_messages(),
        };
        let mut storage = self.node.store().wl();
        storage.append(&write.entries).expect("they follow");
        if let Some(hard_state) = &write.hard_state {
            storage.set_hardstate(hard_state.clone());
        }
        drop(storage);
        self.under_way.push_back(write);
        self.node.advance_append_async(ready);
        self.node.advance_apply_to(self.durable.applied as u64);
    }

    fn complete(&mut self) -> Option<(u64, Vec<Message>)> {
        let write = self.under_way.pop_front()?;
        if let Some(hard_state) = write.hard_state {
            (self.durable.term, self.durable.vote) = (hard_state.term, hard_state.vote);
        }
        if let Some(first) = write.entries.first() {
            self.durable.write(first.index, write.entries.iter().map(entry));
        }
        Some((write.number, write.then))
    }
}

impl Replica for Theirs {
    type Message = Message;
    const LEADS_ALONE_AT_ONCE: bool = true;

    fn start(shape: &Shape, id: u64, boots: u64, durable: Durable) -> Self {
        let election_ticks = usize::try_from(shape.election_ticks).expect("a few ticks");
        let config = raft::Config {
            id,
            election_tick: election_ticks,
            heartbeat_tick: usize::try_from(shape.heartbeat_ticks).expect("a few ticks"),
            applied: durable.applied as u64,
            max_size_per_msg: kapu::limits::APPEND_BYTES_MAX as u64,
            max_inflight_msgs: kapu::limits::APPENDS_IN_FLIGHT_MAX,
            check_quorum: true,
            pre_vote: true,
            skip_bcast_commit: true,
            ..raft::Config::default()
        };
        let silent = slog::Logger::root(slog::Discard, slog::o!());
        let node = RawNode::new(&config, storage(shape, &durable), &silent).expect("the settings are valid");
        let draws = Draws {
            seed: shape.seed ^ (id << 40) ^ (boots << 48),
            campaigns: 0,
            shortest: u64::from(shape.election_ticks),
            set: None,
        };
        let mut theirs = Self {
            node,
            durable,
            under_way: VecDeque::new(),
            held: false,
            draws,
        };
        theirs.overwrite_timeout();
        theirs
    }

    fn tick(&mut self) {
        let campaigned = self.node.raft.state;
        self.node.tick();
        let campaigns = self.node.raft.state == StateRole::PreCandidate && self.node.raft.election_elapsed == 0;
        self.draws.campaigns += u64::from(campaigns && campaigned != StateRole::Leader);
        self.overwrite_timeout();
    }

    fn step(&mut self, message: Message) {
        self.node.step(message).expect("it knows the sender");
        self.overwrite_timeout();
    }

    fn propose(&mut self, payloads: Vec<Bytes>) -> bool {
        let entry = |data| eraftpb::Entry {
            data,
            ..eraftpb::Entry::default()
        };
        let mut proposal = Message::default();
        proposal.set_msg_type(MessageType::MsgPropose);
        proposal.from = self.node.raft.id;
        proposal.set_entries(payloads.into_iter().map(entry).collect());
        self.node.step(proposal).is_ok()
    }

    fn flush(&mut self, out: &mut Vec<Letter<Message>>) {
        while self.node.has_ready() {
            self.carry_out(out);
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

    fn complete_writes(&mut self, count: usize, out: &mut Vec<Letter<Message>>) {
        for _ in 0..count {
            let Some((number, then)) = self.complete() else { return };
            out.extend(then.into_iter().map(letter));
            self.node.on_persist_ready(number);
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
        let raft = &self.node.raft;
        let role = match raft.state {
            StateRole::Follower => Role::Follower,
            StateRole::PreCandidate => Role::PreCandidate,
            StateRole::Candidate => Role::Candidate,
            StateRole::Leader => Role::Leader,
        };
        View {
            term: raft.term,
            role,
            leader: raft.leader_id,
            commit: raft.raft_log.committed,
            last: (raft.raft_log.last_index(), raft.raft_log.last_term()),
        }
    }

    fn log(&self) -> Vec<Entry> {
        self.node.raft.raft_log.all_entries().iter().map(entry).collect()
    }

    fn timeout(&self) -> u32 {
        u32::try_from(self.node.raft.randomized_election_timeout()).expect("a few ticks")
    }
}
