//! The production caller: one long-lived `Pipeline` stream to each endpoint, shared by all calls of a client.
//!
//! Thousands of calls share one connection, so a call costs one entry in a map and no task. This module and those below it are the only
//! ones of the client that know tonic. They make single attempts and never a second one.

mod admin;
mod connection;
#[cfg(test)]
mod double;
mod pipeline;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use super::{CallError, Caller};
use crate::admin::{AdminReply, AdminRequest};
use crate::clock::{BoxFuture, Clock};
use crate::env::Spawn;
use crate::error::AdminError;
use crate::limits;
use crate::lock::{Outcome, Request};
use crate::status::NodeStatus;
use connection::Connection;

/// Carries attempts over gRPC. Connects with the first call to an endpoint, and again with the next call after a break.
pub struct GrpcCaller {
    clock: Arc<dyn Clock>,
    spawn: Arc<dyn Spawn>,
    connections: Mutex<BTreeMap<String, Arc<Connection>>>,
}

impl GrpcCaller {
    /// A caller without connections. Works inside of a tokio runtime only.
    #[must_use]
    pub fn new(clock: Arc<dyn Clock>, spawn: Arc<dyn Spawn>) -> Self {
        let connections = Mutex::default();
        Self {
            clock,
            spawn,
            connections,
        }
    }

    /// The connection to `endpoint`, new when there is none. Past the limit, connections that no call uses at the moment are closed.
    fn connection(&self, endpoint: &str) -> Arc<Connection> {
        let mut connections = self.connections.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(connection) = connections.get(endpoint) {
            return Arc::clone(connection);
        }
        if connections.len() >= limits::CLIENT_ENDPOINTS_MAX {
            connections.retain(|_, connection| Arc::strong_count(connection) > 1);
        }
        let connection = Connection::new(endpoint, Arc::clone(&self.clock), Arc::clone(&self.spawn));
        let connection = Arc::new(connection);
        connections.insert(endpoint.to_owned(), Arc::clone(&connection));
        connection
    }
}

impl Caller for GrpcCaller {
    fn call(
        &self,
        endpoint: &str,
        request: Request,
        timeout: Duration,
    ) -> BoxFuture<'static, Result<Outcome, CallError>> {
        let connection = self.connection(endpoint);
        let timer = self.clock.sleep(timeout);
        Box::pin(async move { connection.call(&request, timer).await })
    }

    fn administer(
        &self,
        endpoint: &str,
        request: AdminRequest,
        timeout: Duration,
    ) -> BoxFuture<'static, Result<AdminReply, AdminError>> {
        let connection = self.connection(endpoint);
        let timer = self.clock.sleep(timeout);
        Box::pin(async move { connection.administer(request, timer).await })
    }

    fn status(&self, endpoint: &str, timeout: Duration) -> BoxFuture<'static, Result<NodeStatus, CallError>> {
        let connection = self.connection(endpoint);
        let timer = self.clock.sleep(timeout);
        Box::pin(async move { connection.status(timer).await })
    }
}
