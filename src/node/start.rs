//! Building a node: storage, then partitions, then the network, so that nobody hears of a node that is not whole.

use std::collections::BTreeMap;
use std::sync::Arc;

use tokio::sync::{oneshot, watch};

use crate::clock::BoxFuture;
use crate::config::NodeConfig;
use crate::env::Env;
use crate::hlc::SharedHybridClock;
use crate::machine::StateMachine;
use crate::network::inbound::is_about_disk;
use crate::network::peer::RefusalHandler;
use crate::network::{self, Inbound, MessageSink, Peers};
use crate::node::failure::FailureCell;
use crate::node::locks::LockMachine;
use crate::node::router::Router;
use crate::node::{Node, NodeFailure, NodeHandle, Running, StartError, ticker};
use crate::partition::mailbox::{Inbox, mailbox};
use crate::partition::{Actor, Core, Mailbox, Observer, Outbound, Shared};
use crate::raft::{self, DurableLog, EntryReader, Message, Raft};
use crate::storage::{self, LogStore, PeerLife, RememberPeer, RememberRefusal, StateMark, StorageError};
use crate::types::{Index, NodeId, PartitionId};

impl Node {
    /// Opens storage, recovers every partition, listens for peers, and starts. Does not wait for a leader.
    ///
    /// # Errors
    /// [`StartError`] when the data directory or the address cannot be used.
    pub async fn start(env: Env, config: NodeConfig) -> Result<Self, StartError> {
        Self::start_watched(env, config, None).await
    }

    /// As [`Node::start`], with somebody who watches every partition.
    ///
    /// # Errors
    /// As [`Node::start`].
    pub async fn start_watched(
        env: Env,
        config: NodeConfig,
        observer: Option<Arc<dyn Observer>>,
    ) -> Result<Self, StartError> {
        let failure = FailureCell::new();
        let opened = open_storage(&env, &config, &failure)?;
        let lives = Lives {
            own: network::Identity {
                cluster: config.cluster.clone(),
                node_id: config.node_id,
                storage_id: opened.storage_id,
                incarnation: opened.incarnation,
                earlier: opened.earlier,
                client_address: config.client_address.clone(),
            },
            peers: opened.peers,
            remember: opened.remember_peer,
            remember_refusal: opened.remember_refusal,
        };
        let (mailboxes, inboxes): (Vec<_>, Vec<_>) = (0..config.partitions).map(|_| mailbox()).unzip();
        let router = Arc::new(Router::new(mailboxes.clone()));
        let (stop, stopped) = watch::channel(false);
        let hybrid = Arc::new(SharedHybridClock::new(Arc::clone(&env.clock)));
        let (inbound, peers) = connect(&env, &config, lives, &router, &failure, &stopped, &hybrid).await?;
        let shared = Shared {
            clock: Arc::clone(&env.clock),
            hybrid,
            log: opened.log,
            state: opened.state,
            outbound: Arc::new(ToPeers(peers)),
            observer,
            on_failure: unreadable(&failure),
        };
        let start = ActorStart {
            env: &env,
            config: &config,
            shared: &shared,
            failure: &failure,
        };
        let mut statuses = Vec::new();
        let mut actors = Vec::new();
        for (partition, (mailbox, inbox)) in (0..).map(PartitionId).zip(mailboxes.iter().zip(inboxes)) {
            let actor = start.recover(partition, mailbox, inbox)?;
            statuses.push(actor.status());
            actors.push(start.spawn(partition, actor));
        }
        env.spawn.spawn(
            "ticker",
            ticker::run(Arc::clone(&env.clock), Arc::clone(&router), config.tick, stopped),
        );
        let handle = NodeHandle::new(config, router, inbound, statuses, failure.clone());
        let running = Running {
            mailboxes,
            stop,
            actors,
            storage: opened.closed,
        };
        Ok(Self {
            handle,
            failure,
            clock: env.clock,
            running,
        })
    }
}

fn open_storage(env: &Env, config: &NodeConfig, failure: &FailureCell) -> Result<storage::Opened, StorageError> {
    let identity = storage::Identity {
        cluster: config.cluster.clone(),
        node_id: config.node_id,
        partitions: config.partitions,
        voters: config.voters.keys().copied().collect(),
    };
    let cell = failure.clone();
    storage::open_with(
        env,
        &identity,
        Arc::new(move |error| cell.set(NodeFailure::Storage(error))),
        storage::Options {
            wal_blobs_max: config.log_blobs_max,
            ..storage::Options::default()
        },
    )
}

/// What the disk knows of this node and of those that it has met.
struct Lives {
    own: network::Identity,
    peers: BTreeMap<NodeId, PeerLife>,
    remember: RememberPeer,
    remember_refusal: RememberRefusal,
}

/// Listens for peers and dials them. A single node does neither.
async fn connect(
    env: &Env,
    config: &NodeConfig,
    lives: Lives,
    router: &Arc<Router>,
    failure: &FailureCell,
    stopped: &watch::Receiver<bool>,
    hybrid: &Arc<SharedHybridClock>,
) -> Result<(Arc<Inbound>, Peers), StartError> {
    let mut peers: BTreeMap<NodeId, String> = config.voters.clone();
    peers.remove(&config.node_id);
    let sink = Arc::new(ToPartitions(Arc::clone(router)));
    let known = peers.keys().map(|peer| (*peer, lives.peers.get(peer).copied()));
    let inbound = Arc::new(Inbound::new(
        lives.own.clone(),
        known,
        sink,
        lives.remember,
        Arc::clone(hybrid),
    ));
    if !peers.is_empty() {
        let handler = Arc::clone(&inbound);
        let serving = env
            .network
            .listen(config.peer_listen.clone(), handler, until_dropped(stopped.clone()))
            .await?;
        env.spawn.spawn("peer listener", serving);
    }
    let on_refused = refused(failure, lives.remember_refusal);
    let outgoing = Peers::start(env, &lives.own, &peers, &on_refused, hybrid);
    Ok((inbound, outgoing))
}

fn until_dropped(mut stopped: watch::Receiver<bool>) -> BoxFuture<'static, ()> {
    Box::pin(async move { drop(stopped.changed().await) })
}

/// A peer that does not know this node's disk stops the node, now and at every later start: it might vote twice, or have forgotten what it
/// acknowledged.
fn refused(failure: &FailureCell, remember: RememberRefusal) -> RefusalHandler {
    let cell = failure.clone();
    Arc::new(move |peer, reason| {
        if is_about_disk(&reason) {
            let words = format!("node {peer} says: {reason}");
            remember(words.clone());
            cell.set(NodeFailure::Refused(words));
        }
    })
}

fn unreadable(failure: &FailureCell) -> Arc<dyn Fn(String) + Send + Sync> {
    let cell = failure.clone();
    Arc::new(move |reason| cell.set(NodeFailure::Unreadable(reason)))
}

/// What starting an actor takes.
struct ActorStart<'a> {
    env: &'a Env,
    config: &'a NodeConfig,
    shared: &'a Shared,
    failure: &'a FailureCell,
}

impl ActorStart<'_> {
    /// Brings a partition back to where its disk says it was.
    fn recover(&self, partition: PartitionId, mailbox: &Mailbox, inbox: Inbox) -> Result<Actor, StorageError> {
        let mut machine = LockMachine::default();
        let mut restore = |key: &[u8], value: &[u8]| machine.restore(key, value).map_err(|error| error.to_string());
        let mark = self.shared.state.load(partition, &mut restore)?;
        let storage::Recovered { hard_state, log } = self.shared.log.recover(partition)?;
        check_mark(partition, &log, mark)?;
        let config = raft::Config {
            id: self.config.node_id,
            voters: self.config.voters.keys().copied().collect(),
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
        let raft = Raft::new(config, hard_state, log, mark.applied.index, Box::new(reader), rng);
        let core = Core::new(partition, raft, Box::new(machine), mark);
        Ok(Actor::new(partition, core, mailbox.clone(), inbox, self.shared.clone()))
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

/// Rows and log must be of one history: the rows never ahead of the log, the log never cut above the rows.
fn check_mark(partition: PartitionId, log: &DurableLog, mark: StateMark) -> Result<(), StorageError> {
    let applied = mark.applied.index;
    if (log.base.index..=log.last.index).contains(&applied) {
        return Ok(());
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

struct ToPartitions(Arc<Router>);

impl MessageSink for ToPartitions {
    fn deliver(&self, partition: PartitionId, message: Message) {
        if let Some(mailbox) = self.0.get(partition) {
            mailbox.deliver(message);
        }
    }
}

struct ToPeers(Peers);

impl Outbound for ToPeers {
    fn send(&self, partition: PartitionId, messages: Vec<Message>) {
        self.0.send_all(partition, messages);
    }
}
