//! Acts of clients that stop, die, forget, or touch what is not theirs.

use std::time::Duration;

use kapu::types::Resource;
use rand::RngExt;

use super::decent::{WAIT_MS_MAX, acquire, extend, note_acquired, release, unlock};
use crate::workload::client::{Actor, After};

/// Who oversleeps does so with a lease of at most this, so that the run is not spent asleep.
const OVERSLEEP_TTL_MS_MAX: u64 = 800;
/// A process that stands still in the middle of an acquisition does so for at most this.
const STALL_MS_MAX: u64 = 2_000;
/// An acquisition is dropped, stopped or dies within this time of its beginning: about as long as one takes.
const HALF_WAY_MS_MAX: u64 = 40;

/// Prolongs or frees a lock under an owner that does not hold it: a stranger, or one that did before.
pub async fn meddle(actor: &mut Actor, name: &str) {
    let stranger = || Resource::new(name).expect("the names of a load are resources");
    let earlier = if actor.sometimes(60) {
        actor.earlier.clone()
    } else {
        None
    };
    let (resource, owner) = earlier.unwrap_or_else(|| (stranger(), actor.client.new_owner()));
    let ttl_ms = actor.mix.ttl(&mut actor.rng);
    let request = match actor.sometimes(50) {
        true => extend(&resource, &owner, ttl_ms),
        false => unlock(&resource, &owner),
    };
    let answer = actor.client.request(request).await;
    actor.note(if answer.is_ok() { "meddled" } else { "meddled_in_vain" });
}

/// Stands still past its lease while it believes to hold, and writes on waking, before it has looked at anything.
pub async fn oversleep(actor: &mut Actor) {
    let name = actor.common.setting.load.hot_name(&mut actor.rng);
    let ttl_ms = actor.mix.ttl(&mut actor.rng).min(OVERSLEEP_TTL_MS_MAX);
    let Some(guard) = acquire(actor, &name, ttl_ms, WAIT_MS_MAX).await else {
        return;
    };
    actor.write(&guard).await;
    if guard.is_held() {
        let sleep = actor.draw_ms(ttl_ms / 2..=ttl_ms * 3 + 500);
        actor.gate.pause();
        actor.pass(sleep).await;
        actor.arrive(&guard, guard.is_held());
        actor.note("oversleeps");
        actor.gate.resume();
    }
    release(actor, guard).await;
}

/// Stands still in the middle of an acquisition, then goes on as if nothing had been.
pub async fn stall(actor: &mut Actor, name: &str) {
    let ttl_ms = actor.mix.ttl(&mut actor.rng).min(OVERSLEEP_TTL_MS_MAX);
    let wait = actor.draw_ms(0..=WAIT_MS_MAX);
    let (before, still) = (actor.draw_ms(0..=HALF_WAY_MS_MAX), actor.draw_ms(0..=STALL_MS_MAX));
    let lock = actor.client.lock(name).ttl(Duration::from_millis(ttl_ms)).wait(wait);
    let mut acquire = Box::pin(lock.acquire());
    let acquired = tokio::select! {
        biased;
        acquired = &mut acquire => acquired,
        () = actor.pass(before) => {
            actor.gate.pause();
            actor.pass(still).await;
            actor.gate.resume();
            actor.note("stalls");
            acquire.await
        }
    };
    note_acquired(actor, &acquired);
    if let Ok(Some(guard)) = acquired {
        actor.write(&guard).await;
        release(actor, guard).await;
    }
}

/// Drops its guard without a word: the library frees the lock behind its back.
pub async fn leave(actor: &mut Actor, name: &str) {
    let ttl_ms = actor.mix.ttl(&mut actor.rng);
    if let Some(guard) = acquire(actor, name, ttl_ms, WAIT_MS_MAX).await {
        actor.write(&guard).await;
        drop(guard);
        actor.note("leaves");
    }
}

/// Drops an acquisition half-way: the library undoes what it may have done.
pub async fn cancel(actor: &mut Actor, name: &str) {
    let ttl_ms = actor.mix.ttl(&mut actor.rng);
    let half_way = actor.draw_ms(0..=HALF_WAY_MS_MAX);
    let lock = actor.client.lock(name).ttl(Duration::from_millis(ttl_ms));
    let acquired = tokio::select! {
        biased;
        acquired = lock.acquire() => acquired,
        () = actor.pass(half_way) => return actor.note("cancels"),
    };
    note_acquired(actor, &acquired);
    if let Ok(Some(guard)) = acquired {
        release(actor, guard).await;
    }
}

/// Dies: in the middle of an acquisition, or while it holds, perhaps with a write under way.
pub async fn vanish(actor: &mut Actor, name: &str) -> After {
    // What the dead hold blocks its name; a long lease would block it for the rest of the run.
    let ttl_ms = actor.mix.ttl(&mut actor.rng).min(OVERSLEEP_TTL_MS_MAX * 2);
    let half_way = actor.draw_ms(0..=HALF_WAY_MS_MAX);
    let lock = actor.client.lock(name).ttl(Duration::from_millis(ttl_ms));
    // The process dies before the acquisition is dropped: a dead process undoes nothing.
    let acquired = tokio::select! {
        biased;
        acquired = lock.acquire() => acquired,
        () = async {
            actor.pass(half_way).await;
            actor.gate.kill();
        } => Ok(None),
    };
    actor.note("vanished");
    let Ok(Some(guard)) = acquired else {
        actor.gate.kill();
        return After::Dead;
    };
    let holds = Duration::from_millis(actor.rng.random_range(0..=ttl_ms * 2));
    actor.rest(holds).await;
    let under_way = guard.is_held();
    actor.gate.kill();
    if under_way {
        let way = actor.draw_ms(0..=ttl_ms * 2);
        actor.rest(way).await;
        actor.arrive(&guard, false);
    }
    After::Dead
}
