//! What happens in the partitions of a node, told to whoever listens, as it happens.
//!
//! A node with nobody who listens pays one look at a number for each batch of work. Nobody is ever waited for: who is too slow loses the oldest
//! events and is told how many. So events are for watching and for caches; what must not be missed is in the state machine.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use tokio::sync::broadcast::{self, error::RecvError};

use crate::error::PartitionError;
use crate::hlc::Hlc;
use crate::limits;
use crate::raft::{Membership, Position};
use crate::types::{Index, LogTime, NodeId, PartitionId, Term};

/// Something that has happened on this node.
#[derive(Clone, Debug)]
pub enum NodeEvent {
    /// This node knows of another leader, or of none any more. When it leads itself, that is told once it serves.
    LeaderChanged {
        /// Where.
        partition: PartitionId,
        /// In which term.
        term: Term,
        /// Who leads now, as far as this node knows.
        leader: Option<NodeId>,
    },
    /// A committed entry with commands was received and applied here; in the order of the log, each entry once in a life of the node.
    Applied {
        /// Where.
        partition: PartitionId,
        /// Which entry.
        position: Position,
        /// Log time of its commands.
        log_time: LogTime,
        /// When its leader made it, for people.
        hlc: Option<Hlc>,
        /// Its commands, in order. At most [`limits::ENTRY_COMMANDS_MAX`].
        commands: Arc<[Bytes]>,
    },
    /// The state machine was filled with saved rows: in the place of all entries up to `through`, for which no event comes.
    Restored {
        /// Where.
        partition: PartitionId,
        /// Up to which entry.
        through: Index,
        /// The rows came as a snapshot of another node; else they were on this node's disk when it started.
        is_snapshot: bool,
    },
    /// A command that was handed to this node has no outcome. Whoever handed it over is told the same.
    ReplicationFailed {
        /// Where.
        partition: PartitionId,
        /// Why.
        error: PartitionError,
    },
    /// The members of the partition are others than before, or are so for good now.
    MembersChanged {
        /// Where.
        partition: PartitionId,
        /// In force, and perhaps not committed yet.
        newest: Arc<Membership>,
        /// Committed and applied here.
        applied: Arc<Membership>,
    },
}

/// So many events were lost, because the listener was slower than the node for longer than [`limits::EVENTS_KEPT_MAX`] events.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0} events were lost: the listener was too slow")]
pub struct Lagged(pub u64);

/// The events of one node, for one listener.
pub struct Events {
    receiver: broadcast::Receiver<NodeEvent>,
    feed: Feed,
}

impl Events {
    /// Waits for the next event; none when the node has stopped and everything is told. May be dropped and called again: nothing is lost by that.
    ///
    /// # Errors
    /// [`Lagged`] in the place of what was lost. The next call goes on with the oldest event that is kept.
    pub async fn next(&mut self) -> Option<Result<NodeEvent, Lagged>> {
        match self.receiver.recv().await {
            Ok(event) => Some(Ok(event)),
            Err(RecvError::Lagged(lost)) => Some(Err(Lagged(lost))),
            Err(RecvError::Closed) => None,
        }
    }
}

impl Drop for Events {
    fn drop(&mut self) {
        self.feed.0.listeners.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Where a node tells its events. Cheap to clone.
#[derive(Clone)]
pub struct Feed(Arc<Inner>);

struct Inner {
    /// None once the node has stopped.
    sender: Mutex<Option<broadcast::Sender<NodeEvent>>>,
    /// What a node looks at that nobody listens to.
    listeners: AtomicUsize,
}

/// Nobody listens yet.
impl Default for Feed {
    fn default() -> Self {
        Self(Arc::new(Inner {
            sender: Mutex::new(Some(broadcast::Sender::new(limits::EVENTS_KEPT_MAX))),
            listeners: AtomicUsize::new(0),
        }))
    }
}

impl Feed {
    /// Listens from now on.
    #[must_use]
    pub fn listen(&self) -> Events {
        let sender = self.lock();
        self.0.listeners.fetch_add(1, Ordering::Relaxed);
        Events {
            // A sender that is dropped at once: what listens to it has heard everything.
            receiver: sender
                .as_ref()
                .map_or_else(|| broadcast::Sender::new(1).subscribe(), broadcast::Sender::subscribe),
            feed: self.clone(),
        }
    }

    /// Whether anybody listens.
    #[must_use]
    pub fn is_heard(&self) -> bool {
        self.0.listeners.load(Ordering::Relaxed) > 0
    }

    /// Tells everybody who listens. Never blocks.
    pub fn tell(&self, event: NodeEvent) {
        if let Some(sender) = &*self.lock() {
            // Nobody may listen any more.
            let _ = sender.send(event);
        }
    }

    /// Nothing will happen any more.
    pub fn end(&self) {
        *self.lock() = None;
    }

    fn lock(&self) -> MutexGuard<'_, Option<broadcast::Sender<NodeEvent>>> {
        self.0.sender.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn restored(through: u64) -> NodeEvent {
        NodeEvent::Restored {
            partition: PartitionId(0),
            through: Index(through),
            is_snapshot: false,
        }
    }

    async fn through(events: &mut Events) -> Option<Result<u64, Lagged>> {
        let event = events.next().await?;
        Some(event.map(|event| match event {
            NodeEvent::Restored { through, .. } => through.0,
            other => panic!("nobody told {other:?}"),
        }))
    }

    #[tokio::test]
    async fn a_slow_listener_is_told_how_many_events_it_lost_and_goes_on() {
        let feed = Feed::default();
        let mut events = feed.listen();
        let kept = limits::EVENTS_KEPT_MAX as u64;
        (1..=kept).for_each(|number| feed.tell(restored(number)));
        assert_eq!(through(&mut events).await, Some(Ok(1)), "at the limit nothing is lost");
        (1..=3).for_each(|number| feed.tell(restored(kept + number)));
        assert_eq!(through(&mut events).await, Some(Err(Lagged(2))));
        assert_eq!(through(&mut events).await, Some(Ok(4)));
    }

    #[tokio::test]
    async fn every_listener_hears_everything_from_when_it_began_to_the_end() {
        let feed = Feed::default();
        let mut first = feed.listen();
        feed.tell(restored(1));
        let mut second = feed.listen();
        feed.tell(restored(2));
        feed.end();
        feed.tell(restored(3));
        assert_eq!(through(&mut first).await, Some(Ok(1)));
        assert_eq!(through(&mut first).await, Some(Ok(2)));
        assert_eq!(through(&mut second).await, Some(Ok(2)));
        assert_eq!((through(&mut first).await, through(&mut second).await), (None, None));
        assert_eq!(through(&mut feed.listen()).await, None, "of a node that has stopped");
    }

    #[test]
    fn a_feed_knows_whether_anybody_listens() {
        let feed = Feed::default();
        assert!(!feed.is_heard());
        let (first, second) = (feed.listen(), feed.listen());
        drop(first);
        assert!(feed.is_heard());
        drop(second);
        assert!(!feed.is_heard());
    }
}
