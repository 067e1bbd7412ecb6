//! Starting a node: storage, then the network, then partitions, so that nobody hears of a node that is not whole.

use std::collections::BTreeMap;
use std::sync::Arc;

use tokio::sync::{oneshot, watch};

use crate::clock::BoxFuture;
use crate::config::NodeConfig;
use crate::env::Env;
use crate::hlc::SharedHybridClock;
use crate::network::inbound::{is_about_disk, is_about_removal};
use crate::network::peer::RefusalHandler;
use crate::network::{self, Inbound, MessageSink, Peers, Roster};
use crate::node::builder::{NodeBuilder, OpenStorage};
use crate::node::failure::FailureCell;
use crate::node::handle::Inner;
use crate::node::recover::ActorStart;
use crate::node::roster::NodeRoster;
use crate::node::router::Router;
use crate::node::{Node, NodeFailure, NodeHandle, Running, StartError, ticker};
use crate::partition::actor::OnMembers;
use crate::partition::mailbox::mailboxes;
use crate::partition::snapshots::SnapshotShared;
use crate::partition::{Outbound, Shared};
use crate::raft::{Membership, Message};
use crate::storage::{self, FailureHandler, PeerLife, RememberPeer, RememberRefusal, StorageError};
use crate::types::{NodeId, PartitionId};

impl NodeBuilder {
    /// Opens storage, recovers every partition, listens for peers, and starts. Does not wait for a leader. Runs in a tokio runtime, unless the
    /// environment brings its own tasks.
    ///
    /// # Errors
    /// [`StartError`] when the settings, the data directory or the address cannot be used.
    pub async fn start(self) -> Result<Node, StartError> {
        let Self {
            env,
            config,
            machines,
            observer,
            storage,
            feed,
        } = self;
        let config = config.checked()?;
        let failure = FailureCell::new();
        let opened = open_storage(&env, &config, storage, &failure)?;
        let identity = identity(&config, &opened);
        let (mailboxes, inboxes) = mailboxes(config.partitions);
        let router = Arc::new(Router::new(mailboxes.clone()));
        let (stop, stopped) = watch::channel(false);
        let hybrid = Arc::new(SharedHybridClock::new(Arc::clone(&env.clock)));
        let met = Met {
            peers: opened.peers,
            remember: opened.remember_peer,
            hybrid: Arc::clone(&hybrid),
        };
        let peers = Peers::new(&env, &identity, &refused(&failure, opened.remember_refusal), &hybrid);
        let roster = NodeRoster::new(&config, peers, failure.clone());
        let roster = Arc::new(roster);
        let (inbound, listener) = listen(&env, &config, identity, met, &router, &roster, &stopped).await?;
        let shared = Shared {
            clock: Arc::clone(&env.clock),
            hybrid,
            log: opened.log,
            state: opened.state,
            outbound: Arc::new(ToPeers(Arc::clone(&roster))),
            feed: feed.clone(),
            observer,
            spawn: Arc::clone(&env.spawn),
            snapshots: SnapshotShared::new(machines, config.keeping.snapshot_bytes_max),
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
        let (partitions, actors) = start.all(&mailboxes, inboxes, &roster)?;
        let ticker = ticker::run(Arc::clone(&env.clock), Arc::clone(&router), config.tick, stopped);
        env.spawn.spawn("ticker", ticker);
        let handle = NodeHandle(Arc::new(Inner {
            config,
            clock: Arc::clone(&env.clock),
            router,
            inbound,
            roster,
            partitions,
            feed,
            failure,
        }));
        let running = Running {
            mailboxes,
            stop,
            actors,
            listener,
            storage: opened.closed,
        };
        Ok(Node { handle, running })
    }
}

fn open_storage(
    env: &Env,
    config: &NodeConfig,
    own: Option<OpenStorage>,
    failure: &FailureCell,
) -> Result<storage::Opened, StorageError> {
    let identity = storage::Identity {
        cluster: config.cluster.clone(),
        node_id: config.node_id,
        partitions: config.partitions,
        membership: Membership::of_voters(config.voters.clone()),
    };
    let cell = failure.clone();
    let on_failure: FailureHandler = Arc::new(move |error| cell.set(NodeFailure::Storage(error)));
    if let Some(open) = own {
        return open(&identity, on_failure);
    }
    let options = storage::Options {
        wal_blobs_max: config.log_blobs_max,
        ..storage::Options::default()
    };
    storage::open_with(env, &identity, on_failure, options)
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

/// What the disk knows of peers, and the clock that they bring forward.
struct Met {
    peers: BTreeMap<NodeId, PeerLife>,
    remember: RememberPeer,
    hybrid: Arc<SharedHybridClock>,
}

/// Listens for peers, unless there never will be any. The receiver completes when that has ended.
async fn listen(
    env: &Env,
    config: &NodeConfig,
    identity: network::Identity,
    met: Met,
    router: &Arc<Router>,
    roster: &Arc<NodeRoster>,
    stopped: &watch::Receiver<bool>,
) -> Result<(Arc<Inbound>, oneshot::Receiver<()>), StartError> {
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
    let (end, ended) = oneshot::channel();
    if let Some(address) = config.peer_listen.clone() {
        let handler = Arc::clone(&inbound);
        let serving = env
            .network
            .listen(address, handler, until_dropped(stopped.clone()))
            .await?;
        let serving = async move {
            serving.await;
            // Nobody waits when the node was dropped instead of stopped.
            let _ = end.send(());
        };
        env.spawn.spawn("peer listener", Box::pin(serving));
    }
    Ok((inbound, ended))
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
