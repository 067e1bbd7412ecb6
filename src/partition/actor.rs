//! The shell around a partition: the only loop that awaits its mailbox, and the one that carries out what the core says.
//!
//! It takes everything that waits, hands each event to the core, then flushes once: that is where requests become batches. It never blocks
//! and awaits nothing but the mailbox.

use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::watch;

use crate::clock::Clock;
use crate::env::Spawn;
use crate::events::{Feed, NodeEvent};
use crate::hlc::SharedHybridClock;
use crate::partition::core::{AppliedEntry, Core, Effects, Members};
use crate::partition::event::Event;
use crate::partition::log_clock::Now;
use crate::partition::mailbox::{Inbox, Mailbox};
use crate::partition::observer::Observer;
use crate::partition::snapshots::{SnapshotShared, SnapshotTasks};
use crate::raft::{Message, Persist};
use crate::status::PartitionStatus;
use crate::storage::{InstallWrite, LogStore, LogWrite, StateMark, StateStore, StateWrite};
use crate::types::{Index, NodeId, PartitionId, Term};

/// The most events that are taken for one flush.
const EVENTS_PER_FLUSH_MAX: usize = 4096;

/// Carries messages to peers. Never blocks; may drop.
pub trait Outbound: Send + Sync {
    /// Sends these messages of one partition.
    fn send(&self, partition: PartitionId, messages: Vec<Message>);
}

/// What all partitions of a node share.
#[derive(Clone)]
pub struct Shared {
    /// Time.
    pub clock: Arc<dyn Clock>,
    /// Time for people.
    pub hybrid: Arc<SharedHybridClock>,
    /// The logs.
    pub log: Arc<dyn LogStore>,
    /// The rows.
    pub state: Arc<dyn StateStore>,
    /// The peers.
    pub outbound: Arc<dyn Outbound>,
    /// Where events are told.
    pub feed: Feed,
    /// Who watches, if anybody does.
    pub observer: Option<Arc<dyn Observer>>,
    /// Who runs what a partition does beside itself.
    pub spawn: Arc<dyn Spawn>,
    /// What snapshots take.
    pub snapshots: SnapshotShared,
    /// Told of the memberships that count, whenever they change.
    pub on_members: OnMembers,
    /// Called when a partition cannot go on.
    pub on_failure: Arc<dyn Fn(String) + Send + Sync>,
}

/// Told of the memberships that count in a partition.
pub type OnMembers = Arc<dyn Fn(PartitionId, Members) + Send + Sync>;

/// The latest status of a partition, for whoever asks.
pub type StatusCell = Arc<Mutex<PartitionStatus>>;

/// One running partition.
pub struct Actor {
    partition: PartitionId,
    core: Core,
    inbox: Inbox,
    mailbox: Mailbox,
    shared: Shared,
    status: StatusCell,
    leader: watch::Sender<Option<NodeId>>,
    /// The leader that was told last, and its term.
    leader_told: Option<(NodeId, Term)>,
    snapshots: SnapshotTasks,
}

impl Actor {
    /// An actor around `core`, fed by `inbox`.
    #[must_use]
    pub fn new(partition: PartitionId, mut core: Core, mailbox: Mailbox, inbox: Inbox, shared: Shared) -> Self {
        if shared.observer.is_some() {
            core.watch();
        }
        let status = Arc::new(Mutex::new(core.status()));
        Self {
            partition,
            core,
            inbox,
            mailbox,
            shared,
            status,
            leader: watch::Sender::new(None),
            leader_told: None,
            snapshots: SnapshotTasks::default(),
        }
    }

    /// The memberships that count before anything has happened.
    #[must_use]
    pub fn members(&self) -> Members {
        self.core.members()
    }

    /// Where the latest status can be read.
    #[must_use]
    pub fn status(&self) -> StatusCell {
        Arc::clone(&self.status)
    }

    /// Who leads, and from when on: this replica itself only once it serves.
    #[must_use]
    pub fn leader(&self) -> watch::Receiver<Option<NodeId>> {
        self.leader.subscribe()
    }

    /// Runs until it is told to stop, or every mailbox is gone.
    pub async fn run(mut self) {
        let mut events = Vec::new();
        loop {
            if self.inbox.take(&mut events, EVENTS_PER_FLUSH_MAX).await == 0 {
                return;
            }
            let stop = events.iter().any(|event| matches!(event, Event::Stop));
            self.core.be_heard(self.shared.feed.is_heard());
            events.drain(..).for_each(|event| self.core.handle(event));
            let effects = self.core.flush(self.now());
            let unreadable = self.carry_out(effects);
            if stop || unreadable {
                return;
            }
        }
    }

    fn now(&self) -> Now {
        Now {
            monotonic: self.shared.clock.now(),
            hybrid: self.shared.hybrid.now(),
        }
    }

    /// Does what the core says. Says whether the partition cannot go on.
    fn carry_out(&mut self, effects: Effects) -> bool {
        let Effects {
            persist,
            send,
            save,
            compact,
            snapshots,
            install,
            members,
            stamped,
            applied,
            entries,
            installed,
            role_changed,
            unreadable,
        } = effects;
        if let Some(observer) = &self.shared.observer {
            observer.flushed(&self.core.status(), &applied);
        }
        if let Some(reason) = unreadable {
            (self.shared.on_failure)(reason);
            return true;
        }
        self.tell(entries, installed, members.as_ref());
        // Before anything is sent: who is new must be reached.
        if let Some(members) = members {
            (self.shared.on_members)(self.partition, members);
        }
        if let Some(stamped) = stamped {
            // What this node does next comes after the entries that it has made. A log that is too far ahead goes on by itself.
            let _ = self.shared.hybrid.observe(stamped);
        }
        persist.into_iter().for_each(|persist| self.persist(persist));
        if !send.is_empty() {
            self.shared.outbound.send(self.partition, send);
        }
        if let Some((mark, rows)) = save {
            let (mailbox, saved) = (self.mailbox.clone(), mark.clone());
            let done = Box::new(move || mailbox.push(Event::StateSaved(saved)));
            self.shared.state.write(StateWrite {
                partition: self.partition,
                mark,
                rows,
                done,
            });
        }
        if let Some(through) = compact {
            self.shared.log.compact(self.partition, through);
        }
        for step in snapshots {
            self.snapshots
                .carry_out(step, self.partition, &self.shared, &self.mailbox);
        }
        if let Some(mark) = install {
            self.install(mark);
        }

        self.publish(role_changed);
        false
    }

    fn persist(&self, persist: Persist) {
        let (mailbox, id) = (self.mailbox.clone(), persist.id);
        let done = Box::new(move || mailbox.push(Event::Persisted(id)));
        self.shared.log.write(LogWrite {
            partition: self.partition,
            persist,
            done,
        });
    }

    fn install(&self, mark: StateMark) {
        let mailbox = self.mailbox.clone();
        self.shared.state.install(InstallWrite {
            partition: self.partition,
            mark,
            done: Box::new(move || mailbox.push(Event::SnapshotInstalled)),
        });
    }

    /// Tells what has happened, if anybody listens.
    fn tell(&self, entries: Vec<AppliedEntry>, installed: Option<Index>, members: Option<&Members>) {
        let (partition, feed) = (self.partition, &self.shared.feed);
        if !feed.is_heard() {
            return;
        }
        if let Some(through) = installed {
            feed.tell(NodeEvent::Restored {
                partition,
                through,
                is_snapshot: true,
            });
        }
        for entry in entries {
            let AppliedEntry {
                position,
                log_time,
                hlc,
                commands,
            } = entry;
            feed.tell(NodeEvent::Applied {
                partition,
                position,
                log_time,
                hlc,
                commands,
            });
        }
        if let Some(members) = members {
            feed.tell(NodeEvent::MembersChanged {
                partition,
                newest: Arc::clone(&members.newest),
                applied: Arc::clone(&members.applied),
            });
        }
    }

    /// Tells who leads, when that is news.
    fn tell_leader(&mut self, term: Term) {
        let leader = self.core.leader();
        let now = leader.map(|leader| (leader, term));
        if self.leader_told == now {
            return;
        }
        self.leader_told = now;
        self.leader.send_replace(leader);
        if self.shared.feed.is_heard() {
            let partition = self.partition;
            self.shared.feed.tell(NodeEvent::LeaderChanged {
                partition,
                term,
                leader,
            });
        }
    }

    fn publish(&mut self, role_changed: bool) {
        let status = self.core.status();
        if role_changed {
            let leader = status.leader.map(|node| node.0);
            tracing::info!(
                partition = self.partition.0,
                role = status.role.as_str(),
                term = status.term.0,
                leader,
                "role"
            );
        }
        self.tell_leader(status.term);
        *self.status.lock().unwrap_or_else(PoisonError::into_inner) = status;
    }
}
