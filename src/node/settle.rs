//! How a node takes its place: it asks each partition to add it, waits until it has caught up, and asks to be made a voter.
//!
//! The same care is taken at every start of a node: one that was stopped half-way goes on, and one that has moved to another address, or was given
//! another priority, has its memberships say so. Everything that is asked for is idempotent, so nothing is remembered here.
//!
//! A node that is being removed and starts once more is refused by the partitions that are through with it. The others still count on it, so it goes
//! on until all have removed it.

use std::sync::Arc;
use std::time::Duration;

use crate::client::Client;
use crate::clock::Clock;
use crate::error::AdminError;
use crate::node::NodeHandle;
use crate::raft::Change;
use crate::types::PartitionId;

/// Between two attempts at a partition.
const PAUSE: Duration = Duration::from_millis(500);

/// Returns when the node is a voter of every partition that does not refuse it for good, at its present address and with its present priority. Asks
/// through `client`, for as long as it takes; `note` is told of progress, in words.
///
/// # Errors
/// [`AdminError`] when a partition refuses this node for good, and it is a member of no other one.
pub async fn settle(
    handle: &NodeHandle,
    client: &Client,
    clock: &Arc<dyn Clock>,
    note: &(dyn Fn(String) + Send + Sync),
) -> Result<(), AdminError> {
    let unsettled = handle.unsettled();
    let all = unsettled.len();
    for (done, partition) in unsettled.into_iter().enumerate() {
        match settle_in(partition, handle, client, clock, note).await {
            Ok(()) => note(format!("a voter of partition {partition} ({} of {all})", done + 1)),
            Err(error) if handle.is_member() => {
                note(format!(
                    "no voter of partition {partition}, and a member of others: {error}"
                ));
            }
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

async fn settle_in(
    partition: PartitionId,
    handle: &NodeHandle,
    client: &Client,
    clock: &Arc<dyn Clock>,
    note: &(dyn Fn(String) + Send + Sync),
) -> Result<(), AdminError> {
    let mut said = String::new();
    for change in steps(handle) {
        while let Err(error) = client.change_member(partition, change.clone()).await {
            if !error.is_retryable() {
                return Err(error);
            }
            let words = format!("not a voter of partition {partition} yet: {error}");
            if words != said {
                note(words.clone());
                said = words;
            }
            clock.sleep(PAUSE).await;
        }
    }
    Ok(())
}

fn steps(handle: &NodeHandle) -> [Change; 2] {
    let (node, address, priority) = handle.own_place();
    [
        Change::AddLearner {
            node,
            address,
            priority,
        },
        Change::Promote { node },
    ]
}
