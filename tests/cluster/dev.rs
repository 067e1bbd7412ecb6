//! `kapu dev`: the first command that anybody runs. It works, and nothing of it stays.

use std::fs::File;
use std::path::Path;
use std::process::Command;

use rustix::process::Signal;
use tempfile::TempDir;

use crate::process::{Process, is_alive, kapu, run, stderr, stdout, until};

/// A place for temporary directories of its own, so that one sees what stays in it.
fn place() -> TempDir {
    tempfile::tempdir().expect("a temporary directory")
}

fn dev(place: &Path, line: &[&str]) -> Command {
    let mut command = kapu();
    command.env("TMPDIR", place).arg("dev").args(line);
    command
}

fn is_empty(place: &Path) -> bool {
    std::fs::read_dir(place)
        .expect("the directory of the test")
        .next()
        .is_none()
}

/// The process ids in the table that `kapu dev` prints.
fn pids(text: &str) -> Vec<u32> {
    let rows = text.lines().skip_while(|line| !line.starts_with("NODE ")).skip(1);
    let rows = rows.take_while(|line| line.starts_with(|c: char| c.is_ascii_digit()));
    rows.map(|row| {
        row.split_whitespace()
            .nth(1)
            .and_then(|pid| pid.parse().ok())
            .expect("a process id")
    })
    .collect()
}

/// Starts a cluster without a command and waits for its table.
async fn start(place: &Path, log: &Path) -> (Process, Vec<u32>) {
    let process = Process::start(dev(place, &[]).stdout(File::create(log).expect("a log of the test")));
    let text = until("the cluster is up", async || {
        let text = std::fs::read_to_string(log).expect("text output");
        text.contains("export KAPU_ENDPOINTS=").then_some(text)
    })
    .await;
    let pids = pids(&text);
    assert_eq!(pids.len(), 3, "{text}");
    assert!(pids.iter().all(|&pid| is_alive(pid)), "{text}");
    (process, pids)
}

async fn all_end(pids: &[u32]) {
    until("every node is gone", async || {
        pids.iter().all(|&pid| !is_alive(pid)).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_command_runs_under_a_lock_of_a_fresh_cluster_and_nothing_stays() {
    let place = place();
    let line = [
        "--",
        "kapu",
        "lock",
        "demo",
        "--",
        "sh",
        "-c",
        "echo \"I hold demo, token $KAPU_FENCING_TOKEN\"",
    ];
    let output = run(&mut dev(place.path(), &line)).await;
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    assert_eq!(stdout(&output), "I hold demo, token 1\n");
    let pids = pids(&stderr(&output));
    assert_eq!(pids.len(), 3, "{}", stderr(&output));
    assert!(pids.iter().all(|&pid| !is_alive(pid)), "a node stayed behind");
    assert!(is_empty(place.path()), "the temporary directory stayed behind");
}

#[tokio::test]
async fn the_code_of_the_command_is_the_code_of_dev() {
    let place = place();
    for (script, code) in [("exit 7", 7), ("kill -9 $$", 137)] {
        let output = run(&mut dev(place.path(), &["--nodes", "1", "--", "sh", "-c", script])).await;
        assert_eq!(output.status.code(), Some(code), "{}", stderr(&output));
    }
    let output = run(&mut dev(place.path(), &["--nodes", "1", "--", "/nonexistent/command"])).await;
    assert_eq!(output.status.code(), Some(127), "{}", stderr(&output));
    assert!(is_empty(place.path()));
}

#[tokio::test]
async fn a_named_data_directory_stays_and_can_be_used_again() {
    let place = place();
    let data = place.path().join("data");
    let data = data.to_str().expect("a plain path");
    let lock = [
        "--nodes",
        "1",
        "--data-dir",
        data,
        "--",
        "kapu",
        "try-lock",
        "a",
        "--owner",
        "me",
        "--ttl",
        "1h",
    ];
    assert_eq!(run(&mut dev(place.path(), &lock)).await.status.code(), Some(0));
    let get = ["--nodes", "1", "--data-dir", data, "--", "kapu", "get", "a"];
    let output = run(&mut dev(place.path(), &get)).await;
    assert!(
        stdout(&output).starts_with("got resource=a owner=me fencing_token=1 "),
        "{}",
        stdout(&output)
    );
}

#[tokio::test]
async fn ctrl_c_ends_a_cluster_and_nothing_stays() {
    let (place, log) = (place(), tempfile::NamedTempFile::new().expect("a temporary file"));
    let (mut process, pids) = start(place.path(), log.path()).await;
    process.signal(Signal::INT);
    assert_eq!(process.exit().await.code(), Some(0));
    assert!(pids.iter().all(|&pid| !is_alive(pid)), "a node stayed behind");
    assert!(is_empty(place.path()), "the temporary directory stayed behind");
}

#[tokio::test]
async fn ctrl_c_ends_the_command_too() {
    let (place, log) = (place(), tempfile::NamedTempFile::new().expect("a temporary file"));
    let script = "echo started $$; while :; do sleep 0.05; done";
    let mut command = dev(place.path(), &["--nodes", "1", "--", "sh", "-c", script]);
    let mut process = Process::start(command.stdout(File::create(log.path()).expect("a log of the test")));
    let pid = until("the command runs", async || {
        let text = std::fs::read_to_string(log.path()).expect("text output");
        text.trim().strip_prefix("started ").and_then(|pid| pid.parse().ok())
    })
    .await;
    process.signal(Signal::TERM);
    assert_eq!(process.exit().await.code(), Some(143));
    assert!(!is_alive(pid), "the command stayed behind");
    assert!(is_empty(place.path()), "the temporary directory stayed behind");
}

#[tokio::test]
async fn nodes_do_not_outlive_a_dev_that_is_killed() {
    let (place, log) = (place(), tempfile::NamedTempFile::new().expect("a temporary file"));
    let (mut process, pids) = start(place.path(), log.path()).await;
    process.kill();
    all_end(&pids).await;
}
