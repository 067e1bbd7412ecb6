//! The book in which every attempt of every client is written, on true time.
//!
//! It stands between the client library and its caller, so what is written is what crossed the border of the client: a retry is an attempt
//! of its own, renewals and background unlocks are there too. An attempt is written when it is made and completed when its client learns
//! the outcome; one that nobody waits for any more stays open, outcome unknown, for ever.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use kapu::client::{CallError, Caller};
use kapu::clock::{BoxFuture, Clock};
use kapu::lock::{Command, Outcome, Query, Request};
use kapu::status::NodeStatus;

use crate::history::{Op, Operation, Seen};

/// All attempts of a run. Clones are the same book.
#[derive(Clone)]
pub struct Book {
    truth: Arc<dyn Clock>,
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    /// In the order of calls.
    operations: Vec<Operation>,
    /// Somebody waits for these.
    open: BTreeSet<usize>,
    facts: BTreeMap<&'static str, u64>,
}

impl Book {
    /// An empty book on true time.
    #[must_use]
    pub fn new(truth: Arc<dyn Clock>) -> Self {
        let state = Arc::default();
        Self { truth, state }
    }

    /// A caller that does what `caller` does, and writes it down as done by `client`.
    #[must_use]
    pub fn recording(&self, client: u64, caller: Arc<dyn Caller>) -> Arc<dyn Caller> {
        let book = self.clone();
        Arc::new(RecordingCaller { book, client, caller })
    }

    /// Counts something that a client did or met.
    pub fn note(&self, fact: &'static str) {
        *self.state().facts.entry(fact).or_default() += 1;
    }

    /// What was counted.
    #[must_use]
    pub fn facts(&self) -> BTreeMap<&'static str, u64> {
        self.state().facts.clone()
    }

    /// Every attempt so far, in the order of calls.
    #[must_use]
    pub fn operations(&self) -> Vec<Operation> {
        self.state().operations.clone()
    }

    /// The attempts whose clients still wait.
    #[must_use]
    pub fn waiting(&self) -> Vec<Operation> {
        let state = self.state();
        state.open.iter().map(|at| state.operations[*at].clone()).collect()
    }

    /// Now, in true nanoseconds.
    #[must_use]
    pub fn now_ns(&self) -> u64 {
        u64::try_from(self.truth.now().as_nanos()).expect("a run ends before 584 years have passed")
    }

    fn open(&self, client: u64, request: &Request) -> Entry {
        let operation = describe(client, request, self.now_ns());
        let mut state = self.state();
        let at = state.operations.len();
        state.operations.push(operation);
        state.open.insert(at);
        let book = self.clone();
        Entry { book, at }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One attempt that somebody waits for. Dropped, nobody does.
struct Entry {
    book: Book,
    at: usize,
}

impl Entry {
    fn close(self, result: &Result<Outcome, CallError>) {
        let now = self.book.now_ns();
        let mut state = self.book.state();
        let operation = &mut state.operations[self.at];
        operation.return_ns = Some(now);
        complete(operation, result);
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        self.book.state().open.remove(&self.at);
    }
}

fn describe(client: u64, request: &Request, call_ns: u64) -> Operation {
    let (op, owner, ttl_ms) = match request {
        Request::Command(Command::TryLock { owner, ttl_ms, .. }) => (Op::TryLock, owner.to_string(), *ttl_ms),
        Request::Command(Command::Extend { owner, ttl_ms, .. }) => (Op::Extend, owner.to_string(), *ttl_ms),
        Request::Command(Command::Unlock { owner, .. }) => (Op::Unlock, owner.to_string(), 0),
        Request::Query(Query::Get { .. }) => (Op::Get, String::new(), 0),
    };
    Operation {
        client,
        op,
        resource: request.resource().to_string(),
        owner,
        ttl_ms,
        call_ns,
        return_ns: None,
        outcome: Seen::Unknown,
        token: None,
        lease_ms: None,
        holder: None,
    }
}

fn complete(operation: &mut Operation, result: &Result<Outcome, CallError>) {
    let (seen, granted) = match result {
        Ok(Outcome::Locked {
            fencing_token,
            expires_in_ms,
        }) => (Seen::Locked, Some((fencing_token, expires_in_ms))),
        Ok(Outcome::Extended {
            fencing_token,
            expires_in_ms,
        }) => (Seen::Extended, Some((fencing_token, expires_in_ms))),
        Ok(Outcome::Got {
            owner,
            fencing_token,
            expires_in_ms,
        }) => {
            operation.holder = Some(owner.to_string());
            (Seen::Got, Some((fencing_token, expires_in_ms)))
        }
        Ok(Outcome::Busy { .. }) => (Seen::Busy, None),
        Ok(Outcome::Unlocked) => (Seen::Unlocked, None),
        Ok(Outcome::LockDoesNotExist) => (Seen::LockDoesNotExist, None),
        Ok(Outcome::InvalidOwner) => (Seen::InvalidOwner, None),
        Err(error) if error.is_definite() => (Seen::Refused, None),
        Err(_) => (Seen::Unknown, None),
    };
    operation.outcome = seen;
    operation.token = granted.map(|(token, _)| token.0);
    operation.lease_ms = granted.map(|(_, lease)| *lease);
}

struct RecordingCaller {
    book: Book,
    client: u64,
    caller: Arc<dyn Caller>,
}

impl Caller for RecordingCaller {
    fn call(
        &self,
        endpoint: &str,
        request: Request,
        timeout: Duration,
    ) -> BoxFuture<'static, Result<Outcome, CallError>> {
        let entry = self.book.open(self.client, &request);
        let call = self.caller.call(endpoint, request, timeout);
        Box::pin(async move {
            let result = call.await;
            entry.close(&result);
            result
        })
    }

    fn status(&self, endpoint: &str, timeout: Duration) -> BoxFuture<'static, Result<NodeStatus, CallError>> {
        self.caller.status(endpoint, timeout)
    }
}

#[cfg(test)]
#[path = "book_tests.rs"]
mod tests;
