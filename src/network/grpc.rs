//! The network of production: frames over gRPC client streams.
//!
//! A frame that [`crate::wire`] has encoded is the gRPC message itself; it is not wrapped into another. A stream is answered only when it
//! ends. Bad bytes end the connection or the stream that they came on, never the listener. It does not look into frames, and dials only
//! when it is told to.

mod codec;
mod receive;
#[cfg(test)]
mod tests;

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::uri::PathAndQuery;
use tokio::net::TcpListener;
use tokio::sync::{mpsc, watch};
use tokio_stream::wrappers::ReceiverStream;
use tonic::body::Body;
use tonic::codegen::Service;
use tonic::transport::server::TcpIncoming;
use tonic::transport::{Channel, Endpoint, Server};
use tonic::{Code, Request};

use crate::clock::{BoxFuture, Clock as _, SystemClock};
use crate::env::{FrameHandler, FrameSink, Network, NetworkError};
use crate::limits;
use codec::RawCodec;
use receive::FrameService;

/// The one method of the service.
const FRAMES_PATH: &str = "/kapu.v1.RaftService/Frames";
/// How long a dial may take.
const DIAL_TIMEOUT: Duration = Duration::from_secs(1);
/// A connection on which nothing comes back for this long, twice, is dead.
const KEEP_ALIVE: Duration = Duration::from_secs(2);
/// Frames between a sender and its stream. Few: what waits longer is better joined into one frame.
const FRAMES_IN_FLIGHT: usize = 4;
/// How many bytes of one stream may be under way: two of the largest frames.
const STREAM_WINDOW: u32 = 2 * limits::FRAME_BYTES_MAX as u32;
/// How many bytes of one connection may be under way.
const CONNECTION_WINDOW: u32 = 2 * STREAM_WINDOW;
/// How long open connections may take to close when the listener stops.
const STOP_GRACE: Duration = Duration::from_secs(2);

/// gRPC over TCP.
#[derive(Clone, Copy, Debug, Default)]
pub struct GrpcNetwork;

impl Network for GrpcNetwork {
    fn dial(&self, address: String) -> BoxFuture<'static, Result<Box<dyn FrameSink>, NetworkError>> {
        Box::pin(async move {
            let channel = connect(&address).await.map_err(|error| NetworkError::Unreachable {
                reason: describe(&error),
                address: address.clone(),
            })?;
            let (frames, stream) = mpsc::channel(FRAMES_IN_FLIGHT);
            let sink = GrpcSink {
                frames,
                call: Box::pin(call(channel, address, ReceiverStream::new(stream))),
                broken: None,
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
        Box::pin(async move {
            let listener = bind(&address).await?;
            Ok(Box::pin(serve_frames(listener, handler, stop)) as BoxFuture<'static, ()>)
        })
    }
}

async fn serve_frames(listener: TcpListener, handler: Arc<dyn FrameHandler>, stop: BoxFuture<'static, ()>) {
    let server = Server::builder()
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .http2_keepalive_interval(Some(KEEP_ALIVE))
        .http2_keepalive_timeout(Some(KEEP_ALIVE));
    serve(server, listener, |stopped| FrameService { handler, stopped }, stop).await;
}

async fn connect(address: &str) -> Result<Channel, tonic::transport::Error> {
    Endpoint::from_shared(format!("http://{address}"))?
        .tcp_nodelay(true)
        .connect_timeout(DIAL_TIMEOUT)
        .http2_keep_alive_interval(KEEP_ALIVE)
        .keep_alive_timeout(KEEP_ALIVE)
        .keep_alive_while_idle(true)
        .connect()
        .await
}

/// Carries frames until the peer answers, which it does only to end the stream.
async fn call(channel: Channel, address: String, frames: ReceiverStream<Bytes>) -> NetworkError {
    let mut grpc = tonic::client::Grpc::new(channel);
    if let Err(error) = grpc.ready().await {
        let reason = describe(&error);
        return NetworkError::Unreachable { address, reason };
    }
    let path = PathAndQuery::from_static(FRAMES_PATH);
    match grpc.client_streaming(Request::new(frames), path, RawCodec).await {
        Err(status) if status.code() == Code::FailedPrecondition => NetworkError::Refused {
            address,
            reason: status.message().to_owned(),
        },
        Err(status) => NetworkError::Unreachable {
            address,
            reason: describe(&status),
        },
        Ok(_) => NetworkError::Unreachable {
            address,
            reason: "the peer is stopping".to_owned(),
        },
    }
}

/// An error with its causes: tonic's own words are only "transport error".
fn describe(error: &dyn std::error::Error) -> String {
    let mut words = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        words = format!("{words}: {cause}");
        source = cause.source();
    }
    words
}

struct GrpcSink {
    frames: mpsc::Sender<Bytes>,
    call: BoxFuture<'static, NetworkError>,
    broken: Option<NetworkError>,
}

impl FrameSink for GrpcSink {
    fn send(&mut self, frame: Bytes) -> BoxFuture<'_, Result<(), NetworkError>> {
        Box::pin(async move {
            if let Some(error) = &self.broken {
                return Err(error.clone());
            }
            let error = tokio::select! {
                biased;
                error = &mut self.call => error,
                sent = self.frames.send(frame) => match sent {
                    Ok(()) => return Ok(()),
                    Err(_) => (&mut self.call).await,
                },
            };
            self.broken = Some(error.clone());
            Err(error)
        })
    }
}

/// Binds a listener, so that a port in use is known before anything is served.
pub(crate) async fn bind(address: &str) -> Result<TcpListener, NetworkError> {
    TcpListener::bind(address).await.map_err(|error| NetworkError::Listen {
        address: address.to_owned(),
        reason: error.to_string(),
    })
}

/// Serves until `stop` completes. The service is told by its receiver that it is time to end streams; connections that stay open longer
/// than a grace are left behind.
pub(crate) async fn serve<S>(
    server: Server,
    listener: TcpListener,
    service: impl FnOnce(watch::Receiver<()>) -> S,
    stop: BoxFuture<'static, ()>,
) where
    S: Service<http::Request<Body>, Response = http::Response<Body>, Error = Infallible> + Clone + Send + 'static,
    S::Future: Send,
{
    let (running, mut stopped) = watch::channel(());
    let incoming = TcpIncoming::from(listener).with_nodelay(Some(true));
    let stop = async move {
        stop.await;
        drop(running);
    };
    let served = server.serve_with_incoming_shutdown(service(stopped.clone()), incoming, stop);
    let grace = async move {
        let _ = stopped.changed().await;
        SystemClock.sleep(STOP_GRACE).await;
    };
    tokio::select! {
        biased;
        result = served => if let Err(error) = result {
            tracing::error!(error = describe(&error), "a listener ended");
        },
        () = grace => tracing::debug!("connections are still open; left behind"),
    }
}
