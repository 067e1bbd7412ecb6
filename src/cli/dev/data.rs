//! The data directory of a development cluster: the user's, which stays, or a temporary one, which goes.

use std::path::{Path, PathBuf};

use tempfile::TempDir;

use crate::cli::exit::{Exit, Failure};
use crate::cli::output::note;

/// A directory to run a cluster in. A temporary one is removed on drop, too.
pub enum DataDir {
    /// The user named it.
    Kept(PathBuf),
    /// Nobody did.
    Temporary(TempDir),
}

impl DataDir {
    /// Creates the named directory, or a temporary one.
    ///
    /// # Errors
    /// [`Failure`] when it cannot be created.
    pub fn prepare(named: Option<PathBuf>) -> Result<Self, Failure> {
        match named {
            Some(path) => match std::fs::create_dir_all(&path) {
                Ok(()) => Ok(Self::Kept(path)),
                Err(error) => Err(Failure::new(
                    Exit::No,
                    format_args!("cannot create {}: {error}", path.display()),
                )),
            },
            None => match tempfile::Builder::new().prefix("kapu-dev-").tempdir() {
                Ok(directory) => Ok(Self::Temporary(directory)),
                Err(error) => Err(Failure::new(
                    Exit::No,
                    format_args!("cannot create a temporary directory: {error}"),
                )),
            },
        }
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        match self {
            Self::Kept(path) => path,
            Self::Temporary(directory) => directory.path(),
        }
    }

    /// Removes it if it is temporary. To be called when no node runs any more.
    pub fn remove(self) {
        if let Self::Temporary(directory) = self {
            let path = directory.path().to_owned();
            if let Err(error) = directory.close() {
                note(format_args!("cannot remove {}: {error}", path.display()));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_temporary_directory_goes_with_all_that_is_in_it() {
        let data = DataDir::prepare(None).unwrap();
        let path = data.path().to_owned();
        std::fs::create_dir(path.join("node-1")).unwrap();
        data.remove();
        assert!(!path.exists());
    }

    #[test]
    fn a_named_directory_is_created_and_stays() {
        let parent = tempfile::tempdir().unwrap();
        let path = parent.path().join("a/b");
        DataDir::prepare(Some(path.clone())).unwrap().remove();
        assert!(path.is_dir());
    }

    #[test]
    fn a_directory_that_cannot_be_created_is_named() {
        let failure = DataDir::prepare(Some("/dev/null/x".into())).err().unwrap();
        assert_eq!(failure.exit, Exit::No);
        assert!(failure.message.contains("/dev/null/x"), "{}", failure.message);
    }
}
