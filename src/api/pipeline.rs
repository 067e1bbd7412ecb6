//! One pipeline: requests in, replies out in the order in which they are known.
//!
//! The stream of replies reads the requests itself, each time it is asked for a reply: no task, no lock and no wake-up of its own. A
//! request is in flight from when it is read until its reply has been handed to the transport; at the limit, requests are not read, and
//! HTTP/2 holds the client back. It does not order anything, and does not cancel: a request whose client has gone may still take effect.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use tokio::sync::{mpsc, watch};
use tokio_stream::Stream;
use tonic::{Status, Streaming};

use super::Backend;
use crate::clock::BoxFuture;
use crate::error::RequestError;
use crate::limits;
use crate::lock::Outcome;
use crate::wire::{decode_request, encode_reply, pb};

/// The replies of one pipeline.
///
/// - `in_flight` counts the requests whose reply was not yielded; at most [`limits::PIPELINE_REQUESTS_MAX`].
/// - It ends when requests have ended and none is in flight.
pub(super) struct Pipeline {
    backend: Arc<dyn Backend>,
    /// None when no more requests are read.
    requests: Option<Streaming<pb::PipelineRequest>>,
    stop: BoxFuture<'static, ()>,
    in_flight: usize,
    replies: mpsc::UnboundedReceiver<pb::PipelineReply>,
    answers: mpsc::UnboundedSender<pb::PipelineReply>,
    /// What ended the requests, said after the last reply.
    broken: Option<Status>,
}

impl Pipeline {
    pub fn new(
        backend: Arc<dyn Backend>,
        requests: Streaming<pb::PipelineRequest>,
        mut stopped: watch::Receiver<()>,
    ) -> Self {
        let (answers, replies) = mpsc::unbounded_channel();
        Self {
            backend,
            requests: Some(requests),
            stop: Box::pin(async move {
                let _ = stopped.changed().await;
            }),
            in_flight: 0,
            replies,
            answers,
            broken: None,
        }
    }

    /// Reads and submits what has arrived, as far as there is room.
    fn read_requests(&mut self, context: &mut Context<'_>) {
        let Some(requests) = &mut self.requests else { return };
        if self.stop.as_mut().poll(context).is_ready() {
            self.requests = None;
            return;
        }
        while self.in_flight < limits::PIPELINE_REQUESTS_MAX {
            match Pin::new(&mut *requests).poll_next(context) {
                Poll::Ready(Some(Ok(request))) => {
                    self.in_flight += 1;
                    submit(&*self.backend, request, self.answers.clone());
                }
                Poll::Ready(end) => {
                    self.broken = end.and_then(Result::err);
                    self.requests = None;
                    return;
                }
                Poll::Pending => return,
            }
        }
    }
}

impl Stream for Pipeline {
    type Item = Result<pb::PipelineReply, Status>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.read_requests(context);
        if let Poll::Ready(Some(reply)) = self.replies.poll_recv(context) {
            self.in_flight -= 1;
            return Poll::Ready(Some(Ok(reply)));
        }
        if self.requests.is_none() && self.in_flight == 0 {
            return Poll::Ready(self.broken.take().map(Err));
        }
        Poll::Pending
    }
}

fn submit(backend: &dyn Backend, request: pb::PipelineRequest, replies: mpsc::UnboundedSender<pb::PipelineReply>) {
    let (id, checked) = decode_request(request);
    let answer = Answer {
        id,
        replies: Some(replies),
    };
    match checked {
        Ok(request) => backend.submit(request, Box::new(move |result| answer.send(&result))),
        Err(input) => answer.send(&Err(input.into())),
    }
}

/// The way back of one request. Dropped unused, it says that nothing is known, so that no client waits for ever.
struct Answer {
    id: u64,
    replies: Option<mpsc::UnboundedSender<pb::PipelineReply>>,
}

impl Answer {
    fn send(mut self, result: &Result<Outcome, RequestError>) {
        self.reply(result);
    }

    fn reply(&mut self, result: &Result<Outcome, RequestError>) {
        if let Some(replies) = self.replies.take() {
            // The client may have gone; then nobody wants to know.
            let _ = replies.send(encode_reply(self.id, result));
        }
    }
}

impl Drop for Answer {
    fn drop(&mut self) {
        self.reply(&Err(RequestError::Unknown("the node gave no answer")));
    }
}
