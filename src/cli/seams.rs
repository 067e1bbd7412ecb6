//! The outside world of a production node: the one place where the binary builds [`Env`].

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use rand::TryRng;
use rand::rngs::SysRng;

use crate::api;
use crate::cli::exit::{Exit, Failure};
use crate::clock::{BoxFuture, SystemClock};
use crate::env::{Env, TokioSpawn};
use crate::network::grpc::GrpcNetwork;
use crate::node::NodeHandle;
use crate::storage::file::FileDisk;

/// The system's clock, network, files, tasks and entropy.
///
/// # Errors
/// [`Failure`] when the system has no entropy.
pub fn production_env(data_dir: &Path) -> Result<Env, Failure> {
    Ok(Env {
        clock: Arc::new(SystemClock),
        network: Arc::new(GrpcNetwork),
        disk: Arc::new(FileDisk::new(data_dir)),
        spawn: Arc::new(TokioSpawn),
        seed: entropy()?,
    })
}

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
    handle: NodeHandle,
    stop: BoxFuture<'static, ()>,
) -> Result<(SocketAddr, BoxFuture<'static, ()>), Failure> {
    let served = api::serve(address, Arc::new(handle), stop).await;
    served.map_err(|error| Failure::new(Exit::No, error))
}
