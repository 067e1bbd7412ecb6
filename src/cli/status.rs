//! `kapu status`: every node and every partition on one page.
//!
//! Exit 0 when every partition has a leader, 1 when one has none, 69 when no node answers.

use std::time::Duration;

use serde::Serialize;

use crate::cli::exit::{Exit, Failure};
use crate::cli::output::{Output, Report, table};
use crate::cli::view::{ClusterView, NodeView, look};
use crate::client::Client;
use crate::limits;
use crate::status::PartitionStatus;
use crate::types::NodeId;

/// Asks every node and prints what is known.
///
/// # Errors
/// [`Failure`] when no node answers.
pub async fn run(client: &Client, timeout: Duration, output: Output) -> Result<Exit, Failure> {
    let view = look(client, timeout).await;
    if view.statuses().next().is_none() {
        let reasons = view.nodes.iter().filter_map(|node| node.state.as_ref().err()).cloned();
        let reasons = reasons.collect::<Vec<_>>().join("; ");
        return Err(Failure::new(
            Exit::Unreachable,
            format_args!("no node answers within {timeout:?}: {reasons}"),
        ));
    }
    output.print(&Page::of(&view))?;
    Ok(if view.is_ready() { Exit::Yes } else { Exit::No })
}

/// What is printed.
#[derive(Debug, Serialize)]
struct Page {
    cluster: String,
    partitions: usize,
    partitions_led: usize,
    nodes: Vec<NodeRow>,
}

#[derive(Debug, Serialize)]
struct NodeRow {
    /// Absent for an endpoint that never answered and that no node knows.
    #[serde(skip_serializing_if = "Option::is_none")]
    node: Option<u64>,
    address: String,
    reachable: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
    partitions: Vec<ReplicaRow>,
    /// Peers whose clock this node does not follow.
    clocks_ahead: Vec<ClockRow>,
}

#[derive(Debug, Serialize)]
struct ClockRow {
    node: u64,
    /// Milliseconds.
    by_ms: u64,
}

#[derive(Debug, Serialize)]
struct ReplicaRow {
    partition: u32,
    role: &'static str,
    leader: Option<u64>,
    term: u64,
    last: u64,
    commit: u64,
    applied: u64,
    durable: u64,
    /// When its leader made the last applied entry.
    applied_at: Option<String>,
}

impl Page {
    fn of(view: &ClusterView) -> Self {
        Self {
            cluster: view
                .statuses()
                .next()
                .map(|status| status.cluster.clone())
                .unwrap_or_default(),
            partitions: view.partitions().len(),
            partitions_led: view.led(),
            nodes: view.nodes.iter().map(NodeRow::of).collect(),
        }
    }

    fn node_table(&self) -> String {
        let mut rows = vec![["NODE", "ADDRESS", "STATE"].map(String::from).to_vec()];
        for row in &self.nodes {
            let state = row
                .error
                .as_ref()
                .map_or_else(|| "up".to_owned(), |error| format!("not reachable: {error}"));
            rows.push(vec![number(row.node), row.address.clone(), state]);
        }
        table(&rows)
    }

    fn partition_table(&self) -> String {
        const HEAD: [&str; 10] = [
            "PARTITION",
            "NODE",
            "ROLE",
            "LEADER",
            "TERM",
            "LAST",
            "COMMIT",
            "APPLIED",
            "DURABLE",
            "APPLIED AT",
        ];
        let replicas = self
            .nodes
            .iter()
            .flat_map(|row| row.partitions.iter().map(|replica| (row.node, replica)));
        let mut replicas: Vec<_> = replicas.collect();
        replicas.sort_by_key(|(node, replica)| (replica.partition, *node));
        let mut rows = vec![HEAD.map(String::from).to_vec()];
        rows.extend(replicas.into_iter().map(|(node, replica)| replica.cells(node)));
        table(&rows)
    }

    /// One line for each clock that is not followed.
    fn warnings(&self) -> String {
        let warn = |row: &NodeRow, clock: &ClockRow| {
            format!(
                "warning: the wall clock of node {} is {} ms ahead of that of node {} ({} ms are followed). One of the two is wrong. No lease \
                 depends on it; times shown here do.\n",
                clock.node,
                clock.by_ms,
                number(row.node),
                limits::HLC_AHEAD_MS_MAX
            )
        };
        let clocks = self
            .nodes
            .iter()
            .flat_map(|row| row.clocks_ahead.iter().map(move |clock| (row, clock)));
        clocks.map(|(row, clock)| warn(row, clock)).collect()
    }
}

impl NodeRow {
    fn of(view: &NodeView) -> Self {
        let partitions = view
            .state
            .as_ref()
            .map(|status| status.partitions.as_slice())
            .unwrap_or_default();
        let clocks = view
            .state
            .as_ref()
            .map(|status| status.clocks_ahead.as_slice())
            .unwrap_or_default();
        Self {
            node: view.node.map(|node| node.0),
            address: view.address.clone(),
            reachable: view.state.is_ok(),
            error: view.state.as_ref().err().cloned(),
            partitions: partitions.iter().map(ReplicaRow::of).collect(),
            clocks_ahead: clocks.iter().map(ClockRow::of).collect(),
        }
    }
}

impl ClockRow {
    fn of(&(NodeId(node), by_ms): &(NodeId, u64)) -> Self {
        Self { node, by_ms }
    }
}

impl ReplicaRow {
    fn of(status: &PartitionStatus) -> Self {
        Self {
            partition: status.partition.0,
            role: status.role.as_str(),
            leader: status.leader.map(|NodeId(node)| node),
            term: status.term.0,
            last: status.last.0,
            commit: status.commit.0,
            applied: status.applied.0,
            durable: status.durable.0,
            applied_at: status.applied_at.map(|hlc| hlc.to_string()),
        }
    }

    fn cells(&self, node: Option<u64>) -> Vec<String> {
        let indexes = [self.term, self.last, self.commit, self.applied, self.durable].map(|index| index.to_string());
        let mut cells = vec![
            self.partition.to_string(),
            number(node),
            self.role.to_owned(),
            number(self.leader),
        ];
        cells.extend(indexes);
        cells.push(self.applied_at.clone().unwrap_or_else(|| "-".to_owned()));
        cells
    }
}

/// A number, or a dash where there is none.
fn number(number: Option<u64>) -> String {
    number.map_or_else(|| "-".to_owned(), |number| number.to_string())
}

impl Report for Page {
    fn text(&self) -> String {
        let leaders = format!(
            "cluster {}: {} of {} partitions have a leader",
            self.cluster, self.partitions_led, self.partitions
        );
        let warnings = self.warnings();
        let gap = if warnings.is_empty() { "" } else { "\n" };
        let (nodes, partitions) = (self.node_table(), self.partition_table());
        format!("{leaders}\n\n{nodes}\n{partitions}{gap}{warnings}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::view::tests::status;
    use crate::raft::Role;

    fn page() -> Page {
        let mut one = status(1, &[(Role::Leader, 2), (Role::Follower, 3)]);
        one.clocks_ahead = vec![(NodeId(3), 3_600_000)];
        one.partitions[1].applied_at = None;
        let two = status(2, &[(Role::Follower, 2), (Role::Leader, 3)]);
        let answers = vec![
            ("h1:1".into(), Ok(one)),
            ("h2:1".into(), Ok(two)),
            ("h3:1".into(), Err("connection refused".into())),
        ];
        Page::of(&ClusterView::of(answers))
    }

    #[test]
    fn the_text_lists_every_node_and_every_replica() {
        let expected = "\
cluster kapu: 2 of 2 partitions have a leader

NODE  ADDRESS  STATE
1     h1:1     up
2     h2:1     up
3     h3:1     not reachable: connection refused

PARTITION  NODE  ROLE      LEADER  TERM  LAST  COMMIT  APPLIED  DURABLE  APPLIED AT
0          1     leader    1       2     9     8       7        9        2026-11-26T10:00:00.123Z+7
0          2     follower  -       2     9     8       7        9        2026-11-26T10:00:00.123Z+7
1          1     follower  -       3     9     8       7        9        -
1          2     leader    2       3     9     8       7        9        2026-11-26T10:00:00.123Z+7

warning: the wall clock of node 3 is 3600000 ms ahead of that of node 1 (1000 ms are followed). One of the two is wrong. No lease depends \
on it; times shown here do.
";
        assert_eq!(page().text(), expected);
    }

    #[test]
    fn the_json_lists_the_same() {
        let json: serde_json::Value = serde_json::to_value(page()).unwrap();
        assert_eq!(json["partitions"], 2);
        assert_eq!(json["partitions_led"], 2);
        let first = serde_json::json!({
            "partition": 0, "role": "leader", "leader": 1, "term": 2, "last": 9, "commit": 8, "applied": 7, "durable": 9,
            "applied_at": "2026-11-26T10:00:00.123Z+7"
        });
        assert_eq!(
            json["nodes"][0]["clocks_ahead"],
            serde_json::json!([{"node": 3, "by_ms": 3_600_000}])
        );
        assert_eq!(json["nodes"][0]["partitions"][0], first);
        let down = serde_json::json!({
            "node": 3, "address": "h3:1", "reachable": false, "error": "connection refused", "partitions": [],
            "clocks_ahead": []
        });
        assert_eq!(json["nodes"][2], down);
    }
}
