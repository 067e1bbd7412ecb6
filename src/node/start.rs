//! Building a node: storage, then partitions, then the network, so that nobody hears of a node that is not whole.

use std::collections::BTreeMap;
use std::sync::Arc;

use tokio::sync::{oneshot, watch};

use crate::clock::BoxFuture;
use crate::config::NodeConfig;
use crate::env::Env;
use crate::hlc::SharedHybridClock;
use crate::machine::StateMachine;
use crate::network::inbound::{is_about_disk, is_about_removal};
use crate::network::peer::RefusalHandler;
use crate::network::{self, Inbound, MessageSink, Peers, Roster};
use crate::node::failure::FailureCell;
use crate::node::locks::LockMachine;
use crate::node::roster::NodeRoster;
use crate::node::router::Router;
use crate::node::{Node, NodeFailure, NodeHandle, Running, StartError, ticker};
use crate::partition::actor::OnMembers;
use crate::partition::mailbox::{Inbox, mailbox};
use crate::partition::snapshots::SnapshotShared;
use crate::partition::{Actor, Core, Mailbox, Observer, Outbound, Shared};
use crate::raft::{self, DurableLog, EntryReader, Membership, Message, Position, Raft};
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
        let identity = identity(&config, &opened);
        let (mailboxes, inboxes): (Vec<_>, Vec<_>) = (0..config.partitions).map(|_| mailbox()).unzip();
        let router = Arc::new(Router::new(mailboxes.clone()));
        let (stop, stopped) = watch::channel(false);
        let hybrid = Arc::new(SharedHybridClock::new(Arc::clone(&env.clock)));
        let met = Met {
            peers: opened.peers,
            remember: opened.remember_peer,
            hybrid: Arc::clone(&hybrid),
        };
        let peers = Peers::new(&env, &identity, &refused(&failure, opened.remember_refusal), &hybrid);
        let roster = Arc::new(NodeRoster::new(
            config.node_id,
            config.partitions,
            peers,
            failure.clone(),
        ));
        let inbound = listen(&env, &config, identity, met, &router, &roster, &stopped).await?;
        let shared = Shared {
            clock: Arc::clone(&env.clock),
            hybrid,
            log: opened.log,
            state: opened.state,
            outbound: Arc::new(ToPeers(Arc::clone(&roster))),
            observer,
            spawn: Arc::clone(&env.spawn),
            snapshots: snapshots(&config),
            on_members: on_members(&roster),
            on_failure: unreadable(&failure),
        };
        let start = ActorStart {
            env: &env,
            config: &config,
            shared: &shared,
            failure: &failure,
            initial: &opened.initial_membership,
        };
        let mut statuses = Vec::new();
        let mut actors = Vec::new();
        for (partition, (mailbox, inbox)) in (0..).map(PartitionId).zip(mailboxes.iter().zip(inboxes)) {
            let actor = start.recover(partition, mailbox, inbox)?;
            roster.set(partition, actor.members());
            statuses.push(actor.status());
            actors.push(start.spawn(partition, actor));
        }
        env.spawn.spawn(
            "ticker",
            ticker::run(Arc::clone(&env.clock), Arc::clone(&router), config.tick, stopped),
        );
        let handle = NodeHandle::new(config, router, inbound, roster, statuses, failure.clone());
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
        membership: Membership::of_voters(config.voters.clone()),
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

/// Who this node says that it is.
fn identity(config: &NodeConfig, opened: &storage::Opened) -> network::Identity {
    network::Identity {
        cluster: config.cluster.clone(),
        node_id: config.node_id,
        storage_id: opened.storage_id,
        incarnation: opened.incarnation,
        earlier: opened.earlier.clone(),
        client_address: config.client_address.clone(),
        peer_address: config.peer_address.clone(),
    }
}

fn on_members(roster: &Arc<NodeRoster>) -> OnMembers {
    let roster = Arc::clone(roster);
    Arc::new(move |partition, members| roster.set(partition, members))
}

fn snapshots(config: &NodeConfig) -> SnapshotShared {
    let new_machine = || Box::new(LockMachine::default()) as _;
    SnapshotShared::new(Arc::new(new_machine), config.keeping.snapshot_bytes_max)
}

/// What the disk knows of peers, and the clock that they bring forward.
struct Met {
    peers: BTreeMap<NodeId, PeerLife>,
    remember: RememberPeer,
    hybrid: Arc<SharedHybridClock>,
}

/// Listens for peers, unless there never will be any.
async fn listen(
    env: &Env,
    config: &NodeConfig,
    identity: network::Identity,
    met: Met,
    router: &Arc<Router>,
    roster: &Arc<NodeRoster>,
    stopped: &watch::Receiver<bool>,
) -> Result<Arc<Inbound>, StartError> {
    let sink = Arc::new(ToPartitions(Arc::clone(router)));
    let roster: Arc<dyn Roster> = Arc::clone(roster) as _;
    let inbound = Arc::new(Inbound::new(
        identity,
        met.peers,
        roster,
        sink,
        met.remember,
        met.hybrid,
    ));
    if let Some(address) = config.peer_listen.clone() {
        let handler = Arc::clone(&inbound);
        let serving = env
            .network
            .listen(address, handler, until_dropped(stopped.clone()))
            .await?;
        env.spawn.spawn("peer listener", serving);
    }
    Ok(inbound)
}

fn until_dropped(mut stopped: watch::Receiver<bool>) -> BoxFuture<'static, ()> {
    Box::pin(async move { drop(stopped.changed().await) })
}

/// A peer that does not know this node's disk stops the node, now and at every later start: it might vote twice, or have forgotten what it
/// acknowledged. So does one that knows that this node was removed, for now.
fn refused(failure: &FailureCell, remember: RememberRefusal) -> RefusalHandler {
    let cell = failure.clone();
    Arc::new(move |peer, reason| {
        if is_about_removal(&reason) {
            cell.set(NodeFailure::Removed);
        } else if is_about_disk(&reason) {
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
    /// In force before the first entry.
    initial: &'a Membership,
}

impl ActorStart<'_> {
    /// Brings a partition back to where its disk says it was.
    fn recover(&self, partition: PartitionId, mailbox: &Mailbox, inbox: Inbox) -> Result<Actor, StorageError> {
        let mut machine = LockMachine::default();
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
        let raft = Raft::new(
            config,
            hard_state,
            log,
            mark.applied.index,
            membership,
            Box::new(reader),
            rng,
        );
        let core = Core::new(partition, raft, Box::new(machine), mark).with_keeping(self.config.keeping);
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

struct ToPartitions(Arc<Router>);

impl MessageSink for ToPartitions {
    fn deliver(&self, partition: PartitionId, message: Message) {
        if let Some(mailbox) = self.0.get(partition) {
            mailbox.deliver(message);
        }
    }
}

struct ToPeers(Arc<NodeRoster>);

impl Outbound for ToPeers {
    fn send(&self, partition: PartitionId, messages: Vec<Message>) {
        self.0.peers().send_all(partition, messages);
    }
}
