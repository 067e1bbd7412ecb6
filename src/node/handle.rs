//! The door of a running node: commands, questions, checkpoints, leaders and events. It knows nothing of what is replicated.
//!
//! What is asked of a cluster beside that is in [`super::administer`] and [`super::join`], and what a node says of itself in [`super::view`].

use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::{oneshot, watch};

use crate::clock::Clock;
use crate::config::NodeConfig;
use crate::error::{LeaderHint, NotLeader, PartitionError};
use crate::events::{Events, Feed, NodeEvent};
use crate::limits;
use crate::network::Inbound;
use crate::node::failure::FailureCell;
use crate::node::roster::NodeRoster;
use crate::node::router::Router;
use crate::partition::actor::StatusCell;
use crate::partition::{Mailbox, Refusal, Reply};
use crate::types::{NodeId, PartitionId};

/// A cheap, cloneable way to ask a node. It outlives the node, and then says [`PartitionError::Stopping`].
#[derive(Clone)]
pub struct NodeHandle(pub(super) Arc<Inner>);

pub(super) struct Inner {
    pub config: NodeConfig,
    pub clock: Arc<dyn Clock>,
    pub router: Arc<Router>,
    pub inbound: Arc<Inbound>,
    pub roster: Arc<NodeRoster>,
    pub partitions: Vec<PartitionView>,
    pub feed: Feed,
    pub failure: FailureCell,
}

/// What can be seen of a partition from outside.
pub(super) struct PartitionView {
    pub status: StatusCell,
    pub leader: watch::Receiver<Option<NodeId>>,
}

impl NodeHandle {
    /// How many partitions there are, numbered from zero.
    #[must_use]
    pub fn partitions(&self) -> u32 {
        self.0.router.partitions()
    }

    /// The partition that `key` belongs to: the same on every node of the cluster, for ever.
    #[must_use]
    pub fn partition_of(&self, key: &[u8]) -> PartitionId {
        self.0.router.partition_of(key)
    }

    /// Hands a command to a partition that this node leads. Never blocks, starts no task. `reply` is called exactly once, on any thread and perhaps
    /// before this returns: with the outcome, once the command is durable on a majority and applied here, or with the error.
    pub fn propose(
        &self,
        partition: PartitionId,
        command: Bytes,
        reply: impl FnOnce(Result<Bytes, PartitionError>) + Send + 'static,
    ) {
        let open = match command.len() {
            ..=limits::COMMAND_BYTES_MAX => self.open(partition),
            bytes => Err(PartitionError::LongCommand(bytes)),
        };
        let inner = Arc::clone(&self.0);
        match open {
            Ok(mailbox) => {
                let translate = move |result| reply(inner.outcome(partition, inner.translate(partition, result)));
                mailbox.propose(command, Reply::new(translate));
            }
            Err(error) => reply(inner.outcome(partition, Err(error))),
        }
    }

    /// Asks the state machine of a partition that this node leads, after everything that was acknowledged before. Never blocks, as
    /// [`NodeHandle::propose`].
    pub fn ask(
        &self,
        partition: PartitionId,
        query: Bytes,
        reply: impl FnOnce(Result<Bytes, PartitionError>) + Send + 'static,
    ) {
        match self.open(partition) {
            Ok(mailbox) => mailbox.query(query, self.translated(partition, reply)),
            Err(error) => reply(Err(error)),
        }
    }

    /// Replicates a command, and waits for its outcome. Once the call is made, dropping the future takes nothing back.
    ///
    /// # Errors
    /// [`PartitionError`]; only [`PartitionError::Unknown`] leaves open whether the command takes effect.
    pub async fn replicate(&self, partition: PartitionId, command: Bytes) -> Result<Bytes, PartitionError> {
        let (sender, outcome) = oneshot::channel();
        self.propose(partition, command, move |result| drop(sender.send(result)));
        self.answer(outcome).await
    }

    /// Replicates many commands together, and waits for all. The results are in the order of the commands. They share entries of the log, but are
    /// no transaction: each has an outcome or an error of its own. Those that take effect do so in this order.
    pub async fn replicate_many(
        &self,
        partition: PartitionId,
        commands: Vec<Bytes>,
    ) -> Vec<Result<Bytes, PartitionError>> {
        let propose = |command| {
            let (sender, outcome) = oneshot::channel();
            self.propose(partition, command, move |result| drop(sender.send(result)));
            outcome
        };
        let outcomes: Vec<_> = commands.into_iter().map(propose).collect();
        let mut results = Vec::with_capacity(outcomes.len());
        for outcome in outcomes {
            results.push(self.answer(outcome).await);
        }
        results
    }

    /// Asks the state machine, and waits for the answer. It is linearizable: it costs a round to a majority, and no entry.
    ///
    /// # Errors
    /// [`PartitionError`].
    pub async fn query(&self, partition: PartitionId, query: Bytes) -> Result<Bytes, PartitionError> {
        let (sender, answer) = oneshot::channel();
        self.ask(partition, query, move |result| drop(sender.send(result)));
        self.answer(answer).await
    }

    /// Saves the rows of this node's replica, leader or not, and returns when everything that is applied by now is saved. The log up to there is
    /// cut as soon as every live replica is known to hold it, which the next heartbeats tell.
    ///
    /// # Errors
    /// [`PartitionError`], never [`PartitionError::NotLeader`].
    pub async fn checkpoint(&self, partition: PartitionId) -> Result<(), PartitionError> {
        self.answer_of(partition, Mailbox::checkpoint).await?;
        Ok(())
    }

    /// Whether this node leads the partition and serves. True says that a majority confirmed it after the call was made, and that everything
    /// acknowledged before the call is applied here; a moment later it may be otherwise. A leader that is cut off from a majority cannot tell, and
    /// says false when it gives up, after at most two election timeouts.
    ///
    /// # Errors
    /// [`PartitionError`], never [`PartitionError::NotLeader`].
    pub async fn am_i_leader(&self, partition: PartitionId) -> Result<bool, PartitionError> {
        match self.answer_of(partition, Mailbox::confirm).await {
            Ok(_) => Ok(true),
            Err(PartitionError::NotLeader(_)) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Waits until this node knows who leads the partition; itself only once it serves. What it knows may be old: the leader itself is the one to
    /// ask. For ever, where no majority is.
    ///
    /// # Errors
    /// [`PartitionError::NoPartition`] or [`PartitionError::Stopping`].
    pub async fn wait_for_leader(&self, partition: PartitionId) -> Result<NodeId, PartitionError> {
        self.open(partition)?;
        let mut leader = self.0.partitions[partition.0 as usize].leader.clone();
        tokio::select! {
            biased;
            leader = leader.wait_for(Option::is_some) => leader.ok().and_then(|leader| *leader).ok_or(PartitionError::Stopping),
            _ = self.0.failure.wait() => Err(PartitionError::Stopping),
        }
    }

    /// What happens on this node from now on. Nobody waits for a slow listener: past [`limits::EVENTS_KEPT_MAX`] events it loses the oldest, and is
    /// told so.
    #[must_use]
    pub fn events(&self) -> Events {
        self.0.feed.listen()
    }

    /// The mailbox of `partition`, as long as the node answers.
    fn open(&self, partition: PartitionId) -> Result<&Mailbox, PartitionError> {
        if self.0.failure.is_closed() {
            return Err(PartitionError::Stopping);
        }
        let mailbox = self.0.router.get(partition);
        mailbox.ok_or_else(|| PartitionError::NoPartition(partition, self.partitions()))
    }

    fn translated(
        &self,
        partition: PartitionId,
        reply: impl FnOnce(Result<Bytes, PartitionError>) + Send + 'static,
    ) -> Reply {
        let inner = Arc::clone(&self.0);
        Reply::new(move |result| reply(inner.translate(partition, result)))
    }

    /// Hands something to the mailbox of `partition`, and waits for the answer.
    async fn answer_of(
        &self,
        partition: PartitionId,
        hand_over: impl FnOnce(&Mailbox, Reply),
    ) -> Result<Bytes, PartitionError> {
        let (sender, answer) = oneshot::channel();
        let reply = self.translated(partition, move |result| drop(sender.send(result)));
        hand_over(self.open(partition)?, reply);
        self.answer(answer).await
    }

    /// The answer, unless the node fails before.
    async fn answer(&self, answer: oneshot::Receiver<Result<Bytes, PartitionError>>) -> Result<Bytes, PartitionError> {
        const GONE: PartitionError = PartitionError::Unknown("the node ended before the outcome was known");
        tokio::select! {
            biased;
            answer = answer => answer.unwrap_or(Err(GONE)),
            _ = self.0.failure.wait() => Err(GONE),
        }
    }
}

impl Inner {
    pub(super) fn not_leader(&self, partition: PartitionId, leader: Option<NodeId>) -> NotLeader {
        NotLeader {
            partition,
            partitions: self.router.partitions(),
            leader: leader.map(|node| LeaderHint {
                node,
                address: self.inbound.address(node).unwrap_or_default(),
            }),
        }
    }

    /// The outcome of a command; one that there is not, is told to those who listen too.
    fn outcome(&self, partition: PartitionId, result: Result<Bytes, PartitionError>) -> Result<Bytes, PartitionError> {
        result.inspect_err(|error| {
            if self.feed.is_heard() {
                let error = error.clone();
                self.feed.tell(NodeEvent::ReplicationFailed { partition, error });
            }
        })
    }

    fn translate(&self, partition: PartitionId, result: Result<Bytes, Refusal>) -> Result<Bytes, PartitionError> {
        result.map_err(|refusal| match refusal {
            Refusal::NotLeader(leader) => self.not_leader(partition, leader).into(),
            Refusal::Overloaded(overloaded) => overloaded.into(),
            Refusal::Stopping => PartitionError::Stopping,
            Refusal::Unknown(reason) => PartitionError::Unknown(reason),
        })
    }
}
