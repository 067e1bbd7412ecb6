//! What is seen inside the cluster: replicas after each batch, what they applied, what leaders sent.
//!
//! The recorder only looks. Replicas come through the observer that nodes offer, and what leaders claim through the frames that leave a
//! node, decoded once more. A status is kept when it changed, a claim when it is new in this life of its node: what is said again says nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use kapu::partition::{Applied, Observer};
use kapu::raft::{Body, Message, Role};
use kapu::status::PartitionStatus;
use kapu::wire::decode_frame;
use xxhash_rust::xxh3::xxh3_64;

use crate::evidence::{Fact, Observation, Voters};
use crate::trace::{Trace, words};
use crate::world::network::SentHook;
use crate::world::true_ns;

/// Keeps observations in the order of true time. Clones share them.
#[derive(Clone)]
pub struct Recorder {
    trace: Trace,
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    observations: Vec<Observation>,
    replicas: BTreeMap<(u64, u32), Replica>,
    /// What each node has claimed in its present life.
    claims: BTreeMap<u64, (u64, BTreeSet<Claim>)>,
    seen: Seen,
}

/// What was seen, in numbers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Seen {
    /// Replicas that came to lead.
    pub leader_changes: u64,
    /// Logs that became shorter, or went on from an entry that they replaced.
    pub truncations: u64,
    /// Entries that were applied, on all replicas.
    pub applied: u64,
    /// Snapshots that were installed.
    pub snapshots: u64,
    /// Those among them that took the place of a log which went beyond them, with other entries.
    pub snapshots_within: u64,
}

/// The latest of one replica.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Replica {
    boot: u64,
    status: Fact,
}

/// (partition, term in which it leads; index, term and payload of an entry, or none for leadership alone)
type Claim = (u32, u64, Option<(u64, u64, u64)>);

impl Recorder {
    /// A recorder that has seen nothing.
    #[must_use]
    pub fn new(trace: Trace) -> Self {
        let state = Arc::default();
        Self { trace, state }
    }

    /// Somebody who watches this life of a node.
    #[must_use]
    pub fn observer(&self, node: u64, boot: u64) -> Arc<dyn Observer> {
        let recorder = self.clone();
        Arc::new(Window { recorder, node, boot })
    }

    /// Somebody who looks at the frames that this life of a node sends.
    #[must_use]
    pub fn sent_hook(&self, node: u64, boot: u64) -> SentHook {
        let recorder = self.clone();
        Arc::new(move |frame: &Bytes| recorder.frame_sent(node, boot, frame))
    }

    /// All of it, in the order of true time.
    #[must_use]
    pub fn observations(&self) -> Vec<Observation> {
        self.lock().observations.clone()
    }

    /// All of it in numbers.
    #[must_use]
    pub fn seen(&self) -> Seen {
        self.lock().seen
    }

    /// The digest of a replica's state when it had applied exactly `index`, if it was seen.
    #[must_use]
    pub fn digest(&self, node: u64, partition: u32, index: u64) -> Option<u64> {
        let state = self.lock();
        let mut latest_first = state.observations.iter().rev();
        latest_first.find_map(|seen| match seen.fact {
            Fact::Applied { index: at, digest, .. } if (seen.node, seen.partition, at) == (node, partition, index) => {
                Some(digest)
            }
            _ => None,
        })
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn flushed(&self, node: u64, boot: u64, status: &PartitionStatus, applied: &[Applied]) {
        let mut state = self.lock();
        let at_ns = true_ns();
        let observe = |fact: Fact| Observation {
            at_ns,
            node,
            boot,
            partition: status.partition.0,
            fact,
        };
        for applied in applied {
            self.trace.note(at_ns, "applied", node, &applied.digest.to_le_bytes());
            state.seen.applied += 1;
            state.note_snapshot((node, status.partition.0), applied);
            let observation = observe(applied_fact(applied));
            state.observations.push(observation);
        }
        let fact = status_fact(status);
        if state.note_replica((node, status.partition.0), boot, &fact) {
            self.trace.note(at_ns, "replica", node, numbers(status).as_flattened());
            let observation = observe(fact);
            state.observations.push(observation);
        }
    }

    fn frame_sent(&self, node: u64, boot: u64, frame: &Bytes) {
        let frame = decode_frame(frame).expect("a node reads its own frames");
        let mut state = self.lock();
        for (partition, message) in &frame.messages {
            for claim in claims(partition.0, message) {
                state.note_claim(node, boot, claim);
            }
        }
    }
}

impl State {
    fn note_snapshot(&mut self, replica: (u64, u32), applied: &Applied) {
        if !applied.is_snapshot {
            return;
        }
        let had = self.replicas.get(&replica).map(|replica| &replica.status);
        let is_within = matches!(had, Some(Fact::Status { last, .. }) if *last >= applied.position.index.0);
        self.seen.snapshots += 1;
        self.seen.snapshots_within += u64::from(is_within);
    }

    /// Whether the replica is not as it was.
    fn note_replica(&mut self, replica: (u64, u32), boot: u64, status: &Fact) -> bool {
        let next = Replica {
            boot,
            status: status.clone(),
        };
        let before = self.replicas.insert(replica, next.clone());
        let Some(before) = before else { return true };
        if let (
            Fact::Status { role, last, .. },
            Fact::Status {
                role: was, last: had, ..
            },
        ) = (status, &before.status)
        {
            self.seen.leader_changes += u64::from(*role == Role::Leader && *was != Role::Leader);
            self.seen.truncations += u64::from(boot == before.boot && last < had);
        }
        before != next
    }

    fn note_claim(&mut self, node: u64, boot: u64, claim: Claim) {
        let (life, known) = self.claims.entry(node).or_default();
        if *life != boot {
            *life = boot;
            known.clear();
        }
        if !known.insert(claim) {
            return;
        }
        let (partition, leads, entry) = claim;
        let fact = match entry {
            None => Fact::Led { term: leads },
            Some((index, term, payload)) => Fact::Sent {
                leads,
                index,
                term,
                payload,
            },
        };
        self.observations.push(Observation {
            at_ns: true_ns(),
            node,
            boot,
            partition,
            fact,
        });
    }
}

/// What a message says that only a leader may say: that it leads, and which entries its log has.
fn claims(partition: u32, message: &Message) -> Vec<Claim> {
    match &message.body {
        Body::Heartbeat { .. } => vec![(partition, message.term.0, None)],
        Body::Append { entries, .. } => {
            let leads = message.term.0;
            let hash = |entry: &kapu::raft::Entry| (entry.index.0, entry.term.0, xxh3_64(&entry.payload));
            let entry = |entry| (partition, leads, Some(hash(entry)));
            let leadership = (partition, leads, None);
            std::iter::once(leadership).chain(entries.iter().map(entry)).collect()
        }
        _ => Vec::new(),
    }
}

fn applied_fact(applied: &Applied) -> Fact {
    Fact::Applied {
        index: applied.position.index.0,
        term: applied.position.term.0,
        log_time: applied.log_time.0,
        hlc: applied.hlc.map(|hlc| hlc.0),
        digest: applied.digest,
        is_snapshot: applied.is_snapshot,
    }
}

fn status_fact(status: &PartitionStatus) -> Fact {
    Fact::Status {
        role: status.role,
        term: status.term.0,
        leader: status.leader.map_or(0, |leader| leader.0),
        last: status.last.0,
        commit: status.commit.0,
        applied: status.applied.0,
        durable: status.durable.0,
        voters: Voters::of(&status.membership),
    }
}

/// A status as the trace has it.
fn numbers(status: &PartitionStatus) -> [[u8; 8]; 8] {
    let leader = status.leader.map_or(0, |leader| leader.0);
    words([
        u64::from(status.partition.0),
        status.role as u64,
        status.term.0,
        leader,
        status.last.0,
        status.commit.0,
        status.applied.0,
        status.durable.0,
    ])
}

struct Window {
    recorder: Recorder,
    node: u64,
    boot: u64,
}

impl Observer for Window {
    fn flushed(&self, status: &PartitionStatus, applied: &[Applied]) {
        self.recorder.flushed(self.node, self.boot, status, applied);
    }
}
