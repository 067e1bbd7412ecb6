//! The client over a cluster that breaks on command, in a world with its own time.
//!
//! One file a subject: routes and errors, acquisition, guards, and a sweep over seeds. The gRPC caller has tests of its own beside it.

#![expect(clippy::unwrap_used, reason = "helpers of tests are tests")]

#[path = "client/acquisition.rs"]
mod acquisition;
#[path = "client/attempts.rs"]
mod attempts;
#[path = "client/cluster.rs"]
mod cluster;
#[path = "client/executor.rs"]
mod executor;
#[path = "client/guards.rs"]
mod guards;
#[path = "client/sweep.rs"]
mod sweep;

use std::sync::Arc;
use std::time::Duration;

use kapu::client::{Client, ClientEnv};
use kapu::lock::{Command, Query, Request};
use kapu::types::{Owner, Resource};

use cluster::Cluster;
use executor::{Executor, World};

const fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

/// A client that was given all three nodes.
fn client(world: &World, cluster: &Cluster, seed: u64) -> Client {
    client_of(world, cluster, seed, &["node-0:2070", "node-1:2070", "node-2:2070"])
}

fn client_of(world: &World, cluster: &Cluster, seed: u64, endpoints: &[&str]) -> Client {
    let (clock, spawn) = (Arc::new(world.clone()), Arc::new(world.clone()));
    let env = ClientEnv {
        caller: Arc::new(cluster.clone()),
        clock,
        spawn,
        seed,
    };
    Client::new(env, endpoints.iter().copied()).unwrap()
}

/// A world, a cluster of one partition led by node 0, and a client of it.
fn setup() -> (Executor, Cluster, Client) {
    let executor = Executor::new();
    let cluster = Cluster::new(&executor.world, 1, 1);
    let client = client(&executor.world, &cluster, 1);
    (executor, cluster, client)
}

fn owner(name: &str) -> Owner {
    Owner::new(name.as_bytes()).unwrap()
}

fn try_lock(name: &str, by: &str, ttl_ms: u64) -> Request {
    let (resource, owner) = (Resource::new(name).unwrap(), owner(by));
    Request::Command(Command::TryLock {
        resource,
        owner,
        ttl_ms,
    })
}

fn unlock(name: &str, by: &str) -> Request {
    let (resource, owner) = (Resource::new(name).unwrap(), owner(by));
    Request::Command(Command::Unlock { resource, owner })
}

fn get(name: &str) -> Request {
    Request::Query(Query::Get {
        resource: Resource::new(name).unwrap(),
    })
}
