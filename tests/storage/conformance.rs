//! The conformance suite on every store of ours.

use std::sync::Arc;

use kapu::clock::BoxFuture;
use kapu::storage::conformance::{self, PARTITIONS};
use kapu::storage::file::FileDisk;
use kapu::storage::memory::{MemoryLog, MemoryState};
use kapu::storage::{self, Opened};

use crate::support::{env_with_threads, identity, no_failure, runtime, small_options};

#[test]
fn the_log_in_memory_conforms() {
    let log = Arc::new(MemoryLog::default());
    conformance::log_store(&mut || Arc::clone(&log) as _);
}

#[test]
fn the_state_in_memory_conforms() {
    let state = Arc::new(MemoryState::default());
    conformance::state_store(&mut || Arc::clone(&state) as _);
}

#[test]
fn the_log_on_redb_conforms() {
    let mut files = Files::new();
    conformance::log_store(&mut || files.open().log);
}

#[test]
fn the_state_on_redb_conforms() {
    let mut files = Files::new();
    conformance::state_store(&mut || files.open().state);
}

/// One directory, opened with real threads again and again.
struct Files {
    directory: tempfile::TempDir,
    closed: BoxFuture<'static, ()>,
}

impl Files {
    fn new() -> Self {
        Self {
            directory: tempfile::tempdir().unwrap(),
            closed: Box::pin(async {}),
        }
    }

    /// Opens it once it is closed.
    fn open(&mut self) -> Opened {
        runtime().block_on(&mut self.closed);
        let env = env_with_threads(FileDisk::new(self.directory.path()));
        let mut opened = storage::open_with(&env, &identity(PARTITIONS), no_failure(), small_options()).unwrap();
        self.closed = std::mem::replace(&mut opened.closed, Box::pin(async {}));
        opened
    }
}
