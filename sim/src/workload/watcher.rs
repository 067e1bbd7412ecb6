//! A watcher: asks every node in turn who holds the locks, and follows no hint.
//!
//! A client of the library asks who it believes leads, so it hardly ever asks a leader that has just been deposed, or one that has just been elected.
//! A watcher does, all the time, and sees what such a leader should not answer. No fault cuts it off: it changes nothing, and so helps nobody.

use std::sync::Arc;
use std::time::Duration;

use kapu::client::Caller;
use kapu::lock::{Query, Request};
use kapu::types::Resource;
use rand::rngs::StdRng;
use tokio::sync::watch;

use super::Common;
use super::gate::Gate;

/// The first watcher has this number: clients are counted from zero, and are fewer.
const FIRST: u64 = 1_000;
/// How long it waits for one answer.
const PATIENCE: Duration = Duration::from_millis(30);
/// It asks for hot names in so many cases of a hundred.
const HOT_PERCENT: u32 = 80;

struct Watcher {
    common: Arc<Common>,
    caller: Arc<dyn Caller>,
    rng: StdRng,
}

/// Watches until the workload stops.
pub async fn watch(common: Arc<Common>, number: u64, mut stopped: watch::Receiver<bool>) {
    let mut watcher = Watcher::born(common, FIRST + number);
    let pause = Duration::from_millis(watcher.common.setting.load.watch_ms);
    while !*stopped.borrow() {
        for endpoint in watcher.common.setting.endpoints.clone() {
            watcher.ask(&endpoint).await;
        }
        let timer = watcher.common.setting.truth.sleep(pause);
        tokio::select! {
            biased;
            _ = stopped.wait_for(|stopped| *stopped) => {}
            () = timer => {}
        }
    }
}

impl Watcher {
    fn born(common: Arc<Common>, number: u64) -> Self {
        let setting = &common.setting;
        let spawn = Gate::default().spawner(Arc::clone(&setting.spawn));
        let outfit = setting.outfitter.outfit(number, spawn);
        let caller = common.book.recording(number, outfit.caller);
        let rng = kapu::env::rng(setting.seed, &format!("watcher {number}"));
        Self { common, caller, rng }
    }

    async fn ask(&mut self, endpoint: &str) {
        let load = &self.common.setting.load;
        let resource =
            Resource::new(&load.name(HOT_PERCENT, &mut self.rng)).expect("the names of a load are resources");
        let request = Request::Query(Query::Get { resource });
        let answer = self.caller.call(endpoint, request, PATIENCE).await;
        self.common
            .book
            .note(if answer.is_ok() { "watched" } else { "watched_in_vain" });
    }
}
