//! Changes of the members, as an operator makes them: one after the other, each until it is done.
//!
//! A change that is not done in time stays under way, and whoever comes next goes on with it. Which change is sensible is the register's business;
//! whether a node takes its place is its own.

use std::sync::atomic::Ordering;
use std::time::Duration;

use kapu::admin::AdminRequest;
use kapu::node::NodeHandle;
use kapu::raft::{Change, Role};
use kapu::status::NodeInfo;
use kapu::types::{NodeId, PartitionId};

use super::register::{Register, Step};
use super::{Cluster, wait_until};
use crate::world::{true_ns, true_sleep};

/// Between two rounds of somebody who cannot wait.
const PRESS_EVERY: Duration = Duration::from_millis(2);

impl Cluster {
    /// The operator's register.
    pub fn register<T>(&self, look: impl FnOnce(&mut Register) -> T) -> T {
        look(&mut self.0.register.lock().expect("nobody panics while holding it"))
    }

    /// Goes on with the change that is under way, if there is one, for at most `patience`. Says whether nothing is under way then.
    pub async fn operate(&self, patience: Duration) -> bool {
        let Some(step) = self.register(|register| register.under_way()) else {
            return true;
        };
        let is_done = match step {
            Step::Joins(node) | Step::Moves(node) => {
                self.start(node);
                wait_until(patience, || self.is_settled(node)).await
            }
            Step::Leaves(node) => self.remove(node, patience).await,
        };
        if is_done {
            let words = format!("{step:?}");
            self.0.trace.note(true_ns(), "members", 0, words.as_bytes());
            tracing::info!(at_ms = true_ns() / 1_000_000, step = words, "members changed");
            self.register(Register::done);
            self.note_met(|met| met.changes += 1);
        }
        is_done
    }

    /// From now on the node listens for its peers somewhere else.
    pub fn relocate(&self, node: u64) {
        self.machine(node).peer_port.fetch_add(1, Ordering::Relaxed);
    }

    /// From now on every node listens for its peers somewhere else, and the settings of the first ones say where those do.
    pub fn relocate_all(&self) {
        for node in self.nodes() {
            self.relocate(node);
            let machine = self.machine(node);
            let port = machine.peer_port.load(Ordering::Relaxed);
            machine.told_port.store(port, Ordering::Relaxed);
        }
    }

    /// Whether nobody belongs to the cluster who joined it.
    pub fn are_all_first(&self) -> bool {
        let first = self.0.options.nodes;
        self.register(|register| register.members().iter().all(|node| *node <= first))
    }

    /// Asks the leader of a partition to hand over to whoever is best.
    pub async fn transfer(&self, partition: u32) {
        // That nobody can take over, or nobody leads, is no failure.
        let _ = self.operator().transfer_leader(PartitionId(partition), None).await;
    }

    /// Whether a node runs that was removed, and knows where somebody is who could tell it so.
    #[must_use]
    pub fn is_stray(&self, node: u64) -> bool {
        let is_member = self.register(|register| register.members().contains(&node));
        !is_member && self.status(node).is_some() && self.is_in_touch(node)
    }

    /// Whether a node belongs to the cluster, or knows by its log or its settings where somebody is who does. Of any other nobody ever hears.
    #[must_use]
    pub fn is_in_touch(&self, node: u64) -> bool {
        let members = self.register(|register| register.members().clone());
        let known = self.status(node).map_or_else(Vec::new, |status| status.nodes);
        let told = self.config(node).voters;
        let knows = |peer: &u64| {
            let at = self.peer_address(*peer).to_string();
            let is_there = |known: &NodeInfo| known.node.0 == *peer && known.peer_address == at;
            self.is_alive(*peer) && (known.iter().any(is_there) || told.get(&NodeId(*peer)) == Some(&at))
        };
        members.contains(&node) || members.iter().any(knows)
    }

    /// Whether a node has its place, in a life at its present address.
    fn is_settled(&self, node: u64) -> bool {
        let at = self.peer_address(node).to_string();
        let has_place = |handle: NodeHandle| handle.own_place().1 == at && handle.unsettled().is_empty();
        self.handle(node).is_some_and(has_place)
    }

    async fn remove(&self, node: u64, patience: Duration) -> bool {
        let client = self.operator().with_timeout(patience);
        let change = Change::Remove { node: NodeId(node) };
        for partition in (0..self.0.options.partitions).map(PartitionId) {
            let removed = tokio::select! {
                biased;
                removed = client.change_member(partition, change.clone()) => removed,
                () = self.press(partition, &change) => unreachable!("it never ends"),
            };
            match removed {
                Ok(()) => {}
                Err(error) if error.is_retryable() => return false,
                Err(error) => {
                    self.accuse(node, format!("it cannot be removed: {error}"));
                    return false;
                }
            }
        }
        true
    }

    /// Asks everybody who believes to lead, again and again, as a script without manners would: a new leader is asked in its first moment.
    async fn press(&self, partition: PartitionId, change: &Change) {
        loop {
            true_sleep(PRESS_EVERY).await;
            for handle in self.nodes().filter_map(|node| self.handle(node)) {
                let status = handle.status();
                if status.partitions[partition.0 as usize].role == Role::Leader {
                    let asked = handle.administer(AdminRequest::ChangeMember(partition, change.clone()));
                    // What it answers is the client's business. One that stands still is not waited for.
                    let _ = tokio::select! {
                        biased;
                        answer = asked => answer.ok(),
                        () = true_sleep(PRESS_EVERY) => None,
                    };
                }
            }
        }
    }
}
