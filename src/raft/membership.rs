//! Who belongs to a partition, who of them votes, and what a quorum is while that changes.
//!
//! Changes of voters go through a *joint* membership, in which every decision needs a majority of the old voters and a majority of the new
//! ones (Raft section 6), so that two disjoint majorities never exist. Learners get every entry and count for nothing. A membership is in
//! force on a replica from the moment its entry is in the log, committed or not.
//!
//! Node ids only grow: a removed node's id is never used again, so that nobody takes a new node for a removed one. This file knows what is a
//! legal step from one membership to the next; when a step may be taken is the leader's business ([`super::reconfigure`]).

mod codec;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use crate::config::PRIORITY_DEFAULT;
use crate::limits;
use crate::mutants::{self, Mutant};
use crate::raft::quorum::{Quorum, Tally};
use crate::types::{NodeId, PartitionId};

pub use codec::{MembershipError, is_membership};

/// One node of a membership.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Member {
    /// Where its peers reach it.
    pub address: String,
    /// Of the voters, those of the highest priority lead where they can.
    pub priority: u8,
    /// It votes from now on.
    pub is_voter: bool,
    /// It voted before the change that is under way. Never set outside of a joint membership.
    pub is_outgoing: bool,
}

/// What a node is to a partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Standing {
    /// It votes.
    Voter,
    /// It gets every entry, and does not vote.
    Learner,
    /// It votes until the change that is under way is done.
    Leaving,
}

/// The members of a partition.
///
/// - At most [`limits::NODES_MAX`] members.
/// - In a joint membership there are old and new voters; else there are no old ones.
/// - No member has an id above `id_max`; an id at or below it that is no member was removed, or never came.
/// - Empty only on a node that waits to be added: it neither votes for itself nor counts for anybody.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Membership {
    members: BTreeMap<NodeId, Member>,
    is_joint: bool,
    id_max: NodeId,
    /// What each decision needs a majority of: none, the voters, or new and old voters.
    quorums: Vec<Quorum>,
}

/// One step, as somebody asks for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// Adds a node that gets everything and votes not yet.
    AddLearner {
        /// Who.
        node: NodeId,
        /// Where its peers reach it.
        address: String,
        /// See [`Member::priority`].
        priority: u8,
    },
    /// Makes a learner a voter.
    Promote {
        /// Who.
        node: NodeId,
    },
    /// Removes a node, for good.
    Remove {
        /// Who.
        node: NodeId,
    },
    /// A member is reached at another address, or has another priority.
    Update {
        /// Who.
        node: NodeId,
        /// Where its peers reach it.
        address: String,
        /// See [`Member::priority`].
        priority: u8,
    },
}

/// Why a change is not a legal step. Definite: nothing was appended.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ChangeError {
    /// The id is not above every id that was ever given.
    #[error("node id {node} cannot be given: ids only grow, and {id_max} is the highest so far; use {next} or more", next = id_max.0 + 1)]
    IdUsed {
        /// The id.
        node: NodeId,
        /// The highest so far.
        id_max: NodeId,
    },
    /// The node is no member.
    #[error("node {0} is not a member")]
    NotMember(NodeId),
    /// Nobody would be left to vote.
    #[error("node {0} is the last voter and cannot be removed")]
    LastVoter(NodeId),
    /// There are as many members as there may be.
    #[error("the cluster has {max} nodes, which is the most; remove one first", max = limits::NODES_MAX)]
    Full,
    /// Another member is reached there.
    #[error("node {node} is already reached at {address}; give every node an address of its own")]
    AddressUsed {
        /// The other member.
        node: NodeId,
        /// The address.
        address: String,
    },
    /// An address over the limit, or none.
    #[error("the address {0:?} cannot be used; give HOST:PORT of at most {max} bytes", max = limits::ADDRESS_BYTES_MAX)]
    Address(String),
}

impl Membership {
    /// A membership of voters alone, each with its address, all of the same priority. With none, that of a node which waits to be added.
    #[must_use]
    pub fn of_voters(voters: impl IntoIterator<Item = (NodeId, String)>) -> Self {
        let voter = |(node, address)| {
            let member = Member {
                address,
                priority: PRIORITY_DEFAULT,
                is_voter: true,
                is_outgoing: false,
            };
            (node, member)
        };
        let members: BTreeMap<_, _> = voters.into_iter().map(voter).collect();
        let id_max = members.keys().next_back().copied().unwrap_or_default();
        Self::new(members, false, id_max)
    }

    fn new(members: BTreeMap<NodeId, Member>, is_joint: bool, id_max: NodeId) -> Self {
        let of = |wanted: fn(&Member) -> bool| {
            let nodes: Vec<_> = members
                .iter()
                .filter(|(_, member)| wanted(member))
                .map(|(node, _)| *node)
                .collect();
            (!nodes.is_empty()).then(|| Quorum::new(nodes))
        };
        let voters = if mutants::on(Mutant::LearnerVotes) {
            of(|_| true)
        } else {
            of(|member| member.is_voter)
        };
        let quorums = voters
            .into_iter()
            .chain(of(|member| member.is_outgoing && !mutants::on(Mutant::NewVotersAlone)))
            .collect();
        Self {
            members,
            is_joint,
            id_max,
            quorums,
        }
    }

    /// Every member, in the order of ids.
    #[must_use]
    pub const fn members(&self) -> &BTreeMap<NodeId, Member> {
        &self.members
    }

    /// Whether a change of voters is under way.
    #[must_use]
    pub const fn is_joint(&self) -> bool {
        self.is_joint
    }

    /// The highest id that was ever given.
    #[must_use]
    pub const fn id_max(&self) -> NodeId {
        self.id_max
    }

    /// What `node` is here; none when it is no member.
    #[must_use]
    pub fn standing(&self, node: NodeId) -> Option<Standing> {
        let member = self.members.get(&node)?;
        Some(match (member.is_voter, member.is_outgoing) {
            (true, _) => Standing::Voter,
            (false, true) => Standing::Leaving,
            (false, false) => Standing::Learner,
        })
    }

    /// Whether `node` was a member and is none any more.
    #[must_use]
    pub fn was_removed(&self, node: NodeId) -> bool {
        node <= self.id_max && !self.members.contains_key(&node)
    }

    /// Whether `node` has a vote, new or old.
    #[must_use]
    pub fn has_vote(&self, node: NodeId) -> bool {
        self.quorums.iter().any(|quorum| quorum.contains(node))
    }

    /// Whether `node` is the only one who has a vote.
    #[must_use]
    pub fn is_alone(&self, node: NodeId) -> bool {
        matches!(&self.quorums[..], [only] if only.voters() == [node])
    }

    /// Everybody who has a vote, new or old.
    pub fn voters(&self) -> impl Iterator<Item = NodeId> + '_ {
        let votes = |member: &Member| member.is_voter || member.is_outgoing;
        self.members
            .iter()
            .filter(move |(_, member)| votes(member))
            .map(|(node, _)| *node)
    }

    /// Who of the voters should lead `partition` where it can: one of the highest priority, another one for each next partition.
    #[must_use]
    pub fn preferred_leader(&self, partition: PartitionId) -> Option<NodeId> {
        let voters = || self.members.iter().filter(|(_, member)| member.is_voter);
        let highest = voters().map(|(_, member)| member.priority).max()?;
        let candidates: Vec<_> = voters().filter(|(_, member)| member.priority == highest).collect();
        Some(*candidates[partition.0 as usize % candidates.len()].0)
    }

    /// The greatest value that every majority has reached or passed, where `value` tells what each voter has reached.
    ///
    /// # Panics
    /// When nobody has a vote.
    #[must_use]
    pub fn reached<T: Ord + Copy>(&self, value: impl Fn(NodeId) -> T) -> T {
        let reached = self.quorums.iter().map(|quorum| quorum.reached(&value)).min();
        reached.expect("somebody votes where something is decided")
    }

    /// How an election with these votes stands. Votes of others than voters do not count.
    #[must_use]
    pub fn tally(&self, votes: &BTreeMap<NodeId, bool>) -> Tally {
        let tallies = || self.quorums.iter().map(|quorum| quorum.tally(votes));
        if tallies().any(|tally| tally == Tally::Lost) || self.quorums.is_empty() {
            Tally::Lost
        } else if tallies().all(|tally| tally == Tally::Won) {
            Tally::Won
        } else {
            Tally::Open
        }
    }

    /// The membership after `change`: joint, if voters change. `None` when the change is made already.
    ///
    /// # Errors
    /// [`ChangeError`] when it is no legal step.
    ///
    /// # Panics
    /// In a joint membership: one change at a time.
    pub fn after(&self, change: &Change) -> Result<Option<Self>, ChangeError> {
        assert!(!self.is_joint, "one change of voters at a time");
        match change {
            Change::AddLearner {
                node,
                address,
                priority,
            } => self.after_adding(*node, address, *priority),
            Change::Promote { node } => self.after_promoting(*node),
            Change::Remove { node } => self.after_removing(*node),
            Change::Update {
                node,
                address,
                priority,
            } => self.after_updating(*node, address, *priority),
        }
    }

    fn after_adding(&self, node: NodeId, address: &str, priority: u8) -> Result<Option<Self>, ChangeError> {
        if self.members.contains_key(&node) {
            return self.after_updating(node, address, priority);
        }
        if node <= self.id_max {
            let id_max = self.id_max;
            return Err(ChangeError::IdUsed { node, id_max });
        }
        if self.members.len() >= limits::NODES_MAX {
            return Err(ChangeError::Full);
        }
        self.check_address(node, address)?;
        let mut members = self.members.clone();
        members.insert(
            node,
            Member {
                address: address.to_owned(),
                priority,
                is_voter: false,
                is_outgoing: false,
            },
        );
        Ok(Some(Self::new(members, false, node)))
    }

    fn after_promoting(&self, node: NodeId) -> Result<Option<Self>, ChangeError> {
        match self.standing(node).ok_or(ChangeError::NotMember(node))? {
            Standing::Voter => Ok(None),
            _ => Ok(Some(self.joint_with(node, true))),
        }
    }

    fn after_removing(&self, node: NodeId) -> Result<Option<Self>, ChangeError> {
        match self.standing(node) {
            None if node <= self.id_max => Ok(None),
            None => Err(ChangeError::NotMember(node)),
            Some(Standing::Voter) if self.is_alone(node) => Err(ChangeError::LastVoter(node)),
            Some(Standing::Voter) => Ok(Some(self.joint_with(node, false))),
            Some(_) => {
                let mut members = self.members.clone();
                members.remove(&node);
                Ok(Some(Self::new(members, false, self.id_max)))
            }
        }
    }

    fn after_updating(&self, node: NodeId, address: &str, priority: u8) -> Result<Option<Self>, ChangeError> {
        self.check_address(node, address)?;
        let mut members = self.members.clone();
        let member = members.get_mut(&node).ok_or(ChangeError::NotMember(node))?;
        let updated = Member {
            address: address.to_owned(),
            priority,
            ..member.clone()
        };
        if *member == updated {
            return Ok(None);
        }
        *member = updated;
        Ok(Some(Self::new(members, false, self.id_max)))
    }

    fn check_address(&self, node: NodeId, address: &str) -> Result<(), ChangeError> {
        if address.is_empty() || address.len() > limits::ADDRESS_BYTES_MAX {
            return Err(ChangeError::Address(address.to_owned()));
        }
        let other = self
            .members
            .iter()
            .find(|(other, member)| **other != node && member.address == address);
        match other {
            Some((&node, _)) => Err(ChangeError::AddressUsed {
                node,
                address: address.to_owned(),
            }),
            None => Ok(()),
        }
    }

    /// The joint membership on the way to `node` being a voter or not.
    fn joint_with(&self, node: NodeId, is_voter: bool) -> Self {
        let mut members = self.members.clone();
        for (id, member) in &mut members {
            member.is_outgoing = member.is_voter;
            if *id == node {
                member.is_voter = is_voter;
            }
        }
        Self::new(members, true, self.id_max)
    }

    /// The membership that a joint one leads to: new voters and learners stay, and who only had an old vote is gone.
    ///
    /// # Panics
    /// When this one is not joint.
    #[must_use]
    pub fn after_joint(&self) -> Self {
        assert!(self.is_joint, "only a joint membership leads to another");
        let mut members = self.members.clone();
        members.retain(|_, member| member.is_voter || !member.is_outgoing);
        members.values_mut().for_each(|member| member.is_outgoing = false);
        Self::new(members, false, self.id_max)
    }
}
