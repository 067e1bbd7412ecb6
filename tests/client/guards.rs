//! Renewal, loss and release.

use std::sync::{Arc, Mutex};

use kapu::client::LockGuard;
use kapu::clock::Clock;
use kapu::env::Spawn;

use super::cluster::Health;
use super::*;

/// A guard of "a" with a lease of 3 s.
fn held() -> (Executor, Cluster, LockGuard) {
    let (mut executor, cluster, client) = setup();
    let guard = executor
        .block_on(client.lock("a").ttl(ms(3000)).acquire())
        .unwrap()
        .unwrap();
    (executor, cluster, guard)
}

/// When `lost` of the guard completed, for so many who wait.
fn watch(executor: &Executor, guard: &Arc<LockGuard>, waiters: usize) -> Arc<Mutex<Vec<Duration>>> {
    let times = Arc::new(Mutex::new(Vec::new()));
    for _ in 0..waiters {
        let (world, guard, times) = (executor.world.clone(), Arc::clone(guard), Arc::clone(&times));
        let wait = async move {
            guard.lost().await;
            times.lock().unwrap().push(world.now());
        };
        executor.world.spawn("waiter", Box::pin(wait));
    }
    times
}

fn extends(cluster: &Cluster) -> usize {
    let is_extend = |request: &Request| matches!(request, Request::Command(Command::Extend { .. }));
    cluster
        .lock()
        .attempts
        .iter()
        .filter(|(_, request)| is_extend(request))
        .count()
}

#[test]
fn a_guard_is_renewed_at_a_third_of_the_ttl_for_as_long_as_it_lives() {
    let (mut executor, cluster, guard) = held();
    let guard = Arc::new(guard);
    let lost = watch(&executor, &guard, 1);
    executor.run_for(ms(60_000));
    assert!(guard.is_held());
    assert!(lost.lock().unwrap().is_empty());
    assert_eq!(cluster.holder("a").unwrap().1, guard.fencing_token());
    assert!((55..=61).contains(&extends(&cluster)), "{}", extends(&cluster));
}

#[test]
fn a_lock_that_is_gone_at_the_server_is_lost_with_the_next_renewal_for_all_who_wait() {
    let (mut executor, cluster, guard) = held();
    let guard = Arc::new(guard);
    let lost = watch(&executor, &guard, 3);
    cluster.force_unlock("a");
    executor.run_for(ms(1010));
    assert!(!guard.is_held());
    assert_eq!(guard.expires_in(), Duration::ZERO);
    let times = lost.lock().unwrap().clone();
    assert_eq!(times.len(), 3);
    assert!(times.iter().all(|time| *time < ms(1010)), "{times:?}");
    let late = watch(&executor, &guard, 1);
    executor.run_for(ms(0));
    assert_eq!(late.lock().unwrap().len(), 1, "who asks later is told at once");
}

#[test]
fn a_lock_that_somebody_else_has_is_lost() {
    let (mut executor, cluster, guard) = held();
    cluster.force_unlock("a");
    cluster.apply(&try_lock("a", "other", 60_000));
    executor.run_for(ms(1010));
    assert!(!guard.is_held());
    drop(guard);
    executor.run_for(ms(1000));
    assert_eq!(cluster.holder("a").unwrap().0, owner("other"));
}

#[test]
fn another_hold_of_the_same_owner_is_not_this_one() {
    let (mut executor, cluster, guard) = held();
    let name = String::from_utf8(guard.owner().as_bytes().to_vec()).unwrap();
    cluster.force_unlock("a");
    cluster.apply(&try_lock("a", &name, 60_000));
    executor.run_for(ms(1010));
    assert!(
        !guard.is_held(),
        "its token is {:?}, the guard's is {}",
        cluster.holder("a"),
        guard.fencing_token()
    );
}

#[test]
fn a_guard_that_is_cut_off_is_lost_before_its_lease_ends_at_the_server() {
    for health in [Health::Down, Health::Hung] {
        let (mut executor, cluster, guard) = held();
        let guard = Arc::new(guard);
        let lost = watch(&executor, &guard, 1);
        executor.run_for(ms(1500));
        assert!(guard.is_held());
        cluster.lock().health = vec![health; 3];
        while lost.lock().unwrap().is_empty() {
            assert!(guard.is_held(), "not lost before it is told");
            executor.run_for(ms(1));
        }
        assert!(!guard.is_held());
        assert!(cluster.holder("a").is_some(), "the lease has not ended yet");
        assert!(executor.world.now() > ms(3900), "it was kept while it was certain");
        executor.run_for(ms(60));
        assert!(cluster.holder("a").is_none());
    }
}

#[test]
fn a_short_outage_does_not_lose_the_lock() {
    let (mut executor, cluster, guard) = held();
    cluster.lock().health = vec![Health::Down; 3];
    executor.run_for(ms(2000));
    cluster.lock().health = vec![Health::Up; 3];
    executor.run_for(ms(5000));
    assert!(guard.is_held());
}

#[test]
fn a_machine_that_slept_past_the_lease_knows_at_once() {
    let (mut executor, _, guard) = held();
    let guard = Arc::new(guard);
    let lost = watch(&executor, &guard, 1);
    executor.run_for(ms(100));
    executor.world.suspend(ms(60_000));
    assert!(!guard.is_held());
    executor.run_for(ms(500));
    assert_eq!(lost.lock().unwrap().len(), 1);
}

#[test]
fn a_lost_guard_is_not_revived_by_a_late_renewal() {
    let (mut executor, cluster, guard) = held();
    let guard = Arc::new(guard);
    let lost = watch(&executor, &guard, 1);
    cluster.lock().latency = ms(300);
    executor.run_for(ms(1400));
    assert_eq!(
        extends(&cluster),
        1,
        "a renewal has taken effect, and its reply is under way"
    );
    executor.world.suspend(ms(1580));
    assert!(!guard.is_held());
    for _ in 0..100 {
        executor.run_for(ms(10));
        assert!(!guard.is_held());
    }
    assert_eq!(lost.lock().unwrap().len(), 1);
}

#[test]
fn a_release_frees_the_lock_and_says_that_it_was_held() {
    let (mut executor, cluster, guard) = held();
    assert_eq!(executor.block_on(guard.release()), Ok(true));
    assert_eq!(cluster.held(), 0);
    cluster.lock().attempts.clear();
    executor.run_for(ms(10_000));
    assert!(
        cluster.lock().attempts.is_empty(),
        "nothing is renewed or freed any more"
    );
}

#[test]
fn a_release_of_what_was_gone_says_so() {
    let (mut executor, cluster, guard) = held();
    cluster.force_unlock("a");
    assert_eq!(executor.block_on(guard.release()), Ok(false));
}

#[test]
fn a_release_whose_first_reply_was_lost_counts_as_one() {
    let (mut executor, cluster, guard) = held();
    cluster.lock().faults.reply_lost = 100;
    let (world, later) = (executor.world.clone(), cluster.clone());
    let change = async move {
        world.sleep(ms(2)).await;
        later.lock().faults.reply_lost = 0;
    };
    executor.world.spawn("change", Box::pin(change));
    assert_eq!(executor.block_on(guard.release()), Ok(true));
}

#[test]
fn a_release_that_fails_goes_on_in_the_background() {
    let (mut executor, cluster, client) = setup();
    let client = client.with_timeout(ms(1000));
    let guard = executor
        .block_on(client.lock("a").ttl(ms(3_600_000)).acquire())
        .unwrap()
        .unwrap();
    cluster.lock().health = vec![Health::Down; 3];
    assert!(executor.block_on(guard.release()).is_err());
    assert_eq!(cluster.held(), 1);
    cluster.lock().health = vec![Health::Up; 3];
    executor.run_for(ms(1000));
    assert_eq!(cluster.held(), 0);
}

#[test]
fn a_dropped_guard_frees_the_lock_and_ends_its_renewal() {
    let (mut executor, cluster, guard) = held();
    drop(guard);
    executor.run_for(ms(10));
    assert_eq!(cluster.held(), 0);
    executor.run_for(ms(10_000));
    assert_eq!(extends(&cluster), 0);
}

#[test]
fn a_renewal_under_way_does_not_revive_a_released_lock() {
    let (mut executor, cluster, guard) = held();
    cluster.lock().latency = ms(50);
    executor.run_for(ms(1010));
    assert_eq!(extends(&cluster), 1, "a renewal is under way");
    cluster.lock().latency = ms(10);
    assert_eq!(executor.block_on(guard.release()), Ok(true));
    executor.run_for(ms(100));
    assert_eq!(cluster.held(), 0);
}
