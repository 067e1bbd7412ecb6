//! From a name to a guard, to none, or to an error, and what is left behind.

use std::collections::BTreeSet;

use kapu::client::{ClientError, LockGuard};
use kapu::clock::Clock;
use kapu::types::FencingToken;

use super::cluster::Health;
use super::*;

type Acquired = Result<Option<LockGuard>, ClientError>;

fn acquire(executor: &mut Executor, lock: kapu::client::LockBuilder) -> Acquired {
    executor.block_on(lock.acquire())
}

fn owners(cluster: &Cluster) -> BTreeSet<Owner> {
    let owner = |request: &Request| match request {
        Request::Command(
            Command::TryLock { owner, .. } | Command::Extend { owner, .. } | Command::Unlock { owner, .. },
        ) => owner.clone(),
        Request::Query(_) => panic!("an acquisition asks nothing"),
    };
    cluster
        .lock()
        .attempts
        .iter()
        .map(|(_, request)| owner(request))
        .collect()
}

#[test]
fn a_free_lock_is_had_with_its_token_and_owner() {
    let (mut executor, cluster, client) = setup();
    let guard = acquire(&mut executor, client.lock("a")).unwrap().unwrap();
    assert_eq!(
        cluster.holder("a"),
        Some((guard.owner().clone(), guard.fencing_token()))
    );
    assert_eq!(guard.fencing_token(), FencingToken(1));
    assert!(guard.is_held());
    assert!(guard.expires_in() > ms(29_000) && guard.expires_in() < ms(30_000));
}

#[test]
fn new_owners_differ_and_are_text() {
    let (_, _, client) = setup();
    let owners: BTreeSet<_> = (0..1000).map(|_| client.new_owner()).collect();
    assert_eq!(owners.len(), 1000);
    let plain = |owner: &Owner| owner.as_bytes().iter().all(u8::is_ascii_alphanumeric);
    assert!(owners.iter().all(plain));
}

#[test]
fn a_busy_lock_is_tried_once_when_nobody_wants_to_wait() {
    let (mut executor, cluster, client) = setup();
    cluster.apply(&try_lock("a", "other", 60_000));
    assert!(acquire(&mut executor, client.lock("a")).unwrap().is_none());
    assert_eq!(cluster.lock().attempts.len(), 1);
}

#[test]
fn a_lock_that_stays_busy_ends_in_none_when_the_wait_is_over() {
    let (mut executor, cluster, client) = setup();
    cluster.apply(&try_lock("a", "other", 60_000));
    assert!(
        acquire(&mut executor, client.lock("a").wait(ms(5000)))
            .unwrap()
            .is_none()
    );
    assert!(
        (ms(5000)..ms(5010)).contains(&executor.world.now()),
        "the last try is at the end of the wait"
    );
    let count = cluster.lock().attempts.len();
    assert!((20..60).contains(&count), "{count} tries in five seconds");
    assert_eq!(owners(&cluster).len(), 1, "one owner an acquisition");
}

#[test]
fn a_lock_that_becomes_free_is_had() {
    let (mut executor, cluster, client) = setup();
    cluster.apply(&try_lock("a", "other", 700));
    let guard = acquire(&mut executor, client.lock("a").wait(ms(5000)))
        .unwrap()
        .unwrap();
    assert!(executor.world.now() < ms(960), "{:?}", executor.world.now());
    assert_eq!(guard.fencing_token(), FencingToken(2));
}

#[test]
fn a_holders_last_moment_is_not_slept_through_nor_spun_through() {
    let (mut executor, cluster, client) = setup();
    cluster.apply(&try_lock("a", "other", 8));
    let guard = acquire(&mut executor, client.lock("a").wait(ms(5000)))
        .unwrap()
        .unwrap();
    assert!(guard.is_held());
    assert!(executor.world.now() <= ms(20));
    assert!(cluster.lock().attempts.len() <= 4);
}

#[test]
fn a_try_that_took_effect_unseen_is_undone_when_the_acquisition_gives_up() {
    let (mut executor, cluster, client) = setup();
    cluster.lock().faults.reply_lost = 100;
    let client = client.with_timeout(ms(1000));
    let error = acquire(&mut executor, client.lock("a").ttl(ms(3_600_000)))
        .map(|_| ())
        .unwrap_err();
    assert!(matches!(error, ClientError::Unknown { .. }), "{error}");
    assert_eq!(cluster.held(), 1, "somebody whom nobody knows holds the lock");
    cluster.lock().faults.reply_lost = 0;
    executor.run_for(ms(1000));
    assert_eq!(cluster.held(), 0);
    assert_eq!(owners(&cluster).len(), 1);
}

#[test]
fn a_refused_acquisition_sends_no_unlock() {
    let (mut executor, cluster, client) = setup();
    cluster.lock().health = vec![Health::Down; 3];
    let client = client.with_timeout(ms(1000));
    let error = acquire(&mut executor, client.lock("a")).map(|_| ()).unwrap_err();
    assert!(matches!(error, ClientError::Unreachable { .. }), "{error}");
    cluster.lock().health = vec![Health::Up; 3];
    cluster.lock().attempts.clear();
    executor.run_for(ms(10_000));
    assert!(cluster.lock().attempts.is_empty());
}

#[test]
fn a_dropped_acquisition_leaves_no_holder_wherever_it_stood() {
    for after_ms in 0..6 {
        let (mut executor, cluster, client) = setup();
        cluster.lock().leaders = vec![Some(1)];
        let world = executor.world.clone();
        executor.block_on(async move {
            let acquisition = client.lock("a").ttl(ms(3_600_000)).acquire();
            tokio::select! {
                biased;
                () = world.sleep(ms(after_ms)) => {}
                guard = acquisition => drop(guard),
            }
        });
        executor.run_for(ms(1000));
        assert_eq!(cluster.held(), 0, "dropped after {after_ms} ms");
    }
}

#[test]
fn a_busy_end_after_a_lost_try_still_undoes_it() {
    let (mut executor, cluster, client) = setup();
    cluster.apply(&try_lock("a", "other", 3_600_000));
    cluster.lock().faults.request_lost = 100;
    let (world, later) = (executor.world.clone(), cluster.clone());
    let change = async move {
        world.sleep(ms(2)).await;
        later.lock().faults.request_lost = 0;
    };
    kapu::env::Spawn::spawn(&executor.world, "change", Box::pin(change));
    assert!(acquire(&mut executor, client.lock("a")).unwrap().is_none());
    executor.run_for(ms(1000));
    let unlocks = |request: &Request| matches!(request, Request::Command(Command::Unlock { .. }));
    assert!(cluster.lock().attempts.iter().any(|(_, request)| unlocks(request)));
    assert_eq!(cluster.holder("a").unwrap().0, owner("other"));
}
