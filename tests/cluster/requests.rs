//! Requests of the tests: through the client, or to one node directly.

use std::sync::Arc;
use std::time::Duration;

use kapu::client::{CallError, Caller, Client, ClientError, GrpcCaller};
use kapu::clock::SystemClock;
use kapu::env::TokioSpawn;
use kapu::lock::{Command, Outcome, Query, Request};
use kapu::types::{FencingToken, Owner, Resource};

use crate::process::until;

pub fn name(text: &str) -> Resource {
    Resource::new(text).expect("a name of the tests")
}

pub fn owner(text: &str) -> Owner {
    Owner::new(text.as_bytes()).expect("an owner of the tests")
}

pub fn try_lock(resource: &Resource, owner: &Owner, ttl: Duration) -> Request {
    let (resource, owner) = (resource.clone(), owner.clone());
    Request::Command(Command::TryLock {
        resource,
        owner,
        ttl_ms: millis(ttl),
    })
}

pub fn extend(resource: &Resource, owner: &Owner, ttl: Duration) -> Request {
    let (resource, owner) = (resource.clone(), owner.clone());
    Request::Command(Command::Extend {
        resource,
        owner,
        ttl_ms: millis(ttl),
    })
}

pub fn unlock(resource: &Resource, owner: &Owner) -> Request {
    Request::Command(Command::Unlock {
        resource: resource.clone(),
        owner: owner.clone(),
    })
}

pub fn get(resource: &Resource) -> Request {
    Request::Query(Query::Get {
        resource: resource.clone(),
    })
}

pub fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).expect("a short duration")
}

/// Locks what must be free.
pub async fn must_lock(client: &Client, resource: &Resource, owner: &Owner, ttl: Duration) -> FencingToken {
    match client.request(try_lock(resource, owner, ttl)).await {
        Ok(Outcome::Locked { fencing_token, .. }) => fencing_token,
        other => panic!("{resource} should be free: {other:?}"),
    }
}

/// Tries until the lock is granted, with the same owner all the time.
pub async fn lock_when_free(client: &Client, resource: &Resource, owner: &Owner, ttl: Duration) -> FencingToken {
    until("a lock is granted", async || {
        match client.request(try_lock(resource, owner, ttl)).await {
            Ok(Outcome::Locked { fencing_token, .. }) => Some(fencing_token),
            Ok(Outcome::Busy { .. }) | Err(ClientError::Unreachable { .. } | ClientError::Unknown { .. }) => None,
            other => panic!("no answer to a try-lock: {other:?}"),
        }
    })
    .await
}

/// The holder of a lock with token and remaining lease, as the cluster knows it.
pub async fn holder(client: &Client, resource: &Resource) -> Option<(Owner, FencingToken, Duration)> {
    until("the cluster answers", async || {
        match client.request(get(resource)).await {
            Ok(Outcome::Got {
                owner,
                fencing_token,
                expires_in_ms,
            }) => Some(Some((owner, fencing_token, Duration::from_millis(expires_in_ms)))),
            Ok(Outcome::LockDoesNotExist) => Some(None),
            Err(ClientError::Unreachable { .. } | ClientError::Unknown { .. }) => None,
            other => panic!("no answer to a get: {other:?}"),
        }
    })
    .await
}

/// One attempt at one node, which is not followed elsewhere.
#[derive(Clone)]
pub struct Direct {
    caller: Arc<GrpcCaller>,
    endpoint: String,
}

impl Direct {
    pub fn new(endpoint: &str) -> Self {
        let caller = GrpcCaller::new(Arc::new(SystemClock), Arc::new(TokioSpawn));
        Self {
            caller: Arc::new(caller),
            endpoint: endpoint.to_owned(),
        }
    }

    pub async fn ask(&self, request: Request, timeout: Duration) -> Result<Outcome, CallError> {
        self.caller.call(&self.endpoint, request, timeout).await
    }
}
