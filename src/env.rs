//! The outside world, as one value: clock, network, disk, tasks and a seed.
//!
//! It is built in exactly two places, `node::world` (this machine, or memory) and the simulation's cluster. Nothing below it touches a clock, a thread, a file,
//! a socket or entropy in any other way. The seams are trait objects, so that no type parameter reaches a public type.

use std::future::Future;
use std::io;
use std::sync::Arc;

use bytes::Bytes;
use rand::SeedableRng;
use rand::rngs::StdRng;

pub use crate::clock::{BoxFuture, Clock};
/// A file as redb wants it: read, write, sync and set its length.
pub use redb::StorageBackend as DiskFile;

/// Everything that a node takes from outside.
#[derive(Clone)]
pub struct Env {
    /// Time.
    pub clock: Arc<dyn Clock>,
    /// Frames to and from peers.
    pub network: Arc<dyn Network>,
    /// Files.
    pub disk: Arc<dyn Disk>,
    /// Tasks.
    pub spawn: Arc<dyn Spawn>,
    /// The one number that all randomness is drawn from.
    pub seed: u64,
}

impl Env {
    /// A random stream of its own for each purpose, so that drawing more in one place changes nothing in another.
    #[must_use]
    pub fn rng(&self, purpose: &str) -> StdRng {
        rng(self.seed, purpose)
    }
}

/// The random stream of `seed` for `purpose`.
#[must_use]
pub fn rng(seed: u64, purpose: &str) -> StdRng {
    StdRng::seed_from_u64(xxhash_rust::xxh3::xxh3_64_with_seed(purpose.as_bytes(), seed))
}

/// Starts what runs beside the caller.
pub trait Spawn: Send + Sync {
    /// Runs `future` as a task.
    fn spawn(&self, name: &'static str, future: BoxFuture<'static, ()>);
    /// Runs `future`, which may block, where it holds up nobody: a thread of its own in production, a task in simulation.
    fn spawn_blocking(&self, name: &'static str, future: BoxFuture<'static, ()>);
}

/// Files of one data directory.
pub trait Disk: Send + Sync {
    /// Opens or creates the file `name`, for this process alone.
    ///
    /// # Errors
    /// When it cannot be opened, or another process has it open ([`io::ErrorKind::WouldBlock`]).
    fn open(&self, name: &str) -> io::Result<Box<dyn DiskFile>>;
    /// Awaited before each commit. Simulation charges the time of the write here; production returns at once.
    fn pace(&self) -> BoxFuture<'_, ()>;
    /// Awaited after each commit, before anybody hears that it is durable. Simulation may hold it up here, as a sync that has written and does
    /// not return; production returns at once.
    fn linger(&self) -> BoxFuture<'_, ()> {
        Box::pin(std::future::ready(()))
    }
    /// Where it is, for messages.
    fn location(&self) -> String;
}

/// Carries frames between nodes. A frame may be lost, delayed, duplicated or reordered; it is never changed.
pub trait Network: Send + Sync {
    /// Opens a one-way stream of frames to the peer at `address`.
    fn dial(&self, address: String) -> BoxFuture<'static, Result<Box<dyn FrameSink>, NetworkError>>;
    /// Hands every frame that arrives at `address` to `handler` until `stop` completes. Returns once the address is bound; the
    /// returned future serves.
    fn listen(
        &self,
        address: String,
        handler: Arc<dyn FrameHandler>,
        stop: BoxFuture<'static, ()>,
    ) -> BoxFuture<'static, Result<BoxFuture<'static, ()>, NetworkError>>;
}

/// The sending end of a stream to one peer.
pub trait FrameSink: Send {
    /// Hands one encoded frame on; waits while the stream is full.
    ///
    /// # Errors
    /// When the stream is broken or the peer refuses frames of this node; then the sink is of no more use.
    fn send(&mut self, frame: Bytes) -> BoxFuture<'_, Result<(), NetworkError>>;
}

/// The receiving end of all streams.
pub trait FrameHandler: Send + Sync {
    /// Takes one frame. Never blocks.
    ///
    /// # Errors
    /// A reason in words when frames of this sender are not welcome; the stream is then closed with it.
    fn receive(&self, frame: Bytes) -> Result<(), String>;
}

/// Why a frame was not carried.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NetworkError {
    /// The address cannot be listened on.
    #[error("cannot listen on {address}: {reason}")]
    Listen {
        /// The address.
        address: String,
        /// The system's words.
        reason: String,
    },
    /// The peer cannot be reached, or the stream broke.
    #[error("peer at {address} is unreachable: {reason}")]
    Unreachable {
        /// The peer's address.
        address: String,
        /// The system's words.
        reason: String,
    },
    /// The peer does not want frames of this node.
    #[error("peer at {address} refuses this node: {reason}")]
    Refused {
        /// The peer's address.
        address: String,
        /// The peer's words.
        reason: String,
    },
}

/// Tasks on the current tokio runtime; what may block gets a thread with a small runtime of its own.
#[derive(Clone, Copy, Debug, Default)]
pub struct TokioSpawn;

impl Spawn for TokioSpawn {
    #[expect(
        clippy::disallowed_methods,
        reason = "the production seam is the one place that starts tasks"
    )]
    fn spawn(&self, _name: &'static str, future: BoxFuture<'static, ()>) {
        tokio::spawn(future);
    }

    #[expect(
        clippy::disallowed_methods,
        reason = "the production seam is the one place that starts threads"
    )]
    fn spawn_blocking(&self, name: &'static str, future: BoxFuture<'static, ()>) {
        let thread = std::thread::Builder::new().name(name.to_owned());
        thread
            .spawn(move || block_on(future))
            .expect("the system starts a thread");
    }
}

/// Drives one future on this thread. It may await channels; it has no timers and no sockets.
fn block_on(future: impl Future<Output = ()>) {
    tokio::runtime::Builder::new_current_thread()
        .build()
        .expect("a runtime without drivers needs nothing from the system")
        .block_on(future);
}
