//! How each fault is done, and taken back.

use std::time::Duration;

use super::{Evil, ms};
use crate::cluster::wait_until;
use crate::world::links::{Place, Weather};
use crate::world::true_sleep;

/// Within this time a node uses its disk, or is idle.
const USE_MAX: Duration = Duration::from_secs(5);
/// Within this time a node whose sync failed is gone: it notices at once, and may then wait for writes that never end.
const GONE_MAX: Duration = Duration::from_secs(7);

/// No run has more clients than this, those counted that take the place of one that died.
pub(super) const CLIENTS_MAX: u64 = 64;

/// One way between two places.
pub(super) type Way = (Place, Place);

/// Processes.
impl Evil {
    pub(super) async fn crash(&self, node: u64, down: Duration) {
        if self.cluster.is_alive(node) {
            self.cluster.crash(node);
        }
        true_sleep(down).await;
        self.cluster.start(node);
    }

    pub(super) async fn crash_twice(&self, node: u64, down: Duration, again: Duration) {
        self.crash(node, down).await;
        true_sleep(again).await;
        self.crash(node, down).await;
    }

    pub(super) async fn crash_all(&self, down: Duration) {
        self.cluster
            .nodes()
            .filter(|node| self.cluster.is_alive(*node))
            .for_each(|node| self.cluster.crash(node));
        true_sleep(down).await;
        self.cluster.nodes().for_each(|node| self.cluster.start(node));
    }

    pub(super) async fn pause(&self, node: u64, span: Duration, is_suspended: bool) {
        if !self.cluster.is_alive(node) {
            return;
        }
        if is_suspended {
            let boot = self.send_to_sleep(node);
            true_sleep(span).await;
            return self.wake(node, boot);
        }
        let boot = self.cluster.pause(node);
        true_sleep(span).await;
        self.cluster.resume(node, boot);
    }

    /// Suspends a machine; says in which of its lives.
    pub(super) fn send_to_sleep(&self, node: u64) -> u64 {
        let boot = self.cluster.pause(node);
        self.cluster.clock(node).set_suspended(true);
        boot
    }

    /// Wakes a machine that was suspended in this life.
    pub(super) fn wake(&self, node: u64, boot: u64) {
        if self.cluster.boot(node) == boot {
            self.cluster.clock(node).set_suspended(false);
        }
        self.cluster.resume(node, boot);
    }

    pub(super) async fn restart(&self, node: u64, down: Duration) {
        self.cluster.stop(node).await;
        true_sleep(down).await;
        self.cluster.start(node);
    }

    pub(super) async fn restart_each(&self, down: Duration, between: Duration) {
        for node in self.cluster.nodes() {
            self.restart(node, down).await;
            true_sleep(between).await;
        }
    }
}

/// Links.
impl Evil {
    pub(super) fn way(&self, from: u64, to: u64) -> Way {
        (Place::Node(from), Place::Node(to))
    }

    /// Every way to and from a node, but for every other client: an old leader must be asked too.
    pub(super) fn around(&self, node: u64) -> Vec<Way> {
        let peers = self.cluster.nodes().filter(|other| *other != node).map(Place::Node);
        let clients = (0..CLIENTS_MAX).step_by(2).map(Place::Client);
        let own = Place::Node(node);
        peers
            .chain(clients)
            .flat_map(|other| [(own, other), (other, own)])
            .collect()
    }

    /// Every way from a peer to a node.
    pub(super) fn ways_from_peers(&self, node: u64) -> Vec<Way> {
        self.ways(|_, to| to == node)
    }

    /// The ways of every other client to a node. The others are a measure: who is late is late compared with somebody.
    pub(super) fn ways_from_clients(&self, node: u64) -> Vec<Way> {
        let clients = (1..CLIENTS_MAX).step_by(2).map(Place::Client);
        clients.map(|client| (client, Place::Node(node))).collect()
    }

    /// The ways back of the same clients.
    pub(super) fn ways_to_clients(&self, node: u64) -> Vec<Way> {
        let ways = self.ways_from_clients(node).into_iter();
        ways.map(|(client, node)| (node, client)).collect()
    }

    /// Every way between nodes of `side` and the others, but those of the bridge.
    pub(super) fn between(&self, side: &[u64], bridge: Option<u64>) -> Vec<Way> {
        self.ways(|a, b| side.contains(&a) != side.contains(&b) && Some(a) != bridge && Some(b) != bridge)
    }

    /// Every way between nodes that are not neighbours in a ring.
    pub(super) fn chords(&self) -> Vec<Way> {
        let count = self.cluster.nodes().count() as u64;
        self.ways(|a, b| a.abs_diff(b) != 1 && a.abs_diff(b) != count - 1)
    }

    fn ways(&self, is_cut: impl Fn(u64, u64) -> bool) -> Vec<Way> {
        let nodes = || self.cluster.nodes();
        let pairs = nodes().flat_map(|a| nodes().map(move |b| (a, b)));
        let cut = pairs.filter(|(a, b)| a != b && is_cut(*a, *b));
        cut.map(|(a, b)| self.way(a, b)).collect()
    }

    pub(super) async fn cut(&self, ways: Vec<Way>, span: Duration) {
        let links = self.cluster.links();
        ways.iter().for_each(|(from, to)| links.cut(*from, *to));
        true_sleep(span).await;
        ways.iter().for_each(|(from, to)| links.mend(*from, *to));
    }

    pub(super) async fn flap(&self, from: u64, to: u64, period: Duration, span: Duration) {
        let half = (period / 2).max(ms(1));
        for _ in 0..span.as_nanos() / (half * 2).as_nanos() {
            self.cut(vec![self.way(from, to)], half).await;
            true_sleep(half).await;
        }
    }

    pub(super) async fn delay(&self, ways: Vec<Way>, by: Duration, span: Duration) {
        let links = self.cluster.links();
        ways.iter().for_each(|(from, to)| links.delay(*from, *to, by));
        true_sleep(span).await;
        ways.iter().for_each(|(from, to)| links.undelay(*from, *to, by));
    }

    pub(super) async fn weather(&self, weather: Weather, span: Duration) {
        self.cluster.links().weather(self.number, weather);
        true_sleep(span).await;
        self.cluster.links().calm(self.number);
    }
}

/// Disks.
impl Evil {
    pub(super) async fn slow_disk(&self, node: u64, by: Duration, span: Duration) {
        let platters = self.cluster.platters(node);
        platters.ail(|ailment| ailment.slow_by += by);
        true_sleep(span).await;
        platters.ail(|ailment| ailment.slow_by = ailment.slow_by.saturating_sub(by));
    }

    pub(super) async fn stall_disk(&self, node: u64, span: Duration) {
        let platters = self.cluster.platters(node);
        platters.ail(|ailment| ailment.is_stalled = true);
        true_sleep(span).await;
        platters.ail(|ailment| ailment.is_stalled = false);
    }

    pub(super) async fn stall_sync(&self, node: u64, span: Duration) {
        let platters = self.cluster.platters(node);
        platters.ail(|ailment| ailment.lingers = true);
        true_sleep(span).await;
        platters.ail(|ailment| ailment.lingers = false);
    }

    /// The node must be gone soon after the sync that failed: to go on would be to trust a disk that has lied.
    pub(super) async fn fail_sync(&self, node: u64, down: Duration) {
        let (cluster, boot) = (&self.cluster, self.cluster.boot(node));
        let platters = cluster.platters(node);
        let before = platters.done().errors;
        platters.ail(|ailment| ailment.sync_fails = true);
        let failed = wait_until(USE_MAX, || platters.done().errors > before).await;
        platters.ail(|ailment| ailment.sync_fails = false);
        let is_gone = || !cluster.is_alive(node) || cluster.boot(node) != boot;
        if failed && !wait_until(GONE_MAX, is_gone).await {
            cluster.accuse(node, "it went on after a sync had failed");
        }
        true_sleep(down).await;
        cluster.start(node);
    }

    pub(super) async fn fill_disk(&self, node: u64, span: Duration) {
        let platters = self.cluster.platters(node);
        platters.ail(|ailment| ailment.is_full = true);
        true_sleep(span).await;
        platters.ail(|ailment| ailment.is_full = false);
        // It may still be on its way out.
        true_sleep(ms(100)).await;
        self.cluster.start(node);
    }
}
