//! The files of a data directory on the operating system: the production end of the [`Disk`] seam.
//!
//! One process at a time (an exclusive lock on each open file, released by the system when the process ends, however it ends), one
//! fdatasync a sync, and the directory synced when a file is created in it. Nothing is retried and nothing is cached here: the page cache is
//! redb's, and the system's.

use std::fs::{File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use crate::env::{BoxFuture, Disk, DiskFile};

/// A data directory. It is created when the first file is opened.
#[derive(Clone, Debug)]
pub struct FileDisk {
    directory: PathBuf,
}

impl FileDisk {
    /// The data directory at `directory`. Touches nothing yet.
    #[must_use]
    pub fn new(directory: impl Into<PathBuf>) -> Self {
        Self {
            directory: directory.into(),
        }
    }
}

impl Disk for FileDisk {
    fn open(&self, name: &str) -> io::Result<Box<dyn DiskFile>> {
        std::fs::create_dir_all(&self.directory)?;
        let file = open_file(&self.directory.join(name))?;
        file.try_lock().map_err(|error| match error {
            TryLockError::WouldBlock => io::ErrorKind::WouldBlock.into(),
            TryLockError::Error(error) => error,
        })?;
        if file.metadata()?.len() == 0 {
            sync_directory(&self.directory)?;
        }
        Ok(Box::new(LockedFile { file }))
    }

    fn pace(&self) -> BoxFuture<'_, ()> {
        Box::pin(std::future::ready(()))
    }

    fn location(&self) -> String {
        self.directory.display().to_string()
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "the production disk is the one place that opens files"
)]
fn open_file(path: &Path) -> io::Result<File> {
    OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .open(path)
}

/// Makes the names of new files durable, and the directory's own name in its parent.
#[expect(
    clippy::disallowed_methods,
    reason = "the production disk is the one place that opens files"
)]
fn sync_directory(directory: &Path) -> io::Result<()> {
    let directory = directory.canonicalize()?;
    File::open(&directory)?.sync_all()?;
    match directory.parent() {
        Some(parent) => File::open(parent)?.sync_all(),
        None => Ok(()),
    }
}

/// An open file that no other process has open.
#[derive(Debug)]
struct LockedFile {
    file: File,
}

impl DiskFile for LockedFile {
    fn len(&self) -> io::Result<u64> {
        Ok(self.file.metadata()?.len())
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.file.read_exact_at(out, offset)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.file.set_len(len)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.file.sync_data()
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.file.write_all_at(data, offset)
    }
}
