//! Acts of clients that use the library as they should.

use std::time::Duration;

use kapu::client::{ClientError, LockGuard};
use kapu::lock::{Command, Outcome, Query, Request};
use kapu::types::{Owner, Resource};
use rand::RngExt;

use crate::workload::client::Actor;

/// The longest time to wait for a held lock.
pub const WAIT_MS_MAX: u64 = 2_500;
/// The longest time that a lock is kept.
const KEEP_MS_MAX: u64 = 4_000;
/// The longest pause between two writes of a holder.
pub const WRITE_PAUSE_MS_MAX: u64 = 200;
/// How often an operation that ended in doubt is asked again.
const RAW_TRIES_MAX: u32 = 4;

/// Acquires, and counts how that ended.
pub async fn acquire(actor: &mut Actor, name: &str, ttl_ms: u64, wait_ms: u64) -> Option<LockGuard> {
    let wait = actor.draw_ms(0..=wait_ms);
    let lock = actor.client.lock(name).ttl(Duration::from_millis(ttl_ms)).wait(wait);
    let acquired = lock.acquire().await;
    note_acquired(actor, &acquired);
    acquired.ok().flatten()
}

/// Counts how an acquisition ended.
pub fn note_acquired(actor: &Actor, acquired: &Result<Option<LockGuard>, ClientError>) {
    actor.note(match acquired {
        Ok(Some(guard)) if guard.is_held() => "acquired",
        Ok(Some(_)) => "acquired_too_late",
        Ok(None) => "acquisitions_busy",
        Err(error) if error.is_definite() => "acquisitions_failed",
        Err(_) => "acquisitions_unknown",
    });
}

/// Acquires, writes once or twice, releases.
pub async fn acquire_and_work(actor: &mut Actor, name: &str, wait_ms: u64) {
    let ttl_ms = actor.mix.ttl(&mut actor.rng);
    let Some(guard) = acquire(actor, name, ttl_ms, wait_ms).await else {
        return;
    };
    actor.write(&guard).await;
    let pause = actor.draw_ms(0..=ttl_ms.min(WRITE_PAUSE_MS_MAX));
    actor.rest(pause).await;
    actor.write(&guard).await;
    release(actor, guard).await;
}

/// Keeps the lock over several leases, as long as it is not lost, and writes all the time.
pub async fn keep(actor: &mut Actor, name: &str) {
    let ttl_ms = actor.mix.ttl(&mut actor.rng);
    let Some(guard) = acquire(actor, name, ttl_ms, WAIT_MS_MAX).await else {
        return;
    };
    let keep_ms = (ttl_ms * actor.rng.random_range(1..=6)).min(KEEP_MS_MAX);
    let until = actor.common.book.now_ns() + keep_ms * 1_000_000;
    while guard.is_held() && !actor.is_stopped() && actor.common.book.now_ns() < until {
        actor.write(&guard).await;
        let pause = actor.draw_ms(1..=WRITE_PAUSE_MS_MAX);
        actor.rest(pause).await;
    }
    release(actor, guard).await;
}

/// Releases, and counts how that ended.
pub async fn release(actor: &Actor, guard: LockGuard) {
    if !guard.is_held() {
        actor.note("guards_lost");
    }
    actor.note(match guard.release().await {
        Ok(true) => "released",
        Ok(false) => "released_too_late",
        Err(_) => "releases_unknown",
    });
}

/// Takes, prolongs and frees with an owner of its own and no guard.
pub async fn raw(actor: &mut Actor, name: &str) {
    let resource = Resource::new(name).expect("the names of a load are resources");
    let owner = actor.client.new_owner();
    let ttl_ms = actor.mix.ttl(&mut actor.rng);
    actor.earlier = Some((resource.clone(), owner.clone()));
    let try_lock = try_lock(&resource, &owner, ttl_ms);
    if !matches!(insist(actor, &try_lock).await, Some(Outcome::Locked { .. })) {
        return;
    }
    for _ in 0..actor.rng.random_range(0..4_u32) {
        let pause = actor.draw_ms(0..=(ttl_ms * 5 / 4).min(WAIT_MS_MAX));
        actor.rest(pause).await;
        // Who holds may also ask for the lock once more: that must keep the token.
        let again = actor.sometimes(25);
        let prolong = if again {
            try_lock.clone()
        } else {
            extend(&resource, &owner, ttl_ms)
        };
        insist(actor, &prolong).await;
        if actor.is_stopped() {
            break;
        }
    }
    // One of four lets the lease end.
    if !actor.sometimes(25) {
        insist(actor, &unlock(&resource, &owner)).await;
    }
}

/// Asks, and asks the very same again while the outcome is in doubt. None when that never ended.
pub async fn insist(actor: &Actor, request: &Request) -> Option<Outcome> {
    for attempt in 0..RAW_TRIES_MAX {
        if attempt > 0 {
            actor.note("raw_retries_after_unknown");
        }
        match actor.client.request(request.clone()).await {
            Ok(outcome) => return Some(outcome),
            Err(ClientError::Unknown { .. }) if !actor.is_stopped() => {}
            Err(_) => return None,
        }
    }
    None
}

/// Asks who holds the lock.
pub async fn look(actor: &Actor, name: &str) {
    let resource = Resource::new(name).expect("the names of a load are resources");
    let request = Request::Query(Query::Get { resource });
    let seen = actor.client.request(request).await;
    actor.note(if seen.is_ok() { "looks" } else { "looks_failed" });
}

/// The request to take a lock.
pub fn try_lock(resource: &Resource, owner: &Owner, ttl_ms: u64) -> Request {
    let (resource, owner) = (resource.clone(), owner.clone());
    Request::Command(Command::TryLock {
        resource,
        owner,
        ttl_ms,
    })
}

/// The request to prolong it.
pub fn extend(resource: &Resource, owner: &Owner, ttl_ms: u64) -> Request {
    let (resource, owner) = (resource.clone(), owner.clone());
    Request::Command(Command::Extend {
        resource,
        owner,
        ttl_ms,
    })
}

/// The request to free it.
pub fn unlock(resource: &Resource, owner: &Owner) -> Request {
    let (resource, owner) = (resource.clone(), owner.clone());
    Request::Command(Command::Unlock { resource, owner })
}
