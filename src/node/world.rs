//! Worlds for a node: this machine, or the memory of one process.
//!
//! Any other world is an [`Env`] that is put together by hand, as simulation does.

use std::io;
use std::path::Path;
use std::sync::Arc;

use rand::TryRng as _;
use rand::rngs::SysRng;

use crate::clock::SystemClock;
use crate::env::{Disk, Env, Network, TokioSpawn};
use crate::network::{GrpcNetwork, MemoryNetwork};
use crate::storage::MemoryDisk;
use crate::storage::file::FileDisk;

impl Env {
    /// The system's clock, gRPC, the files of `data_dir`, tasks of the present tokio runtime and a seed of the system's entropy. Touches nothing yet.
    ///
    /// # Errors
    /// When the system gives no entropy.
    pub fn system(data_dir: &Path) -> io::Result<Self> {
        here(Arc::new(GrpcNetwork), Arc::new(FileDisk::new(data_dir)))
    }

    /// The same with a network and an empty disk in memory. A clone has the same disk, so a node that was stopped can go on in a clone of its world.
    ///
    /// # Errors
    /// When the system gives no entropy.
    pub fn memory(network: &MemoryNetwork) -> io::Result<Self> {
        here(Arc::new(network.clone()), Arc::new(MemoryDisk::default()))
    }
}

/// On this machine, with this network and this disk.
fn here(network: Arc<dyn Network>, disk: Arc<dyn Disk>) -> io::Result<Env> {
    Ok(Env {
        clock: Arc::new(SystemClock),
        network,
        disk,
        spawn: Arc::new(TokioSpawn),
        seed: SysRng.try_next_u64().map_err(io::Error::other)?,
    })
}
