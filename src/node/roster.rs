//! Who belongs to the cluster, as this node knows it: gathered from the memberships of its partitions, and from what peers say of themselves.
//!
//! From it follows whom this node sends to and at which address, whose frames are not welcome any more, and when this node itself is out: a node
//! that every partition has removed has nothing left to do. It decides nothing about who belongs: that is in the logs.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard};

use crate::config::NodeConfig;
use crate::limits;
use crate::mutants::{self, Mutant};
use crate::network::{Peers, Roster};
use crate::node::NodeFailure;
use crate::node::failure::FailureCell;
use crate::partition::Members;
use crate::raft::Member;
use crate::types::{NodeId, PartitionId};

/// The members of all partitions.
pub struct NodeRoster {
    own: NodeId,
    /// What the settings say of where nodes are.
    told: BTreeMap<NodeId, String>,
    peers: Peers,
    failure: FailureCell,
    state: Mutex<State>,
}

struct State {
    /// By partition; none until it is known.
    partitions: Vec<Option<Members>>,
    /// What peers said last of where they are.
    heard: BTreeMap<NodeId, String>,
}

impl NodeRoster {
    /// Of the node with these settings, which sends by `peers` and fails by `failure`.
    #[must_use]
    pub fn new(config: &NodeConfig, peers: Peers, failure: FailureCell) -> Self {
        let state = State {
            partitions: (0..config.partitions).map(|_| None).collect(),
            heard: BTreeMap::new(),
        };
        Self {
            own: config.node_id,
            told: mutants::either(Mutant::SettingsUnheeded, BTreeMap::new(), config.voters.clone()),
            peers,
            failure,
            state: Mutex::new(state),
        }
    }

    /// The ways to the peers.
    #[must_use]
    pub const fn peers(&self) -> &Peers {
        &self.peers
    }

    /// These memberships count in `partition` now.
    pub fn set(&self, partition: PartitionId, members: Members) {
        let mut state = self.lock();
        state.partitions[partition.0 as usize] = Some(members);
        if state.was_removed(self.own) {
            self.failure.set(NodeFailure::Removed);
        }
        self.open_ways(&state);
    }

    fn open_ways(&self, state: &State) {
        let mut addresses = state.addresses(&self.told);
        addresses.remove(&self.own);
        self.peers.set(&addresses);
    }

    /// Every member of any partition with its address, this node included.
    #[must_use]
    pub fn members(&self) -> BTreeMap<NodeId, Member> {
        let state = self.lock();
        let members = state.newest().flat_map(|members| members.newest.members());
        members.map(|(node, member)| (*node, member.clone())).collect()
    }

    /// The partitions in which `node` is no voter at this address and of this priority.
    #[must_use]
    pub fn unsettled(&self, node: NodeId, address: &str, priority: u8) -> Vec<PartitionId> {
        let is_settled = |members: &Members| {
            let member = members.applied.members().get(&node);
            member.is_some_and(|member| member.is_voter && member.address == address && member.priority == priority)
        };
        let state = self.lock();
        let partitions = (0..).map(PartitionId).zip(&state.partitions);
        let unsettled = partitions.filter(|(_, members)| !members.as_ref().is_some_and(is_settled));
        unsettled.map(|(partition, _)| partition).collect()
    }

    /// Whether `node` has ever been a member of any partition, as far as that is known here.
    #[must_use]
    pub fn was_member(&self, node: NodeId) -> bool {
        let state = self.lock();
        let was_member = |members: &Members| [&members.newest, &members.applied].iter().any(|m| node <= m.id_max());
        state.newest().any(was_member)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("nobody panics while holding it")
    }
}

impl Roster for NodeRoster {
    fn was_removed(&self, node: NodeId) -> bool {
        self.lock().was_removed(node)
    }

    fn heard(&self, node: NodeId, address: &str) {
        let mut state = self.lock();
        let is_news = state.heard.get(&node).is_none_or(|known| known != address);
        let is_known = state.heard.contains_key(&node) || state.heard.len() < limits::PEERS_HEARD_MAX;
        if is_news && is_known && !address.is_empty() {
            state.heard.insert(node, address.to_owned());
            self.open_ways(&state);
        }
    }
}

impl State {
    fn newest(&self) -> impl Iterator<Item = &Members> {
        self.partitions.iter().flatten()
    }

    /// Removed by every partition, as far as that is applied.
    fn was_removed(&self, node: NodeId) -> bool {
        let is_out =
            |members: &Members| members.applied.was_removed(node) && !members.newest.members().contains_key(&node);
        self.partitions
            .iter()
            .all(|members| members.as_ref().is_some_and(is_out))
    }

    /// Where everybody may be, the likeliest first: members, and who has been heard although it is no member here yet. What a node says of
    /// itself counts for more than what a membership says, which may be older. What is `told` of a member counts least, and helps where nodes
    /// have moved that cannot find each other to say so.
    fn addresses(&self, told: &BTreeMap<NodeId, String>) -> BTreeMap<NodeId, Vec<String>> {
        let heard = self.heard.iter().filter(|(node, _)| !self.was_removed(**node));
        let of_members = self.newest().flat_map(|members| {
            let both = members.newest.members().iter().chain(members.applied.members());
            both.map(|(node, member)| (node, &member.address))
        });
        let mut all = BTreeMap::<NodeId, Vec<String>>::new();
        for (node, address) in heard.chain(of_members) {
            let addresses = all.entry(*node).or_default();
            if !addresses.contains(address) {
                addresses.push(address.clone());
            }
        }
        for (node, addresses) in &mut all {
            let told = told.get(node).filter(|told| !addresses.contains(told));
            addresses.extend(told.cloned());
        }
        all
    }
}
