//! What is left at the end: what each disk holds, and whether the replicas agree.
//!
//! Disks are read by kapu's own storage, from a copy that holds only what is durable, as after a power cut that lost everything else.

use std::collections::BTreeMap;
use std::sync::Arc;

use kapu::env::Env;
use kapu::raft::{Membership, Role};
use kapu::status::NodeStatus;
use kapu::storage;
use kapu::types::{NodeId, PartitionId};

use super::Cluster;
use crate::evidence::{DurableReplica, Voters};
use crate::trace::Trace;
use crate::world::clock::SimClock;
use crate::world::disk::Platters;

impl Cluster {
    /// What is durable of every partition on every disk. A disk that cannot be read is a failure of its node, unless it was damaged.
    #[must_use]
    pub fn durable(&self) -> Vec<DurableReplica> {
        let mut replicas = Vec::new();
        for node in self.nodes().filter(|node| self.boot(*node) > 0) {
            let copy = self
                .platters(node)
                .durable_copy(Trace::new(None).expect("without a file"));
            if self.is_lost(node) {
                replicas.extend(self.lost_disk(node));
                continue;
            }
            match self.read_disk(node, &copy) {
                Ok(read) => replicas.extend(read),
                Err(error) => self.accuse(node, format!("its disk cannot be read: {error}")),
            }
        }
        replicas
    }

    fn lost_disk(&self, node: u64) -> impl Iterator<Item = DurableReplica> + use<> {
        (0..self.0.options.partitions).map(move |partition| DurableReplica {
            node,
            partition,
            spoiled: true,
            ..DurableReplica::default()
        })
    }

    fn read_disk(&self, node: u64, copy: &Platters) -> Result<Vec<DurableReplica>, storage::StorageError> {
        let machine = self.machine(node);
        let env = Env {
            clock: Arc::new(SimClock::new(std::time::Duration::ZERO, 0)),
            network: Arc::new(machine.network.clone()),
            disk: Arc::new(copy.boot()),
            spawn: Arc::new(self.0.spawn.clone()),
            seed: 0,
        };
        let config = self.config(node);
        let identity = storage::Identity {
            cluster: config.cluster,
            node_id: NodeId(node),
            partitions: config.partitions,
            membership: Membership::of_voters(config.voters),
        };
        let opened = storage::open(&env, &identity, Arc::new(|_| {}))?;
        let replica = |partition: u32| {
            let recovered = opened.log.recover(PartitionId(partition))?;
            let runs = std::iter::once(&recovered.log.base).chain(&recovered.log.term_runs);
            Ok(DurableReplica {
                node,
                partition,
                term: recovered.hard_state.term.0,
                last: recovered.log.last.index.0,
                runs: runs.map(|run| (run.index.0, run.term.0)).collect(),
                ..DurableReplica::default()
            })
        };
        (0..config.partitions).map(replica).collect()
    }

    /// The leader of each partition whose every member, but for those that are lost, follows it.
    #[must_use]
    pub fn leaders(&self) -> Vec<Reign> {
        let statuses = self.statuses();
        let partitions = 0..self.0.options.partitions;
        partitions
            .filter_map(|partition| self.reign(&statuses, partition))
            .collect()
    }

    fn statuses(&self) -> Statuses {
        self.nodes()
            .filter_map(|node| Some((node, self.status(node)?)))
            .collect()
    }

    fn reign(&self, statuses: &Statuses, partition: u32) -> Option<Reign> {
        let replica = |node: u64| Some(&statuses.get(&node)?.partitions[partition as usize]);
        let mut leading = self
            .core()
            .filter(|node| replica(*node).is_some_and(|replica| replica.role == Role::Leader));
        let leader = leading.next()?;
        let own = replica(leader)?;
        let members: Vec<_> = own.membership.members().keys().map(|node| node.0).collect();
        let follows = |node: &u64| {
            replica(*node).is_some_and(|other| (other.term, other.leader) == (own.term, Some(NodeId(leader))))
        };
        let is_alone = leading.next().is_none();
        let all_follow = members.iter().filter(|node| !self.is_lost(**node)).all(follows);
        (is_alone && all_follow).then(|| Reign {
            partition,
            leader,
            members,
            voters: Voters::of(&own.membership),
        })
    }

    /// (node, partition, applied, digest) of every live replica that was seen applying what it has applied.
    #[must_use]
    pub fn digests(&self) -> Vec<(u64, u32, u64, u64)> {
        let mut digests = Vec::new();
        for node in self.nodes() {
            for replica in self.status(node).map(|status| status.partitions).unwrap_or_default() {
                let (partition, applied) = (replica.partition.0, replica.applied.0);
                let digest = self.0.recorder.digest(node, partition, applied);
                digests.extend(digest.map(|digest| (node, partition, applied, digest)));
            }
        }
        digests
    }

    /// Whether every partition has a leader, and every member of it, but for those that are lost, has applied everything that any of them has.
    #[must_use]
    pub fn is_level(&self) -> bool {
        let statuses = self.statuses();
        let is_level = |reign: Reign| {
            let members = reign.members.iter().filter(|node| !self.is_lost(**node));
            let ends = members.map(|node| {
                let replica = &statuses.get(node)?.partitions[reign.partition as usize];
                Some((replica.applied, replica.last))
            });
            let ends: Vec<_> = ends.collect();
            ends.iter()
                .all(|end| end.is_some_and(|(applied, last)| applied == last) && *end == ends[0])
        };
        let mut partitions = 0..self.0.options.partitions;
        partitions.all(|partition| self.reign(&statuses, partition).is_some_and(is_level))
    }
}

/// What each live node says of itself.
type Statuses = BTreeMap<u64, NodeStatus>;

/// Who leads a partition, and whom.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reign {
    /// Which partition.
    pub partition: u32,
    /// Who leads it.
    pub leader: u64,
    /// Every member, as the leader knows them.
    pub members: Vec<u64>,
    /// Those who vote.
    pub voters: Voters,
}
