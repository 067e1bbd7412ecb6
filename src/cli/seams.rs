//! What the binary takes from outside beside [`crate::env::Env`]: entropy for its own commands, and a listener for clients.

use std::net::SocketAddr;
use std::sync::Arc;

use rand::TryRng;
use rand::rngs::SysRng;

use crate::api;
use crate::cli::exit::{Exit, Failure};
use crate::clock::BoxFuture;
use crate::service::LockHandle;

/// A number that nobody can guess, from the system.
///
/// # Errors
/// [`Failure`] when the system has none.
pub fn entropy() -> Result<u64, Failure> {
    SysRng
        .try_next_u64()
        .map_err(|error| Failure::new(Exit::No, format_args!("the system gives no entropy: {error}")))
}

/// Listens for clients at `address` until `stop` completes. The returned future serves.
///
/// # Errors
/// [`Failure`] when the address cannot be listened on.
pub async fn serve_clients(
    address: &str,
    handle: LockHandle,
    stop: BoxFuture<'static, ()>,
) -> Result<(SocketAddr, BoxFuture<'static, ()>), Failure> {
    let served = api::serve(address, Arc::new(handle), stop).await;
    served.map_err(|error| Failure::new(Exit::No, error))
}
