//! Histories of a correct lock table, made without a cluster: clients, delays, losses, leases, and a log time that now and then stands still.
//!
//! The table here is a few lines of its own and shares nothing with the model that judges it, nor with kapu. Tokens grow in steps of ten, so that a
//! test can forge one that lies between two.

use std::collections::BTreeMap;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use crate::checkers::samples::MS;
use crate::evidence::Evidence;
use crate::history::{Op, Operation, Seen};

/// How rough it is.
#[derive(Clone, Copy, Debug)]
pub struct Weather {
    /// How many clients.
    pub clients: u64,
    /// How many operations each of them begins.
    pub operations: u64,
    /// Lost requests and lost replies, each in percent.
    pub loss: u32,
}

struct Holder {
    owner: String,
    token: u64,
    end_ms: u64,
}

/// A client, and which of its owners it uses.
struct Client {
    owner: u64,
    left: u64,
}

/// What happens, in the order of true time and then of planning.
enum Event {
    Call(u64),
    Effect(usize),
    Return(usize, u64),
}

struct World {
    rng: StdRng,
    weather: Weather,
    holder: Option<Holder>,
    token: u64,
    now_ns: u64,
    stood_still_ns: u64,
    planned: BTreeMap<(u64, u64), Event>,
    count: u64,
    clients: Vec<Client>,
    /// Each with its answer, which its caller may never see.
    operations: Vec<Operation>,
}

/// A history of one resource.
pub fn generate(seed: u64, weather: Weather) -> Evidence {
    let client = |_| Client {
        owner: 0,
        left: weather.operations,
    };
    let mut world = World {
        rng: StdRng::seed_from_u64(seed),
        weather,
        holder: None,
        token: 0,
        now_ns: 0,
        stood_still_ns: 0,
        planned: BTreeMap::new(),
        count: 0,
        clients: (0..weather.clients).map(client).collect(),
        operations: Vec::new(),
    };
    (0..weather.clients).for_each(|client| world.plan(0, 20, Event::Call(client)));
    while let Some(((at, _), event)) = world.planned.pop_first() {
        world.now_ns = at;
        world.happen(event);
    }
    let mut operations = world.operations;
    operations
        .iter_mut()
        .filter(|operation| operation.return_ns.is_none())
        .for_each(forget);
    Evidence {
        nodes: 1,
        partitions: 1,
        drift_ppm_max: 1000,
        operations,
        ..Evidence::default()
    }
}

/// What its caller never learnt.
fn forget(operation: &mut Operation) {
    operation.outcome = Seen::Unknown;
    (operation.token, operation.lease_ms, operation.holder) = (None, None, None);
}

impl World {
    fn plan(&mut self, from_ms: u64, to_ms: u64, event: Event) {
        let delay = self.rng.random_range(from_ms * MS..=to_ms * MS);
        self.count += 1;
        self.planned.insert((self.now_ns + delay, self.count), event);
    }

    fn chance(&mut self, percent: u32) -> bool {
        self.rng.random_range(0..100) < percent
    }

    fn happen(&mut self, event: Event) {
        match event {
            Event::Call(client) => self.call(client),
            Event::Effect(at) => {
                if self.chance(2) {
                    self.stood_still_ns += self
                        .rng
                        .random_range(0..200 * MS)
                        .min(self.now_ns - self.stood_still_ns);
                }
                self.take_effect(at);
            }
            Event::Return(at, client) => {
                self.operations[at].return_ns = Some(self.now_ns);
                self.plan(0, 20, Event::Call(client));
            }
        }
    }

    fn call(&mut self, client: u64) {
        let me = &mut self.clients[usize::try_from(client).expect("few")];
        let Some(left) = me.left.checked_sub(1) else { return };
        me.left = left;
        if self.rng.random_range(0..3) == 0 {
            me.owner += 1;
        }
        let owner = format!("{client}.{}", me.owner);
        let op = [Op::TryLock, Op::TryLock, Op::Extend, Op::Unlock, Op::Get][self.rng.random_range(0..5)];
        let at = self.operations.len();
        self.operations.push(Operation {
            client,
            op,
            resource: "r".to_owned(),
            owner: if op == Op::Get { String::new() } else { owner },
            ttl_ms: if matches!(op, Op::TryLock | Op::Extend) {
                self.rng.random_range(5..60)
            } else {
                0
            },
            call_ns: self.now_ns,
            return_ns: None,
            outcome: Seen::Unknown,
            token: None,
            lease_ms: None,
            holder: None,
        });
        self.send(at, client);
    }

    fn send(&mut self, at: usize, client: u64) {
        let (loss, late) = (self.weather.loss, self.chance(5));
        if self.chance(loss) {
            return self.plan(20, 40, Event::Call(client));
        }
        if self.chance(loss) {
            self.plan(0, if late { 300 } else { 10 }, Event::Effect(at));
            return self.plan(20, 40, Event::Call(client));
        }
        self.plan(0, 10, Event::Effect(at));
        self.plan(10, 20, Event::Return(at, client));
    }

    fn take_effect(&mut self, at: usize) {
        let log_ms = (self.now_ns - self.stood_still_ns) / MS;
        self.holder.take_if(|holder| holder.end_ms <= log_ms);
        let (op, owner, ttl) = (
            self.operations[at].op,
            self.operations[at].owner.clone(),
            self.operations[at].ttl_ms,
        );
        let own = self.holder.as_mut().map(|holder| (holder.owner == owner, holder));
        let outcome = match (op, own) {
            (Op::TryLock, None) => {
                self.token += 10;
                let (token, end_ms) = (self.token, log_ms + ttl);
                self.holder = Some(Holder { owner, token, end_ms });
                Seen::Locked
            }
            (Op::TryLock, Some((true, holder))) => {
                holder.end_ms = holder.end_ms.max(log_ms + ttl);
                Seen::Locked
            }
            (Op::TryLock, Some((false, _))) => Seen::Busy,
            (Op::Extend, Some((true, holder))) => {
                holder.end_ms = log_ms + ttl;
                Seen::Extended
            }
            (Op::Unlock, Some((true, _))) => {
                self.holder = None;
                Seen::Unlocked
            }
            (Op::Get, Some(_)) => Seen::Got,
            (Op::Extend | Op::Unlock, Some((false, _))) => Seen::InvalidOwner,
            (_, None) => Seen::LockDoesNotExist,
        };
        self.answer(at, outcome, log_ms);
    }

    fn answer(&mut self, at: usize, outcome: Seen, log_ms: u64) {
        let operation = &mut self.operations[at];
        operation.outcome = outcome;
        if let (Some(holder), Seen::Locked | Seen::Extended | Seen::Got) = (&self.holder, outcome) {
            operation.token = Some(holder.token);
            operation.lease_ms = Some(holder.end_ms - log_ms);
            operation.holder = (outcome == Seen::Got).then(|| holder.owner.clone());
        }
    }
}
