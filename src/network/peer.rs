//! The sending side: for every peer a queue and a task that keeps a stream to it.
//!
//! A sender dials, sends whatever waits, and dials again when the stream breaks, each time a little later. Where a peer may be at several
//! addresses, it tries them in turn. What waits while a peer is out of reach is thrown away before the next try. A change of state is logged
//! once, not every try. A peer that refuses this node is asked again for ever; whether to stop is the node's decision, which is told the reason.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use rand::RngExt as _;
use rand::rngs::StdRng;
use tokio::sync::watch;

use super::Identity;
use super::outbox::{Outbox, frame_length};
use crate::env::{Env, FrameSink, NetworkError};
use crate::hlc::{Hlc, SharedHybridClock};
use crate::raft::Message;
use crate::types::{NodeId, PartitionId};
use crate::wire::frame::cluster_hash;
use crate::wire::{FrameHeader, encode_frame};

/// The first pause between two dials.
const BACKOFF_MIN: Duration = Duration::from_millis(20);
/// The longest pause between two dials. A stream that lived this long counts as good.
const BACKOFF_MAX: Duration = Duration::from_secs(1);

/// Told which peer refuses this node, and its words. Called once for each different reason, from the sender's task.
pub type RefusalHandler = Arc<dyn Fn(NodeId, String) + Send + Sync>;

/// Ways to every peer. When it is dropped, the senders stop where they are, and what still waits is lost.
pub struct Peers {
    env: Env,
    identity: Identity,
    on_refused: RefusalHandler,
    hybrid: Arc<SharedHybridClock>,
    ways: Mutex<Arc<Ways>>,
}

type Ways = BTreeMap<NodeId, Arc<Way>>;

/// The way to one peer. When it is dropped, its sender stops.
struct Way {
    addresses: Vec<String>,
    outbox: Arc<Outbox>,
    _running: watch::Sender<()>,
}

impl Peers {
    /// Ways to nobody yet.
    #[must_use]
    pub fn new(env: &Env, identity: &Identity, on_refused: &RefusalHandler, hybrid: &Arc<SharedHybridClock>) -> Self {
        Self {
            env: env.clone(),
            identity: identity.clone(),
            on_refused: Arc::clone(on_refused),
            hybrid: Arc::clone(hybrid),
            ways: Mutex::default(),
        }
    }

    /// From now on there is a sender to each of these peers, which do not contain this node, and to nobody else. Each may be at several
    /// addresses, the likeliest first. A way to addresses that stay is left alone.
    pub fn set(&self, addresses: &BTreeMap<NodeId, Vec<String>>) {
        let mut ways = self.lock();
        let way = |(peer, addresses): (&NodeId, &Vec<String>)| {
            let kept = ways.get(peer).filter(|way| way.addresses == *addresses).cloned();
            (*peer, kept.unwrap_or_else(|| self.open(*peer, addresses)))
        };
        let next: Ways = addresses.iter().map(way).collect();
        *ways = Arc::new(next);
    }

    fn open(&self, peer: NodeId, addresses: &[String]) -> Arc<Way> {
        let (running, mut stopped) = watch::channel(());
        let sender = Sender::new(
            &self.env,
            &self.identity,
            peer,
            addresses,
            &self.on_refused,
            &self.hybrid,
        );
        let outbox = Arc::clone(&sender.outbox);
        let task = async move {
            tokio::select! {
                biased;
                _ = stopped.changed() => {}
                () = sender.run() => {}
            }
        };
        self.env.spawn.spawn("peer", Box::pin(task));
        Arc::new(Way {
            addresses: addresses.to_vec(),
            outbox,
            _running: running,
        })
    }

    /// Sends one message to its receiver. Never blocks; drops it when the queue is full or the receiver is no peer.
    pub fn send(&self, partition: PartitionId, message: Message) {
        self.send_all(partition, vec![message]);
    }

    /// Sends the messages of one flush of a partition: one lock and one wake-up for each peer.
    pub fn send_all(&self, partition: PartitionId, mut messages: Vec<Message>) {
        let ways = Arc::clone(&self.lock());
        for (&peer, way) in &*ways {
            if messages.iter().any(|message| message.to == peer) {
                let to_peer = messages.extract_if(.., |message| message.to == peer);
                note_dropped(peer, way.outbox.push_all(partition, to_peer));
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Arc<Ways>> {
        self.ways.lock().expect("nobody panics while holding it")
    }
}

fn note_dropped(peer: NodeId, dropped: usize) {
    if dropped > 0 {
        tracing::debug!(%peer, dropped, "the queue to a peer is full");
    }
}

/// What was last seen of a peer.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Reach {
    Untried,
    Reachable,
    Unreachable,
    Refused(String),
}

struct Sender {
    env: Env,
    header: FrameHeader,
    /// Where the peer may be, the address that is tried now first.
    addresses: VecDeque<String>,
    outbox: Arc<Outbox>,
    on_refused: RefusalHandler,
    hybrid: Arc<SharedHybridClock>,
    rng: StdRng,
    reach: Reach,
    backoff: Duration,
    /// The stream lived so long that the peer is at this address.
    is_good: bool,
}

impl Sender {
    fn new(
        env: &Env,
        identity: &Identity,
        peer: NodeId,
        addresses: &[String],
        on_refused: &RefusalHandler,
        hybrid: &Arc<SharedHybridClock>,
    ) -> Self {
        let header = FrameHeader {
            cluster: cluster_hash(&identity.cluster),
            from: identity.node_id,
            to: peer,
            storage_id: identity.storage_id,
            incarnation: identity.incarnation,
            sequence: 0,
            earlier: identity.earlier.clone(),
            client_address: identity.client_address.clone(),
            peer_address: identity.peer_address.clone(),
            hlc: Hlc(0),
        };
        Self {
            env: env.clone(),
            header,
            addresses: addresses.iter().cloned().collect(),
            outbox: Arc::default(),
            on_refused: Arc::clone(on_refused),
            hybrid: Arc::clone(hybrid),
            rng: env.rng(&format!("dial from node {} to node {peer}", identity.node_id)),
            reach: Reach::Untried,
            backoff: BACKOFF_MIN,
            is_good: false,
        }
    }

    /// Dials and sends for ever.
    async fn run(mut self) {
        loop {
            self.outbox.clear();
            self.is_good = false;
            let error = match self.env.network.dial(self.address().to_owned()).await {
                Ok(sink) => self.send_until_broken(sink).await,
                Err(error) => error,
            };
            self.note_broken(error);
            if !self.is_good {
                self.addresses.rotate_left(1);
            }
            let pause = self.rng.random_range(self.backoff / 2..=self.backoff);
            self.backoff = (self.backoff * 2).min(BACKOFF_MAX);
            self.env.clock.sleep(pause).await;
        }
    }

    /// Where the peer is looked for now.
    fn address(&self) -> &str {
        &self.addresses[0]
    }

    async fn send_until_broken(&mut self, mut sink: Box<dyn FrameSink>) -> NetworkError {
        let start = self.env.clock.now();
        if !matches!(self.reach, Reach::Refused(_)) {
            self.note_reachable();
        }
        // Peers meet before they have anything to say, so that each knows the other's disk from the start.
        if let Err(error) = self.send_frame(&mut *sink, &[]).await {
            return error;
        }
        let mut taken = Vec::new();
        loop {
            self.outbox.take(&mut taken).await;
            if let Err(error) = self.send_frames(&mut *sink, &taken).await {
                return error;
            }
            taken.clear();
            if self.env.clock.now().saturating_sub(start) >= BACKOFF_MAX {
                self.backoff = BACKOFF_MIN;
                self.is_good = true;
                self.note_reachable();
            }
        }
    }

    /// Sends `messages` in as few frames as they fit in.
    async fn send_frames(
        &mut self,
        sink: &mut dyn FrameSink,
        mut messages: &[(PartitionId, Message)],
    ) -> Result<(), NetworkError> {
        while !messages.is_empty() {
            let (now, later) = messages.split_at(frame_length(messages));
            self.send_frame(sink, now).await?;
            messages = later;
        }
        Ok(())
    }

    async fn send_frame(
        &mut self,
        sink: &mut dyn FrameSink,
        messages: &[(PartitionId, Message)],
    ) -> Result<(), NetworkError> {
        self.header.sequence += 1;
        self.header.hlc = self.hybrid.now();
        sink.send(encode_frame(&self.header, messages)).await
    }

    fn note_reachable(&mut self) {
        if self.reach != Reach::Reachable {
            self.reach = Reach::Reachable;
            tracing::info!(peer = %self.header.to, address = self.address(), "peer is reachable");
        }
    }

    fn note_broken(&mut self, error: NetworkError) {
        let peer = self.header.to;
        match error {
            NetworkError::Refused { reason, .. } => {
                let reach = Reach::Refused(reason.clone());
                if self.reach != reach {
                    self.reach = reach;
                    tracing::warn!(%peer, address = self.address(), reason, "peer refuses this node");
                    (self.on_refused)(peer, reason);
                }
            }
            error if self.reach != Reach::Unreachable => {
                self.reach = Reach::Unreachable;
                tracing::warn!(%peer, %error, "peer is unreachable");
            }
            _ => {}
        }
    }
}
