//! The network between the replicas: a queue of messages that the test controls, and the links that are cut.
//!
//! Nothing is delivered by itself. A message that is sent over a cut link is lost at once; one that is under way when a link is cut stays
//! under way.

use std::collections::{BTreeSet, VecDeque};

use kapu::raft::Message;
use kapu::types::NodeId;

#[derive(Default)]
pub struct Network {
    queue: VecDeque<Message>,
    cut: BTreeSet<(NodeId, NodeId)>,
}

impl Network {
    /// Takes a message; gives it back when its link is cut.
    pub fn send(&mut self, message: Message) -> Option<Message> {
        if self.cut.contains(&(message.from, message.to)) {
            return Some(message);
        }
        self.queue.push_back(message);
        None
    }

    pub fn under_way(&self) -> impl Iterator<Item = &Message> {
        self.queue.iter()
    }

    /// How many messages are under way.
    pub fn len(&self) -> usize {
        self.queue.len()
    }

    pub fn take(&mut self, at: usize) -> Option<Message> {
        self.queue.remove(at)
    }

    /// Takes out everything that fits, in order.
    pub fn take_all(&mut self, fits: impl Fn(&Message) -> bool) -> Vec<Message> {
        let (taken, kept): (Vec<_>, Vec<_>) = self.queue.drain(..).partition(fits);
        self.queue = kept.into();
        taken
    }

    /// Sends a second copy of the message at this place.
    pub fn duplicate(&mut self, at: usize) {
        if let Some(message) = self.queue.get(at).cloned() {
            self.queue.push_back(message);
        }
    }

    /// Puts messages back, at the end.
    pub fn put_back(&mut self, messages: impl IntoIterator<Item = Message>) {
        self.queue.extend(messages);
    }

    pub fn cut(&mut self, from: NodeId, to: NodeId) {
        self.cut.insert((from, to));
    }

    pub fn heal(&mut self) {
        self.cut.clear();
    }
}
