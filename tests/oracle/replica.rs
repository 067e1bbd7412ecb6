//! One replica, whoever wrote it: what can be done to it, and what can be seen of it.
//!
//! A replica owns a disk that lives as long as it does; a crash gives back what was durable. Indices count from 1, as Raft's do, and a
//! vector holds entry i at i - 1. No log is compacted here.

use bytes::Bytes;

/// What a cluster is made of.
#[derive(Clone, Copy, Debug)]
pub struct Shape {
    pub nodes: u64,
    pub heartbeat_ticks: u32,
    pub election_ticks: u32,
    pub seed: u64,
}

/// An entry at a known index.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    pub term: u64,
    pub payload: Bytes,
}

/// What a crash leaves. Everything up to `applied` is in the durable state of the state machine.
#[derive(Clone, Debug, Default)]
pub struct Durable {
    pub term: u64,
    /// Zero for nobody.
    pub vote: u64,
    pub log: Vec<Entry>,
    pub applied: usize,
}

impl Durable {
    /// Entries at `first` and after it replace what is there.
    pub fn write(&mut self, first: u64, entries: impl IntoIterator<Item = Entry>) {
        let keep = slot(first);
        assert!(keep <= self.log.len(), "a write at {first} leaves a hole in the log");
        self.log.truncate(keep);
        self.log.extend(entries);
    }
}

/// The place of an index in a vector.
pub fn slot(index: u64) -> usize {
    usize::try_from(index).expect("a log fits in memory") - 1
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    Follower,
    PreCandidate,
    Candidate,
    Leader,
}

/// What a replica is at the moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct View {
    pub term: u64,
    pub role: Role,
    /// Zero for nobody.
    pub leader: u64,
    pub commit: u64,
    /// Index and term of the last entry.
    pub last: (u64, u64),
}

/// A message under way.
#[derive(Clone)]
pub struct Letter<M> {
    pub from: u64,
    pub to: u64,
    pub message: M,
}

pub trait Replica: Sized {
    type Message: Clone;
    /// A node that is alone leads, and makes entries, before its own vote is durable. A crash may undo the whole term.
    const LEADS_ALONE_AT_ONCE: bool;

    /// Starts on what is durable. `boots` counts the starts of this node.
    fn start(shape: &Shape, id: u64, boots: u64, durable: Durable) -> Self;
    fn tick(&mut self);
    fn step(&mut self, message: Self::Message);
    /// Says whether they were taken.
    fn propose(&mut self, payloads: Vec<Bytes>) -> bool;
    /// Does what the replica wants done until it wants nothing; writes are done too, unless the disk is held.
    fn flush(&mut self, out: &mut Vec<Letter<Self::Message>>);
    /// Writes stay under way from now on, or no longer.
    fn hold(&mut self, held: bool);
    fn writes_under_way(&self) -> usize;
    /// Completes up to `count` of the oldest writes, and tells the replica.
    fn complete_writes(&mut self, count: usize, out: &mut Vec<Letter<Self::Message>>);
    /// Power fails, when the oldest `reached` writes have just got to the disk.
    fn crash(self, reached: usize) -> Durable;
    fn durable(&self) -> &Durable;
    fn view(&self) -> View;
    fn log(&self) -> Vec<Entry>;
    /// Ticks without a leader after which it campaigns.
    fn timeout(&self) -> u32;
}
