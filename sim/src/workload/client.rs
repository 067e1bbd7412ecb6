//! One client after another: each acts until the workload stops, or until it vanishes and another takes its place.
//!
//! A client that comes after one that vanished has a new number, a new address and new habits, and knows nothing of what was before.

use std::sync::Arc;
use std::time::Duration;

use kapu::client::{Caller, Client, ClientEnv, LockGuard};
use kapu::types::{Owner, Resource};
use rand::RngExt;
use rand::rngs::StdRng;
use tokio::sync::watch;

use super::gate::Gate;
use super::load::Mix;
use super::{Common, acts};
use crate::fenced::Attempt;

/// The longest time between the death of a client and the birth of the next.
const REBIRTH_MS_MAX: u64 = 500;
/// A write takes up to this long to the resource.
const WRITE_MS_MAX: u64 = 10;
/// One write of ten is late on its way, by up to this.
const SLOW_WRITE_MS_MAX: u64 = 300;

/// How an act ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum After {
    /// The client goes on.
    Alive,
    /// It is no more.
    Dead,
}

/// One client, with the person who acts through it.
pub struct Actor {
    /// Its number.
    pub number: u64,
    /// The library.
    pub client: Client,
    /// What the library calls through, for attempts without it.
    pub caller: Arc<dyn Caller>,
    /// Its process.
    pub gate: Gate,
    /// Its habits.
    pub mix: Mix,
    /// What the person draws from.
    pub rng: StdRng,
    /// What it held last without a guard, or might have.
    pub earlier: Option<(Resource, Owner)>,
    /// What all share.
    pub common: Arc<Common>,
    /// The end of the workload.
    pub stopped: watch::Receiver<bool>,
}

/// Lives one life after another until the workload stops.
pub async fn live(common: Arc<Common>, stopped: watch::Receiver<bool>) {
    while !*stopped.borrow() {
        let mut actor = Actor::born(Arc::clone(&common), stopped.clone());
        actor.live().await;
        let pause = actor.draw_ms(1..=REBIRTH_MS_MAX);
        actor.rest(pause).await;
    }
}

impl Actor {
    /// A client that was never there before.
    pub fn born(common: Arc<Common>, stopped: watch::Receiver<bool>) -> Self {
        let number = common.next_client();
        let setting = &common.setting;
        let mut rng = kapu::env::rng(setting.seed, &format!("client {number}"));
        let mix = setting.load.draw_mix(&mut rng);
        let gate = Gate::default();
        let spawn = gate.spawner(Arc::clone(&setting.spawn));
        let outfit = setting.outfitter.outfit(number, Arc::clone(&spawn));
        let caller = common.book.recording(number, outfit.caller);
        let env = ClientEnv {
            caller: Arc::clone(&caller),
            clock: outfit.clock,
            spawn,
            seed: rng.random(),
        };
        let client = Client::new(env, setting.endpoints.clone()).expect("the world names its nodes well");
        let client = client.with_timeout(Duration::from_millis(mix.timeout_ms));
        common.book.note("clients");
        Self {
            number,
            client,
            caller,
            gate,
            mix,
            rng,
            earlier: None,
            common,
            stopped,
        }
    }

    async fn live(&mut self) {
        while !self.is_stopped() {
            let act = self.mix.act(&mut self.rng);
            let name = self.common.setting.load.name(self.mix.hot_percent, &mut self.rng);
            self.common.does(self.number, format!("{act:?} of {name}"));
            let after = acts::perform(self, act, &name).await;
            self.common.rests(self.number);
            if after == After::Dead {
                return;
            }
            let think = self.draw_ms(0..=self.mix.think_ms * 2);
            self.rest(think).await;
        }
    }

    /// Whether nothing new is to be begun.
    pub fn is_stopped(&self) -> bool {
        *self.stopped.borrow()
    }

    /// Waits, but not beyond the end of the workload.
    pub async fn rest(&mut self, pause: Duration) {
        let timer = self.common.setting.truth.sleep(pause);
        tokio::select! {
            biased;
            _ = self.stopped.wait_for(|stopped| *stopped) => {}
            () = timer => {}
        }
    }

    /// Waits in any case.
    pub async fn pass(&self, pause: Duration) {
        self.common.setting.truth.sleep(pause).await;
    }

    /// Counts something.
    pub fn note(&self, fact: &'static str) {
        self.common.book.note(fact);
    }

    /// A time of so many milliseconds.
    pub fn draw_ms(&mut self, ms: std::ops::RangeInclusive<u64>) -> Duration {
        Duration::from_millis(self.rng.random_range(ms))
    }

    /// Whether to do something that is done in so many cases of a hundred.
    pub fn sometimes(&mut self, percent: u32) -> bool {
        self.rng.random_range(0..100) < percent
    }

    /// A write of a careful holder: it looks at its guard, then sends. On the way the lease may end.
    pub async fn write(&mut self, guard: &LockGuard) {
        if !guard.is_held() {
            return;
        }
        let slow = self.sometimes(10);
        let way = self.draw_ms(0..=if slow { SLOW_WRITE_MS_MAX } else { WRITE_MS_MAX });
        self.pass(way).await;
        self.arrive(guard, guard.is_held());
    }

    /// A write arrives. `believed_held` is what its writer believes now.
    pub fn arrive(&self, guard: &LockGuard, believed_held: bool) {
        let accepted = self.common.fenced.write(&Attempt {
            client: self.number,
            resource: guard.resource().as_str(),
            owner: &guard.owner().to_string(),
            token: guard.fencing_token().0,
            at_ns: self.common.book.now_ns(),
            believed_held,
        });
        if !accepted {
            self.note("fence_refusals");
        }
    }
}
