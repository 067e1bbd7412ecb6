//! `LockService`: the unary calls, and the door to the pipeline.
//!
//! A call waits for its one answer. A client that wants more than a few thousand answers a second uses the pipeline.

use std::sync::Arc;

use tokio::sync::{oneshot, watch};
use tonic::{Request, Response, Status, Streaming, async_trait};

use super::Backend;
use super::failure::status_of;
use super::pipeline::Pipeline;
use crate::error::RequestError;
use crate::lock::{Outcome, Request as LockRequest};
use crate::types::InvalidInput;
use crate::wire::{outcome_to_reply, pb};
use pb::lock_service_server::LockService;

type Answer = Result<Response<pb::LockReply>, Status>;

pub(super) struct LockApi {
    pub backend: Arc<dyn Backend>,
    pub stopped: watch::Receiver<()>,
}

impl LockApi {
    async fn answer(&self, request: impl TryInto<LockRequest, Error = InvalidInput>) -> Answer {
        let outcome = match request.try_into() {
            Ok(request) => self.ask(request).await,
            Err(input) => Err(input.into()),
        };
        match outcome {
            Ok(outcome) => Ok(Response::new(outcome_to_reply(&outcome))),
            Err(error) => Err(status_of(&error)),
        }
    }

    async fn ask(&self, request: LockRequest) -> Result<Outcome, RequestError> {
        let (reply, outcome) = oneshot::channel();
        let reply = move |result| {
            // The caller may have gone; then nobody wants to know.
            let _ = reply.send(result);
        };
        self.backend.submit(request, Box::new(reply));
        let lost = RequestError::Unknown("the node gave no answer");
        outcome.await.unwrap_or(Err(lost))
    }
}

#[async_trait]
impl LockService for LockApi {
    async fn try_lock(&self, request: Request<pb::TryLockRequest>) -> Answer {
        self.answer(request.into_inner()).await
    }

    async fn extend(&self, request: Request<pb::ExtendRequest>) -> Answer {
        self.answer(request.into_inner()).await
    }

    async fn unlock(&self, request: Request<pb::UnlockRequest>) -> Answer {
        self.answer(request.into_inner()).await
    }

    async fn get(&self, request: Request<pb::GetRequest>) -> Answer {
        self.answer(request.into_inner()).await
    }

    type PipelineStream = Pipeline;

    async fn pipeline(&self, requests: Request<Streaming<pb::PipelineRequest>>) -> Result<Response<Pipeline>, Status> {
        let pipeline = Pipeline::new(Arc::clone(&self.backend), requests.into_inner(), self.stopped.clone());
        Ok(Response::new(pipeline))
    }
}
