//! What is left at the end: what each disk holds, and whether the replicas agree.
//!
//! Disks are read by kapu's own storage, from a copy that holds only what is durable, as after a power cut that lost everything else.

use std::sync::Arc;

use kapu::env::Env;
use kapu::raft::Role;
use kapu::storage;
use kapu::types::{NodeId, PartitionId};

use super::Cluster;
use crate::evidence::DurableReplica;
use crate::trace::Trace;
use crate::world::clock::SimClock;
use crate::world::disk::Platters;

impl Cluster {
    /// What is durable of every partition on every disk. A disk that cannot be read is a failure of its node, unless it was damaged.
    #[must_use]
    pub fn durable(&self) -> Vec<DurableReplica> {
        let mut replicas = Vec::new();
        for node in self.nodes() {
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
            voters: config.voters.keys().copied().collect(),
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

    /// For each partition whose every replica, but for those on lost disks, follows the same leader in the same term: (partition, leader).
    #[must_use]
    pub fn leaders(&self) -> Vec<(u32, u64)> {
        let statuses: Vec<_> = self.core().map(|node| self.status(node)).collect();
        let agreed = |partition: u32| {
            let mut agreed = None;
            let mut leads = 0;
            for status in &statuses {
                let replica = &status.as_ref()?.partitions[partition as usize];
                leads += u32::from(replica.role == Role::Leader);
                let follows = (replica.term, replica.leader?);
                if *agreed.get_or_insert(follows) != follows {
                    return None;
                }
            }
            let (_, leader) = agreed?;
            (leads == 1).then_some((partition, leader.0))
        };
        (0..self.0.options.partitions).filter_map(agreed).collect()
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

    /// Whether every replica, but for those on lost disks, has applied everything that any of them has.
    #[must_use]
    pub fn is_level(&self) -> bool {
        let Some(statuses) = self.core().map(|node| self.status(node)).collect::<Option<Vec<_>>>() else {
            return false;
        };
        (0..self.0.options.partitions as usize).all(|partition| {
            let mut replicas = statuses.iter().map(|status| &status.partitions[partition]);
            let first = replicas.next().expect("a cluster has a node");
            first.applied == first.last
                && replicas.all(|other| (other.applied, other.last) == (first.applied, first.last))
        })
    }
}
