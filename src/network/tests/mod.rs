//! Senders and receivers over a network in memory, whose dials follow a script and whose clock stands still.
//!
//! Here are the doubles; the tests are in the files beside.

mod receiving;
mod sending;

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::mpsc;

use super::*;
use crate::clock::SystemClock;
use crate::env::{BoxFuture, Clock, Disk, DiskFile, Env, FrameHandler, FrameSink, Network, NetworkError, TokioSpawn};
use crate::hlc::{Hlc, SharedHybridClock};
use crate::limits;
use crate::raft::{Body, Entry, Position};
use crate::types::{Index, Term};
use crate::wire::{Frame, decode_frame};

type Script = Vec<Result<TestSink, NetworkError>>;

/// Every dial takes the next answer of a script, and waits for ever when there is none.
struct Scripted {
    script: Mutex<VecDeque<Result<TestSink, NetworkError>>>,
    dialed: mpsc::UnboundedSender<String>,
}

impl Network for Scripted {
    fn dial(&self, address: String) -> BoxFuture<'static, Result<Box<dyn FrameSink>, NetworkError>> {
        let answer = self.script.lock().unwrap().pop_front();
        // Only some tests look.
        let _ = self.dialed.send(address);
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
        unreachable!("these tests hand frames over themselves")
    }
}

/// Hands frames to the test, as far as the test makes room for them. The first frame of a stream, which only introduces, is checked here.
struct TestSink {
    frames: mpsc::Sender<Frame>,
    error: NetworkError,
    introduced: bool,
}

impl FrameSink for TestSink {
    fn send(&mut self, frame: Bytes) -> BoxFuture<'_, Result<(), NetworkError>> {
        assert!(frame.len() <= limits::FRAME_BYTES_MAX);
        let frame = decode_frame(&frame).unwrap();
        let was_introduced = std::mem::replace(&mut self.introduced, true);
        assert_eq!(frame.messages.is_empty(), !was_introduced, "one introduction a stream");
        if !was_introduced {
            return Box::pin(std::future::ready(Ok(())));
        }
        Box::pin(async { self.frames.send(frame).await.map_err(|_| self.error.clone()) })
    }
}

/// Time stands still at so many seconds, and every sleep is over at once.
#[derive(Default)]
struct NoTime(AtomicU64);

impl Clock for NoTime {
    fn now(&self) -> Duration {
        Duration::from_secs(self.0.load(Ordering::Relaxed))
    }

    fn now_with_suspend(&self) -> Duration {
        Duration::ZERO
    }

    fn wall(&self) -> Duration {
        Duration::from_secs(1000)
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
        incarnation: Incarnation::new(3, 7),
        earlier: vec![Incarnation::new(1, 5), Incarnation::new(2, 6)],
        client_address: format!("client-{node}:2070"),
        peer_address: format!("peer-{node}:2071"),
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
        payload: vec![1; bytes].into(),
    };
    let body = Body::Append {
        prev: Position::default(),
        entries: vec![entry],
        commit: Index(0),
        round: 0,
    };
    Message { body, ..message(2, 0) }
}

fn env(clock: Arc<dyn Clock>, network: Arc<dyn Network>) -> Env {
    Env {
        clock,
        network,
        disk: Arc::new(NoDisk),
        spawn: Arc::new(TokioSpawn),
        seed: 1,
    }
}

fn hybrid(clock: &Arc<dyn Clock>) -> Arc<SharedHybridClock> {
    Arc::new(SharedHybridClock::new(Arc::clone(clock)))
}

/// A sender of node 1 to node 2 that meets `script`, and the reasons of refusals.
fn start(script: Script) -> (Peers, mpsc::UnboundedReceiver<String>) {
    let (peers, told, _) = start_at(&["two"], Arc::<NoTime>::default(), script);
    (peers, told)
}

/// The same at several addresses, and those that were dialed.
fn start_at(
    addresses: &[&str],
    clock: Arc<dyn Clock>,
    script: Script,
) -> (Peers, mpsc::UnboundedReceiver<String>, mpsc::UnboundedReceiver<String>) {
    let (dialed, dials) = mpsc::unbounded_channel();
    let script = Mutex::new(script.into());
    let env = env(clock, Arc::new(Scripted { script, dialed }));
    let (reasons, told) = mpsc::unbounded_channel();
    let on_refused: peer::RefusalHandler = Arc::new(move |peer, reason| {
        assert_eq!(peer, NodeId(2));
        let _ = reasons.send(reason);
    });
    let addresses = addresses.iter().map(ToString::to_string).collect();
    let peers = Peers::new(&env, &identity(1), &on_refused, &hybrid(&env.clock));
    peers.set(&BTreeMap::from([(NodeId(2), addresses)]));
    (peers, told, dials)
}

fn sink(room: usize, error: NetworkError) -> (TestSink, mpsc::Receiver<Frame>) {
    let (frames, received) = mpsc::channel(room);
    let introduced = false;
    let sink = TestSink {
        frames,
        error,
        introduced,
    };
    (sink, received)
}

fn rounds(frame: &Frame) -> Vec<u64> {
    let round = |(_, message): &(PartitionId, Message)| match message.body {
        Body::HeartbeatResponse { round } => round,
        _ => panic!("only these are sent"),
    };
    frame.messages.iter().map(round).collect()
}
