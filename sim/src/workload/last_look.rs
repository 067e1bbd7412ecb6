//! The last look at a cluster that is well again: short leases are taken and left alone, and it is asked who holds what, before they end and after.
//!
//! Under load and faults nobody can say that a lease lasts too long; here a checker can. What is asked and answered is written down as
//! always, and judged elsewhere.

use std::sync::Arc;
use std::time::Duration;

use kapu::client::ClientError;
use kapu::lock::{Outcome, Query, Request};
use kapu::types::Resource;

use super::Workload;
use super::acts;
use super::client::Actor;

/// So many leases are taken: enough to have some in most partitions.
const LEASES: u32 = 16;
/// How long they are.
const TTL_MS: u64 = 300;
/// The second look comes so long after the first: the lease, and what its end may be late by.
const WAIT: Duration = Duration::from_millis(1_500);
/// A cluster that is well answers within this time.
const TIMEOUT: Duration = Duration::from_secs(10);

impl Workload {
    /// Looks twice. Says in words what was not answered.
    pub async fn last_look(&self) -> Vec<String> {
        let mut actor = Actor::born(Arc::clone(&self.common), self.stop.subscribe());
        actor.client = actor.client.with_timeout(TIMEOUT);
        let looked = look_twice(&actor).await;
        looked
            .err()
            .map(|error| format!("the last look: {error}"))
            .into_iter()
            .collect()
    }
}

async fn look_twice(actor: &Actor) -> Result<(), ClientError> {
    let taken: Vec<_> = (0..LEASES).map(|name| format!("last-{name}")).collect();
    for name in &taken {
        let owner = actor.client.new_owner();
        actor
            .client
            .request(acts::try_lock(&resource(name), &owner, TTL_MS))
            .await?;
    }
    let names: Vec<_> = taken.into_iter().chain(actor.common.setting.load.names()).collect();
    look_at(actor, &names).await?;
    actor.pass(WAIT).await;
    let free = look_at(actor, &names).await?;
    (0..free).for_each(|_| actor.note("free_at_last"));
    Ok(())
}

/// Asks who holds each of these. Returns how many nobody holds.
async fn look_at(actor: &Actor, names: &[String]) -> Result<usize, ClientError> {
    let mut free = 0;
    for name in names {
        let request = Request::Query(Query::Get {
            resource: resource(name),
        });
        let seen = actor.client.request(request).await?;
        free += usize::from(seen == Outcome::LockDoesNotExist);
    }
    Ok(free)
}

fn resource(name: &str) -> Resource {
    Resource::new(name).expect("the names of a load are resources")
}
