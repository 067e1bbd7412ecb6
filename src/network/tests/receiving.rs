//! The receiving side: who is welcome, and a sender and a receiver together over real sockets.

use super::*;
use crate::network::inbound::{is_about_disk, is_about_removal};
use crate::storage::{Completion, PeerLife, RememberPeer};

/// Keeps what was delivered.
#[derive(Default)]
struct Delivered(Mutex<Vec<(PartitionId, Message)>>);

impl MessageSink for Delivered {
    fn deliver(&self, partition: PartitionId, message: Message) {
        self.0.lock().unwrap().push((partition, message));
    }
}

/// Knows only who was removed.
struct Removed(Vec<NodeId>);

impl Roster for Removed {
    fn was_removed(&self, node: NodeId) -> bool {
        self.0.contains(&node)
    }

    fn heard(&self, node: NodeId, address: &str) {
        assert!(!self.was_removed(node) && address == "peer-2:2071");
    }
}

/// The durable memory of a node. Writes wait until they are let go.
#[derive(Clone, Default)]
struct Memory {
    lives: Arc<Mutex<BTreeMap<NodeId, PeerLife>>>,
    waiting: Arc<Mutex<Vec<(NodeId, PeerLife, Completion)>>>,
}

impl Memory {
    fn remember(&self) -> RememberPeer {
        let waiting = Arc::clone(&self.waiting);
        Arc::new(move |peer, life, done| waiting.lock().unwrap().push((peer, life, done)))
    }

    /// Writes what waits; says how much that was.
    fn sync(&self) -> usize {
        let waiting = std::mem::take(&mut *self.waiting.lock().unwrap());
        let count = waiting.len();
        for (peer, life, done) in waiting {
            self.lives.lock().unwrap().insert(peer, life);
            done();
        }
        count
    }

    /// Node 1 of a cluster of 1, 2 and 3 with this memory, and what arrives there.
    fn start(&self) -> (Inbound, Arc<Delivered>) {
        let delivered = Arc::new(Delivered::default());
        let sink = Arc::clone(&delivered) as Arc<dyn MessageSink>;
        let lives = self.lives.lock().unwrap().clone();
        let roster = Arc::new(Removed(vec![NodeId(9)]));
        let clock: Arc<dyn Clock> = Arc::<NoTime>::default();
        (
            Inbound::new(identity(1), lives, roster, sink, self.remember(), hybrid(&clock)),
            delivered,
        )
    }
}

/// A node that has met node 2.
fn inbound() -> (Inbound, Arc<Delivered>) {
    let memory = Memory::default();
    let (inbound, delivered) = memory.start();
    inbound.receive(frame_of_two(|_| {})).unwrap();
    assert_eq!(memory.sync(), 1);
    (inbound, delivered)
}

/// Remembers at once.
fn at_once() -> RememberPeer {
    Arc::new(|_, _, done| done())
}

/// A frame of node 2 to node 1, after `change`.
fn frame_of_two(change: impl FnOnce(&mut crate::wire::FrameHeader)) -> Bytes {
    let identity = identity(2);
    let mut header = crate::wire::FrameHeader {
        cluster: crate::wire::frame::cluster_hash(&identity.cluster),
        from: identity.node_id,
        to: NodeId(1),
        storage_id: identity.storage_id,
        incarnation: identity.incarnation,
        earlier: identity.earlier,
        sequence: 1,
        client_address: identity.client_address,
        peer_address: identity.peer_address,
        hlc: Hlc::of_wall(NoTime::default().wall()),
    };
    change(&mut header);
    let message = Message {
        from: header.from,
        ..message(header.to.0, 5)
    };
    crate::wire::encode_frame(&header, &[(PartitionId(4), message)])
}

/// As after so many more starts.
fn restart(header: &mut crate::wire::FrameHeader, times: u64) {
    for _ in 0..times {
        header.earlier.push(header.incarnation);
        header.incarnation = header.incarnation.next(1);
    }
}

/// Symptom: a node on an old copy of its disk was refused, started again and again, and was welcome once it had started as often as its
/// peers remembered. Cause: lives were only counted. Fix: a node says which lives its disk knows.
#[test]
fn a_disk_that_has_forgotten_a_life_is_refused_however_often_it_starts() {
    let (inbound, _) = inbound();
    let from_a_copy = |header: &mut crate::wire::FrameHeader, times| {
        (header.incarnation, header.earlier) = (Incarnation::new(2, 6), vec![Incarnation::new(1, 5)]);
        restart(header, times);
    };
    for times in 1..5 {
        let told = refusal(&inbound, |header| from_a_copy(header, times));
        assert!(told.contains("rolled back") && is_about_disk(&told), "{told}");
    }
    inbound.receive(frame_of_two(|header| restart(header, 3))).unwrap();
}

fn refusal(inbound: &Inbound, change: impl FnOnce(&mut crate::wire::FrameHeader)) -> String {
    inbound.receive(frame_of_two(change)).unwrap_err()
}

#[test]
fn messages_of_a_peer_are_delivered() {
    let (inbound, delivered) = inbound();
    assert_eq!(inbound.address(NodeId(3)), None);
    inbound.receive(frame_of_two(|_| {})).unwrap();
    inbound.receive(frame_of_two(|_| {})).unwrap();
    let delivered = delivered.0.lock().unwrap();
    assert_eq!(delivered.len(), 2, "a repeated frame is the business of raft");
    assert_eq!(delivered[0].0, PartitionId(4));
    assert_eq!(delivered[0].1.from, NodeId(2));
    assert_eq!(inbound.address(NodeId(2)).as_deref(), Some("client-2:2070"));
}

#[test]
fn a_frame_that_is_not_for_this_node_is_refused() {
    let (inbound, delivered) = inbound();
    let other = refusal(&inbound, |header| header.cluster += 1);
    assert!(
        other.contains("another cluster") && other.contains("\"test\""),
        "{other}"
    );
    let misled = refusal(&inbound, |header| header.to = NodeId(3));
    assert!(
        misled.contains("this is node 1") && misled.contains("for node 3"),
        "{misled}"
    );
    let twin = refusal(&inbound, |header| header.from = NodeId(1));
    assert!(twin.contains("ids are unique"), "{twin}");
    let garbage = inbound.receive(Bytes::from_static(b"garbage")).unwrap_err();
    assert!(garbage.contains("cannot be read"), "{garbage}");
    assert!(delivered.0.lock().unwrap().is_empty());
}

#[test]
fn a_node_that_was_removed_is_told_so() {
    let (inbound, delivered) = inbound();
    let removed = refusal(&inbound, |header| header.from = NodeId(9));
    assert!(removed.contains("node 9") && is_about_removal(&removed), "{removed}");
    assert!(!is_about_disk(&removed));
    assert!(delivered.0.lock().unwrap().is_empty());
}

#[test]
fn a_node_that_nobody_knows_yet_is_heard_and_only_so_many_are() {
    let (inbound, _) = inbound();
    for node in 10..10 + limits::PEERS_HEARD_MAX as u64 - 1 {
        inbound
            .receive(frame_of_two(|header| header.from = NodeId(node)))
            .unwrap();
    }
    let one_more = refusal(&inbound, |header| header.from = NodeId(1_000));
    assert!(one_more.contains(&limits::PEERS_HEARD_MAX.to_string()), "{one_more}");
}

#[test]
fn nothing_of_a_new_life_is_handed_on_before_the_disk_knows_of_it() {
    let memory = Memory::default();
    let (inbound, delivered) = memory.start();
    for _ in 0..3 {
        inbound.receive(frame_of_two(|_| {})).unwrap();
    }
    assert_eq!((delivered.0.lock().unwrap().len(), inbound.life(NodeId(2))), (0, None));
    assert_eq!(memory.sync(), 1, "it is written once");
    inbound.receive(frame_of_two(|_| {})).unwrap();
    assert_eq!(delivered.0.lock().unwrap().len(), 1);
    let next = Incarnation::new(4, 1);
    inbound.receive(frame_of_two(|header| restart(header, 1))).unwrap();
    assert_eq!(delivered.0.lock().unwrap().len(), 1, "the next life is as new");
    refusal(&inbound, |_| {});
    memory.sync();
    assert_eq!(inbound.life(NodeId(2)).unwrap().incarnation, next);
}

/// Symptom: after a restart of everybody, a node that had been wiped or set back voted again. Cause: peers knew its disk only as long as
/// they ran. Fix: they write it down.
#[test]
fn a_peer_with_another_or_an_older_disk_is_refused_also_after_a_restart() {
    let memory = Memory::default();
    let (first, _) = memory.start();
    first.receive(frame_of_two(|_| {})).unwrap();
    memory.sync();
    for inbound in [first, memory.start().0] {
        let swapped = refusal(&inbound, |header| header.storage_id = StorageId(0xabc));
        assert!(swapped.contains("swapped") && swapped.contains("abc"), "{swapped}");
        let older = refusal(&inbound, |header| header.incarnation = Incarnation::new(2, u64::MAX));
        assert!(older.contains("rolled back") && older.contains("3 times"), "{older}");
        let twin = refusal(&inbound, |header| header.incarnation = Incarnation::new(3, 8));
        assert!(
            twin.contains("rolled back"),
            "started from a copy that the known life was started from: {twin}"
        );
        assert!(is_about_disk(&swapped) && is_about_disk(&older) && is_about_disk(&twin));
        inbound.receive(frame_of_two(|_| {})).unwrap();
    }
    assert!(!is_about_disk("node 9 is not a voter of this cluster"));
}

#[test]
fn a_restarted_peer_is_welcome_and_its_new_address_is_known() {
    let (inbound, _) = inbound();
    let restarted = frame_of_two(|header| {
        restart(header, 1);
        header.client_address = "moved:1".to_owned();
    });
    inbound.receive(restarted).unwrap();
    assert_eq!(inbound.address(NodeId(2)).as_deref(), Some("moved:1"));
}

#[test]
fn a_clock_that_is_too_far_ahead_is_told_of_and_not_followed_and_its_messages_are_taken() {
    let clock: Arc<dyn Clock> = Arc::<NoTime>::default();
    let (hybrid, delivered) = (hybrid(&clock), Arc::new(Delivered::default()));
    let sink = Arc::clone(&delivered) as Arc<dyn MessageSink>;
    let roster = Arc::new(Removed(Vec::new()));
    let inbound = Inbound::new(identity(1), [], roster, sink, at_once(), Arc::clone(&hybrid));
    let ahead = |by_ms| Hlc::of_wall(NoTime::default().wall() + Duration::from_millis(by_ms));
    let receive = |by_ms| {
        inbound
            .receive(frame_of_two(|header| header.hlc = ahead(by_ms)))
            .unwrap()
    };
    receive(0);
    receive(limits::HLC_AHEAD_MS_MAX);
    assert!(
        hybrid.now() > ahead(limits::HLC_AHEAD_MS_MAX),
        "this far it is followed"
    );
    assert_eq!(inbound.clocks_ahead(), []);
    receive(3_600_000);
    assert!(hybrid.now() < ahead(limits::HLC_AHEAD_MS_MAX + 1));
    assert_eq!(inbound.clocks_ahead(), [(NodeId(2), 3_600_000)]);
    receive(0);
    assert_eq!(inbound.clocks_ahead(), []);
    assert_eq!(delivered.0.lock().unwrap().len(), 3);
}

/// Serves node 1 on a port of the system's choice, and starts a sender of node 2 of `cluster` to it.
async fn over_sockets(cluster: &str, inbound: Inbound) -> (Peers, mpsc::UnboundedReceiver<String>) {
    let spare = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = spare.local_addr().unwrap().to_string();
    drop(spare);
    let network = Arc::new(GrpcNetwork);
    let forever = Box::pin(std::future::pending());
    let serving = network
        .listen(address.clone(), Arc::new(inbound), forever)
        .await
        .unwrap();
    let env = env(Arc::new(SystemClock), network);
    env.spawn.spawn("listener", serving);
    let (reasons, told) = mpsc::unbounded_channel();
    let on_refused: peer::RefusalHandler = Arc::new(move |_, reason| {
        let _ = reasons.send(reason);
    });
    let mut sender = identity(2);
    cluster.clone_into(&mut sender.cluster);
    let addresses = BTreeMap::from([(NodeId(1), vec![address])]);
    let peers = Peers::new(&env, &sender, &on_refused, &hybrid(&env.clock));
    peers.set(&addresses);
    (peers, told)
}

/// Sends as Raft does, again and again, until `done`.
async fn send_until<T>(peers: &Peers, done: impl Future<Output = T>) -> T {
    let mut done = std::pin::pin!(done);
    loop {
        let message = Message {
            from: NodeId(2),
            ..message(1, 5)
        };
        peers.send(PartitionId(4), message);
        tokio::select! {
            biased;
            result = &mut done => return result,
            () = SystemClock.sleep(Duration::from_millis(1)) => {}
        }
    }
}

struct Forward(mpsc::UnboundedSender<PartitionId>);

impl MessageSink for Forward {
    fn deliver(&self, partition: PartitionId, _: Message) {
        let _ = self.0.send(partition);
    }
}

#[tokio::test]
async fn a_message_goes_from_node_to_node() {
    let (forward, mut delivered) = mpsc::unbounded_channel();
    let roster = Arc::new(Removed(Vec::new()));
    let clock: Arc<dyn Clock> = Arc::<NoTime>::default();
    let sink = Arc::new(Forward(forward));
    let inbound = Inbound::new(identity(1), [], roster, sink, at_once(), hybrid(&clock));
    let (peers, _told) = over_sockets("test", inbound).await;
    assert_eq!(send_until(&peers, delivered.recv()).await, Some(PartitionId(4)));
}

#[tokio::test]
async fn a_node_of_another_cluster_is_told_so() {
    let (peers, mut told) = over_sockets("other", inbound().0).await;
    let reason = send_until(&peers, told.recv()).await.unwrap();
    assert!(reason.contains("node 2 is of another cluster"), "{reason}");
}
