//! Senders and receivers over a network in memory: what is joined, dropped, refused and told.

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::mpsc;

use super::inbound::is_about_disk;
use super::*;
use crate::env::{BoxFuture, Clock, Disk, DiskFile, Env, FrameHandler, FrameSink, Network, NetworkError, TokioSpawn};
use crate::limits;
use crate::raft::{Body, Entry, Position};
use crate::types::{Index, Term};
use crate::wire::{Frame, decode_frame};

/// Every dial takes the next answer of a script, and waits for ever when there is none.
struct Scripted(Mutex<VecDeque<Result<TestSink, NetworkError>>>);

impl Network for Scripted {
    fn dial(&self, _: String) -> BoxFuture<'static, Result<Box<dyn FrameSink>, NetworkError>> {
        let answer = self.0.lock().unwrap().pop_front();
        Box::pin(async {
            match answer {
                Some(answer) => answer.map(|sink| Box::new(sink) as Box<dyn FrameSink>),
                None => std::future::pending().await,
            }
        })
    }

    fn listen(
        &self,
        _: String,
        _: Arc<dyn FrameHandler>,
        _: BoxFuture<'static, ()>,
    ) -> BoxFuture<'static, Result<BoxFuture<'static, ()>, NetworkError>> {
        unimplemented!("these tests hand frames over themselves")
    }
}

/// Hands frames to the test, as far as the test makes room for them.
struct TestSink {
    frames: mpsc::Sender<Frame>,
    error: NetworkError,
}

impl FrameSink for TestSink {
    fn send(&mut self, frame: Bytes) -> BoxFuture<'_, Result<(), NetworkError>> {
        assert!(frame.len() <= limits::FRAME_BYTES_MAX);
        let frame = decode_frame(&frame).unwrap();
        Box::pin(async { self.frames.send(frame).await.map_err(|_| self.error.clone()) })
    }
}

/// Time stands still, and every sleep is over at once.
struct NoTime;

impl Clock for NoTime {
    fn now(&self) -> Duration {
        Duration::ZERO
    }

    fn now_with_suspend(&self) -> Duration {
        Duration::ZERO
    }

    fn sleep(&self, _: Duration) -> BoxFuture<'static, ()> {
        Box::pin(tokio::task::yield_now())
    }
}

struct NoDisk;

impl Disk for NoDisk {
    fn open(&self, _: &str) -> io::Result<Box<dyn DiskFile>> {
        Err(io::ErrorKind::Unsupported.into())
    }

    fn pace(&self) -> BoxFuture<'_, ()> {
        Box::pin(async {})
    }

    fn location(&self) -> String {
        String::new()
    }
}

fn unreachable() -> NetworkError {
    NetworkError::Unreachable {
        address: "two".to_owned(),
        reason: "nobody there".to_owned(),
    }
}

fn refused(reason: &str) -> NetworkError {
    NetworkError::Refused {
        address: "two".to_owned(),
        reason: reason.to_owned(),
    }
}

fn identity(node: u64) -> Identity {
    Identity {
        cluster: "test".to_owned(),
        node_id: NodeId(node),
        storage_id: StorageId(100 + node),
        incarnation: Incarnation(3),
        client_address: format!("client-{node}:2070"),
    }
}

fn message(to: u64, round: u64) -> Message {
    Message {
        from: NodeId(1),
        to: NodeId(to),
        term: Term(1),
        body: Body::HeartbeatResponse { round },
    }
}

fn append(bytes: usize) -> Message {
    let entry = Entry {
        index: Index(1),
        term: Term(1),
        payload: vec![0; bytes].into(),
    };
    let body = Body::Append {
        prev: Position::default(),
        entries: vec![entry],
        commit: Index(0),
        round: 0,
    };
    Message { body, ..message(2, 0) }
}

/// A sender of node 1 to node 2 that meets `script`, and the reasons of refusals.
fn start(script: Vec<Result<TestSink, NetworkError>>) -> (Peers, mpsc::UnboundedReceiver<String>) {
    let env = Env {
        clock: Arc::new(NoTime),
        network: Arc::new(Scripted(Mutex::new(script.into()))),
        disk: Arc::new(NoDisk),
        spawn: Arc::new(TokioSpawn),
        seed: 1,
    };
    let (reasons, told) = mpsc::unbounded_channel();
    let on_refused: peer::RefusalHandler = Arc::new(move |peer, reason| {
        assert_eq!(peer, NodeId(2));
        let _ = reasons.send(reason);
    });
    let addresses = BTreeMap::from([(NodeId(2), "two".to_owned())]);
    (Peers::start(&env, &identity(1), &addresses, &on_refused), told)
}

fn sink(room: usize, error: NetworkError) -> (TestSink, mpsc::Receiver<Frame>) {
    let (frames, received) = mpsc::channel(room);
    (TestSink { frames, error }, received)
}

fn rounds(frame: &Frame) -> Vec<u64> {
    let round = |(_, message): &(PartitionId, Message)| match message.body {
        Body::HeartbeatResponse { round } => round,
        _ => panic!("only these are sent"),
    };
    frame.messages.iter().map(round).collect()
}

#[tokio::test]
async fn what_waits_leaves_in_one_frame() {
    let (sink, mut frames) = sink(1, unreachable());
    let (peers, _) = start(vec![Ok(sink)]);
    // The sender runs only when the test waits: all of this is there when it first looks, and the first dial clears nothing of it.
    tokio::task::yield_now().await;
    for partition in 0..100 {
        peers.send_all(
            PartitionId(partition),
            vec![message(2, 1), message(3, 9), message(2, 2)],
        );
    }
    let frame = frames.recv().await.unwrap();
    assert_eq!(rounds(&frame), [1, 2].repeat(100));
    assert_eq!(frame.header.sequence, 1);
    assert_eq!(frame.header.client_address, "client-1:2070");
    peers.send(PartitionId(0), message(2, 3));
    let frame = frames.recv().await.unwrap();
    assert_eq!((rounds(&frame), frame.header.sequence), (vec![3], 2));
}

#[tokio::test]
async fn what_does_not_fit_in_one_frame_leaves_in_several() {
    let (sink, mut frames) = sink(1, unreachable());
    let (peers, _) = start(vec![Ok(sink)]);
    tokio::task::yield_now().await;
    let large = limits::ENTRY_BYTES_MAX;
    let count = 2 * limits::FRAME_BYTES_MAX / large;
    peers.send_all(PartitionId(0), vec![append(large); count]);
    let (mut arrived, mut frames_used) = (0, 0);
    while arrived < count {
        arrived += frames.recv().await.unwrap().messages.len();
        frames_used += 1;
    }
    assert_eq!((arrived, frames_used), (count, 3), "nearly full frames");
}

#[tokio::test]
async fn a_full_queue_drops_and_goes_on() {
    let (sink, mut frames) = sink(1, unreachable());
    let (peers, _) = start(vec![Ok(sink)]);
    tokio::task::yield_now().await;
    let over = limits::PEER_QUEUE_MESSAGES_MAX as u64 + 5;
    peers.send_all(PartitionId(0), (0..over).map(|round| message(2, round)).collect());
    let frame = frames.recv().await.unwrap();
    assert_eq!(frame.messages.len(), limits::PEER_QUEUE_MESSAGES_MAX);
    peers.send(PartitionId(0), message(2, 7));
    assert_eq!(rounds(&frames.recv().await.unwrap()), [7]);
}

#[test]
fn a_queue_is_bounded_in_bytes() {
    let outbox = outbox::Outbox::default();
    let large = limits::APPEND_BYTES_MAX;
    let most = limits::PEER_QUEUE_BYTES_MAX / large;
    let dropped = outbox.push_all(PartitionId(0), std::iter::repeat_n(append(large), most));
    assert_eq!(dropped, 1, "the overheads do not fit in");
    outbox.clear();
    assert_eq!(
        outbox.push_all(PartitionId(0), [append(large)]),
        0,
        "there is room again"
    );
    assert_eq!(
        outbox.push_all(PartitionId(0), [append(limits::FRAME_BYTES_MAX)]),
        1,
        "fits in no frame"
    );
}

#[tokio::test]
async fn what_waited_for_an_unreachable_peer_is_dropped() {
    let (sink, mut frames) = sink(1, unreachable());
    let (peers, _) = start(vec![Err(unreachable()), Err(unreachable()), Ok(sink)]);
    peers.send(PartitionId(0), message(2, 1));
    // Let the sender fail twice: it clears, dials and pauses without waiting for anything else.
    for _ in 0..10 {
        tokio::task::yield_now().await;
    }
    peers.send(PartitionId(0), message(2, 2));
    assert_eq!(rounds(&frames.recv().await.unwrap()), [2]);
}

#[tokio::test]
async fn a_broken_stream_is_dialled_again() {
    let (first, mut first_frames) = sink(1, unreachable());
    let (second, mut second_frames) = sink(1, unreachable());
    let (peers, _) = start(vec![Ok(first), Err(unreachable()), Ok(second)]);
    tokio::task::yield_now().await;
    peers.send(PartitionId(0), message(2, 1));
    assert_eq!(rounds(&first_frames.recv().await.unwrap()), [1]);
    drop(first_frames);
    let frame = loop {
        peers.send(PartitionId(0), message(2, 2));
        tokio::task::yield_now().await;
        if let Ok(frame) = second_frames.try_recv() {
            break frame;
        }
    };
    assert!(rounds(&frame).iter().all(|&round| round == 2));
    assert!(frame.header.sequence > 1, "it goes on counting");
}

#[tokio::test]
async fn a_refusal_is_told_once_for_each_reason() {
    let script = ["a", "a", "b", "b", "a"].map(|reason| Err(refused(reason)));
    let (_peers, mut told) = start(script.into());
    for reason in ["a", "b", "a"] {
        assert_eq!(told.recv().await.unwrap(), reason);
    }
    assert!(told.try_recv().is_err());
}

#[tokio::test]
async fn senders_end_with_their_peers() {
    let (sink, mut frames) = sink(1, unreachable());
    let (peers, mut told) = start(vec![Ok(sink)]);
    tokio::task::yield_now().await;
    peers.send(PartitionId(0), message(2, 1));
    frames.recv().await.unwrap();
    drop(peers);
    assert!(frames.recv().await.is_none(), "the stream is closed");
    assert!(told.recv().await.is_none(), "the task is gone");
}

/// Keeps what was delivered.
#[derive(Default)]
struct Delivered(Mutex<Vec<(PartitionId, Message)>>);

impl MessageSink for Delivered {
    fn deliver(&self, partition: PartitionId, message: Message) {
        self.0.lock().unwrap().push((partition, message));
    }
}

/// Node 1 of a cluster of 1, 2 and 3, and what arrived there.
fn inbound() -> (Inbound, Arc<Delivered>) {
    let delivered = Arc::new(Delivered::default());
    let sink = Arc::clone(&delivered) as Arc<dyn MessageSink>;
    (Inbound::new(identity(1), [NodeId(2), NodeId(3)], sink), delivered)
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
        sequence: 1,
        client_address: identity.client_address,
    };
    change(&mut header);
    let message = Message {
        from: header.from,
        ..message(header.to.0, 5)
    };
    crate::wire::encode_frame(&header, &[(PartitionId(4), message)])
}

fn refusal(inbound: &Inbound, change: impl FnOnce(&mut crate::wire::FrameHeader)) -> String {
    inbound.receive(frame_of_two(change)).unwrap_err()
}

#[test]
fn messages_of_a_voter_are_delivered() {
    let (inbound, delivered) = inbound();
    assert_eq!(inbound.address(NodeId(2)), None);
    inbound.receive(frame_of_two(|_| {})).unwrap();
    inbound.receive(frame_of_two(|_| {})).unwrap();
    let delivered = delivered.0.lock().unwrap();
    assert_eq!(delivered.len(), 2, "a repeated frame is the business of raft");
    assert_eq!(delivered[0].0, PartitionId(4));
    assert_eq!(delivered[0].1.from, NodeId(2));
    assert_eq!(inbound.address(NodeId(2)).as_deref(), Some("client-2:2070"));
    let addresses = [(NodeId(2), "client-2:2070".to_owned()), (NodeId(3), String::new())];
    assert_eq!(inbound.addresses(), BTreeMap::from(addresses));
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
    let stranger = refusal(&inbound, |header| header.from = NodeId(9));
    assert!(stranger.contains("node 9 is not a voter"), "{stranger}");
    let twin = refusal(&inbound, |header| header.from = NodeId(1));
    assert!(twin.contains("ids are unique"), "{twin}");
    let garbage = inbound.receive(Bytes::from_static(b"garbage")).unwrap_err();
    assert!(garbage.contains("cannot be read"), "{garbage}");
    assert!(delivered.0.lock().unwrap().is_empty());
}

#[test]
fn a_peer_with_another_or_an_older_disk_is_refused() {
    let (inbound, _) = inbound();
    inbound.receive(frame_of_two(|_| {})).unwrap();
    let swapped = refusal(&inbound, |header| header.storage_id = StorageId(0xabc));
    assert!(swapped.contains("swapped") && swapped.contains("abc"), "{swapped}");
    let older = refusal(&inbound, |header| header.incarnation = Incarnation(2));
    assert!(older.contains("rolled back") && older.contains("3 times"), "{older}");
    assert!(is_about_disk(&swapped) && is_about_disk(&older));
    assert!(!is_about_disk("node 9 is not a voter of this cluster"));
}

#[test]
fn a_restarted_peer_is_welcome_and_its_new_address_is_known() {
    let (inbound, _) = inbound();
    inbound.receive(frame_of_two(|_| {})).unwrap();
    let restarted = frame_of_two(|header| {
        header.incarnation = Incarnation(4);
        header.client_address = "moved:1".to_owned();
    });
    inbound.receive(restarted).unwrap();
    assert_eq!(inbound.address(NodeId(2)).as_deref(), Some("moved:1"));
}
