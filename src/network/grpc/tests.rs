//! Frames over real sockets of the loopback, and what else may come to the port.

use std::sync::Arc;

use bytes::Bytes;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::{mpsc, oneshot};

use super::*;
use crate::env::{Spawn as _, TokioSpawn};

/// Tells what arrives, and refuses what starts with `no`.
struct Recorder(mpsc::UnboundedSender<Bytes>);

impl FrameHandler for Recorder {
    fn receive(&self, frame: Bytes) -> Result<(), String> {
        if frame.starts_with(b"no") {
            return Err("not welcome".to_owned());
        }
        self.0.send(frame).map_err(|_| "the test is over".to_owned())
    }
}

/// A listener on a port of the system's choice.
struct Listening {
    address: String,
    frames: mpsc::UnboundedReceiver<Bytes>,
    stop: oneshot::Sender<()>,
    ended: oneshot::Receiver<()>,
}

async fn listen() -> Listening {
    listen_on("127.0.0.1:0").await
}

async fn listen_on(address: &str) -> Listening {
    let listener = bind(address).await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let (recorder, frames) = mpsc::unbounded_channel();
    let (stop, stopped) = oneshot::channel();
    let (end, ended) = oneshot::channel();
    let stopped = async move { stopped.await.unwrap_or_default() };
    let serving = serve_frames(listener, Arc::new(Recorder(recorder)), Box::pin(stopped));
    let task = async move {
        serving.await;
        let _ = end.send(());
    };
    TokioSpawn.spawn("listener", Box::pin(task));
    Listening {
        address,
        frames,
        stop,
        ended,
    }
}

async fn dial(address: &str) -> Box<dyn FrameSink> {
    GrpcNetwork.dial(address.to_owned()).await.unwrap()
}

/// Sends until the stream is known to be broken, and returns why.
async fn send_until_broken(sink: &mut dyn FrameSink) -> NetworkError {
    loop {
        if let Err(error) = sink.send(Bytes::from_static(b"more")).await {
            return error;
        }
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn frames_arrive_in_order_and_unchanged() {
    let mut listening = listen().await;
    let mut sink = dial(&listening.address).await;
    let frames = [
        Bytes::from_static(b"first"),
        Bytes::new(),
        vec![7; limits::FRAME_BYTES_MAX].into(),
    ];
    for frame in &frames {
        sink.send(frame.clone()).await.unwrap();
    }
    for frame in &frames {
        assert!(listening.frames.recv().await.unwrap() == frame);
    }
}

#[tokio::test]
async fn a_refusal_comes_back_with_its_reason() {
    let listening = listen().await;
    let mut sink = dial(&listening.address).await;
    sink.send(Bytes::from_static(b"no thanks")).await.unwrap();
    let refused = NetworkError::Refused {
        address: listening.address,
        reason: "not welcome".to_owned(),
    };
    assert_eq!(send_until_broken(&mut *sink).await, refused);
    assert_eq!(sink.send(Bytes::new()).await, Err(refused), "and it stays so");
}

#[tokio::test]
async fn nobody_at_the_address_is_unreachable() {
    let listener = bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    drop(listener);
    let Err(error) = GrpcNetwork.dial(address.clone()).await else {
        panic!("nobody listens")
    };
    let NetworkError::Unreachable { address: named, reason } = error else {
        panic!("{error}")
    };
    assert_eq!(named, address);
    assert!(reason.contains("refused"), "{reason}");
}

#[tokio::test]
async fn a_port_in_use_is_named() {
    let listening = listen().await;
    let (recorder, _frames) = mpsc::unbounded_channel();
    let stop = Box::pin(std::future::pending());
    let again = GrpcNetwork.listen(listening.address.clone(), Arc::new(Recorder(recorder)), stop);
    let Err(NetworkError::Listen { address, reason }) = again.await else {
        panic!("the port is in use")
    };
    assert_eq!(address, listening.address);
    assert!(reason.contains("in use"), "{reason}");
}

#[tokio::test]
async fn a_listener_stops_with_streams_open_and_another_takes_its_place() {
    let mut listening = listen().await;
    let mut sink = dial(&listening.address).await;
    sink.send(Bytes::from_static(b"first")).await.unwrap();
    listening.frames.recv().await.unwrap();
    listening.stop.send(()).unwrap();
    listening.ended.await.unwrap();
    assert!(matches!(
        send_until_broken(&mut *sink).await,
        NetworkError::Unreachable { .. }
    ));

    let mut listening = listen_on(&listening.address).await;
    let mut sink = dial(&listening.address).await;
    sink.send(Bytes::from_static(b"second")).await.unwrap();
    assert_eq!(listening.frames.recv().await.unwrap(), "second");
}

#[tokio::test]
async fn a_frame_over_the_limit_ends_its_stream_only() {
    let mut listening = listen().await;
    let mut other = dial(&listening.address).await;
    let mut sink = dial(&listening.address).await;
    let huge = vec![7; limits::FRAME_BYTES_MAX + 1];
    sink.send(huge.into()).await.unwrap();
    assert!(matches!(
        send_until_broken(&mut *sink).await,
        NetworkError::Unreachable { .. }
    ));
    other.send(Bytes::from_static(b"good")).await.unwrap();
    assert_eq!(listening.frames.recv().await.unwrap(), "good");
}

#[tokio::test]
async fn garbage_and_half_connections_do_not_end_the_listener() {
    let mut listening = listen().await;
    let silent = TcpStream::connect(&listening.address).await.unwrap();
    let mut half = TcpStream::connect(&listening.address).await.unwrap();
    half.write_all(b"PRI * HTTP/2.0\r\n\r\nSM").await.unwrap();
    half.shutdown().await.unwrap();
    for garbage in [b"GET / HTTP/1.1\r\n\r\n".as_slice(), &[0xff; 4096], &[0; 64]] {
        let mut stream = TcpStream::connect(&listening.address).await.unwrap();
        stream.write_all(garbage).await.unwrap();
        // It is the listener that closes; an error here is as good.
        let _ = stream.read_to_end(&mut Vec::new()).await;
    }
    let mut sink = dial(&listening.address).await;
    sink.send(Bytes::from_static(b"good")).await.unwrap();
    assert_eq!(listening.frames.recv().await.unwrap(), "good");
    drop(silent);
}

#[tokio::test]
async fn a_peer_port_says_what_it_is_to_a_client() {
    let listening = listen().await;
    let channel = connect(&listening.address).await.unwrap();
    let mut client = crate::wire::pb::cluster_service_client::ClusterServiceClient::new(channel);
    let status = client.status(crate::wire::pb::StatusRequest {}).await.unwrap_err();
    assert_eq!(status.code(), Code::Unimplemented);
    assert!(status.message().contains("peers"), "{status}");
}

#[test]
fn the_path_is_that_of_the_schema() {
    let service = crate::wire::pb::raft_service_server::SERVICE_NAME;
    assert_eq!(FRAMES_PATH, format!("/{service}/Frames"));
}
