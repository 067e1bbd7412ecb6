//! Many seeds of trouble: what a guard says is true, and nobody unknown holds a lock.
//!
//! Each property has a negative control: a world in which it must fail.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use kapu::client::LockGuard;
use kapu::clock::Clock;
use kapu::env::{Spawn, rng};
use rand::RngExt;
use rand::rngs::StdRng;

use super::cluster::{Faults, Health};
use super::*;

const NAMES: [&str; 3] = ["a", "b", "c"];
const WORKERS: u64 = 5;
const SEEDS: u64 = 10;

/// What a run did: a run that did nothing proves nothing.
#[derive(Debug, Default)]
struct Done {
    acquisitions: AtomicUsize,
    grants: AtomicUsize,
    losses: AtomicUsize,
    busy: AtomicUsize,
    failures: AtomicUsize,
    dropped: AtomicUsize,
}

fn count(counter: &AtomicUsize) {
    counter.fetch_add(1, Ordering::Relaxed);
}

#[derive(Clone)]
struct Run {
    world: World,
    cluster: Cluster,
    guards: Arc<Mutex<Vec<Arc<LockGuard>>>>,
    done: Arc<Done>,
    ttl: Duration,
    until: Duration,
}

impl Run {
    fn new(executor: &Executor, seed: u64, ttl: Duration, lasts: Duration) -> Self {
        let world = executor.world.clone();
        let cluster = Cluster::new(&world, 4, seed);
        let (guards, done) = (Arc::default(), Arc::default());
        Self {
            world,
            cluster,
            guards,
            done,
            ttl,
            until: lasts,
        }
    }

    fn start_workers(&self, seed: u64) {
        for worker in 0..WORKERS {
            let client = client(&self.world, &self.cluster, seed * WORKERS + worker).with_timeout(ms(4000));
            let rng = rng(seed * WORKERS + worker, "worker");
            self.world.spawn("worker", Box::pin(self.clone().work(client, rng)));
        }
    }

    async fn work(self, client: Client, mut rng: StdRng) {
        while self.world.now() < self.until {
            let name = NAMES[rng.random_range(0..NAMES.len())];
            let lock = client.lock(name).ttl(self.ttl).wait(ms(rng.random_range(0..3000)));
            let patience = if rng.random_bool(0.3) {
                ms(rng.random_range(0..100))
            } else {
                Duration::MAX
            };
            count(&self.done.acquisitions);
            tokio::select! {
                biased;
                result = lock.acquire() => match result {
                    Ok(Some(guard)) => self.hold(guard, &mut rng).await,
                    Ok(None) => count(&self.done.busy),
                    Err(_) => count(&self.done.failures),
                },
                () = self.world.sleep(patience) => count(&self.done.dropped),
            }
        }
    }

    async fn hold(&self, guard: LockGuard, rng: &mut StdRng) {
        count(&self.done.grants);
        let guard = Arc::new(guard);
        self.guards.lock().unwrap().push(Arc::clone(&guard));
        let time = self.world.sleep(ms(rng.random_range(0..4000)));
        tokio::select! {
            biased;
            () = guard.lost() => count(&self.done.losses),
            () = time => {}
        }
        self.guards.lock().unwrap().retain(|held| !Arc::ptr_eq(held, &guard));
        let guard = Arc::try_unwrap(guard).ok().expect("the worker alone has it now");
        if rng.random_bool(0.5) {
            let _ = guard.release().await;
        }
    }

    /// Breaks something every now and then, then heals everything.
    async fn break_things(self, mut rng: StdRng, late: bool) {
        while self.world.now() < self.until {
            self.world.sleep(ms(rng.random_range(50..1500))).await;
            let mut state = self.cluster.lock();
            let node = rng.random_range(0..3);
            match rng.random_range(0..5) {
                0 => state.health[node] = Health::Down,
                1 if late => state.health[node] = Health::Hung,
                2 => state.faults = draw_faults(&mut rng),
                3 if late => state.latency = ms(rng.random_range(0..700)),
                _ => state.health = vec![Health::Up; 3],
            }
            let partition = rng.random_range(0..4);
            state.leaders[partition] = rng.random_bool(0.8).then_some(node);
        }
        let mut state = self.cluster.lock();
        state.health = vec![Health::Up; 3];
        state.faults = Faults::default();
        state.leaders = vec![Some(1); 4];
    }

    /// The guards that say that they are held, and are not.
    fn wrong(&self) -> usize {
        let guards = self.guards.lock().unwrap();
        let is_wrong = |guard: &&Arc<LockGuard>| {
            let truth = self.cluster.holder(guard.resource().as_str());
            guard.is_held() && truth != Some((guard.owner().clone(), guard.fencing_token()))
        };
        guards.iter().filter(is_wrong).count()
    }
}

fn draw_faults(rng: &mut StdRng) -> Faults {
    let mut percent = || rng.random_range(0..30);
    Faults {
        request_lost: percent(),
        reply_lost: percent(),
        unknown: percent(),
        misdirected: percent(),
        circle: false,
    }
}

/// One run of two minutes with late requests; returns how often a guard was wrong, and what was done.
fn wrong_guards(seed: u64, fast_per_mille: u32) -> (usize, Arc<Done>) {
    let mut executor = Executor::new();
    let run = Run::new(&executor, seed, ms(2000), ms(120_000));
    run.cluster.lock().fast_per_mille = fast_per_mille;
    run.start_workers(seed);
    run.world.spawn(
        "nemesis",
        Box::pin(run.clone().break_things(rng(seed, "nemesis"), true)),
    );
    let (wrong, checked) = (Arc::new(AtomicUsize::new(0)), run.clone());
    let seen = Arc::clone(&wrong);
    executor.check_with(move || _ = seen.fetch_add(checked.wrong(), Ordering::Relaxed));
    executor.run_for(ms(150_000));
    (wrong.load(Ordering::Relaxed), run.done)
}

#[test]
fn a_guard_that_says_it_is_held_is_right_whatever_the_network_does() {
    let mut sum = [0; 4];
    for seed in 0..SEEDS {
        let (wrong, done) = wrong_guards(seed, 8);
        assert_eq!(wrong, 0, "seed {seed}: {done:?}");
        let counters = [&done.grants, &done.losses, &done.busy, &done.failures];
        for (sum, counter) in sum.iter_mut().zip(counters) {
            *sum += counter.load(Ordering::Relaxed);
        }
    }
    assert!(
        sum[0] > 250 && sum[1..].iter().all(|count| *count > 50),
        "a run that did nothing proves nothing: {sum:?}"
    );
}

#[test]
fn the_sweep_sees_a_cluster_that_ends_leases_early() {
    let wrong: usize = (0..5).map(|seed| wrong_guards(seed, 150).0).sum();
    assert!(wrong > 0);
}

/// One run in which attempts of one client arrive in order, healed at its end; returns how many locks are held long before their leases
/// end and when all workers have stopped.
fn forgotten_holds(seed: u64, stifle: Option<&'static str>) -> usize {
    let mut executor = Executor::new();
    let run = Run::new(&executor, seed, ms(3_600_000), ms(60_000));
    if let Some(name) = stifle {
        executor.world.stifle(name);
    }
    run.start_workers(seed);
    run.world.spawn(
        "nemesis",
        Box::pin(run.clone().break_things(rng(seed, "nemesis"), false)),
    );
    executor.run_for(ms(60_000 + 40_000));
    assert!(run.guards.lock().unwrap().is_empty(), "all workers have stopped");
    assert!(run.done.grants.load(Ordering::Relaxed) > 0 && run.done.dropped.load(Ordering::Relaxed) > 0);

    let owner = |request: &Request| match request {
        Request::Command(Command::TryLock { owner, .. }) => Some(owner.clone()),
        _ => None,
    };
    let owners: BTreeSet<_> = run
        .cluster
        .lock()
        .attempts
        .iter()
        .filter_map(|(_, request)| owner(request))
        .collect();
    assert!(
        owners.len() <= run.done.acquisitions.load(Ordering::Relaxed),
        "a retry came under another owner"
    );
    run.cluster.held()
}

#[test]
fn nobody_unknown_holds_a_lock_once_the_cluster_can_be_reached_again() {
    for seed in 0..SEEDS {
        assert_eq!(forgotten_holds(seed, None), 0, "seed {seed}");
    }
}

#[test]
fn the_sweep_sees_a_client_that_does_not_clean_up() {
    let forgotten: usize = (0..5).map(|seed| forgotten_holds(seed, Some("client unlock"))).sum();
    assert!(forgotten > 0);
}
