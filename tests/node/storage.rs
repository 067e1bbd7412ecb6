//! Storage that a user brings: used as it is given, and the node ends when it fails.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use kapu::env::Env;
use kapu::error::PartitionError;
use kapu::node::NodeFailure;
use kapu::raft::{Entry, Position};
use kapu::storage::{FailureHandler, LogStore, LogWrite, Opened, Recovered, StorageError, memory};
use kapu::types::{Index, PartitionId};

use crate::bench_top::{Cluster, P, text};

/// Another store, whose writes are counted.
struct Counted {
    store: Arc<dyn LogStore>,
    writes: Arc<AtomicU64>,
}

impl LogStore for Counted {
    fn recover(&self, partition: PartitionId) -> Result<Recovered, StorageError> {
        self.store.recover(partition)
    }

    fn write(&self, write: LogWrite) {
        self.writes.fetch_add(1, Ordering::Relaxed);
        self.store.write(write);
    }

    fn read(
        &self,
        partition: PartitionId,
        first: Index,
        last: Index,
        bytes_max: usize,
    ) -> Result<Vec<Entry>, StorageError> {
        self.store.read(partition, first, last, bytes_max)
    }

    fn compact(&self, partition: PartitionId, through: Position) {
        self.store.compact(partition, through);
    }
}

#[tokio::test]
async fn a_cluster_runs_on_stores_of_its_own() {
    let mut cluster = Cluster::of(3);
    let writes = Arc::new(AtomicU64::new(0));
    for id in 1..=3 {
        let (world, writes) = (Env::memory(&cluster.network).unwrap(), Arc::clone(&writes));
        let inside = world.clone();
        let builder = cluster.builder_in(id, world).storage(move |identity, _| {
            let opened = memory::open(&inside, identity);
            let store = Arc::clone(&opened.log);
            let log = Arc::new(Counted { store, writes });
            Ok(Opened { log, ..opened })
        });
        cluster.run(builder).await;
    }
    assert_eq!(cluster.replicate("a").await, "1");
    assert_eq!(cluster.journal().await, "a");
    assert!(writes.load(Ordering::Relaxed) > 0, "nothing went by the own store");
    cluster.close().await;
}

#[tokio::test]
async fn a_node_in_memory_that_comes_back_is_refused_like_a_wiped_disk() {
    let mut cluster = Cluster::start(2).await;
    let world = Env::memory(&cluster.network).unwrap();
    let start = |cluster: &Cluster| {
        let inside = world.clone();
        let builder = cluster.builder_in(3, world.clone());
        builder.storage(move |identity, _| Ok(memory::open(&inside, identity)))
    };
    cluster
        .run(start(&cluster))
        .await
        .join(&cluster.handles(), &drop)
        .await
        .unwrap();
    cluster.stop(3).await;
    cluster.run(start(&cluster)).await;
    let failure = cluster.node(3).failed().await;
    assert!(matches!(failure, NodeFailure::Refused(_)), "{failure}");
    cluster.close().await;
}

#[tokio::test]
async fn a_store_that_fails_ends_its_node() {
    let mut cluster = Cluster::of(1);
    let world = Env::memory(&cluster.network).unwrap();
    let (inside, handler) = (world.clone(), Arc::new(Mutex::new(None::<FailureHandler>)));
    let kept = Arc::clone(&handler);
    let builder = cluster.builder_in(1, world).storage(move |identity, on_failure| {
        *kept.lock().unwrap() = Some(on_failure);
        Ok(memory::open(&inside, identity))
    });
    let node = cluster.run(builder).await;
    cluster.leader().await;
    let error = StorageError::Io {
        file: "own".to_owned(),
        reason: "broken".to_owned(),
    };
    let report = handler.lock().unwrap().take().unwrap();
    report(error.clone());
    assert_eq!(cluster.node(1).failed().await, NodeFailure::Storage(error));
    assert_eq!(node.replicate(P, text("late")).await, Err(PartitionError::Stopping));
    cluster.close().await;
}

#[tokio::test]
async fn a_store_that_cannot_be_opened_is_no_start() {
    let cluster = Cluster::of(1);
    let error = StorageError::Io {
        file: "own".to_owned(),
        reason: "not there".to_owned(),
    };
    let told = error.clone();
    let started = cluster.builder(1).storage(move |_, _| Err(told)).start().await;
    assert_eq!(started.err().unwrap().to_string(), error.to_string());
}
