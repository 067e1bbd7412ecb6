//! What must hold for reads: a confirmed one is not older than anything that was committed when it began.
//!
//! That is linearizability, as far as Raft has a part in it (thesis section 6.4). Every read comes back once, confirmed or failed, unless its
//! node crashed.

use std::collections::BTreeMap;

use kapu::types::{Index, NodeId};

/// The reads under way: at which node, and what was committed when they began.
#[derive(Default)]
pub struct Reads(BTreeMap<u64, (NodeId, Index)>);

impl Reads {
    /// A read begins at a node: whatever is committed now must be seen by it.
    pub fn begins(&mut self, context: u64, at: NodeId, committed: Index) {
        let before = self.0.insert(context, (at, committed));
        assert!(before.is_none(), "the test names each read once");
    }

    pub fn confirmed(&mut self, context: u64, index: Index, committed: Index) {
        let (_, floor) = self.0.remove(&context).expect("a read comes back once");
        assert!(
            index >= floor,
            "stale read: {context} is confirmed at {index}, and {floor} was committed before it began"
        );
        assert!(
            index <= committed,
            "read {context} waits for {index}, which is not committed"
        );
    }

    pub fn failed(&mut self, context: u64) {
        assert!(self.0.remove(&context).is_some(), "a read comes back once");
    }

    /// A node is gone, and its reads with it.
    pub fn forget(&mut self, at: NodeId) {
        self.0.retain(|_, (node, _)| *node != at);
    }

    pub fn under_way(&self) -> usize {
        self.0.len()
    }
}
