//! One endpoint: at most one live stream to it, and one attempt at a time to open another.
//!
//! A failed attempt to connect stands for everybody who waited for it, and for a moment after, so that a node that is down is not
//! hammered by every call. There is no reconnecting in the background: the next call does it.

use std::error::Error;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{Mutex as AsyncMutex, mpsc};
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::{Channel, Endpoint};

use super::pipeline::{Calls, Pipeline};
use crate::client::CallError;
use crate::clock::{BoxFuture, Clock};
use crate::env::Spawn;
use crate::limits;
use crate::lock::{Outcome, Request};
use crate::status::NodeStatus;
use crate::wire::{self, pb};
use pb::cluster_service_client::ClusterServiceClient;
use pb::lock_service_client::LockServiceClient;

/// To connect, and to have a stream opened: a node that is stopped accepts connections and says nothing.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);
/// How long a failed attempt to connect stands.
const RECONNECT_PAUSE: Duration = Duration::from_millis(20);
/// A connection that is silent for this long is asked whether it lives,
const KEEP_ALIVE_INTERVAL: Duration = Duration::from_secs(2);
/// and is closed after this much more.
const KEEP_ALIVE_TIMEOUT: Duration = Duration::from_secs(5);
/// Thousands of replies may be under way while this side is busy.
const WINDOW_BYTES: u32 = 8 * 1024 * 1024;

/// A way to one endpoint, connected or not.
pub struct Connection {
    endpoint: String,
    clock: Arc<dyn Clock>,
    spawn: Arc<dyn Spawn>,
    live: Mutex<Option<Arc<Pipeline>>>,
    /// Held while connecting; inside, the last attempt that failed.
    connecting: AsyncMutex<Option<Failed>>,
}

struct Failed {
    at: Duration,
    reason: String,
}

impl Connection {
    /// A way to `endpoint`, not connected.
    pub fn new(endpoint: &str, clock: Arc<dyn Clock>, spawn: Arc<dyn Spawn>) -> Self {
        let endpoint = endpoint.to_owned();
        Self {
            endpoint,
            clock,
            spawn,
            live: Mutex::default(),
            connecting: AsyncMutex::default(),
        }
    }

    /// Makes one attempt that ends when `timer` completes.
    ///
    /// # Errors
    /// [`CallError::Unreachable`] when the request was not handed to a stream, [`CallError::Lost`] when it was.
    pub async fn call(&self, request: &Request, mut timer: BoxFuture<'static, ()>) -> Result<Outcome, CallError> {
        let handed = async { self.pipeline().await?.send(request).await };
        let call = tokio::select! {
            biased;
            call = handed => call.map_err(|reason| self.unreachable(reason))?,
            () = &mut timer => return Err(self.unreachable("the time is over and nothing was sent".to_owned())),
        };
        let answer = tokio::select! {
            biased;
            answer = call.answer() => answer,
            () = &mut timer => Err("the time is over".to_owned()),
        };
        answer.map_err(|reason| self.lost(reason))?.map_err(CallError::Request)
    }

    /// Asks the node about itself until `timer` completes.
    ///
    /// # Errors
    /// [`CallError::Unreachable`] or [`CallError::Lost`].
    pub async fn status(&self, timer: BoxFuture<'static, ()>) -> Result<NodeStatus, CallError> {
        let ask = async {
            let pipeline = self.pipeline().await.map_err(|reason| self.unreachable(reason))?;
            let client = ClusterServiceClient::new(pipeline.channel().clone());
            let mut client = client.max_decoding_message_size(limits::STATUS_BYTES_MAX);
            let reply = client.status(pb::StatusRequest {}).await;
            let reply = reply.map_err(|status| self.lost(status.message().to_owned()))?;
            wire::decode_status(reply.into_inner()).map_err(|error| self.lost(error.to_string()))
        };
        tokio::select! {
            biased;
            status = ask => status,
            () = timer => Err(self.lost("the time is over".to_owned())),
        }
    }

    /// The live stream, opened when there is none; an error in words when that fails.
    pub(super) async fn pipeline(&self) -> Result<Arc<Pipeline>, String> {
        if let Some(live) = self.live() {
            return Ok(live);
        }
        let mut failed = self.connecting.lock().await;
        if let Some(live) = self.live() {
            return Ok(live);
        }
        if let Some(failed) = &*failed
            && self.clock.now() < failed.at + RECONNECT_PAUSE
        {
            return Err(failed.reason.clone());
        }
        match self.open().await {
            Ok(pipeline) => {
                let pipeline = Arc::new(pipeline);
                *self.live.lock().unwrap_or_else(PoisonError::into_inner) = Some(Arc::clone(&pipeline));
                Ok(pipeline)
            }
            Err(reason) => {
                let at = self.clock.now();
                *failed = Some(Failed {
                    at,
                    reason: reason.clone(),
                });
                Err(reason)
            }
        }
    }

    fn live(&self) -> Option<Arc<Pipeline>> {
        let mut live = self.live.lock().unwrap_or_else(PoisonError::into_inner);
        live.take_if(|pipeline| pipeline.is_broken());
        live.clone()
    }

    /// How many calls wait on the live stream.
    #[cfg(test)]
    pub fn waiting(&self) -> usize {
        self.live().map_or(0, |pipeline| pipeline.waiting())
    }

    async fn open(&self) -> Result<Pipeline, String> {
        tokio::select! {
            biased;
            pipeline = self.connect() => pipeline,
            () = self.clock.sleep(CONNECT_TIMEOUT) => Err("it does not answer".to_owned()),
        }
    }

    async fn connect(&self) -> Result<Pipeline, String> {
        let channel = connect_channel(&self.endpoint)
            .await
            .map_err(|error| in_words(&error))?;
        let (writer, requests) = mpsc::channel(limits::PIPELINE_REQUESTS_MAX);
        let client = LockServiceClient::new(channel.clone());
        let mut client = client.max_decoding_message_size(limits::REPLY_BYTES_MAX);
        let replies = client.pipeline(ReceiverStream::new(requests)).await;
        let replies = replies.map_err(|status| status.message().to_owned())?.into_inner();
        let calls = Arc::new(Calls::default());
        self.spawn
            .spawn("client replies", Box::pin(Arc::clone(&calls).read(replies)));
        Ok(Pipeline::new(channel, writer, calls))
    }

    fn unreachable(&self, reason: String) -> CallError {
        let endpoint = self.endpoint.clone();
        CallError::Unreachable { endpoint, reason }
    }

    fn lost(&self, reason: String) -> CallError {
        let endpoint = self.endpoint.clone();
        CallError::Lost { endpoint, reason }
    }
}

async fn connect_channel(endpoint: &str) -> Result<Channel, tonic::transport::Error> {
    Endpoint::from_shared(format!("http://{endpoint}"))?
        .connect_timeout(CONNECT_TIMEOUT)
        .tcp_nodelay(true)
        .initial_stream_window_size(WINDOW_BYTES)
        .initial_connection_window_size(WINDOW_BYTES)
        .http2_keep_alive_interval(KEEP_ALIVE_INTERVAL)
        .keep_alive_timeout(KEEP_ALIVE_TIMEOUT)
        .keep_alive_while_idle(true)
        .connect()
        .await
}

/// The deepest cause: what stands above it says "transport error" and the like.
fn in_words(error: &dyn Error) -> String {
    let mut deepest = error;
    while let Some(source) = deepest.source() {
        deepest = source;
    }
    deepest.to_string()
}
