//! `kapu node` and `kapu partition`: who belongs to the cluster, and who leads.
//!
//! What is listed is what the leaders say: they alone know how far the others are. Changes go partition by partition, each until it is committed;
//! a command that was broken off is simply given again.

use std::collections::BTreeMap;
use std::time::Duration;

use clap::Subcommand;
use serde::Serialize;

use crate::cli::exit::{Exit, Failure};
use crate::cli::output::{Output, Report, note, table};
use crate::cli::view::{ClusterView, look};
use crate::client::Client;
use crate::error::AdminError;
use crate::raft::{Change, Standing};
use crate::status::PartitionStatus;
use crate::types::{NodeId, PartitionId};

/// What to do with nodes.
#[derive(Debug, Subcommand)]
pub enum NodeCommand {
    /// List every node: what it is in each partition, and whether it has caught up
    List,
    /// Remove a node for good, and return when it is done; it then says so and ends by itself
    #[command(after_help = "Example:
  kapu node remove 2 --timeout 1m

Its id is never used again. To replace a dead node: start a new one with `kapu serve --node-id N --join ADDR`, wait until `kapu node list` says
that it is a voter, then remove the dead one. Exits 0 when every partition has removed it, 1 when that cannot be done, 69 when the time
was over before: then give the command again.")]
    Remove {
        /// Which node
        #[arg(value_name = "ID", value_parser = clap::value_parser!(u64).range(1..))]
        id: u64,
    },
}

/// What to do with partitions.
#[derive(Debug, Subcommand)]
pub enum PartitionCommand {
    /// List every partition: its leader and its members
    List,
    /// Hand the leadership of a partition over
    #[command(after_help = "Example:
  kapu partition transfer 0 --to 2

Leaders spread over the nodes by themselves. One that was asked for in this way stays
until it leads no more. Exits 0 when the handover has begun: `kapu partition list` says
who leads.")]
    Transfer {
        /// Which partition
        #[arg(value_name = "PARTITION")]
        partition: u32,
        /// The next leader [default: whoever is best]
        #[arg(long, value_name = "ID", value_parser = clap::value_parser!(u64).range(1..))]
        to: Option<u64>,
    },
}

/// Runs `kapu node`.
///
/// # Errors
/// [`Failure`] when nobody answers, or the change cannot be made.
pub async fn run_node(
    command: NodeCommand,
    client: &Client,
    timeout: Duration,
    output: Output,
) -> Result<Exit, Failure> {
    let view = see(client, timeout).await?;
    match command {
        NodeCommand::List => {
            output.print(&NodeList::of(&view))?;
            Ok(Exit::Yes)
        }
        NodeCommand::Remove { id } => remove(NodeId(id), &view, timeout).await,
    }
}

/// Runs `kapu partition`.
///
/// # Errors
/// As [`run_node`].
pub async fn run_partition(
    command: PartitionCommand,
    client: &Client,
    timeout: Duration,
    output: Output,
) -> Result<Exit, Failure> {
    let view = see(client, timeout).await?;
    match command {
        PartitionCommand::List => {
            output.print(&PartitionList::of(&view))?;
            Ok(Exit::Yes)
        }
        PartitionCommand::Transfer { partition, to } => {
            let client = reach(&view, timeout).await?;
            let to = client.transfer_leader(PartitionId(partition), to.map(NodeId)).await?;
            output.print(&Transferred {
                partition,
                leader: to.0,
            })?;
            Ok(Exit::Yes)
        }
    }
}

async fn see(client: &Client, timeout: Duration) -> Result<ClusterView, Failure> {
    let view = look(client, timeout).await;
    if view.statuses().next().is_none() {
        let message = format!("no node answers within {timeout:?}");
        return Err(Failure::new(Exit::Unreachable, message));
    }
    Ok(view)
}

/// A client of every node that answered: a leader may be any of them.
async fn reach(view: &ClusterView, timeout: Duration) -> Result<Client, Failure> {
    let addresses = view.nodes.iter().filter(|node| node.state.is_ok());
    let client = Client::connect(addresses.map(|node| node.address.clone())).await?;
    Ok(client.with_timeout(timeout))
}

async fn remove(node: NodeId, view: &ClusterView, timeout: Duration) -> Result<Exit, Failure> {
    let client = reach(view, timeout).await?;
    let partitions = view.partitions();
    let count = partitions.len();
    for (done, partition) in partitions.into_iter().enumerate() {
        client.change_member(partition, Change::Remove { node }).await?;
        note(format_args!("node {node} is out of {} of {count} partitions", done + 1));
    }
    Ok(Exit::Yes)
}

impl From<AdminError> for Failure {
    fn from(error: AdminError) -> Self {
        let exit = match error {
            AdminError::NoPartition(..) => Exit::Usage,
            AdminError::Refused(_) => Exit::No,
            AdminError::NotLeader(_) | AdminError::NotNow(_) | AdminError::Unreachable(_) => Exit::Unreachable,
            AdminError::Unknown(_) => Exit::Unknown,
        };
        Self::new(exit, error)
    }
}

/// What the leader of each partition says.
fn leaders(view: &ClusterView) -> impl Iterator<Item = (NodeId, &PartitionStatus)> {
    view.replicas()
        .filter(|(node, replica)| view.leader(replica.partition) == Some(*node))
}

const fn word(standing: Standing) -> &'static str {
    match standing {
        Standing::Voter => "voter",
        Standing::Learner => "learner",
        Standing::Leaving => "leaving",
    }
}

#[derive(Debug, Serialize)]
struct NodeList {
    nodes: Vec<NodeRow>,
}

/// One node over all partitions that have a leader.
#[derive(Clone, Debug, Default, Serialize)]
struct NodeRow {
    node: u64,
    peer_address: String,
    priority: u8,
    /// How many partitions it is a voter of, a learner of, and leads.
    voter: usize,
    learner: usize,
    leads: usize,
    /// It is heard by every leader.
    live: bool,
    /// The most entries that it lacks anywhere.
    lacks: u64,
}

impl NodeList {
    fn of(view: &ClusterView) -> Self {
        let mut rows: BTreeMap<NodeId, NodeRow> = BTreeMap::new();
        for (leader, replica) in leaders(view) {
            for (&node, member) in replica.membership.members() {
                let row = rows.entry(node).or_insert_with(|| NodeRow {
                    node: node.0,
                    peer_address: member.address.clone(),
                    priority: member.priority,
                    live: true,
                    ..NodeRow::default()
                });
                let is_voter = replica.membership.standing(node) == Some(Standing::Voter);
                row.voter += usize::from(is_voter);
                row.learner += usize::from(!is_voter);
                row.leads += usize::from(node == leader);
                if let Some(follower) = replica.followers.iter().find(|follower| follower.node == node) {
                    row.live &= follower.is_live;
                    row.lacks = row.lacks.max(replica.last.0.saturating_sub(follower.matched.0));
                }
            }
        }
        Self {
            nodes: rows.into_values().collect(),
        }
    }
}

impl Report for NodeList {
    fn text(&self) -> String {
        const HEAD: [&str; 8] = [
            "NODE",
            "PEER ADDRESS",
            "PRIORITY",
            "VOTER OF",
            "LEARNER OF",
            "LEADS",
            "LIVE",
            "LACKS",
        ];
        let mut rows = vec![HEAD.map(String::from).to_vec()];
        for row in &self.nodes {
            rows.push(vec![
                row.node.to_string(),
                row.peer_address.clone(),
                row.priority.to_string(),
                row.voter.to_string(),
                row.learner.to_string(),
                row.leads.to_string(),
                if row.live { "yes" } else { "no" }.to_owned(),
                row.lacks.to_string(),
            ]);
        }
        table(&rows)
    }
}

#[derive(Debug, Serialize)]
struct PartitionList {
    partitions: Vec<PartitionRow>,
}

#[derive(Debug, Serialize)]
struct PartitionRow {
    partition: u32,
    leader: u64,
    term: u64,
    /// A change of voters is under way.
    joint: bool,
    members: Vec<MemberRow>,
}

#[derive(Debug, Serialize)]
struct MemberRow {
    node: u64,
    standing: &'static str,
}

impl PartitionList {
    fn of(view: &ClusterView) -> Self {
        let row = |(leader, replica): (NodeId, &PartitionStatus)| PartitionRow {
            partition: replica.partition.0,
            leader: leader.0,
            term: replica.term.0,
            joint: replica.membership.is_joint(),
            members: replica
                .membership
                .members()
                .keys()
                .filter_map(|node| {
                    let standing = word(replica.membership.standing(*node)?);
                    Some(MemberRow { node: node.0, standing })
                })
                .collect(),
        };
        let mut partitions: Vec<_> = leaders(view).map(row).collect();
        partitions.sort_by_key(|row| row.partition);
        Self { partitions }
    }
}

impl Report for PartitionList {
    fn text(&self) -> String {
        let mut rows = vec![["PARTITION", "LEADER", "TERM", "MEMBERS"].map(String::from).to_vec()];
        for row in &self.partitions {
            let members = row.members.iter().map(|member| match member.standing {
                "voter" => member.node.to_string(),
                standing => format!("{} ({standing})", member.node),
            });
            let mut members = members.collect::<Vec<_>>().join(", ");
            if row.joint {
                members.push_str("; a change is under way");
            }
            rows.push(vec![
                row.partition.to_string(),
                row.leader.to_string(),
                row.term.to_string(),
                members,
            ]);
        }
        table(&rows)
    }
}

#[derive(Debug, Serialize)]
struct Transferred {
    partition: u32,
    leader: u64,
}

impl Report for Transferred {
    fn text(&self) -> String {
        format!("partition {} is handed over to node {}\n", self.partition, self.leader)
    }
}

#[cfg(test)]
mod tests;
