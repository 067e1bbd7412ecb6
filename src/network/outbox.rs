//! The messages that wait for one peer: bounded, filled by partitions, emptied by the peer's sender.
//!
//! Putting in takes a mutex for as long as a push takes, and never waits. What is over a limit is dropped, because Raft sends again and a
//! lock service that waits for a slow peer would stop for all.

use std::sync::{Mutex, MutexGuard};

use tokio::sync::Notify;

use crate::limits;
use crate::raft::Message;
use crate::types::PartitionId;
use crate::wire::frame::{HEADER_BYTES_MAX, message_bytes_max};

/// The most bytes of one message: it fits in a frame of its own.
const MESSAGE_BYTES_MAX: usize = limits::FRAME_BYTES_MAX - HEADER_BYTES_MAX;

/// A bounded queue with one taker.
#[derive(Default)]
pub(super) struct Outbox {
    waiting: Mutex<Waiting>,
    arrived: Notify,
}

#[derive(Default)]
struct Waiting {
    messages: Vec<(PartitionId, Message)>,
    bytes: usize,
}

impl Outbox {
    /// Puts messages in, under one lock and with one wake-up. Returns how many were dropped.
    pub fn push_all(&self, partition: PartitionId, messages: impl IntoIterator<Item = Message>) -> usize {
        let mut waiting = self.lock();
        let dropped = messages
            .into_iter()
            .map(|message| usize::from(!waiting.push(partition, message)))
            .sum();
        drop(waiting);
        self.arrived.notify_one();
        dropped
    }

    /// Waits until there is something, and moves everything into `taken`, which is empty.
    pub async fn take(&self, taken: &mut Vec<(PartitionId, Message)>) {
        debug_assert!(taken.is_empty(), "what was taken before has been sent");
        loop {
            {
                let mut waiting = self.lock();
                std::mem::swap(&mut waiting.messages, taken);
                waiting.bytes = 0;
            }
            if !taken.is_empty() {
                return;
            }
            self.arrived.notified().await;
        }
    }

    /// Drops everything: it is too old to be of use.
    pub fn clear(&self) {
        *self.lock() = Waiting::default();
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().expect("nobody panics while holding it")
    }
}

impl Waiting {
    fn push(&mut self, partition: PartitionId, message: Message) -> bool {
        let bytes = message_bytes_max(&message);
        let fits = bytes <= MESSAGE_BYTES_MAX
            && self.messages.len() < limits::PEER_QUEUE_MESSAGES_MAX
            && self.bytes + bytes <= limits::PEER_QUEUE_BYTES_MAX;
        if fits {
            self.bytes += bytes;
            self.messages.push((partition, message));
        }
        fits
    }
}

/// How many of the first `messages` go into one frame: at least one.
pub(super) fn frame_length(messages: &[(PartitionId, Message)]) -> usize {
    let mut room = MESSAGE_BYTES_MAX;
    let fits = |(_, message): &&(PartitionId, Message)| {
        let left = room.checked_sub(message_bytes_max(message));
        room = left.unwrap_or_default();
        left.is_some()
    };
    let length = messages
        .iter()
        .take(limits::FRAME_MESSAGES_MAX)
        .take_while(fits)
        .count();
    length.max(1)
}
