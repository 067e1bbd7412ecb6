//! Workers that lock and unlock, what they found written down in a ledger.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use kapu::cli::bench::report::Latencies;
use kapu::client::Client;
use kapu::clock::{Clock, SystemClock};
use kapu::lock::Outcome;
use tokio::task::JoinSet;

use crate::ledger::{HELD, Ledger};
use crate::process::until;
use crate::requests::{name, try_lock, unlock};

/// Each worker keeps every so many locks, unless said otherwise.
const HOLD_EVERY: u64 = 8;
/// The load does so much while somebody waits for it to go on.
const PROGRESS_GRANTS: u64 = 50;

/// What happened since somebody looked last.
#[derive(Default)]
pub struct Window {
    /// Locks that were taken and freed, or taken and kept.
    pub cycles: u64,
    /// Requests for a lock without an outcome.
    pub failures: u64,
    /// How long it took to be granted.
    pub lock: Latencies,
}

/// What the workers share.
#[derive(Clone)]
struct Shared {
    client: Client,
    ledger: Ledger,
    hold_every: u64,
    stop: Arc<AtomicBool>,
    window: Arc<Mutex<Window>>,
}

/// Workers that lock and unlock for as long as this exists.
pub struct Load {
    shared: Shared,
    workers: JoinSet<()>,
}

impl Load {
    pub fn start(client: &Client, ledger: &Ledger, workers: u64) -> Self {
        Self::start_holding(client, ledger, workers, HOLD_EVERY)
    }

    /// As [`Load::start`], but each worker keeps every `hold_every`th lock.
    pub fn start_holding(client: &Client, ledger: &Ledger, workers: u64, hold_every: u64) -> Self {
        let shared = Shared {
            client: client.clone(),
            ledger: ledger.clone(),
            hold_every,
            stop: Arc::default(),
            window: Arc::default(),
        };
        let mut tasks = JoinSet::new();
        for worker in 0..workers {
            tasks.spawn(work(shared.clone(), worker));
        }
        Self { shared, workers: tasks }
    }

    /// Waits until the load has been granted some more.
    pub async fn make_progress(&self) {
        let ledger = &self.shared.ledger;
        let wanted = ledger.grants() + PROGRESS_GRANTS;
        until("the load makes progress", async || {
            (ledger.grants() >= wanted).then_some(())
        })
        .await;
    }

    /// What happened since this was asked last.
    pub fn take_window(&self) -> Window {
        std::mem::take(&mut *self.shared.window.lock().expect("no worker panics with it open"))
    }

    /// Ends the load. Fails when a worker did.
    pub async fn stop(self) {
        self.shared.stop.store(true, Ordering::Relaxed);
        self.workers.join_all().await;
    }
}

async fn work(shared: Shared, worker: u64) {
    let mut round = 0;
    while !shared.stop.load(Ordering::Relaxed) {
        round += 1;
        shared.cycle(worker, round).await;
    }
}

impl Shared {
    async fn cycle(&self, worker: u64, round: u64) {
        let Self { client, ledger, .. } = self;
        let keeps = round.is_multiple_of(self.hold_every);
        let resource = if keeps {
            name(&format!("held-{worker}-{round}"))
        } else {
            name(&format!("churn-{worker}"))
        };
        let owner = client.new_owner();
        let floor = ledger.floor(&resource);
        let start = SystemClock.now();
        let answer = client.request(try_lock(&resource, &owner, HELD)).await;
        let took = SystemClock.now() - start;
        let granted = match answer {
            Ok(Outcome::Locked { fencing_token, .. }) => Some(fencing_token),
            _ => None,
        };
        if let Some(token) = granted {
            ledger.granted(&resource, floor, token);
        }
        match granted {
            Some(token) if keeps => ledger.keeps(&resource, &owner, token),
            None if keeps => {}
            // Also after a failure: it may have taken effect, and the next round wants the lock free.
            _ => drop(client.request(unlock(&resource, &owner)).await),
        }
        let mut window = self.window.lock().expect("no worker panics with it open");
        window.lock.record(took);
        window.cycles += u64::from(granted.is_some());
        window.failures += u64::from(granted.is_none());
    }
}
