//! The receiving side: whose frames are welcome, and where their messages go.
//!
//! A frame is refused when it is of another cluster, for another node, from nobody that this node knows, or from a peer whose disk is
//! not the one it had: a vote or an acknowledgement that was forgotten with a disk would count twice. The memory of a peer's disk lasts
//! as long as this process. Order and repetition are none of its business: Raft copes with both.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};

use bytes::Bytes;

use super::skew::Skew;
use super::{Identity, MessageSink};
use crate::env::FrameHandler;
use crate::hlc::{Hlc, SharedHybridClock, TooFarAhead};
use crate::limits;
use crate::types::{Incarnation, NodeId, StorageId};
use crate::wire::frame::cluster_hash;
use crate::wire::{FrameHeader, decode_frame};

/// How a refusal begins whose reason is the sender's own data directory.
const DISK_OF_NODE: &str = "the disk of node";

/// Whether a peer's refusal says that the data directory of this node is not the one that the peer knew.
#[must_use]
pub fn is_about_disk(reason: &str) -> bool {
    reason.starts_with(DISK_OF_NODE)
}

/// Checks frames and hands their messages on.
pub struct Inbound {
    identity: Identity,
    sink: Arc<dyn MessageSink>,
    hybrid: Arc<SharedHybridClock>,
    state: Mutex<State>,
}

struct State {
    peers: BTreeMap<NodeId, Option<Known>>,
    last_refusal: String,
}

/// What a peer's latest frame said of it.
struct Known {
    storage_id: StorageId,
    incarnation: Incarnation,
    address: String,
    skew: Skew,
}

impl Inbound {
    /// Welcomes frames from `peers`, the voters without this node, hands their messages to `sink`, and lets `hybrid` observe when they were sent.
    #[must_use]
    pub fn new(
        identity: Identity,
        peers: impl IntoIterator<Item = NodeId>,
        sink: Arc<dyn MessageSink>,
        hybrid: Arc<SharedHybridClock>,
    ) -> Self {
        let state = State {
            peers: peers.into_iter().map(|peer| (peer, None)).collect(),
            last_refusal: String::new(),
        };
        Self {
            identity,
            sink,
            hybrid,
            state: Mutex::new(state),
        }
    }

    /// The client address of `peer`; none until it has been heard of.
    #[must_use]
    pub fn address(&self, peer: NodeId) -> Option<String> {
        let state = self.lock();
        let known = state.peers.get(&peer)?.as_ref()?;
        Some(known.address.clone())
    }

    /// The client address of every peer; empty until it has been heard of.
    #[must_use]
    pub fn addresses(&self) -> BTreeMap<NodeId, String> {
        let address = |known: &Option<Known>| known.as_ref().map_or_else(String::new, |known| known.address.clone());
        let state = self.lock();
        state
            .peers
            .iter()
            .map(|(&peer, known)| (peer, address(known)))
            .collect()
    }

    /// Peers whose clock is too far ahead to be followed, each with by how many milliseconds.
    #[must_use]
    pub fn clocks_ahead(&self) -> Vec<(NodeId, u64)> {
        let ahead = |(&peer, known): (&NodeId, &Option<Known>)| Some((peer, known.as_ref()?.skew.ahead_ms()?));
        self.lock().peers.iter().filter_map(ahead).collect()
    }

    fn take(&self, bytes: &[u8]) -> Result<(), String> {
        let frame = decode_frame(bytes).map_err(|error| format!("the frame cannot be read: {error}"))?;
        self.check_receiver(&frame.header)?;
        self.welcome(frame.header)?;
        for (partition, message) in frame.messages {
            self.sink.deliver(partition, message);
        }
        Ok(())
    }

    /// Checks the sender, and observes its clock. Messages of one that is too far ahead are taken all the same: what they say rests on terms and
    /// indexes, and leases on log time, so no promise depends on how late it is at anybody's.
    fn welcome(&self, header: FrameHeader) -> Result<(), String> {
        let FrameHeader { from, hlc, .. } = header;
        let mut state = self.lock();
        state.check_sender(header)?;
        state.note_clock(from, hlc, self.hybrid.observe(hlc));
        Ok(())
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
        self.state.lock().expect("nobody panics while holding it")
    }
}

impl State {
    /// Compares the sender with what is known of it, and remembers it.
    fn check_sender(&mut self, header: FrameHeader) -> Result<(), String> {
        let from = header.from;
        let Some(known) = self.peers.get_mut(&from) else {
            return Err(format!("node {from} is not a voter of this cluster"));
        };
        let Some(known) = known else {
            *known = Some(Known {
                storage_id: header.storage_id,
                incarnation: header.incarnation,
                address: header.client_address,
                skew: Skew::default(),
            });
            return Ok(());
        };
        if known.storage_id != header.storage_id {
            return Err(format!(
                "{DISK_OF_NODE} {from} was swapped: its id was {:016x} and is {:016x}",
                known.storage_id.0, header.storage_id.0
            ));
        }
        if known.incarnation > header.incarnation {
            return Err(format!(
                "{DISK_OF_NODE} {from} was rolled back: it had started {} times, and now {}",
                known.incarnation, header.incarnation
            ));
        }
        known.incarnation = header.incarnation;
        if known.address != header.client_address {
            known.address = header.client_address;
        }
        Ok(())
    }

    fn note_clock(&mut self, peer: NodeId, hlc: Hlc, seen: Result<u64, TooFarAhead>) {
        let Some(Some(known)) = self.peers.get_mut(&peer) else {
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
