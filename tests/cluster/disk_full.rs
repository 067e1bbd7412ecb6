//! A disk that runs full: the node says so and stops, and what it acknowledged is there when space returns.

use std::time::Duration;

use kapu::types::NodeId;

use crate::harness::Cluster;
use crate::ledger::Ledger;
use crate::load::Load;

/// Enough to start, not enough for the load.
const DISK_BLOCKS: u32 = 1024;
const WORKERS: u64 = 32;
/// Requests to a node that has stopped are not waited for long.
const GIVE_UP: Duration = Duration::from_millis(500);

/// A node whose disk has failed must not go on answering, nor try the same write again and take its success for durability.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_on_a_full_disk_stops_with_code_74_and_nothing_acknowledged_is_lost() {
    let mut cluster = Cluster::start(1).await;
    let node = NodeId(1);
    assert_eq!(cluster.terminate(node).await, Some(0));
    cluster.start_with_small_disk(node, DISK_BLOCKS);
    cluster.ready().await;

    let ledger = Ledger::default();
    let load = Load::start(&cluster.client().await.with_timeout(GIVE_UP), &ledger, WORKERS);
    assert_eq!(cluster.exit(node).await, Some(74), "{}", cluster.log(node));
    load.stop().await;
    let last = cluster.log(node).lines().last().unwrap_or_default().to_owned();
    assert!(last.starts_with("kapu: ") && last.contains(".redb"), "{last}");

    cluster.start_node(node);
    cluster.ready().await;
    ledger.check(&cluster.client().await).await;
}
