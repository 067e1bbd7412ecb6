//! The way into a partition: one queue, bounded by kind.
//!
//! Requests are refused at their limit, that of the partition or that of the node, and peers' messages dropped (Raft sends again); ticks that
//! wait are one tick. Completions have no bound of their own: there are only as many as writes are under way, and those are bounded by Raft's
//! limits. No send ever blocks.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use bytes::Bytes;
use tokio::sync::mpsc;

use crate::error::Overloaded;
use crate::limits;
use crate::partition::event::{AdminRefusal, AdminReply, Event, Refusal, Reply};
use crate::raft::Message;

/// A way into a partition. Cheap to clone.
#[derive(Clone)]
pub struct Mailbox {
    events: mpsc::UnboundedSender<Event>,
    counters: Arc<Counters>,
    node: Arc<NodeBudget>,
}

/// The bytes of requests that wait in all partitions of a node.
#[derive(Default)]
struct NodeBudget(AtomicUsize);

/// What waits, by kind.
#[derive(Default)]
struct Counters {
    requests: AtomicUsize,
    orders: AtomicUsize,
    messages: AtomicUsize,
    tick: AtomicBool,
}

/// The receiving end, for the actor alone.
pub struct Inbox {
    events: mpsc::UnboundedReceiver<Event>,
    counters: Arc<Counters>,
}

/// The mailboxes of a node with so many partitions, each with its receiving end.
#[must_use]
pub fn mailboxes(partitions: u32) -> (Vec<Mailbox>, Vec<Inbox>) {
    let node = Arc::<NodeBudget>::default();
    (0..partitions).map(|_| mailbox(&node)).unzip()
}

fn mailbox(node: &Arc<NodeBudget>) -> (Mailbox, Inbox) {
    let (sender, receiver) = mpsc::unbounded_channel();
    let counters = Arc::new(Counters::default());
    (
        Mailbox {
            events: sender,
            counters: Arc::clone(&counters),
            node: Arc::clone(node),
        },
        Inbox {
            events: receiver,
            counters,
        },
    )
}

impl Mailbox {
    /// Hands over a command.
    ///
    /// # Panics
    /// When the command is over [`limits::COMMAND_BYTES_MAX`]: whoever takes commands from outside has a limit of its own.
    pub fn propose(&self, command: Bytes, reply: Reply) {
        assert!(
            command.len() <= limits::COMMAND_BYTES_MAX,
            "a command of {} bytes",
            command.len()
        );
        if let Some(reply) = self.admit(command.len(), reply) {
            self.push(Event::Propose { command, reply });
        }
    }

    /// Hands over a question.
    pub fn query(&self, query: Bytes, reply: Reply) {
        if let Some(reply) = self.admit(query.len(), reply) {
            self.push(Event::Query { query, reply });
        }
    }

    /// Asks whether this replica leads.
    pub fn confirm(&self, reply: Reply) {
        if let Some(reply) = self.admit(0, reply) {
            self.push(Event::Confirm(reply));
        }
    }

    /// Asks for a checkpoint.
    pub fn checkpoint(&self, reply: Reply) {
        if let Some(reply) = self.admit(0, reply) {
            self.push(Event::Checkpoint(reply));
        }
    }

    /// Hands over what somebody who administers wants, as the event that `event` makes.
    pub fn order<T: 'static>(&self, reply: AdminReply<T>, event: impl FnOnce(AdminReply<T>) -> Event) {
        let (counters, limit) = (Arc::clone(&self.counters), limits::ADMIN_REQUESTS_MAX);
        let is_admitted = counters.orders.fetch_add(1, Ordering::Relaxed) < limit;
        let leave = move || counters.orders.fetch_sub(1, Ordering::Relaxed);
        if is_admitted {
            return self.push(event(Box::new(move |result| {
                leave();
                reply(result);
            })));
        }
        leave();
        let what = "the admin requests that wait in the partition";
        reply(Err(AdminRefusal::Overloaded(Overloaded { what, limit })));
    }

    /// Hands over a peer's message, or drops it when too many wait.
    pub fn deliver(&self, message: Message) {
        if self.counters.messages.fetch_add(1, Ordering::Relaxed) < limits::PENDING_MESSAGES_MAX {
            self.push(Event::Message(message));
        } else {
            self.counters.messages.fetch_sub(1, Ordering::Relaxed);
        }
    }

    /// A tick has passed. One that still waits stands for all.
    pub fn tick(&self) {
        if !self.counters.tick.swap(true, Ordering::Relaxed) {
            self.push(Event::Tick);
        }
    }

    /// Hands over what has no bound of its own: completions, and the end.
    pub fn push(&self, event: Event) {
        // A partition that has ended drops the event, and with it a reply, which then says that the outcome is unknown.
        drop(self.events.send(event));
    }

    /// Counts a request of so many bytes until it is answered, or refuses it.
    fn admit(&self, bytes: usize, reply: Reply) -> Option<Reply> {
        let (counters, node) = (Arc::clone(&self.counters), Arc::clone(&self.node));
        let cost = bytes + limits::REQUEST_COST_BYTES;
        let waiting = counters.requests.fetch_add(1, Ordering::Relaxed) + 1;
        let total = node.0.fetch_add(cost, Ordering::Relaxed) + cost;
        let leave = move || {
            counters.requests.fetch_sub(1, Ordering::Relaxed);
            node.0.fetch_sub(cost, Ordering::Relaxed);
        };
        let (what, limit) = if waiting > limits::PENDING_REQUESTS_MAX {
            ("the requests that wait in the partition", limits::PENDING_REQUESTS_MAX)
        } else if total > limits::NODE_REQUEST_BYTES_MAX {
            (
                "the bytes of requests that wait in the node",
                limits::NODE_REQUEST_BYTES_MAX,
            )
        } else {
            return Some(Reply::new(move |result| {
                leave();
                reply.send(result);
            }));
        };
        leave();
        reply.send(Err(Refusal::Overloaded(Overloaded { what, limit })));
        None
    }
}

impl Inbox {
    /// Waits for events and takes all that are there, up to `count`. Zero when every mailbox is gone.
    pub async fn take(&mut self, events: &mut Vec<Event>, count: usize) -> usize {
        let taken = self.events.recv_many(events, count).await;
        for event in events.iter() {
            match event {
                Event::Tick => self.counters.tick.store(false, Ordering::Relaxed),
                Event::Message(_) => drop(self.counters.messages.fetch_sub(1, Ordering::Relaxed)),
                _ => {}
            }
        }
        taken
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::channel;

    use super::*;
    use crate::raft::Body;
    use crate::types::{NodeId, Term};

    fn one() -> (Mailbox, Inbox) {
        mailbox(&Arc::default())
    }

    fn drain(inbox: &mut Inbox) -> usize {
        let mut count = 0;
        while inbox.events.try_recv().is_ok() {
            count += 1;
        }
        count
    }

    #[test]
    fn requests_over_the_limit_are_refused_at_once_and_room_returns() {
        let (mailbox, mut inbox) = one();
        let (sender, receiver) = channel();
        let ask = || {
            let sender = sender.clone();
            mailbox.propose(Bytes::new(), Reply::new(move |result| sender.send(result).unwrap()));
        };
        (0..limits::PENDING_REQUESTS_MAX).for_each(|_| ask());
        assert!(receiver.try_recv().is_err(), "within the limit nobody is refused");
        ask();
        assert!(matches!(receiver.try_recv(), Ok(Err(Refusal::Overloaded(_)))));
        assert_eq!(drain(&mut inbox), limits::PENDING_REQUESTS_MAX);
        assert!(
            receiver
                .try_iter()
                .all(|result| matches!(result, Err(Refusal::Unknown(_))))
        );
        ask();
        assert_eq!(drain(&mut inbox), 1, "answered requests make room");
    }

    #[test]
    fn bytes_over_the_limit_of_the_node_are_refused_in_every_partition_and_room_returns() {
        let (mailboxes, mut inboxes) = mailboxes(3);
        let (sender, receiver) = channel();
        let propose = |mailbox: &Mailbox| {
            let sender = sender.clone();
            let command = Bytes::from_static(&[0; limits::COMMAND_BYTES_MAX]);
            mailbox.propose(command, Reply::new(move |result| sender.send(result).unwrap()));
        };
        let fit = limits::NODE_REQUEST_BYTES_MAX / (limits::COMMAND_BYTES_MAX + limits::REQUEST_COST_BYTES);
        (0..fit).for_each(|at| propose(&mailboxes[at % 2]));
        assert!(receiver.try_recv().is_err(), "within the limit nobody is refused");
        propose(&mailboxes[2]);
        let limit = limits::NODE_REQUEST_BYTES_MAX;
        assert!(matches!(receiver.try_recv(), Ok(Err(Refusal::Overloaded(full))) if full.limit == limit));
        assert_eq!(drain(&mut inboxes[0]) + drain(&mut inboxes[1]), fit);
        let _ = receiver.try_iter().count();
        propose(&mailboxes[2]);
        assert_eq!(drain(&mut inboxes[2]), 1, "answered requests make room");
    }

    #[test]
    fn admin_requests_over_the_limit_are_refused_at_once_and_room_returns() {
        let (mailbox, mut inbox) = one();
        let (sender, receiver) = channel();
        let ask = || {
            let sender = sender.clone();
            let reply = Box::new(move |result| sender.send(result).unwrap());
            mailbox.order(reply, |reply| Event::TransferLeader { to: None, reply });
        };
        (0..limits::ADMIN_REQUESTS_MAX).for_each(|_| ask());
        assert!(receiver.try_recv().is_err(), "within the limit nobody is refused");
        ask();
        assert!(matches!(receiver.try_recv(), Ok(Err(AdminRefusal::Overloaded(_)))));
        let Ok(Event::TransferLeader { reply, .. }) = inbox.events.try_recv() else {
            panic!("what was asked for first")
        };
        reply(Ok(NodeId(1)));
        assert_eq!(receiver.try_recv(), Ok(Ok(NodeId(1))));
        ask();
        assert!(receiver.try_recv().is_err(), "an answer makes room");
    }

    #[test]
    fn messages_over_the_limit_are_dropped() {
        let (mailbox, mut inbox) = one();
        let message = Message {
            from: NodeId(1),
            to: NodeId(2),
            term: Term(1),
            body: Body::TimeoutNow { stays: false },
        };
        (0..limits::PENDING_MESSAGES_MAX + 10).for_each(|_| mailbox.deliver(message.clone()));
        assert_eq!(drain(&mut inbox), limits::PENDING_MESSAGES_MAX);
    }

    #[test]
    fn ticks_that_wait_are_one_tick() {
        let (mailbox, mut inbox) = one();
        (0..10).for_each(|_| mailbox.tick());
        assert_eq!(drain(&mut inbox), 1);
    }
}
