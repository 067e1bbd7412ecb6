//! The sending side: for every peer a queue and a task that keeps a stream to it.
//!
//! A sender dials, sends whatever waits, and dials again when the stream breaks, each time a little later. What waits while a peer is out
//! of reach is thrown away before the next try. A change of state is logged once, not every try. A peer that refuses this node is asked
//! again for ever; whether to stop is the node's decision, which is told the reason.

use std::collections::BTreeMap;
use std::sync::Arc;
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
    outboxes: BTreeMap<NodeId, Arc<Outbox>>,
    _running: watch::Sender<()>,
}

impl Peers {
    /// Starts a sender to each of `addresses`, which do not contain this node.
    #[must_use]
    pub fn start(
        env: &Env,
        identity: &Identity,
        addresses: &BTreeMap<NodeId, String>,
        on_refused: &RefusalHandler,
        hybrid: &Arc<SharedHybridClock>,
    ) -> Self {
        let (running, stopped) = watch::channel(());
        let mut outboxes = BTreeMap::new();
        for (&peer, address) in addresses {
            let sender = Sender::new(env, identity, peer, address, on_refused, hybrid);
            outboxes.insert(peer, Arc::clone(&sender.outbox));
            let mut stopped = stopped.clone();
            let task = async move {
                tokio::select! {
                    biased;
                    _ = stopped.changed() => {}
                    () = sender.run() => {}
                }
            };
            env.spawn.spawn("peer", Box::pin(task));
        }
        Self {
            outboxes,
            _running: running,
        }
    }

    /// Sends one message to its receiver. Never blocks; drops it when the queue is full or the receiver is no peer.
    pub fn send(&self, partition: PartitionId, message: Message) {
        if let Some(outbox) = self.outboxes.get(&message.to) {
            note_dropped(message.to, outbox.push_all(partition, [message]));
        }
    }

    /// Sends the messages of one flush of a partition: one lock and one wake-up for each peer.
    pub fn send_all(&self, partition: PartitionId, mut messages: Vec<Message>) {
        for (&peer, outbox) in &self.outboxes {
            if messages.iter().any(|message| message.to == peer) {
                let to_peer = messages.extract_if(.., |message| message.to == peer);
                note_dropped(peer, outbox.push_all(partition, to_peer));
            }
        }
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
    address: String,
    outbox: Arc<Outbox>,
    on_refused: RefusalHandler,
    hybrid: Arc<SharedHybridClock>,
    rng: StdRng,
    reach: Reach,
    backoff: Duration,
}

impl Sender {
    fn new(
        env: &Env,
        identity: &Identity,
        peer: NodeId,
        address: &str,
        on_refused: &RefusalHandler,
        hybrid: &Arc<SharedHybridClock>,
    ) -> Self {
        let header = FrameHeader {
            cluster: cluster_hash(&identity.cluster),
            from: identity.node_id,
            to: peer,
            storage_id: identity.storage_id,
            incarnation: identity.incarnation,
            earlier: identity.earlier.clone(),
            sequence: 0,
            client_address: identity.client_address.clone(),
            hlc: Hlc(0),
        };
        Self {
            env: env.clone(),
            header,
            address: address.to_owned(),
            outbox: Arc::default(),
            on_refused: Arc::clone(on_refused),
            hybrid: Arc::clone(hybrid),
            rng: env.rng(&format!("dial from node {} to node {peer}", identity.node_id)),
            reach: Reach::Untried,
            backoff: BACKOFF_MIN,
        }
    }

    /// Dials and sends for ever.
    async fn run(mut self) {
        loop {
            self.outbox.clear();
            let error = match self.env.network.dial(self.address.clone()).await {
                Ok(sink) => self.send_until_broken(sink).await,
                Err(error) => error,
            };
            self.note_broken(error);
            let pause = self.rng.random_range(self.backoff / 2..=self.backoff);
            self.backoff = (self.backoff * 2).min(BACKOFF_MAX);
            self.env.clock.sleep(pause).await;
        }
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
            tracing::info!(peer = %self.header.to, address = %self.address, "peer is reachable");
        }
    }

    fn note_broken(&mut self, error: NetworkError) {
        let peer = self.header.to;
        match error {
            NetworkError::Refused { reason, .. } => {
                let reach = Reach::Refused(reason.clone());
                if self.reach != reach {
                    self.reach = reach;
                    tracing::warn!(%peer, address = %self.address, reason, "peer refuses this node");
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
