//! The production client: gRPC, the system's clock, its entropy, and tasks on the runtime that connected.
//!
//! The only part of the client that reaches for the process it runs in. Simulation never comes here.

use std::sync::Arc;

use rand::TryRng;
use rand::rngs::SysRng;
use tokio::runtime::Handle;

use super::{Client, ClientEnv, ClientError, GrpcCaller};
use crate::clock::{BoxFuture, Clock, SystemClock};
use crate::env::{Spawn, TokioSpawn};

impl Client {
    /// A client of a cluster over gRPC, with the system's clock and a seed of the system's entropy. Nothing is sent yet: connections are
    /// made when there is something to say.
    ///
    /// Endpoints are `host:port` or `http://host:port`, each text one of them or several with commas between.
    ///
    /// # Errors
    /// [`ClientError::BadEndpoint`].
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    #[expect(
        clippy::unused_async,
        reason = "it needs a runtime, and an async function is inside one"
    )]
    pub async fn connect<E: Into<String>>(endpoints: impl IntoIterator<Item = E>) -> Result<Self, ClientError> {
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let spawn: Arc<dyn Spawn> = Arc::new(RuntimeSpawn(Handle::current()));
        let caller = Arc::new(GrpcCaller::new(Arc::clone(&clock), Arc::clone(&spawn)));
        let seed = SysRng.try_next_u64().expect("the system has entropy");
        Self::new(
            ClientEnv {
                caller,
                clock,
                spawn,
                seed,
            },
            endpoints,
        )
    }
}

/// Tasks on one runtime, from any thread: a guard may be dropped where there is no runtime, and its drop must not panic.
struct RuntimeSpawn(Handle);

impl Spawn for RuntimeSpawn {
    fn spawn(&self, _name: &'static str, future: BoxFuture<'static, ()>) {
        self.0.spawn(future);
    }

    fn spawn_blocking(&self, name: &'static str, future: BoxFuture<'static, ()>) {
        TokioSpawn.spawn_blocking(name, future);
    }
}
