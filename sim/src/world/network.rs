//! Frames between nodes as datagrams.
//!
//! A stream is only as much of one as the seam promises: dialing fails when nobody listens or nobody can be reached, a stream breaks when
//! its listener is gone, and a refusal comes back as a datagram and ends it. Between those, each frame may be lost, doubled or overtaken on
//! its own, which a TCP connection would never do, and which Raft must bear.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::Duration;

use bytes::Bytes;
use kapu::clock::BoxFuture;
use kapu::env::{FrameHandler, FrameSink, Network, NetworkError};

use super::links::{Links, Place, Port};
use super::true_sleep;

/// Where nodes listen for clients.
pub const CLIENT_PORT: u16 = 2070;
/// Where nodes listen for each other.
pub const PEER_PORT: u16 = 2071;
/// Ports from here on are for streams to peers: each has one that is never used again, so that no late refusal hits another stream.
const DIAL_PORT_MIN: u16 = 10_000;
/// How long it takes to find out that a peer cannot be reached.
const DIAL_TIMEOUT: Duration = Duration::from_secs(1);

/// The address of a node.
#[must_use]
pub fn node_address(node: u64, port: u16) -> SocketAddr {
    let last = u8::try_from(node).expect("clusters are small");
    SocketAddr::new(IpAddr::V4(Ipv4Addr::new(10, 0, 0, last)), port)
}

/// Looks at every frame that a node sends.
pub type SentHook = Arc<dyn Fn(&Bytes) + Send + Sync>;

/// The network of one node, over all of its lives.
#[derive(Clone)]
pub struct SimNetwork {
    node: u64,
    links: Links,
    dialed: Arc<AtomicU16>,
    on_send: SentHook,
}

impl SimNetwork {
    /// The network card of a node.
    #[must_use]
    pub fn new(node: u64, links: Links, on_send: SentHook) -> Self {
        let dialed = Arc::new(AtomicU16::new(DIAL_PORT_MIN));
        Self {
            node,
            links,
            dialed,
            on_send,
        }
    }

    /// The same card, with somebody else who looks.
    #[must_use]
    pub fn watched(&self, on_send: SentHook) -> Self {
        Self {
            on_send,
            ..self.clone()
        }
    }
}

fn parse(address: &str) -> Result<SocketAddr, NetworkError> {
    address
        .parse()
        .map_err(|error: std::net::AddrParseError| NetworkError::Listen {
            address: address.to_owned(),
            reason: error.to_string(),
        })
}

fn unreachable(address: SocketAddr, reason: &str) -> NetworkError {
    NetworkError::Unreachable {
        address: address.to_string(),
        reason: reason.to_owned(),
    }
}

impl Network for SimNetwork {
    fn dial(&self, address: String) -> BoxFuture<'static, Result<Box<dyn FrameSink>, NetworkError>> {
        let network = self.clone();
        Box::pin(async move {
            let peer = parse(&address)?;
            let place = Place::Node(network.node);
            let Some(listener) = network.links.listener(peer) else {
                return Err(unreachable(peer, "nobody listens there"));
            };
            if !network.links.is_open(place, peer) {
                true_sleep(DIAL_TIMEOUT).await;
                return Err(unreachable(peer, "no answer"));
            }
            let number = network.dialed.fetch_add(1, Ordering::Relaxed).max(DIAL_PORT_MIN);
            let port = network.links.bind(place, node_address(network.node, number));
            let sink = SimSink {
                network,
                peer,
                listener,
                port,
            };
            Ok(Box::new(sink) as Box<dyn FrameSink>)
        })
    }

    fn listen(
        &self,
        address: String,
        handler: Arc<dyn FrameHandler>,
        stop: BoxFuture<'static, ()>,
    ) -> BoxFuture<'static, Result<BoxFuture<'static, ()>, NetworkError>> {
        let network = self.clone();
        Box::pin(async move {
            let port = network.links.bind(Place::Node(network.node), parse(&address)?);
            Ok(Box::pin(serve(port, handler, stop)) as BoxFuture<'static, ()>)
        })
    }
}

/// Hands frames on until it is told to stop, and refusals back.
async fn serve(port: Port, handler: Arc<dyn FrameHandler>, mut stop: BoxFuture<'static, ()>) {
    loop {
        let (from, frame) = tokio::select! {
            biased;
            () = &mut stop => return,
            arrived = port.recv() => arrived,
        };
        if let Err(reason) = handler.receive(frame) {
            port.send(from, Bytes::from(reason));
        }
    }
}

/// A stream to one peer.
struct SimSink {
    network: SimNetwork,
    peer: SocketAddr,
    /// Whom it was opened to.
    listener: u64,
    port: Port,
}

impl SimSink {
    fn try_send(&self, frame: Bytes) -> Result<(), NetworkError> {
        if let Some((_, reason)) = self.port.try_recv() {
            return Err(NetworkError::Refused {
                address: self.peer.to_string(),
                reason: String::from_utf8_lossy(&reason).into_owned(),
            });
        }
        if self.network.links.listener(self.peer) != Some(self.listener) {
            return Err(unreachable(self.peer, "the stream is broken"));
        }
        (self.network.on_send)(&frame);
        self.port.send(self.peer, frame);
        Ok(())
    }
}

impl FrameSink for SimSink {
    fn send(&mut self, frame: Bytes) -> BoxFuture<'_, Result<(), NetworkError>> {
        let sent = self.try_send(frame);
        Box::pin(async move { sent })
    }
}
