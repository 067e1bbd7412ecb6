//! The client's end: one attempt is one datagram out and one back, or none.
//!
//! It connects once to each life of a node, and only while it connects can it know that a request never left. It sends nothing twice.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use kapu::client::{CallError, Caller};
use kapu::clock::{BoxFuture, Clock};
use kapu::env::Spawn;
use kapu::lock::{Outcome, Request};
use kapu::status::NodeStatus;
use kapu::wire::{decode_reply, decode_status, encode_request, pb};
use prost::Message;
use tokio::sync::oneshot;

use super::frame::{Frame, Kind};
use crate::world::links::Port;

/// Carries the attempts of one client.
pub struct SimCaller(Arc<Shared>);

struct Shared {
    port: Port,
    clock: Arc<dyn Clock>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    last_id: u64,
    waiting: BTreeMap<u64, oneshot::Sender<Frame>>,
    sessions: BTreeMap<SocketAddr, u64>,
}

impl SimCaller {
    /// A caller at `port`, with a task that receives.
    #[must_use]
    pub fn new(port: Port, clock: Arc<dyn Clock>, spawn: &dyn Spawn) -> Self {
        let shared = Arc::new(Shared {
            port,
            clock,
            state: Mutex::default(),
        });
        spawn.spawn("client receive", Box::pin(receive(Arc::clone(&shared))));
        Self(shared)
    }
}

impl Caller for SimCaller {
    fn call(
        &self,
        endpoint: &str,
        request: Request,
        timeout: Duration,
    ) -> BoxFuture<'static, Result<Outcome, CallError>> {
        let (shared, endpoint) = (Arc::clone(&self.0), endpoint.to_owned());
        let timer = shared.clock.sleep(timeout);
        Box::pin(async move {
            let has_left = AtomicBool::new(false);
            tokio::select! {
                biased;
                result = shared.call(&endpoint, &request, &has_left) => result,
                () = timer => Err(timed_out(&endpoint, &has_left)),
            }
        })
    }

    fn status(&self, endpoint: &str, timeout: Duration) -> BoxFuture<'static, Result<NodeStatus, CallError>> {
        let (shared, endpoint) = (Arc::clone(&self.0), endpoint.to_owned());
        let timer = shared.clock.sleep(timeout);
        Box::pin(async move {
            tokio::select! {
                biased;
                result = shared.status(&endpoint) => result,
                () = timer => Err(lost(&endpoint, "no answer in time")),
            }
        })
    }
}

impl Shared {
    async fn call(&self, endpoint: &str, request: &Request, has_left: &AtomicBool) -> Result<Outcome, CallError> {
        let to = parse(endpoint)?;
        let session = self.connect(to).await;
        let id = self.next_id();
        has_left.store(true, Ordering::Relaxed);
        let body = encode_request(id, request).encode_to_vec().into();
        let reply = self.exchange(to, (Kind::Request, session, id), body).await;
        if reply.kind != Kind::Reply {
            self.state().sessions.remove(&to);
            return Err(lost(endpoint, "the connection was reset"));
        }
        let malformed = |_| lost(endpoint, "the answer is malformed");
        let reply = pb::PipelineReply::decode(reply.body).map_err(malformed)?;
        match decode_reply(reply) {
            (answered, Ok(result)) if answered == id => result.map_err(CallError::from),
            _ => Err(lost(endpoint, "the answer is malformed")),
        }
    }

    async fn status(&self, endpoint: &str) -> Result<NodeStatus, CallError> {
        let to = parse(endpoint)?;
        let id = self.next_id();
        let reply = self.exchange(to, (Kind::AskStatus, 0, id), Bytes::new()).await;
        let status = pb::StatusReply::decode(reply.body).ok();
        let status = status.and_then(|status| decode_status(status).ok());
        status.ok_or_else(|| lost(endpoint, "the answer is malformed"))
    }

    /// The session of the node at `to`, asked for when there is none.
    async fn connect(&self, to: SocketAddr) -> u64 {
        let known = self.state().sessions.get(&to).copied();
        if let Some(session) = known {
            return session;
        }
        let id = self.next_id();
        let welcome = self.exchange(to, (Kind::Hello, 0, id), Bytes::new()).await;
        self.state().sessions.insert(to, welcome.session);
        welcome.session
    }

    /// Sends one datagram and waits for the answer, for ever if it must.
    async fn exchange(&self, to: SocketAddr, (kind, session, id): (Kind, u64, u64), body: Bytes) -> Frame {
        let (answer, answered) = oneshot::channel();
        self.state().waiting.insert(id, answer);
        let _waiting = Waiting { shared: self, id };
        let frame = Frame {
            kind,
            session,
            id,
            body,
        };
        self.port.send(to, frame.encode());
        match answered.await {
            Ok(frame) => frame,
            Err(_) => std::future::pending().await,
        }
    }

    fn next_id(&self) -> u64 {
        let mut state = self.state();
        state.last_id += 1;
        state.last_id
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Takes the place of an exchange away when nobody waits for it any more.
struct Waiting<'a> {
    shared: &'a Shared,
    id: u64,
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.shared.state().waiting.remove(&self.id);
    }
}

/// Hands every answer to who waits for it; the second of a doubled one finds nobody.
async fn receive(shared: Arc<Shared>) {
    loop {
        let (_, bytes) = shared.port.recv().await;
        let Some(frame) = Frame::decode(&bytes) else { continue };
        let waiting = shared.state().waiting.remove(&frame.id);
        if let Some(answer) = waiting {
            // It may have given up at this very moment.
            let _ = answer.send(frame);
        }
    }
}

fn parse(endpoint: &str) -> Result<SocketAddr, CallError> {
    endpoint.parse().map_err(|_| CallError::Unreachable {
        endpoint: endpoint.to_owned(),
        reason: "this is no address".to_owned(),
    })
}

/// Definite only if the request itself was never sent.
fn timed_out(endpoint: &str, has_left: &AtomicBool) -> CallError {
    if has_left.load(Ordering::Relaxed) {
        return lost(endpoint, "no answer in time");
    }
    let (endpoint, reason) = (endpoint.to_owned(), "it does not take connections".to_owned());
    CallError::Unreachable { endpoint, reason }
}

fn lost(endpoint: &str, reason: &str) -> CallError {
    let (endpoint, reason) = (endpoint.to_owned(), reason.to_owned());
    CallError::Lost { endpoint, reason }
}
