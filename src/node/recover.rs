//! Starting a partition: brought back to where its disk says that it was, then run for as long as the node lives.

use std::sync::Arc;

use tokio::sync::oneshot;

use crate::config::NodeConfig;
use crate::env::Env;
use crate::events::NodeEvent;
use crate::node::NodeFailure;
use crate::node::failure::FailureCell;
use crate::node::handle::PartitionView;
use crate::node::roster::NodeRoster;
use crate::partition::mailbox::Inbox;
use crate::partition::{Actor, Core, Mailbox, Shared};
use crate::raft::{self, DurableLog, EntryReader, Membership, Position, Raft};
use crate::storage::{self, LogStore, StateMark, StorageError};
use crate::types::{Index, PartitionId};

/// What starting an actor takes.
pub(super) struct ActorStart<'a> {
    pub env: &'a Env,
    pub config: &'a NodeConfig,
    pub shared: &'a Shared,
    pub failure: &'a FailureCell,
    /// In force before the first entry.
    pub initial: &'a Membership,
}

/// What is seen of each partition, and what completes when its actor has ended.
type Started = (Vec<PartitionView>, Vec<oneshot::Receiver<()>>);

impl ActorStart<'_> {
    /// Brings every partition back, makes its members known to `roster`, and runs it.
    pub fn all(
        &self,
        mailboxes: &[Mailbox],
        inboxes: Vec<Inbox>,
        roster: &NodeRoster,
    ) -> Result<Started, StorageError> {
        let (mut views, mut actors) = Started::default();
        for (partition, (mailbox, inbox)) in (0..).map(PartitionId).zip(mailboxes.iter().zip(inboxes)) {
            let actor = self.recover(partition, mailbox, inbox)?;
            roster.set(partition, actor.members());
            views.push(PartitionView {
                status: actor.status(),
                leader: actor.leader(),
            });
            actors.push(self.spawn(partition, actor));
        }
        Ok((views, actors))
    }

    /// Brings a partition back to where its disk says it was.
    fn recover(&self, partition: PartitionId, mailbox: &Mailbox, inbox: Inbox) -> Result<Actor, StorageError> {
        let mut machine = (self.shared.snapshots.new_machine)(partition);
        let mut restore = |key: &[u8], value: &[u8]| machine.restore(key, value).map_err(|error| error.to_string());
        let storage::Loaded { mark, installed } = self.shared.state.load(partition, &mut restore)?;
        let storage::Recovered { hard_state, log } = self.shared.log.recover(partition)?;
        let log = fit_log(partition, log, &mark, installed)?;
        let config = raft::Config {
            id: self.config.node_id,
            heartbeat_ticks: self.config.heartbeat_ticks,
            election_ticks: self.config.election_ticks,
        };
        let rng = self
            .env
            .rng(&format!("raft of partition {partition} on node {}", config.id));
        let reader = Reader {
            partition,
            log: Arc::clone(&self.shared.log),
            failure: self.failure.clone(),
        };
        let membership = if mark.applied == Position::default() {
            self.initial.clone()
        } else {
            mark.membership.clone()
        };
        self.tell_restored(partition, mark.applied.index);
        let raft = Raft::new(
            config,
            hard_state,
            log,
            mark.applied.index,
            membership,
            Box::new(reader),
            rng,
        );
        let core = Core::new(partition, raft, machine, mark).with_keeping(self.config.keeping);
        Ok(Actor::new(partition, core, mailbox.clone(), inbox, self.shared.clone()))
    }

    fn tell_restored(&self, partition: PartitionId, through: Index) {
        if through > Index(0) && self.shared.feed.is_heard() {
            self.shared.feed.tell(NodeEvent::Restored {
                partition,
                through,
                is_snapshot: false,
            });
        }
    }

    /// Runs the actor. One that panics fails the node: an invariant is broken, and going on could break a promise.
    fn spawn(&self, partition: PartitionId, actor: Actor) -> oneshot::Receiver<()> {
        let (done, ended) = oneshot::channel();
        let watch = PanicWatch {
            partition,
            failure: self.failure.clone(),
        };
        let run = async move {
            let _watch = watch;
            actor.run().await;
            // Nobody waits when the node was dropped instead of stopped.
            let _ = done.send(());
        };
        self.env.spawn.spawn("partition", Box::pin(run));
        ended
    }
}

/// Rows and log must be of one history: the rows never ahead of the log, the log never cut above the rows. There is one exception: rows that were
/// installed as a snapshot, while the log that they replace was still there when the power went. Then the log begins anew after them.
fn fit_log(
    partition: PartitionId,
    log: DurableLog,
    mark: &StateMark,
    installed: bool,
) -> Result<DurableLog, StorageError> {
    let applied = mark.applied.index;
    if installed && !log.has(mark.applied) {
        return Ok(DurableLog::after_snapshot(mark.applied));
    }
    if (log.base.index..=log.last.index).contains(&applied) {
        return Ok(log);
    }
    let reason = format!(
        "it holds partition {partition} up to entry {applied}, and the log has entries {} to {}",
        log.base.index.next(),
        log.last.index
    );
    Err(StorageError::Corrupt {
        file: "state.redb".into(),
        reason,
    })
}

/// Fails the node when it is dropped by an unwinding actor.
struct PanicWatch {
    partition: PartitionId,
    failure: FailureCell,
}

impl Drop for PanicWatch {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.failure.set(NodeFailure::Panicked(self.partition));
        }
    }
}

/// Reads a partition's older entries back for Raft.
struct Reader {
    partition: PartitionId,
    log: Arc<dyn LogStore>,
    failure: FailureCell,
}

impl EntryReader for Reader {
    fn read(&self, first: Index, last: Index, bytes_max: usize) -> Vec<raft::Entry> {
        self.log
            .read(self.partition, first, last, bytes_max)
            .unwrap_or_else(|error| {
                self.failure.set(NodeFailure::Storage(error));
                Vec::new()
            })
    }
}
