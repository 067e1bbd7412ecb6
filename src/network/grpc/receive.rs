//! The receiving end of a stream of frames: `RaftService`, with frames as bare bytes.
//!
//! Written by hand, because the generated server would decode each frame into the types of prost before anybody could check it. It
//! answers only to end the stream, and says why.

use std::convert::Infallible;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use tokio::sync::watch;
use tonic::body::Body;
use tonic::codec::Streaming;
use tonic::codegen::Service;
use tonic::server::ClientStreamingService;
use tonic::{Request, Response, Status};

use super::{FRAMES_PATH, RawCodec};
use crate::clock::BoxFuture;
use crate::env::FrameHandler;
use crate::limits;

/// Hands frames on until the sender, the handler or `stopped` ends it.
#[derive(Clone)]
pub(super) struct FrameService {
    pub handler: Arc<dyn FrameHandler>,
    pub stopped: watch::Receiver<()>,
}

impl Service<http::Request<Body>> for FrameService {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        let service = self.clone();
        Box::pin(async move {
            if request.uri().path() != FRAMES_PATH {
                return Ok(Status::unimplemented("this port is for the peers of a kapu node").into_http());
            }
            let mut grpc = tonic::server::Grpc::new(RawCodec).max_decoding_message_size(limits::FRAME_BYTES_MAX);
            Ok(grpc.client_streaming(service, request).await)
        })
    }
}

impl ClientStreamingService<Bytes> for FrameService {
    type Response = Bytes;
    type Future = BoxFuture<'static, Result<Response<Bytes>, Status>>;

    fn call(&mut self, request: Request<Streaming<Bytes>>) -> Self::Future {
        let mut service = self.clone();
        let mut frames = request.into_inner();
        Box::pin(async move {
            loop {
                let frame = tokio::select! {
                    biased;
                    _ = service.stopped.changed() => return Ok(Response::new(Bytes::new())),
                    frame = frames.message() => frame,
                };
                match frame.inspect_err(|status| tracing::info!(%status, "a stream of frames broke"))? {
                    Some(frame) => service.handler.receive(frame).map_err(Status::failed_precondition)?,
                    None => return Ok(Response::new(Bytes::new())),
                }
            }
        })
    }
}
