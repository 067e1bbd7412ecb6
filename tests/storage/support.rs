//! What the tests of storage share: an environment, an identity, entries, writes.

use std::sync::Arc;

use bytes::Bytes;
use kapu::clock::{BoxFuture, SystemClock};
use kapu::env::{Disk, Env, FrameHandler, FrameSink, Network, NetworkError, Spawn, TokioSpawn};
use kapu::raft::{Entry, HardState, Membership, Persist, Position};
use kapu::storage::{FailureHandler, Identity, LogWrite, Options, StorageError};
use kapu::types::{Index, NodeId, PartitionId, PersistId, Term};

/// No test of storage sends anything.
struct NoNetwork;

impl Network for NoNetwork {
    fn dial(&self, _address: String) -> BoxFuture<'static, Result<Box<dyn FrameSink>, NetworkError>> {
        unreachable!("storage dials nobody")
    }

    fn listen(
        &self,
        _address: String,
        _handler: Arc<dyn FrameHandler>,
        _stop: BoxFuture<'static, ()>,
    ) -> BoxFuture<'static, Result<BoxFuture<'static, ()>, NetworkError>> {
        unreachable!("storage listens to nobody")
    }
}

/// Runs what may block as a task of the test's own runtime: one thread, one order of events.
struct TaskSpawn(tokio::runtime::Handle);

impl Spawn for TaskSpawn {
    fn spawn(&self, _name: &'static str, future: BoxFuture<'static, ()>) {
        self.0.spawn(future);
    }

    fn spawn_blocking(&self, _name: &'static str, future: BoxFuture<'static, ()>) {
        self.0.spawn(future);
    }
}

fn env(disk: Arc<dyn Disk>, spawn: Arc<dyn Spawn>) -> Env {
    Env {
        clock: Arc::new(SystemClock),
        network: Arc::new(NoNetwork),
        disk,
        spawn,
        seed: 1,
    }
}

/// An environment with threads, as in production.
pub fn env_with_threads(disk: impl Disk + 'static) -> Env {
    env(Arc::new(disk), Arc::new(TokioSpawn))
}

/// An environment without threads. Call it inside of a current-thread runtime.
pub fn env_with_tasks(disk: impl Disk + 'static) -> Env {
    env(Arc::new(disk), Arc::new(TaskSpawn(tokio::runtime::Handle::current())))
}

/// A runtime of one thread.
pub fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread()
        .build()
        .expect("a runtime without drivers")
}

/// Room for a test: garbage is collected after a few commits.
pub fn small_options() -> Options {
    Options {
        log_cache_bytes: 1 << 20,
        state_cache_bytes: 1 << 20,
        wal_blobs_max: 6,
        wal_bytes_max: 1 << 20,
        leftover_rows_max: 5,
    }
}

pub fn identity(partitions: u32) -> Identity {
    Identity {
        cluster: "test".to_owned(),
        node_id: NodeId(1),
        partitions,
        membership: membership([1, 2, 3]),
    }
}

pub fn membership(voters: impl IntoIterator<Item = u64>) -> Membership {
    let voter = |node| (NodeId(node), format!("node-{node}:1"));
    Membership::of_voters(voters.into_iter().map(voter))
}

/// A handler for tests in which nothing may fail.
pub fn no_failure() -> FailureHandler {
    Arc::new(|error: StorageError| panic!("storage failed: {error}"))
}

pub fn at(term: u64, index: u64) -> Position {
    Position {
        term: Term(term),
        index: Index(index),
    }
}

pub fn entry(term: u64, index: u64, payload: &str) -> Entry {
    Entry {
        term: Term(term),
        index: Index(index),
        payload: Bytes::copy_from_slice(payload.as_bytes()),
    }
}

pub fn hard_state(term: u64, vote: u64) -> HardState {
    HardState {
        term: Term(term),
        vote: Some(NodeId(vote)).filter(|node| node.0 > 0),
    }
}

/// A write of partition `partition`.
pub fn log_write(
    partition: u32,
    hard_state: Option<HardState>,
    entries: Vec<Entry>,
    done: impl FnOnce() + Send + 'static,
) -> LogWrite {
    LogWrite {
        partition: PartitionId(partition),
        persist: Persist {
            id: PersistId(0),
            hard_state,
            reset: None,
            entries,
        },
        done: Box::new(done),
    }
}

/// A write that replaces the log of partition `partition` by one from `position`.
pub fn log_reset(
    partition: u32,
    position: Position,
    entries: Vec<Entry>,
    done: impl FnOnce() + Send + 'static,
) -> LogWrite {
    let mut write = log_write(partition, None, entries, done);
    write.persist.reset = Some(position);
    write
}
