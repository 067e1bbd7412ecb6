//! The memberships that a log names, newest last.
//!
//! A membership is in force from the moment its entry is in the log, and no longer than the entry is there: each gives way to the one before
//! it. As long as changes wait for each other, a truncation takes one at most; nothing here relies on that.

use std::collections::VecDeque;
use std::sync::Arc;

use crate::raft::membership::{Membership, is_membership};
use crate::raft::message::Entry;
use crate::types::Index;

/// The memberships of a log.
///
/// - Never empty, in the order of indexes.
/// - The first one is what was in force at the last applied entry; the others are of later entries.
#[derive(Clone, Debug)]
pub struct Memberships(VecDeque<(Index, Arc<Membership>)>);

impl Memberships {
    /// Of a log in which `membership` was in force at `applied`.
    #[must_use]
    pub fn new(applied: Index, membership: Arc<Membership>) -> Self {
        Self(VecDeque::from([(applied, membership)]))
    }

    /// The one in force: the newest, committed or not.
    #[must_use]
    pub fn newest(&self) -> &Arc<Membership> {
        &self.0.back().expect("never empty").1
    }

    /// The entry of the one in force; at or below the applied one when it is older than that.
    #[must_use]
    pub fn newest_index(&self) -> Index {
        self.0.back().expect("never empty").0
    }

    /// The entry of the one before that; none where it is not above the applied one.
    #[must_use]
    pub fn previous_index(&self) -> Option<Index> {
        let previous = self.0.len().checked_sub(2).filter(|at| *at > 0)?;
        self.0.get(previous).map(|(index, _)| *index)
    }

    /// The one that was in force at the last applied entry.
    #[must_use]
    pub fn applied(&self) -> &Arc<Membership> {
        &self.0.front().expect("never empty").1
    }

    /// An entry was added to the log.
    ///
    /// # Panics
    /// When it names a membership that cannot be read: what comes off a wire or a disk was checked there.
    pub fn push(&mut self, entry: &Entry) {
        if is_membership(&entry.payload) {
            let membership = Membership::decode(&entry.payload).expect("a membership was checked where it came in");
            self.0.push_back((entry.index, Arc::new(membership)));
        }
    }

    /// The entries from `from` on are gone.
    pub fn truncate(&mut self, from: Index) {
        while self.0.len() > 1 && self.newest_index() >= from {
            self.0.pop_back();
        }
    }

    /// Everything up to `index` is applied.
    pub fn apply_to(&mut self, index: Index) {
        while self.0.get(1).is_some_and(|(next, _)| *next <= index) {
            self.0.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::raft::membership::Change;
    use crate::types::{NodeId, Term};

    fn entry(index: u64, membership: &Membership) -> Entry {
        Entry {
            index: Index(index),
            term: Term(1),
            payload: membership.encode(),
        }
    }

    #[test]
    fn a_truncation_takes_every_membership_above_it() {
        let three = Membership::of_voters((1..=3).map(|node| (NodeId(node), format!("node-{node}:1"))));
        let joint = three.after(&Change::Remove { node: NodeId(3) }).unwrap().unwrap();
        let mut memberships = Memberships::new(Index(4), Arc::new(three.clone()));
        memberships.push(&entry(5, &joint));
        memberships.push(&entry(7, &joint.after_joint()));
        assert_eq!(memberships.previous_index(), Some(Index(5)));
        let mut one_less = memberships.clone();
        one_less.truncate(Index(7));
        assert_eq!((&**one_less.newest(), one_less.previous_index()), (&joint, None));
        memberships.truncate(Index(5));
        assert_eq!(
            (&**memberships.newest(), memberships.newest_index()),
            (&three, Index(4))
        );
    }

    #[test]
    fn what_is_applied_cannot_be_truncated() {
        let three = Membership::of_voters((1..=3).map(|node| (NodeId(node), format!("node-{node}:1"))));
        let joint = three.after(&Change::Remove { node: NodeId(3) }).unwrap().unwrap();
        let mut memberships = Memberships::new(Index(4), Arc::new(three));
        memberships.push(&entry(5, &joint));
        memberships.push(&entry(7, &joint.after_joint()));
        memberships.apply_to(Index(6));
        memberships.truncate(Index(6));
        assert_eq!((&**memberships.newest(), &**memberships.applied()), (&joint, &joint));
    }
}
