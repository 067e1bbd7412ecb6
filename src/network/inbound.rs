//! The receiving side: whose frames are welcome, and where their messages go.
//!
//! A frame is refused when it is of another cluster, for another node, from a node that was removed, or from a peer whose disk is
//! not the one it had: a vote or an acknowledgement that was forgotten with a disk would count twice. Which disk that was, and in which life,
//! is kept durably, and nothing of a life is handed on before that: what counts on a peer's word is never remembered for longer than the
//! peer is. Order and repetition are none of its business: Raft copes with both.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};

use bytes::Bytes;

use super::skew::Skew;
use super::{Identity, MessageSink, Roster};
use crate::env::FrameHandler;
use crate::hlc::{Hlc, SharedHybridClock, TooFarAhead};
use crate::limits;
use crate::mutants::{self, Mutant};
use crate::storage::{PeerLife, RememberPeer};
use crate::types::{Incarnation, NodeId};
use crate::wire::frame::cluster_hash;
use crate::wire::{FrameHeader, decode_frame};

/// How a refusal begins whose reason is the sender's own data directory.
const DISK_OF_NODE: &str = "the disk of node";

/// Whether a peer's refusal says that the data directory of this node is not the one that the peer knew.
#[must_use]
pub fn is_about_disk(reason: &str) -> bool {
    reason.starts_with(DISK_OF_NODE)
}

/// How a refusal begins whose reason is that the sender was removed from the cluster.
const REMOVED_NODE: &str = "removed: node";

/// Whether a peer's refusal says that this node was removed from the cluster.
#[must_use]
pub fn is_about_removal(reason: &str) -> bool {
    reason.starts_with(REMOVED_NODE)
}

/// Checks frames and hands their messages on.
pub struct Inbound {
    identity: Identity,
    roster: Arc<dyn Roster>,
    sink: Arc<dyn MessageSink>,
    remember: RememberPeer,
    hybrid: Arc<SharedHybridClock>,
    state: Arc<Mutex<State>>,
}

struct State {
    peers: BTreeMap<NodeId, Peer>,
    last_refusal: String,
}

/// What is known of a peer.
#[derive(Default)]
struct Peer {
    /// The life that it will be held to after a restart of this node.
    durable: Option<PeerLife>,
    /// A later one, on its way to the disk.
    met: Option<PeerLife>,
    /// Where its latest frame said that clients reach it.
    address: Option<String>,
    skew: Skew,
}

impl Inbound {
    /// Welcomes frames of every node of the cluster that `roster` does not know to be removed, and hands their messages to `sink`. `met` are the
    /// lives in which nodes were last met; lives that are new are kept with `remember`. `hybrid` observes when frames were sent.
    ///
    /// A sender need not be a member as far as this node knows: it may have been added by an entry that is still on its way.
    #[must_use]
    pub fn new(
        identity: Identity,
        met: impl IntoIterator<Item = (NodeId, PeerLife)>,
        roster: Arc<dyn Roster>,
        sink: Arc<dyn MessageSink>,
        remember: RememberPeer,
        hybrid: Arc<SharedHybridClock>,
    ) -> Self {
        let known = |(peer, life)| {
            let known = Peer {
                durable: Some(life),
                ..Peer::default()
            };
            (peer, known)
        };
        let state = State {
            peers: met.into_iter().map(known).collect(),
            last_refusal: String::new(),
        };
        Self {
            identity,
            roster,
            sink,
            remember,
            hybrid,
            state: Arc::new(Mutex::new(state)),
        }
    }

    /// How often this node has started.
    #[must_use]
    pub const fn starts(&self) -> u64 {
        self.identity.incarnation.starts()
    }

    /// The life in which `peer` was last met, as this node's disk knows it; none until they have met.
    #[must_use]
    pub fn life(&self, peer: NodeId) -> Option<PeerLife> {
        self.lock().peers.get(&peer)?.durable
    }

    /// The client address of `peer`; none until it has been heard of.
    #[must_use]
    pub fn address(&self, peer: NodeId) -> Option<String> {
        let state = self.lock();
        state.peers.get(&peer)?.address.clone()
    }

    /// Peers whose clock is too far ahead to be followed, each with by how many milliseconds.
    #[must_use]
    pub fn clocks_ahead(&self) -> Vec<(NodeId, u64)> {
        let ahead = |(&peer, known): (&NodeId, &Peer)| Some((peer, known.skew.ahead_ms()?));
        self.lock().peers.iter().filter_map(ahead).collect()
    }

    fn take(&self, bytes: &[u8]) -> Result<(), String> {
        let frame = decode_frame(bytes).map_err(|error| format!("the frame cannot be read: {error}"))?;
        self.check_receiver(&frame.header)?;
        let (peer, life) = (frame.header.from, life_of(&frame.header));
        if self.roster.was_removed(peer) {
            return Err(format!(
                "{REMOVED_NODE} {peer} is no member of this cluster any more; stop it, and give a new node a new id"
            ));
        }
        let standing = self.welcome(&frame.header)?;
        self.roster.heard(peer, &frame.header.peer_address);
        match standing {
            Standing::Known => {
                for (partition, message) in frame.messages {
                    self.sink.deliver(partition, message);
                }
            }
            Standing::New => self.remember(peer, life),
            Standing::Awaited => {}
        }
        Ok(())
    }

    fn remember(&self, peer: NodeId, life: PeerLife) {
        let state = Arc::clone(&self.state);
        let done = move || {
            let mut state = lock(&state);
            if let Some(known) = state.peers.get_mut(&peer) {
                known.durable = Some(life);
                known.met.take_if(|met| *met == life);
            }
        };
        (self.remember)(peer, life, Box::new(done));
    }

    /// Checks the sender, and observes its clock. Messages of one that is too far ahead are taken all the same: what they say rests on terms and
    /// indexes, and leases on log time, so no promise depends on how late it is at anybody's.
    fn welcome(&self, header: &FrameHeader) -> Result<Standing, String> {
        let mut state = self.lock();
        let standing = state.check_sender(header)?;
        state.note_clock(header.from, header.hlc, self.hybrid.observe(header.hlc));
        Ok(standing)
    }

    fn check_receiver(&self, header: &FrameHeader) -> Result<(), String> {
        let Identity { cluster, node_id, .. } = &self.identity;
        let (theirs, ours) = (header.cluster, cluster_hash(cluster));
        if theirs != ours {
            return Err(format!(
                "node {} is of another cluster: its name hashes to {theirs:016x}, and {cluster:?} to {ours:016x}",
                header.from
            ));
        }
        if header.to != *node_id {
            return Err(format!(
                "this is node {node_id}, and the frame is for node {}: check the peer addresses of node {}",
                header.to, header.from
            ));
        }
        if header.from == *node_id {
            return Err(format!(
                "this is node {node_id}, and the sender calls itself that too: ids are unique"
            ));
        }
        Ok(())
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().expect("nobody panics while holding it")
}

fn life_of(header: &FrameHeader) -> PeerLife {
    PeerLife {
        storage_id: header.storage_id,
        incarnation: header.incarnation,
    }
}

impl State {
    fn note_clock(&mut self, peer: NodeId, hlc: Hlc, seen: Result<u64, TooFarAhead>) {
        let Some(known) = self.peers.get_mut(&peer) else {
            return;
        };
        if !known.skew.note(seen) {
            return;
        }
        match known.skew.ahead_ms() {
            Some(by_ms) => tracing::warn!(
                %peer, %hlc, by_ms, limit_ms = limits::HLC_AHEAD_MS_MAX,
                "a peer's wall clock is too far ahead of this node's and is not followed: one of the two is wrong"
            ),
            None => tracing::info!(%peer, %hlc, "a peer's wall clock is near this node's again"),
        }
    }
}

/// What a welcome sender's life is to this node.
enum Standing {
    /// On its disk: its messages are handed on.
    Known,
    /// Never met. The messages are dropped, as any frame may be: Raft sends again.
    New,
    /// On its way to the disk; as `New` until it is there.
    Awaited,
}

impl State {
    /// Compares the sender with what is known of it.
    fn check_sender(&mut self, header: &FrameHeader) -> Result<Standing, String> {
        let (from, life) = (header.from, life_of(header));
        if !self.peers.contains_key(&from) && self.peers.len() >= limits::PEERS_HEARD_MAX {
            return Err(format!(
                "node {from} is one more than the {} nodes that this one can know",
                limits::PEERS_HEARD_MAX
            ));
        }
        let known = self.peers.entry(from).or_default();
        let latest = known.met.or(known.durable);
        if let Some(latest) = latest.filter(|_| !mutants::on(Mutant::PeerDiskIgnored)) {
            compare(from, latest, life, &header.earlier)?;
        }
        if known.address.as_ref() != Some(&header.client_address) {
            known.address = Some(header.client_address.clone());
        }
        if known.durable == Some(life) {
            Ok(Standing::Known)
        } else if known.met.replace(life) == Some(life) {
            Ok(Standing::Awaited)
        } else {
            Ok(Standing::New)
        }
    }
}

/// Whether `now`, after the lives `earlier`, may be a life of the node that was last met as `latest`: a later one, on a disk that remembers that.
fn compare(node: NodeId, latest: PeerLife, now: PeerLife, earlier: &[Incarnation]) -> Result<(), String> {
    if now == latest {
        return Ok(());
    }
    if now.storage_id != latest.storage_id {
        return Err(format!(
            "{DISK_OF_NODE} {node} was swapped or wiped: its id was {:016x} and is {:016x}",
            latest.storage_id.0, now.storage_id.0
        ));
    }
    let (before, starts) = (latest.incarnation.starts(), now.incarnation.starts());
    let is_other = |life: &&Incarnation| life.starts() == before && **life != latest.incarnation;
    let is_forgotten = earlier.iter().find(is_other).is_some() && !mutants::on(Mutant::LivesOnlyCounted);
    if starts <= before || is_forgotten {
        return Err(format!(
            "{DISK_OF_NODE} {node} was rolled back: it had started {before} times, and on what it has now {starts} times, but not the same"
        ));
    }
    Ok(())
}

impl FrameHandler for Inbound {
    fn receive(&self, frame: Bytes) -> Result<(), String> {
        self.take(&frame).inspect_err(|reason| {
            let mut state = self.lock();
            if state.last_refusal != *reason {
                tracing::warn!(reason, "refused a frame");
                state.last_refusal.clone_from(reason);
            }
        })
    }
}
