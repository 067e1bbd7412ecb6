//! One redb database: how it is opened and closed, and its errors in our words.
//!
//! The options are the same for every file: an explicit page cache, a check of every page at the start, default durability
//! (one sync a commit), no savepoints. redb writes its last commit in one phase, so after a crash a damaged last commit cannot be told from
//! a torn one and is dropped; damage anywhere else is refused.

use std::io;
use std::sync::{Mutex, PoisonError};

use redb::{Database, ReadTransaction, WriteTransaction};

use crate::env::{Disk, DiskFile};
use crate::mutants::{self, Mutant};
use crate::storage::StorageError;

/// An open database that knows its name.
#[derive(Debug)]
pub struct NamedDatabase {
    /// A view of the last commit, held until the next write begins.
    ///
    /// redb frees the pages that a commit has replaced in a second commit, in memory, right after the first; but in the next one, which does
    /// the same anyway, while somebody may read what was there before. That second commit is a quarter of what a small one costs, so there is
    /// always somebody. The price is that a page is free one commit later.
    latest: Mutex<Option<ReadTransaction>>,
    database: Database,
    file: String,
}

impl NamedDatabase {
    /// Opens or creates `name` on `disk`, with a page cache of `cache_bytes`. Every page in use is read and checked.
    ///
    /// # Errors
    /// [`StorageError`] when the file is in use, unreadable, corrupt or of another format.
    pub fn open(disk: &dyn Disk, name: &str, cache_bytes: usize) -> Result<Self, StorageError> {
        let file = format!("{}/{name}", disk.location());
        let backend = disk.open(name).map_err(|error| from_io(&file, error))?;
        discard_unborn(&*backend).map_err(|error| from_io(&file, error))?;
        let database = Database::builder()
            .set_cache_size(cache_bytes)
            .set_check_integrity_on_open(!mutants::on(Mutant::DamageIgnored))
            .create_with_backend(Backend(backend))
            .map_err(|error| from_redb(&file, error))?;
        Ok(Self {
            latest: Mutex::default(),
            database,
            file,
        })
    }

    /// The file's name with its directory, for messages.
    #[must_use]
    pub fn file(&self) -> &str {
        &self.file
    }

    /// Begins a write transaction. There is never a second one: each file has one writer.
    ///
    /// # Errors
    /// [`StorageError`] when the database has failed before.
    pub fn begin_write(&self) -> Result<WriteTransaction, StorageError> {
        let latest = self.begin_read()?;
        *self.latest.lock().unwrap_or_else(PoisonError::into_inner) = Some(latest);
        self.database.begin_write().map_err(|error| self.error(error))
    }

    /// Makes a transaction durable.
    ///
    /// # Errors
    /// [`StorageError`]; then nothing may be assumed of the file, and nothing may be retried.
    pub fn commit(&self, transaction: WriteTransaction) -> Result<(), StorageError> {
        transaction.commit().map_err(|error| self.error(error))
    }

    /// A consistent view of what is committed.
    ///
    /// # Errors
    /// [`StorageError`] when the database has failed before.
    pub fn begin_read(&self) -> Result<ReadTransaction, StorageError> {
        use redb::ReadableDatabase as _;
        self.database.begin_read().map_err(|error| self.error(error))
    }

    /// Closes the file so that the next start need not repair it.
    pub fn close(self) {
        let Self { latest, database, file } = self;
        drop(latest);
        if let Err(error) = database.close() {
            tracing::warn!(file, %error, "the file was not closed cleanly; the next start repairs it");
        }
    }

    /// An error of redb, in our words.
    pub fn error(&self, error: impl Into<redb::Error>) -> StorageError {
        from_redb(&self.file, error)
    }

    /// The content cannot be what was written.
    pub fn corrupt(&self, reason: impl Into<String>) -> StorageError {
        StorageError::Corrupt {
            file: self.file.clone(),
            reason: reason.into(),
        }
    }

    /// The content belongs to something else.
    pub fn mismatch(&self, reason: impl Into<String>) -> StorageError {
        StorageError::Mismatch {
            file: self.file.clone(),
            reason: reason.into(),
        }
    }
}

/// How much of a new file redb writes before the first bytes, its magic number, make it a database.
const HEADER_BYTES: usize = 512;
/// A new file is far smaller than this.
const UNBORN_BYTES_MAX: u64 = 4 * 1024 * 1024;

/// Empties a file whose creation was cut short: redb would take it for no database of its own, and this node could never start.
///
/// Such a file has no magic number, and nothing but zeros behind the header. No database that was ever written to looks like that.
fn discard_unborn(file: &dyn DiskFile) -> io::Result<()> {
    let length = file.len()?;
    if length == 0 || length > UNBORN_BYTES_MAX {
        return Ok(());
    }
    let mut bytes = vec![0; usize::try_from(length).map_err(io::Error::other)?];
    file.read(0, &mut bytes)?;
    let (header, rest) = bytes.split_at(bytes.len().min(HEADER_BYTES));
    let is_unborn = header.iter().take(8).chain(rest).all(|byte| *byte == 0);
    if is_unborn { file.set_len(0) } else { Ok(()) }
}

fn from_redb(file: &str, error: impl Into<redb::Error>) -> StorageError {
    let file = file.to_owned();
    match error.into() {
        redb::Error::DatabaseAlreadyOpen | redb::Error::LockProtocolMismatch => StorageError::InUse { file },
        redb::Error::Io(error) => from_io(&file, error),
        redb::Error::Corrupted(reason) => StorageError::Corrupt { file, reason },
        redb::Error::UpgradeRequired(version) => StorageError::Mismatch {
            file,
            reason: format!(
                "is of redb's file format {version}, which this kapu does not read; use the kapu that wrote it"
            ),
        },
        error @ (redb::Error::TableTypeMismatch { .. } | redb::Error::TypeDefinitionChanged { .. }) => {
            StorageError::Corrupt {
                file,
                reason: error.to_string(),
            }
        }
        error => StorageError::Io {
            file,
            reason: error.to_string(),
        },
    }
}

fn from_io(file: &str, error: io::Error) -> StorageError {
    let file = file.to_owned();
    match error.kind() {
        io::ErrorKind::WouldBlock => StorageError::InUse { file },
        io::ErrorKind::InvalidData => StorageError::Corrupt {
            file,
            reason: error.to_string(),
        },
        _ => StorageError::Io {
            file,
            reason: error.to_string(),
        },
    }
}

/// redb wants a type of its own where the seam gives a trait object.
#[derive(Debug)]
struct Backend(Box<dyn DiskFile>);

impl DiskFile for Backend {
    fn len(&self) -> io::Result<u64> {
        self.0.len()
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.0.read(offset, out)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.0.set_len(len)
    }

    fn sync_data(&self) -> io::Result<()> {
        if mutants::on(Mutant::SyncSkipped) {
            return Ok(());
        }
        self.0.sync_data()
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.0.write(offset, data)
    }

    fn close(&self) -> io::Result<()> {
        self.0.close()
    }
}
