//! What was acknowledged under load, and what must be true of it for ever.
//!
//! Checked with every grant: a token was never given before in its partition, and is greater than every token of the partition that was
//! acknowledged before the request began. Requests that overlap are not compared: their order is the cluster's business.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use kapu::client::Client;
use kapu::lock::Outcome;
use kapu::types::{FencingToken, Owner, Resource};
use tokio::task::JoinSet;

use crate::harness::PARTITIONS;
use crate::requests::get;

/// Longer than any test: what is held stays held.
pub const HELD: Duration = Duration::from_secs(60 * 60);

/// A lock that was acknowledged and never freed.
#[derive(Clone, Debug)]
struct Held {
    resource: Resource,
    owner: Owner,
    token: FencingToken,
}

struct Book {
    held: Vec<Held>,
    /// By partition.
    tokens: Vec<BTreeSet<FencingToken>>,
    grants: u64,
    violations: Vec<String>,
}

/// Everything that was acknowledged.
#[derive(Clone)]
pub struct Ledger(Arc<Mutex<Book>>);

impl Default for Ledger {
    fn default() -> Self {
        Self::new(PARTITIONS)
    }
}

impl Ledger {
    /// The ledger of a cluster of so many partitions.
    pub fn new(partitions: u32) -> Self {
        let book = Book {
            held: Vec::new(),
            tokens: (0..partitions).map(|_| BTreeSet::new()).collect(),
            grants: 0,
            violations: Vec::new(),
        };
        Self(Arc::new(Mutex::new(book)))
    }

    fn with<T>(&self, work: impl FnOnce(&mut Book) -> T) -> T {
        work(&mut self.0.lock().expect("no test thread panics with the book open"))
    }

    /// The greatest token acknowledged so far in the partition of `resource`: to be asked before a request begins.
    pub fn floor(&self, resource: &Resource) -> Option<FencingToken> {
        self.with(|book| book.tokens_of(resource).last().copied())
    }

    /// Writes down a grant, and what is wrong with it.
    pub fn granted(&self, resource: &Resource, floor: Option<FencingToken>, token: FencingToken) {
        self.with(|book| {
            book.grants += 1;
            if !book.tokens_of(resource).insert(token) {
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

    pub fn violations(&self) -> Vec<String> {
        self.with(|book| book.violations.clone())
    }

    /// Checks that nothing was violated, and that every lock that was kept is there, with its owner and token. Says how many were.
    pub async fn check(&self, client: &Client) -> usize {
        let violations = self.violations();
        assert!(violations.is_empty(), "{}", violations.join("\n"));
        let held = self.with(|book| book.held.clone());
        let count = held.len();
        assert!(count > 0, "nothing was held, so nothing was checked");
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
        count
    }
}

impl Book {
    fn tokens_of(&mut self, resource: &Resource) -> &mut BTreeSet<FencingToken> {
        let partitions = u32::try_from(self.tokens.len()).expect("a number of partitions");
        &mut self.tokens[resource.partition(partitions).0 as usize]
    }
}

/// A ledger that accepts everything would prove nothing.
#[test]
fn the_ledger_sees_tokens_that_repeat_or_go_back() {
    let (resource, ledger) = (crate::requests::name("a"), Ledger::default());
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
