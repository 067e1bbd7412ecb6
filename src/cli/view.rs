//! The cluster as its nodes describe it, put together from their answers.
//!
//! A leader counts only when it says so itself, in the highest term that anybody knows of its partition: a leader that has been replaced
//! may believe in itself for a while, and followers in one that has died.

use std::collections::{BTreeMap, BTreeSet};

use crate::client::Client;
use crate::limits;
use crate::raft::Role;
use crate::status::{NodeStatus, PartitionStatus};
use crate::types::{NodeId, PartitionId};

/// What one endpoint said, or why it said nothing.
pub type Answer = (String, Result<NodeStatus, String>);

/// What is known of one node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeView {
    /// Which; `None` for an endpoint that never answered and that no node knows.
    pub node: Option<NodeId>,
    /// Where it was asked; empty when nobody knows.
    pub address: String,
    /// What it said, or why it said nothing.
    pub state: Result<NodeStatus, String>,
}

/// What is known of a cluster.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ClusterView {
    /// Every node, in order; endpoints that are not known to be a node last.
    pub nodes: Vec<NodeView>,
}

/// Asks the client's endpoints, then the nodes that those know and that were not asked yet, and so on: a node that has just started may know none but
/// its leaders, which know the rest.
pub async fn look(client: &Client, timeout: std::time::Duration) -> ClusterView {
    let mut answers = ask(client).await;
    for _ in 0..limits::NODES_MAX {
        let others = unasked(&answers);
        if others.is_empty() {
            break;
        }
        let Ok(client) = Client::connect(others).await else {
            break;
        };
        answers.extend(ask(&client.with_timeout(timeout)).await);
    }
    ClusterView::of(answers)
}

async fn ask(client: &Client) -> Vec<Answer> {
    let answers = client.status().await;
    answers
        .into_iter()
        .map(|(endpoint, answer)| (endpoint, answer.map_err(|error| error.to_string())))
        .collect()
}

/// The addresses of nodes that are known to the answers and gave none themselves.
fn unasked(answers: &[Answer]) -> BTreeSet<String> {
    let said: Vec<&NodeStatus> = answers.iter().filter_map(|(_, answer)| answer.as_ref().ok()).collect();
    let answered = |node: NodeId| said.iter().any(|status| status.node_id == node);
    let asked = |address: &str| answers.iter().any(|(endpoint, _)| host_port(endpoint) == address);
    let known = said.iter().flat_map(|status| &status.nodes);
    let others = known.filter(|info| {
        let address = &info.client_address;
        !address.is_empty() && !answered(info.node) && !asked(address)
    });
    others.map(|info| info.client_address.clone()).collect()
}

fn host_port(endpoint: &str) -> &str {
    endpoint
        .split_once("://")
        .map_or(endpoint, |(_, rest)| rest)
        .trim_end_matches('/')
}

/// Every node that any answer knows, with its address where one knows that, too.
fn known_addresses(answers: &[Answer]) -> BTreeMap<NodeId, String> {
    let mut addresses: BTreeMap<NodeId, String> = BTreeMap::new();
    let said = answers.iter().filter_map(|(_, answer)| answer.as_ref().ok());
    for info in said.flat_map(|status| &status.nodes) {
        let known = addresses.entry(info.node).or_default();
        if known.is_empty() {
            known.clone_from(&info.client_address);
        }
    }
    addresses
}

impl ClusterView {
    /// Puts answers together: each node once, whoever knows it.
    #[must_use]
    pub fn of(answers: Vec<Answer>) -> Self {
        let mut known = known_addresses(&answers);
        let mut nodes = BTreeMap::new();
        let mut silent: BTreeMap<String, String> = BTreeMap::new();
        for (endpoint, answer) in answers {
            let address = host_port(&endpoint).to_owned();
            match answer {
                Ok(status) => {
                    known.remove(&status.node_id);
                    let node = Some(status.node_id);
                    nodes.insert(
                        status.node_id,
                        NodeView {
                            node,
                            address,
                            state: Ok(status),
                        },
                    );
                }
                Err(reason) => {
                    silent.insert(address, reason);
                }
            }
        }
        for (node, address) in known {
            let reason = silent
                .remove(&address)
                .unwrap_or_else(|| "no other node knows its address yet".to_owned());
            nodes.insert(
                node,
                NodeView {
                    node: Some(node),
                    address,
                    state: Err(reason),
                },
            );
        }
        let strangers = silent.into_iter().map(|(address, reason)| NodeView {
            node: None,
            address,
            state: Err(reason),
        });
        Self {
            nodes: nodes.into_values().chain(strangers).collect(),
        }
    }

    /// What each node that answered says.
    pub fn statuses(&self) -> impl Iterator<Item = &NodeStatus> {
        self.nodes.iter().filter_map(|view| view.state.as_ref().ok())
    }

    /// Every partition that any node knows, in order.
    #[must_use]
    pub fn partitions(&self) -> BTreeSet<PartitionId> {
        self.replicas().map(|(_, replica)| replica.partition).collect()
    }

    /// Every replica with its node.
    pub fn replicas(&self) -> impl Iterator<Item = (NodeId, &PartitionStatus)> {
        self.statuses()
            .flat_map(|status| status.partitions.iter().map(|replica| (status.node_id, replica)))
    }

    /// The node that leads `partition`, by its own word and in the highest term that anybody knows.
    #[must_use]
    pub fn leader(&self, partition: PartitionId) -> Option<NodeId> {
        let mine = || self.replicas().filter(|(_, replica)| replica.partition == partition);
        let term = mine().map(|(_, replica)| replica.term).max()?;
        mine()
            .find(|(_, replica)| replica.role == Role::Leader && replica.term == term)
            .map(|(node, _)| node)
    }

    /// How many partitions have a leader.
    #[must_use]
    pub fn led(&self) -> usize {
        self.partitions()
            .into_iter()
            .filter(|&partition| self.leader(partition).is_some())
            .count()
    }

    /// Whether there are partitions and every one has a leader.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        let partitions = self.partitions().len();
        partitions > 0 && self.led() == partitions
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::hlc::Hlc;
    use crate::status::NodeInfo;
    use crate::types::{Index, Term};

    /// A node of a cluster of three, with a role and a term for each partition.
    pub fn status(node: u64, partitions: &[(Role, u64)]) -> NodeStatus {
        let address = |node| format!("h{node}:1");
        let info = |node| NodeInfo {
            node: NodeId(node),
            client_address: address(node),
            peer_address: format!("h{node}:2"),
            priority: 1,
        };
        let replica = |(id, &(role, term))| PartitionStatus {
            partition: PartitionId(u32::try_from(id).unwrap()),
            role,
            term: Term(term),
            leader: (role == Role::Leader).then_some(NodeId(node)),
            last: Index(9),
            commit: Index(8),
            applied: Index(7),
            durable: Index(9),
            base: Index(0),
            membership: std::sync::Arc::default(),
            followers: std::sync::Arc::new([]),
            applied_at: Some(Hlc(1_795_687_200_123 << 16 | 7)),
        };
        NodeStatus {
            cluster: "kapu".into(),
            node_id: NodeId(node),
            client_address: address(node),
            nodes: (1..=3).map(info).collect(),
            partitions: partitions.iter().enumerate().map(replica).collect(),
            clocks_ahead: Vec::new(),
        }
    }

    fn said(node: u64, partitions: &[(Role, u64)]) -> Answer {
        (format!("h{node}:1"), Ok(status(node, partitions)))
    }

    fn silent(endpoint: &str) -> Answer {
        (endpoint.into(), Err("connection refused".into()))
    }

    #[test]
    fn each_node_is_listed_once_and_a_silent_one_by_its_id() {
        let follower = &[(Role::Follower, 1)];
        let view = ClusterView::of(vec![
            said(2, follower),
            silent("http://h1:1"),
            said(3, follower),
            said(2, follower),
        ]);
        let nodes: Vec<_> = view
            .nodes
            .iter()
            .map(|view| (view.node, view.address.as_str(), view.state.is_ok()))
            .collect();
        assert_eq!(
            nodes,
            [
                (Some(NodeId(1)), "h1:1", false),
                (Some(NodeId(2)), "h2:1", true),
                (Some(NodeId(3)), "h3:1", true)
            ]
        );
    }

    #[test]
    fn an_endpoint_that_nobody_knows_is_listed_without_an_id() {
        let view = ClusterView::of(vec![silent("nowhere:1")]);
        assert_eq!(view.nodes.len(), 1);
        assert_eq!(
            (view.nodes[0].node, view.nodes[0].address.as_str()),
            (None, "nowhere:1")
        );
        assert!(!view.is_ready());
    }

    #[test]
    fn nodes_that_are_known_and_were_not_asked_are_asked() {
        let follower = &[(Role::Follower, 1)];
        let others: Vec<_> = unasked(&[said(1, follower), silent("h2:1")]).into_iter().collect();
        assert_eq!(others, ["h3:1"]);
        assert!(unasked(&[said(1, follower), said(2, follower), said(3, follower)]).is_empty());
    }

    #[test]
    fn a_partition_has_a_leader_when_one_says_so_itself() {
        let view = ClusterView::of(vec![
            said(1, &[(Role::Leader, 4), (Role::Follower, 2)]),
            said(2, &[(Role::Follower, 4), (Role::Follower, 2)]),
        ]);
        assert_eq!(view.leader(PartitionId(0)), Some(NodeId(1)));
        assert_eq!(view.leader(PartitionId(1)), None);
        assert_eq!((view.led(), view.is_ready()), (1, false));
    }

    #[test]
    fn a_leader_of_an_earlier_term_does_not_count() {
        let deposed = said(1, &[(Role::Leader, 4)]);
        let voter = said(2, &[(Role::Follower, 5)]);
        let elected = said(3, &[(Role::Leader, 5)]);
        assert_eq!(
            ClusterView::of(vec![deposed.clone(), voter.clone()]).leader(PartitionId(0)),
            None
        );
        let view = ClusterView::of(vec![deposed, voter, elected]);
        assert_eq!(view.leader(PartitionId(0)), Some(NodeId(3)));
        assert!(view.is_ready());
    }
}
