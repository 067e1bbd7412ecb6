//! Data directories that a node must not use: it says why, exits with 1, and leaves them as they are.

use std::fs::File;
use std::io::{Seek, SeekFrom, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use redb::{Database, TableDefinition};
use rustix::process::Signal;
use tempfile::TempDir;

use crate::harness::free_address;
use crate::process::{Process, kapu, run, stderr, until};

/// A single node, with a data directory that one can get at.
struct Single {
    directory: TempDir,
    listen: String,
}

impl Single {
    fn new() -> Self {
        Self {
            directory: tempfile::tempdir().expect("a temporary directory"),
            listen: free_address(),
        }
    }

    /// One whose data directory has been used, and is not in use.
    async fn used() -> Self {
        let single = Self::new();
        let mut node = single.start().await;
        node.signal(Signal::TERM);
        assert_eq!(node.exit().await.code(), Some(0));
        single
    }

    fn data(&self) -> PathBuf {
        self.directory.path().join("data")
    }

    /// The same directory, but clients at another address.
    fn elsewhere(self, listen: &str) -> Self {
        let listen = listen.to_owned();
        Self { listen, ..self }
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = kapu();
        command
            .args(["serve", "--listen", &self.listen])
            .args(arguments)
            .arg("--data-dir")
            .arg(self.data());
        command
    }

    /// Starts it and waits until it listens.
    async fn start(&self) -> Process {
        let log = self.directory.path().join("stdout");
        let file = File::create(&log).expect("a file in a temporary directory");
        let mut node = Process::start(self.command(&[]).stdout(file));
        until("a node listens", async || {
            assert!(node.is_running(), "the node ended by itself");
            let text = std::fs::read_to_string(&log).expect("text output");
            text.starts_with("kapu node 1 listening on").then_some(())
        })
        .await;
        node
    }

    /// Expects that it does not start, with one clear line that contains all of `words`.
    async fn refuses(&self, arguments: &[&str], words: &[&str]) {
        let output = run(&mut self.command(arguments)).await;
        let said = stderr(&output);
        assert_eq!(output.status.code(), Some(1), "{said}");
        assert!(output.stdout.is_empty(), "it said that it listens");
        assert_eq!(
            said.lines().filter(|line| line.starts_with("kapu: ")).count(),
            1,
            "{said}"
        );
        assert!(
            !said.contains("panicked") && !said.contains("stack backtrace"),
            "{said}"
        );
        for word in words {
            assert!(said.contains(word), "{word:?} is not in: {said}");
        }
    }

    /// Expects that it starts: nothing that was refused has harmed it.
    async fn starts(&self) {
        let mut node = self.start().await;
        node.signal(Signal::TERM);
        assert_eq!(node.exit().await.code(), Some(0));
    }
}

#[tokio::test]
async fn the_directory_of_another_node_cluster_or_number_of_partitions_is_refused() {
    let single = Single::used().await;
    single
        .refuses(&["--node-id", "2"], &["log.redb", "node id 1", "node id 2"])
        .await;
    single
        .refuses(&["--cluster", "blue"], &["log.redb", "kapu", "blue"])
        .await;
    single
        .refuses(&["--partitions", "16"], &["log.redb", "partitions 1,", "partitions 16"])
        .await;
    single.starts().await;
}

#[tokio::test]
async fn a_directory_in_use_is_refused_and_its_user_goes_on() {
    let single = Single::new();
    let mut user = single.start().await;
    let second = single.elsewhere(&free_address());
    second.refuses(&[], &["log.redb", "in use by another process"]).await;
    assert!(user.is_running());
}

#[tokio::test]
async fn a_port_in_use_is_refused_by_its_address() {
    let one = Single::new();
    let mut user = one.start().await;
    let other = Single::new().elsewhere(&one.listen);
    other.refuses(&[], &["cannot listen on", &one.listen]).await;
    assert!(user.is_running());
}

#[tokio::test]
async fn a_directory_that_is_not_writable_is_refused_by_its_path() {
    let single = Single::new();
    std::fs::create_dir(single.data()).expect("a directory");
    std::fs::set_permissions(single.data(), PermissionsExt::from_mode(0o500)).expect("own directory");
    if File::create(single.data().join("probe")).is_ok() {
        eprintln!("SKIPPED: this user may write to everything (root)");
        return;
    }
    single
        .refuses(&[], &[single.data().to_str().expect("a plain path"), "ermission"])
        .await;
}

#[tokio::test]
async fn a_path_that_is_no_directory_is_refused_by_its_path() {
    let single = Single::new();
    File::create(single.data()).expect("a file in a temporary directory");
    single
        .refuses(&[], &[single.data().to_str().expect("a plain path")])
        .await;
}

#[tokio::test]
async fn a_corrupt_file_is_refused_by_its_name_and_stays_as_it_is() {
    for file in ["log.redb", "state.redb"] {
        let single = Single::used().await;
        let path = single.data().join(file);
        overwrite(&path);
        let before = contents(&path);
        single.refuses(&[], &[file]).await;
        assert!(contents(&path) == before, "{file} was changed");
    }
}

/// Overwrites the first pages, as a stray `dd` would.
fn overwrite(path: &Path) {
    let length = std::fs::metadata(path).expect("the file was created").len();
    #[expect(clippy::disallowed_methods, reason = "a test spoils a file")]
    let mut file = std::fs::OpenOptions::new()
        .write(true)
        .open(path)
        .expect("the file was created");
    file.seek(SeekFrom::Start(0)).expect("a file can be sought");
    file.write_all(&vec![0xA5; usize::try_from(length.min(64 * 1024)).expect("64 KiB")])
        .expect("a small write");
}

#[expect(clippy::disallowed_methods, reason = "a test looks at a file")]
fn contents(path: &Path) -> Vec<u8> {
    std::fs::read(path).expect("the file was created")
}

#[tokio::test]
async fn a_directory_of_a_newer_format_is_refused() {
    const META: TableDefinition<&str, &str> = TableDefinition::new("meta");
    let single = Single::used().await;
    {
        let database = Database::open(single.data().join("log.redb")).expect("a database that is not in use");
        let transaction = database.begin_write().expect("a transaction");
        let mut meta = transaction.open_table(META).expect("the table of identities");
        meta.insert("format", "3").expect("a row");
        drop(meta);
        transaction.commit().expect("a commit");
    }
    single.refuses(&[], &["log.redb", "format 3"]).await;
}
