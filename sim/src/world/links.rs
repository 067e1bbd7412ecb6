//! The way of all datagrams: between nodes, and between clients and nodes, with everything that may happen to them on it.
//!
//! A datagram takes a time drawn for it, and may be lost, doubled, overtaken, held up or cut off, for each ordered pair of places apart. All of it
//! is drawn from a stream per pair, so that more traffic on one link changes nothing on another. It is delivered by one task in the order of
//! arrival, on madsim's time. madsim's own `Endpoint` is not used: it holds every datagram up for a millisecond at each end and
//! hands a receiver one a millisecond, which real networks do not.
//!
//! Nothing here knows what a datagram says. There are no connections, and no refusals: who sends to nobody hears nothing.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use bytes::Bytes;
use rand::RngExt;
use rand::rngs::StdRng;
use tokio::sync::{Notify, mpsc};

use super::{true_ns, true_sleep, true_time};
use crate::trace::Trace;

/// A datagram is at least this long on its way.
const LATENCY_US_MIN: u64 = 200;
/// Most are no longer than this on their way.
const LATENCY_US_MAX: u64 = 1_500;
/// One that is overtaken is held up by at most this much more.
const REORDER_US_MAX: u64 = 20_000;
/// What waits at one port, at most; what is over it is lost, as with a socket that nobody reads.
const WAITING_MAX: usize = 8_192;

/// Where a datagram comes from or goes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Place {
    /// A node of the cluster, counted from one.
    Node(u64),
    /// A client, counted from zero.
    Client(u64),
}

/// What may happen to datagrams everywhere, each in cases of a thousand.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Weather {
    /// Lost.
    pub loss: u32,
    /// Doubled.
    pub duplicate: u32,
    /// Overtaken.
    pub reorder: u32,
}

impl Weather {
    /// Of each in cases of a thousand.
    #[must_use]
    pub const fn new(loss: u32, duplicate: u32, reorder: u32) -> Self {
        Self {
            loss,
            duplicate,
            reorder,
        }
    }
}

/// What has happened to datagrams so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Carried {
    /// Handed in.
    pub sent: u64,
    /// Arrived.
    pub delivered: u64,
    /// Lost by chance.
    pub lost: u64,
    /// Cut off.
    pub cut: u64,
    /// Doubled.
    pub doubled: u64,
    /// Overtaken.
    pub overtaken: u64,
}

/// All links. Cheap to clone.
#[derive(Clone)]
pub struct Links(Arc<Inner>);

struct Inner {
    seed: u64,
    trace: Trace,
    state: Mutex<State>,
    /// Something will arrive earlier than the carrier thinks.
    earlier: Notify,
}

#[derive(Default)]
struct State {
    pairs: BTreeMap<(Place, Place), Pair>,
    weather: Vec<(u64, Weather)>,
    ports: BTreeMap<SocketAddr, Bound>,
    /// By time of arrival, then in the order of sending.
    under_way: BTreeMap<(Duration, u64), Datagram>,
    sent: u64,
    bound: u64,
    carried: Carried,
}

/// One ordered pair of places.
struct Pair {
    rng: StdRng,
    cuts: u32,
    delay: Duration,
}

struct Bound {
    place: Place,
    number: u64,
    inbox: mpsc::Sender<(SocketAddr, Bytes)>,
}

struct Datagram {
    from: SocketAddr,
    to: SocketAddr,
    bytes: Bytes,
}

impl Links {
    /// Links whose faults are drawn from `seed`. Call it inside of the run: it starts the carrier.
    #[must_use]
    pub fn new(seed: u64, trace: Trace) -> Self {
        let links = Self(Arc::new(Inner {
            seed,
            trace,
            state: Mutex::default(),
            earlier: Notify::new(),
        }));
        madsim::task::spawn(carry(links.clone()));
        links
    }

    /// Takes an address for a place. A port that still has it loses it.
    #[must_use]
    pub fn bind(&self, place: Place, address: SocketAddr) -> Port {
        let (inbox, arrived) = mpsc::channel(WAITING_MAX);
        let mut state = self.lock();
        state.bound += 1;
        let number = state.bound;
        state.ports.insert(address, Bound { place, number, inbox });
        let links = self.clone();
        Port(Arc::new(Socket {
            links,
            address,
            number,
            arrived: tokio::sync::Mutex::new(arrived),
        }))
    }

    /// Takes every address from a place that is no more: what its ports are still told to send goes nowhere.
    pub fn unbind_all(&self, place: Place) {
        self.lock().ports.retain(|_, bound| bound.place != place);
    }

    /// Cuts the way from one place to another, until it has been mended as often.
    pub fn cut(&self, from: Place, to: Place) {
        self.lock().pair(self.0.seed, from, to).cuts += 1;
    }

    /// Takes one cut away.
    pub fn mend(&self, from: Place, to: Place) {
        let mut state = self.lock();
        let pair = state.pair(self.0.seed, from, to);
        pair.cuts = pair.cuts.saturating_sub(1);
    }

    /// Makes the way longer, from now on.
    pub fn delay(&self, from: Place, to: Place, by: Duration) {
        self.lock().pair(self.0.seed, from, to).delay += by;
    }

    /// Takes a delay away.
    pub fn undelay(&self, from: Place, to: Place, by: Duration) {
        let mut state = self.lock();
        let pair = state.pair(self.0.seed, from, to);
        pair.delay = pair.delay.saturating_sub(by);
    }

    /// Makes the weather worse everywhere, until [`Links::calm`] with the same number.
    pub fn weather(&self, number: u64, weather: Weather) {
        self.lock().weather.push((number, weather));
    }

    /// Ends one kind of weather.
    pub fn calm(&self, number: u64) {
        self.lock().weather.retain(|(other, _)| *other != number);
    }

    /// Ends every fault.
    pub fn heal(&self) {
        let mut state = self.lock();
        state.weather.clear();
        for pair in state.pairs.values_mut() {
            pair.cuts = 0;
            pair.delay = Duration::ZERO;
        }
    }

    /// Who has `address` now: a number that changes when the port behind it does. None when it is nobody.
    #[must_use]
    pub fn listener(&self, address: SocketAddr) -> Option<u64> {
        self.lock().ports.get(&address).map(|bound| bound.number)
    }

    /// Whether datagrams pass both ways between `place` and whoever has `address`.
    #[must_use]
    pub fn is_open(&self, place: Place, address: SocketAddr) -> bool {
        let state = self.lock();
        let Some(other) = state.ports.get(&address).map(|bound| bound.place) else {
            return false;
        };
        let cut = |from, to| state.pairs.get(&(from, to)).is_some_and(|pair| pair.cuts > 0);
        !cut(place, other) && !cut(other, place)
    }

    /// Whether nothing passes from one place to another.
    #[must_use]
    pub fn is_cut(&self, from: Place, to: Place) -> bool {
        let state = self.lock();
        state.pairs.get(&(from, to)).is_some_and(|pair| pair.cuts > 0)
    }

    /// What has happened so far.
    #[must_use]
    pub fn carried(&self) -> Carried {
        self.lock().carried
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().expect("nobody panics while holding it")
    }

    fn send(&self, port: &Socket, to: SocketAddr, bytes: Bytes) {
        let Some(now) = true_time() else { return };
        let mut state = self.lock();
        let Some(from) = state.owner(port) else { return };
        self.0.trace.note(true_ns(), "send", number(from), &bytes);
        let first = state.under_way.first_key_value().map(|((at, _), _)| *at);
        state.dispatch(self.0.seed, now, (from, port.address), to, bytes);
        let next = state.under_way.first_key_value().map(|((at, _), _)| *at);
        if next != first {
            self.0.earlier.notify_one();
        }
    }
}

impl State {
    fn pair(&mut self, seed: u64, from: Place, to: Place) -> &mut Pair {
        self.pairs.entry((from, to)).or_insert_with(|| Pair {
            rng: kapu::env::rng(seed, &format!("datagrams from {from:?} to {to:?}")),
            cuts: 0,
            delay: Duration::ZERO,
        })
    }

    /// Whose port this is, if it still has its address.
    fn owner(&self, port: &Socket) -> Option<Place> {
        let bound = self.ports.get(&port.address)?;
        (bound.number == port.number).then_some(bound.place)
    }

    /// Decides what becomes of a datagram, and puts it on its way, once or twice.
    fn dispatch(
        &mut self,
        seed: u64,
        now: Duration,
        (from, address): (Place, SocketAddr),
        to: SocketAddr,
        bytes: Bytes,
    ) {
        self.carried.sent += 1;
        let Some(receiver) = self.ports.get(&to).map(|bound| bound.place) else {
            return;
        };
        let weather = self.weather_now();
        let pair = self.pair(seed, from, receiver);
        let (cut, delay) = (pair.cuts > 0, pair.delay);
        let (lost, doubled) = (
            chance(&mut pair.rng, weather.loss),
            chance(&mut pair.rng, weather.duplicate),
        );
        let mut overtaken = 0;
        let mut latency = |rng: &mut StdRng| {
            let mut micros = rng.random_range(LATENCY_US_MIN..=LATENCY_US_MAX);
            if chance(rng, weather.reorder) {
                overtaken += 1;
                micros += rng.random_range(0..=REORDER_US_MAX);
            }
            now + delay + Duration::from_micros(micros)
        };
        let arrivals = [latency(&mut pair.rng), latency(&mut pair.rng)];
        self.carried.overtaken += overtaken;
        if cut {
            self.carried.cut += 1;
        } else if lost {
            self.carried.lost += 1;
        } else {
            self.carried.doubled += u64::from(doubled);
            for at in arrivals.into_iter().take(1 + usize::from(doubled)) {
                self.sent += 1;
                let (from, bytes) = (address, bytes.clone());
                self.under_way.insert((at, self.sent), Datagram { from, to, bytes });
            }
        }
    }

    fn weather_now(&self) -> Weather {
        let sum = |part: fn(&Weather) -> u32| self.weather.iter().map(|(_, weather)| part(weather)).sum();
        Weather {
            loss: sum(|weather| weather.loss),
            duplicate: sum(|weather| weather.duplicate),
            reorder: sum(|weather| weather.reorder),
        }
    }

    /// Hands over what has arrived by now; says when the next one will.
    fn deliver(&mut self, now: Duration) -> Option<Duration> {
        while let Some(next) = self.under_way.first_entry() {
            if next.key().0 > now {
                return Some(next.key().0);
            }
            let Datagram { from, to, bytes } = next.remove();
            // Nobody is there, or nobody reads: lost, as in any network.
            let delivered = self.ports.get(&to).map(|port| port.inbox.try_send((from, bytes)));
            self.carried.delivered += u64::from(matches!(delivered, Some(Ok(()))));
        }
        None
    }
}

/// True in `per_mille` of a thousand cases. Draws in any case, so that the stream does not depend on the answer.
fn chance(rng: &mut StdRng, per_mille: u32) -> bool {
    rng.random_range(0..1_000) < per_mille
}

/// A place as one number, for the trace.
const fn number(place: Place) -> u64 {
    match place {
        Place::Node(node) => node,
        Place::Client(client) => 1_000 + client,
    }
}

/// Delivers for ever.
async fn carry(links: Links) {
    loop {
        let now = true_time().expect("a task runs inside of the run");
        let next = links.lock().deliver(now);
        let earlier = links.0.earlier.notified();
        match next {
            None => earlier.await,
            Some(at) => tokio::select! {
                biased;
                () = true_sleep(at.saturating_sub(now)) => {}
                () = earlier => {}
            },
        }
    }
}

/// One bound address. Cheap to clone; when the last clone is dropped, the address is free.
#[derive(Clone)]
pub struct Port(Arc<Socket>);

struct Socket {
    links: Links,
    address: SocketAddr,
    number: u64,
    arrived: tokio::sync::Mutex<mpsc::Receiver<(SocketAddr, Bytes)>>,
}

impl Port {
    /// The address.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.0.address
    }

    /// Sends a datagram. Never blocks, and never tells whether it arrives.
    pub fn send(&self, to: SocketAddr, bytes: Bytes) {
        self.0.links.send(&self.0, to, bytes);
    }

    /// Waits for the next datagram, and for ever once the address has gone to somebody else.
    pub async fn recv(&self) -> (SocketAddr, Bytes) {
        match self.0.arrived.lock().await.recv().await {
            Some(arrived) => arrived,
            None => std::future::pending().await,
        }
    }

    /// A datagram that has arrived already, if nobody else is waiting for it.
    #[must_use]
    pub fn try_recv(&self) -> Option<(SocketAddr, Bytes)> {
        self.0.arrived.try_lock().ok()?.try_recv().ok()
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        let mut state = self.links.lock();
        if state.owner(self).is_some() {
            state.ports.remove(&self.address);
        }
    }
}
