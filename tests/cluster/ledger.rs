//! What was acknowledged under load, and what must be true of it for ever.
//!
//! Checked with every grant: a token was never given before in its partition, and is greater than every token of the partition that was
//! acknowledged before the request began. Requests that overlap are not compared: their order is the cluster's business.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use kapu::client::Client;
use kapu::lock::Outcome;
use kapu::types::{FencingToken, Owner, Resource};
use tokio::task::JoinSet;

use crate::harness::PARTITIONS;
use crate::requests::{get, name, try_lock, unlock};

/// Longer than any test: what is held stays held.
pub const HELD: Duration = Duration::from_secs(60 * 60);
/// Each worker keeps every so many locks.
const HOLD_EVERY: u64 = 8;

/// A lock that was acknowledged and never freed.
#[derive(Clone, Debug)]
struct Held {
    resource: Resource,
    owner: Owner,
    token: FencingToken,
}

#[derive(Default)]
struct Book {
    held: Vec<Held>,
    tokens: [BTreeSet<FencingToken>; PARTITIONS as usize],
    grants: u64,
    violations: Vec<String>,
}

/// Everything that was acknowledged.
#[derive(Clone, Default)]
pub struct Ledger(Arc<Mutex<Book>>);

impl Ledger {
    fn with<T>(&self, work: impl FnOnce(&mut Book) -> T) -> T {
        work(&mut self.0.lock().expect("no test thread panics with the book open"))
    }

    /// The greatest token acknowledged so far in the partition of `resource`: to be asked before a request begins.
    pub fn floor(&self, resource: &Resource) -> Option<FencingToken> {
        self.with(|book| book.tokens[partition(resource)].last().copied())
    }

    /// Writes down a grant, and what is wrong with it.
    pub fn granted(&self, resource: &Resource, floor: Option<FencingToken>, token: FencingToken) {
        self.with(|book| {
            book.grants += 1;
            if !book.tokens[partition(resource)].insert(token) {
                book.violations
                    .push(format!("token {token} was given twice, the second time for {resource}"));
            }
            if floor.is_some_and(|floor| token <= floor) {
                book.violations.push(format!(
                    "token {token} of {resource} came after {floor:?} had been acknowledged"
                ));
            }
        });
    }

    /// Writes down that a granted lock stays held.
    pub fn keeps(&self, resource: &Resource, owner: &Owner, token: FencingToken) {
        let held = Held {
            resource: resource.clone(),
            owner: owner.clone(),
            token,
        };
        self.with(|book| book.held.push(held));
    }

    pub fn grants(&self) -> u64 {
        self.with(|book| book.grants)
    }

    fn violations(&self) -> Vec<String> {
        self.with(|book| book.violations.clone())
    }

    /// Checks that nothing was violated, and that every lock that was kept is there, with its owner and token.
    pub async fn check(&self, client: &Client) {
        let violations = self.violations();
        assert!(violations.is_empty(), "{}", violations.join("\n"));
        let held = self.with(|book| book.held.clone());
        assert!(!held.is_empty(), "nothing was held, so nothing was checked");
        let mut checks = JoinSet::new();
        for lock in held {
            let client = client.clone();
            checks.spawn(async move {
                let found = client.request(get(&lock.resource)).await;
                let intact = matches!(&found, Ok(Outcome::Got { owner, fencing_token, .. })
                    if (owner, fencing_token) == (&lock.owner, &lock.token));
                (!intact).then(|| format!("{lock:?} was acknowledged, found {found:?}"))
            });
        }
        let lost: Vec<_> = checks.join_all().await.into_iter().flatten().collect();
        assert!(lost.is_empty(), "{}", lost.join("\n"));
    }
}

fn partition(resource: &Resource) -> usize {
    resource.partition(PARTITIONS).0 as usize
}

/// Workers that lock and unlock for as long as this exists.
pub struct Load {
    stop: Arc<AtomicBool>,
    workers: JoinSet<()>,
}

impl Load {
    pub fn start(client: &Client, ledger: &Ledger, workers: u64) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let mut tasks = JoinSet::new();
        for worker in 0..workers {
            tasks.spawn(work(client.clone(), ledger.clone(), stop.clone(), worker));
        }
        Self { stop, workers: tasks }
    }

    /// Ends the load. Fails when a worker did.
    pub async fn stop(self) {
        self.stop.store(true, Ordering::Relaxed);
        self.workers.join_all().await;
    }
}

async fn work(client: Client, ledger: Ledger, stop: Arc<AtomicBool>, worker: u64) {
    let mut round = 0;
    while !stop.load(Ordering::Relaxed) {
        round += 1;
        let keeps = round % HOLD_EVERY == 0;
        let resource = if keeps {
            name(&format!("held-{worker}-{round}"))
        } else {
            name(&format!("churn-{worker}"))
        };
        let owner = client.new_owner();
        let floor = ledger.floor(&resource);
        let answer = client.request(try_lock(&resource, &owner, HELD)).await;
        if let Ok(Outcome::Locked { fencing_token, .. }) = answer {
            ledger.granted(&resource, floor, fencing_token);
            if keeps {
                ledger.keeps(&resource, &owner, fencing_token);
                continue;
            }
        }
        // Also after a failure: it may have taken effect, and the next round wants the lock free.
        if !keeps {
            let _ = client.request(unlock(&resource, &owner)).await;
        }
    }
}

/// A ledger that accepts everything would prove nothing.
#[test]
fn the_ledger_sees_tokens_that_repeat_or_go_back() {
    let (resource, ledger) = (name("a"), Ledger::default());
    ledger.granted(&resource, None, FencingToken(5));
    ledger.granted(&resource, None, FencingToken(4));
    assert_eq!(
        ledger.violations(),
        Vec::<String>::new(),
        "requests that overlap are not compared"
    );
    ledger.granted(&resource, None, FencingToken(5));
    assert_eq!(ledger.violations().len(), 1);
    let floor = ledger.floor(&resource);
    ledger.granted(&resource, floor, FencingToken(3));
    assert_eq!(ledger.violations().len(), 2);
}
