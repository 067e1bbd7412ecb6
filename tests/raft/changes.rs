//! Changes of members in random schedules: legal ones, foolish ones, and too many at once.

use kapu::raft::Change;
use kapu::types::NodeId;
use rand::RngExt;

use crate::replica::address;
use crate::schedules::Schedule;

/// The most nodes of a schedule, removed ones counted.
const NODES_MAX: u64 = 7;
const PRIORITY_MAX: u8 = 3;

impl Schedule {
    /// Somebody asks a leader for a change. A node that is added mostly runs by then.
    pub fn change(&mut self) {
        let Some(leader) = self.any_leader() else { return };
        let change = self.any_change();
        let result = self.cluster.change(leader, &change).expect("leaders run");
        self.cluster.counts.changes_refused += usize::from(result.is_err());
        if let (Change::AddLearner { node, .. }, Ok(Some(_))) = (&change, result)
            && !self.cluster.ids().contains(node)
        {
            self.cluster.counts.members_added += 1;
            self.cluster.boot_waiting(*node);
        }
        if self.rng.random_bool(0.8) {
            self.cluster.flush(leader);
        }
    }

    fn any_change(&mut self) -> Change {
        let node = self.any_node();
        let (address, priority) = (address(node), self.rng.random_range(0..=PRIORITY_MAX));
        match self.rng.random_range(0..10) {
            0..3 => self.addition(priority),
            3..6 => Change::Promote { node },
            6..8 => Change::Remove { node },
            8 => Change::Update {
                node,
                address,
                priority,
            },
            _ => Change::AddLearner {
                node,
                address,
                priority,
            },
        }
    }

    /// The next node, as long as there may be more; else one that was there.
    fn addition(&mut self, priority: u8) -> Change {
        let next = self.cluster.ids().len() as u64 + 1;
        let node = NodeId(next.min(NODES_MAX));
        let address = address(node);
        Change::AddLearner {
            node,
            address,
            priority,
        }
    }
}
