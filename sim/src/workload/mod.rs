//! What clients do to a cluster: real clients of the library, each in a process of its own, with habits of its own.
//!
//! ```text
//!  Workload ─▶ one life after another ─▶ act ─▶ Client, LockGuard   (the library, unchanged)
//!     │              (client.rs)      (acts/)       │
//!     │                                             ▼ Caller, Clock, Spawn
//!     │                                  Book: every attempt, on true time (book.rs)
//!     │                                  Gate: the process stands still, dies (gate.rs)
//!     ▼                                             │
//!  Fenced: every write of a holder                  ▼ what the world gives: Outfitter
//! ```
//!
//! The person who acts stands outside of the process that he acts with: he has a true clock, and can stop or kill the process while it
//! believes to hold a lock. Everything that the library starts runs inside, behind the gate.
//!
//! Nothing here judges an outcome, and nothing retries what the library has given up, except as an act that says so. It does not know
//! madsim: what differs between worlds comes in through [`Setting`].

mod acts;
mod book;
mod client;
pub mod facts;
pub mod gate;
mod last_look;
pub mod load;
#[cfg(test)]
mod tests;
mod watcher;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use kapu::client::Caller;
use kapu::clock::Clock;
use kapu::env::Spawn;
use tokio::sync::watch;

use crate::fenced::Fenced;
use crate::history::{FencedWrite, Operation};
pub use book::Book;
pub use load::Load;

/// How long clients may take to end what they have begun, in true time. More than the longest operation: its wait, its timeout, its
/// unlock in the background.
const DRAIN_MAX: Duration = Duration::from_secs(60);
/// How often the drain looks.
const DRAIN_LOOK: Duration = Duration::from_millis(50);

/// Gives a new client what it needs of the world.
pub trait Outfitter: Send + Sync {
    /// The caller and the clock of a client that was never there before. What it starts must be started with `spawn`.
    fn outfit(&self, client: u64, spawn: Arc<dyn Spawn>) -> Outfit;
}

/// What a client gets.
pub struct Outfit {
    /// Carries its attempts.
    pub caller: Arc<dyn Caller>,
    /// Its own clock.
    pub clock: Arc<dyn Clock>,
}

/// Everything that a workload takes from outside.
#[derive(Clone)]
pub struct Setting {
    /// Habits, names, owners and pauses are drawn from it.
    pub seed: u64,
    /// How much is asked.
    pub load: Load,
    /// Where the nodes are.
    pub endpoints: Vec<String>,
    /// True time.
    pub truth: Arc<dyn Clock>,
    /// Tasks.
    pub spawn: Arc<dyn Spawn>,
    /// What each client gets.
    pub outfitter: Arc<dyn Outfitter>,
}

/// Clients at work.
pub struct Workload {
    common: Arc<Common>,
    stop: watch::Sender<bool>,
}

/// What all clients share.
struct Common {
    setting: Setting,
    book: Book,
    fenced: Fenced,
    /// What each of them does at the moment, by its number; who has ended is not there.
    doing: Mutex<BTreeMap<u64, Doing>>,
    born: Mutex<u64>,
}

/// What one client does at the moment.
#[derive(Clone, Debug)]
struct Doing {
    what: String,
    since_ns: u64,
}

impl Workload {
    /// Starts every client.
    #[must_use]
    pub fn start(setting: Setting) -> Self {
        let (stop, stopped) = watch::channel(false);
        let common = Arc::new(Common {
            book: Book::new(Arc::clone(&setting.truth)),
            setting,
            fenced: Fenced::default(),
            doing: Mutex::default(),
            born: Mutex::default(),
        });
        for _ in 0..common.setting.load.clients {
            let lives = client::live(Arc::clone(&common), stopped.clone());
            common.setting.spawn.spawn("client", Box::pin(lives));
        }
        for number in 0..common.setting.load.watchers {
            let watches = watcher::watch(Arc::clone(&common), number, stopped.clone());
            common.setting.spawn.spawn("watcher", Box::pin(watches));
        }
        Self { common, stop }
    }

    /// Begins nothing new, and waits until everything that was begun has ended. Says in words what did not end in time.
    pub async fn stop_and_drain(&self) -> Vec<String> {
        self.stop.send_replace(true);
        let truth = &self.common.setting.truth;
        let deadline = truth.now() + DRAIN_MAX;
        while truth.now() < deadline {
            let left = self.unfinished();
            if left.is_empty() {
                return left;
            }
            truth.sleep(DRAIN_LOOK).await;
        }
        self.unfinished()
    }

    /// Every attempt so far, in the order of calls.
    #[must_use]
    pub fn operations(&self) -> Vec<Operation> {
        self.common.book.operations()
    }

    /// Every write to the fenced resources so far.
    #[must_use]
    pub fn writes(&self) -> Vec<FencedWrite> {
        self.common.fenced.writes()
    }

    /// What was done and seen, counted: [`facts::count`], and what clients have noted themselves.
    #[must_use]
    pub fn facts(&self) -> BTreeMap<String, u64> {
        let mut facts = facts::count(&self.operations(), &self.writes());
        let noted = self.common.book.facts();
        facts.extend(noted.into_iter().map(|(name, value)| (name.to_owned(), value)));
        facts
    }

    /// What has not ended yet, in words.
    fn unfinished(&self) -> Vec<String> {
        let doing = self.common.doing.lock().unwrap_or_else(PoisonError::into_inner);
        let seconds = |ns: u64| format!("{}.{:03} s", ns / 1_000_000_000, ns / 1_000_000 % 1_000);
        let acts = doing.iter().map(|(client, doing)| {
            let (what, since) = (&doing.what, seconds(doing.since_ns));
            format!("client {client} has been at {what} since {since}")
        });
        let waiting = self.common.book.waiting();
        let attempts = waiting.iter().map(|o| {
            let (client, op, resource, owner) = (o.client, o.op, &o.resource, &o.owner);
            let since = seconds(o.call_ns);
            format!("client {client} waits for the answer to {op:?} of {resource} by {owner} since {since}")
        });
        acts.chain(attempts).collect()
    }
}

impl Common {
    /// The number of a client that was never there before.
    fn next_client(&self) -> u64 {
        let mut born = self.born.lock().unwrap_or_else(PoisonError::into_inner);
        *born += 1;
        *born - 1
    }

    fn does(&self, client: u64, what: String) {
        let since_ns = self.book.now_ns();
        let mut doing = self.doing.lock().unwrap_or_else(PoisonError::into_inner);
        doing.insert(client, Doing { what, since_ns });
    }

    fn rests(&self, client: u64) {
        let mut doing = self.doing.lock().unwrap_or_else(PoisonError::into_inner);
        doing.remove(&client);
    }
}
