//! One stream to one node, and the calls that wait on it, matched by id.
//!
//! A call registers, hands its request to the writer, and waits on a channel of its own; one task reads the replies. When the stream
//! breaks, every registered call is told. A stream is never repaired: the connection opens another.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{mpsc, oneshot};
use tonic::Streaming;
use tonic::transport::Channel;

use crate::error::RequestError;
use crate::lock::{Outcome, Request};
use crate::wire::{self, pb};

/// What the node said; an error in words when it said something that this client does not know.
type Answer = Result<Result<Outcome, RequestError>, String>;

/// An open stream. Dropped, it lets the node finish and close.
pub struct Pipeline {
    channel: Channel,
    writer: mpsc::Sender<pb::PipelineRequest>,
    calls: Arc<Calls>,
}

/// The calls that wait for a reply.
///
/// - An id is given once.
/// - After the break nobody waits, and nobody can begin to.
#[derive(Default)]
pub struct Calls(Mutex<Waiting>);

#[derive(Default)]
struct Waiting {
    last_id: u64,
    answers: HashMap<u64, oneshot::Sender<Answer>>,
    broken: Option<String>,
}

/// One call that has been handed to the stream. Dropped, it is forgotten; it may still take effect.
pub struct Call {
    calls: Arc<Calls>,
    id: u64,
    answer: oneshot::Receiver<Answer>,
}

impl Pipeline {
    /// A stream whose replies `calls` reads.
    pub const fn new(channel: Channel, writer: mpsc::Sender<pb::PipelineRequest>, calls: Arc<Calls>) -> Self {
        Self { channel, writer, calls }
    }

    /// Hands `request` to the stream; waits while it is full. Dropped before it is done, it has sent nothing.
    ///
    /// # Errors
    /// In words, when the stream has broken and took nothing.
    pub async fn send(&self, request: &Request) -> Result<Call, String> {
        let call = Calls::register(&self.calls)?;
        let message = wire::encode_request(call.id, request);
        match self.writer.send(message).await {
            Ok(()) => Ok(call),
            Err(_) => Err(self.calls.reason()),
        }
    }

    /// Whether another stream is needed.
    pub fn is_broken(&self) -> bool {
        self.writer.is_closed() || self.calls.lock().broken.is_some()
    }

    /// How many calls wait.
    #[cfg(test)]
    pub fn waiting(&self) -> usize {
        self.calls.lock().answers.len()
    }

    /// The connection under the stream, for unary calls.
    pub const fn channel(&self) -> &Channel {
        &self.channel
    }
}

impl Call {
    /// Waits for the answer.
    ///
    /// # Errors
    /// In words, when the stream breaks first, or the answer is of no known kind.
    pub async fn answer(mut self) -> Answer {
        (&mut self.answer).await.unwrap_or_else(|_| Err(self.calls.reason()))
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        if !self.answer.is_terminated() {
            self.calls.lock().answers.remove(&self.id);
        }
    }
}

impl Calls {
    /// Reads replies until the stream breaks, then tells whoever still waits.
    pub async fn read(self: Arc<Self>, mut replies: Streaming<pb::PipelineReply>) {
        let reason = loop {
            match replies.message().await {
                Ok(Some(reply)) => self.answered(reply),
                Ok(None) => break "the node closed the stream".to_owned(),
                Err(status) => break status.message().to_owned(),
            }
        };
        self.fail(reason);
    }

    fn register(calls: &Arc<Self>) -> Result<Call, String> {
        let (sender, answer) = oneshot::channel();
        let mut waiting = calls.lock();
        if let Some(reason) = &waiting.broken {
            return Err(reason.clone());
        }
        waiting.last_id += 1;
        let id = waiting.last_id;
        waiting.answers.insert(id, sender);
        drop(waiting);
        Ok(Call {
            calls: Arc::clone(calls),
            id,
            answer,
        })
    }

    /// Hands a reply to its call. An id that nobody waits for is that of a call that gave up.
    fn answered(&self, reply: pb::PipelineReply) {
        let (id, answer) = wire::decode_reply(reply);
        let answer = answer.map_err(|error| error.to_string());
        let waiting = self.lock().answers.remove(&id);
        if let Some(waiting) = waiting {
            // The call may give up at this very moment.
            let _ = waiting.send(answer);
        }
    }

    /// Every waiting call sees its channel closed, and finds the reason here.
    fn fail(&self, reason: String) {
        let mut waiting = self.lock();
        waiting.broken = Some(reason);
        waiting.answers = HashMap::new();
    }

    fn reason(&self) -> String {
        let broken = self.lock().broken.clone();
        broken.unwrap_or_else(|| "the connection broke".to_owned())
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
