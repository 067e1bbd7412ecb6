//! Acts at the edge of a promise: the last moment of a lease, a lease that was asked for twice, a refusal taken at its word.
//!
//! Clients that keep their distance never see a lease that ends a moment too early, or too late. Nothing here is forbidden, or judged.

use std::time::Duration;

use kapu::client::CallError;
use kapu::lock::{Outcome, Request};
use kapu::types::{Owner, Resource};
use rand::RngExt;

use super::decent::{self, WAIT_MS_MAX, acquire, extend, insist, look, release, try_lock, unlock};
use crate::workload::client::Actor;

/// Who acts at the end of a lease takes one of at most this, so that the run is not spent waiting for it.
const EDGE_TTL_MS_MAX: u64 = 800;
/// A lease is prolonged within this time before its end: about as long as an answer takes.
const LAST_MS_MAX: u64 = 12;
/// For about this long after that it is asked who holds the lock, so often by each who looks.
const LOOKS_MS: u64 = 30;
const LOOK_EVERY: Duration = Duration::from_millis(3);
/// Who writes until the very end does so this often, in moments as short as this.
const LAST_WRITE_EVERY: Duration = Duration::from_millis(1);
const LAST_WRITES: Duration = Duration::from_millis(5);
/// How long one attempt without the library may take.
const ATTEMPT_MS: u64 = 2_000;
/// The pause after a refusal, at most.
const REFUSED_PAUSE_MS_MAX: u64 = 40;

/// Prolongs its lease at the last moment, and asks all the time who holds the lock.
pub async fn brink(actor: &mut Actor, name: &str) {
    let (resource, owner) = (resource(name), actor.client.new_owner());
    let ttl_ms = actor.mix.ttl(&mut actor.rng).min(EDGE_TTL_MS_MAX);
    let called_ns = actor.common.book.now_ns();
    let taken = insist(actor, &try_lock(&resource, &owner, ttl_ms)).await;
    if let Some(Outcome::Locked { .. }) = taken {
        let last = actor.draw_ms(0..=LAST_MS_MAX);
        let passed = Duration::from_nanos(actor.common.book.now_ns() - called_ns);
        let left = Duration::from_millis(ttl_ms).saturating_sub(passed + last);
        actor.rest(left).await;
        let prolong = extend(&resource, &owner, ttl_ms);
        tokio::join!(
            biased;
            insist(actor, &prolong),
            look_on(actor, name, 0),
            look_on(actor, name, 1),
            look_on(actor, name, 2),
        );
        actor.note("brinks");
    }
    if !matches!(taken, Some(Outcome::Busy { .. })) {
        insist(actor, &unlock(&resource, &owner)).await;
    }
}

/// One of those who look again and again, each beginning a little later than the one before.
async fn look_on(actor: &Actor, name: &str, late_ms: u64) {
    actor.pass(Duration::from_millis(late_ms)).await;
    let until_ns = actor.common.book.now_ns() + LOOKS_MS * 1_000_000;
    while actor.common.book.now_ns() < until_ns && !actor.is_stopped() {
        look(actor, name).await;
        actor.pass(LOOK_EVERY).await;
    }
}

/// Asks again for what it holds, with a shorter lease, and looks when that one would have ended. One of two sends both at once, as a retry that
/// was overtaken.
pub async fn shorten(actor: &mut Actor, name: &str) {
    let (resource, owner) = (resource(name), actor.client.new_owner());
    let ttl_ms = actor.mix.ttl(&mut actor.rng);
    let short_ms = actor.rng.random_range(1..=(ttl_ms / 2).clamp(1, EDGE_TTL_MS_MAX));
    let (long, short) = (
        try_lock(&resource, &owner, ttl_ms),
        try_lock(&resource, &owner, short_ms),
    );
    if actor.sometimes(50) {
        tokio::join!(biased; insist(actor, &long), insist(actor, &short));
    } else {
        insist(actor, &long).await;
        insist(actor, &short).await;
    }
    let wait = actor.draw_ms(short_ms..=short_ms + (ttl_ms - short_ms).min(EDGE_TTL_MS_MAX) / 2);
    actor.rest(wait).await;
    look(actor, name).await;
    actor.note("shortened");
    // Half of them let it end.
    if actor.sometimes(50) {
        insist(actor, &unlock(&resource, &owner)).await;
    }
}

/// Holds without a renewal until the very end of what its guard says, and writes all the time then.
pub async fn linger(actor: &mut Actor) {
    let name = actor.common.setting.load.hot_name(&mut actor.rng);
    let ttl_ms = actor.mix.ttl(&mut actor.rng).min(EDGE_TTL_MS_MAX);
    let Some(guard) = acquire(actor, &name, ttl_ms, WAIT_MS_MAX).await else {
        return;
    };
    actor.gate.pause();
    // A guard that never ends is for the checkers; this act ends.
    let until_ns = actor.common.book.now_ns() + 2 * ttl_ms * 1_000_000;
    while guard.is_held() && actor.common.book.now_ns() < until_ns {
        let early = guard.expires_in().saturating_sub(LAST_WRITES);
        actor.pass(early.max(LAST_WRITE_EVERY)).await;
        actor.arrive(&guard, guard.is_held());
    }
    actor.note("lingers");
    actor.gate.resume();
    release(actor, guard).await;
}

/// Takes a refusal at its word: what was refused never happens, so the next attempt is of somebody else. No library retries for it.
pub async fn trust(actor: &mut Actor, name: &str) {
    let resource = resource(name);
    let until_ns = actor.common.book.now_ns() + WAIT_MS_MAX * 1_000_000;
    while !actor.is_stopped() && actor.common.book.now_ns() < until_ns {
        let owner = actor.client.new_owner();
        let ttl_ms = actor.mix.ttl(&mut actor.rng);
        match attempt(actor, try_lock(&resource, &owner, ttl_ms)).await {
            Err(error) if error.is_definite() => {
                actor.note("refusals_trusted");
                let pause = actor.draw_ms(1..=REFUSED_PAUSE_MS_MAX);
                actor.rest(pause).await;
            }
            Ok(Outcome::Locked { .. }) => return trust_the_end(actor, &resource, &owner, ttl_ms).await,
            Ok(_) => return look(actor, name).await,
            // It may have it, or may yet.
            Err(_) => {
                insist(actor, &unlock(&resource, &owner)).await;
                return;
            }
        }
    }
}

/// Frees what it holds. As long as that is refused, it is still held, and may be prolonged.
async fn trust_the_end(actor: &mut Actor, resource: &Resource, owner: &Owner, ttl_ms: u64) {
    let pause = actor.draw_ms(0..=ttl_ms.min(decent::WRITE_PAUSE_MS_MAX));
    actor.rest(pause).await;
    while let Err(error) = attempt(actor, unlock(resource, owner)).await {
        if !error.is_definite() || actor.is_stopped() {
            break;
        }
        look(actor, resource.as_str()).await;
    }
}

/// One attempt at any of the nodes.
async fn attempt(actor: &mut Actor, request: Request) -> Result<Outcome, CallError> {
    let endpoints = &actor.common.setting.endpoints;
    let at = actor.rng.random_range(0..endpoints.len());
    let timeout = Duration::from_millis(ATTEMPT_MS);
    actor.caller.call(&endpoints[at], request, timeout).await
}

fn resource(name: &str) -> Resource {
    Resource::new(name).expect("the names of a load are resources")
}
