//! Majorities, counted here alone, and the question whether some replica could be elected that must not be.
//!
//! Memberships of two replicas need not overlap: one that was away for long may know voters of whom none is left. What makes changes of
//! voters safe is that such a replica cannot win: too many of those whom it would ask hold more. That can be checked at any time, long
//! before an election goes wrong, because any replica may be the next to campaign, and any vote but a more up-to-date one's may be given.

use kapu::raft::{Membership, Position, Raft};
use kapu::types::NodeId;

use crate::checks::Replicas;

/// Whether more than half of the voters, and while they change also of the old ones, are so.
pub fn has_majorities(membership: &Membership, is_so: impl Fn(NodeId) -> bool) -> bool {
    let majority = |voters: Vec<NodeId>| {
        voters.is_empty() || 2 * voters.iter().filter(|node| is_so(**node)).count() > voters.len()
    };
    let members = membership.members().iter();
    let (new, old): (Vec<_>, Vec<_>) = members
        .map(|(node, member)| (member.is_voter.then_some(*node), member.is_outgoing.then_some(*node)))
        .unzip();
    let (new, old): (Vec<_>, Vec<_>) = (new.into_iter().flatten().collect(), old.into_iter().flatten().collect());
    !new.is_empty() && majority(new) && majority(old)
}

/// No replica that lacks the entry at `committed` has the votes of its own membership, when all vote who have no more than it has.
/// Crashed nodes vote as they will when they are back; a running one may crash first.
pub fn assert_none_electable(committed: Position, replicas: &Replicas) {
    let running = replicas.values().filter_map(|replica| replica.raft.as_ref());
    for raft in running.filter(|raft| lacks(raft, committed)) {
        let last = raft.log().last();
        let would_vote = |node| node == raft.id() || replicas.get(&node).is_some_and(|voter| voter.disk.last() <= last);
        assert!(
            !has_majorities(raft.membership(), would_vote),
            "node {} lacks the committed entry {}@{}, and could be elected",
            raft.id(),
            committed.index,
            committed.term
        );
    }
}

fn lacks(raft: &Raft, committed: Position) -> bool {
    committed.index > raft.log().base().index && raft.log().term_at(committed.index) != Some(committed.term)
}
