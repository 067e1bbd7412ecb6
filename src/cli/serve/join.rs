//! `kapu serve --join`: what a new node must know before it can start, and the care that it takes its place.

use std::time::Duration;

use crate::cli::exit::{Exit, Failure};
use crate::cli::output::note;
use crate::cli::settings::ServeConfig;
use crate::client::Client;
use crate::clock::{Clock, SystemClock};
use crate::env::Env;
use crate::node::{Node, NodeFailure};
use crate::storage;
use crate::types::NodeId;

/// Between two rounds of questions to a cluster that does not answer.
const PAUSE: Duration = Duration::from_secs(1);

/// The settings of a node that joins, with what only the cluster knows: its name and the number of its partitions. A node that has data knows both.
/// Waits until somebody of the cluster answers.
///
/// # Errors
/// [`Failure`] when the data directory or an endpoint cannot be used.
pub async fn complete(mut config: ServeConfig, env: &Env) -> Result<ServeConfig, Failure> {
    let Some(endpoints) = &config.join else {
        return Ok(config);
    };
    let known = storage::stored_identity(env).map_err(|error| Failure::new(Exit::No, error))?;
    let (cluster, partitions) = match known {
        Some(known) => known,
        None => ask(&client(endpoints.clone()).await?).await,
    };
    config.node.cluster = cluster;
    config.node.partitions = partitions;
    Ok(config)
}

/// The cluster's name and the number of its partitions, from whoever answers first.
async fn ask(client: &Client) -> (String, u32) {
    let mut told = false;
    loop {
        let answers = client.status().await;
        let statuses = answers.iter().filter_map(|(_, answer)| answer.as_ref().ok());
        for status in statuses {
            if let Ok(partitions) = u32::try_from(status.partitions.len()) {
                return (status.cluster.clone(), partitions);
            }
        }
        if !std::mem::replace(&mut told, true) {
            let reasons = answers.iter().filter_map(|(_, answer)| answer.as_ref().err());
            let reasons: Vec<_> = reasons.map(ToString::to_string).collect();
            note(format_args!("waiting for the cluster to join: {}", reasons.join("; ")));
        }
        SystemClock.sleep(PAUSE).await;
    }
}

/// Takes the node's place in every partition where it has it not yet. Never returns when all is well; with the words of a node that was removed and
/// with [`Exit::Yes`] when it was, before its peers have told it.
///
/// # Errors
/// [`Failure`] when the cluster refuses the node for good.
pub async fn settle(config: &ServeConfig, node: &Node) -> Result<Exit, Failure> {
    let handle = node.handle();
    if !handle.unsettled().is_empty() {
        let mut endpoints = vec![config.node.client_address.clone()];
        endpoints.extend(config.join.clone().unwrap_or_default());
        let client = client(endpoints).await?;
        if let Err(error) = handle.join(&client, &|words| note(words)).await {
            if handle.was_member() && was_removed(config.node.node_id, &client).await {
                note(NodeFailure::Removed);
                return Ok(Exit::Yes);
            }
            let message = format_args!("this node cannot take its place: {error}");
            return Err(Failure::new(Exit::No, message));
        }
    }
    std::future::pending().await
}

/// Whether any node says that every partition has removed `node`.
async fn was_removed(node: NodeId, client: &Client) -> bool {
    let answers = client.status().await;
    let mut statuses = answers.iter().filter_map(|(_, answer)| answer.as_ref().ok());
    statuses.any(|status| {
        let mut partitions = status.partitions.iter();
        partitions.all(|partition| partition.membership.was_removed(node))
    })
}

async fn client(endpoints: Vec<String>) -> Result<Client, Failure> {
    let client = Client::connect(endpoints).await;
    client.map_err(|error| Failure::new(Exit::Usage, error))
}
