//! The nodes' processes, with a shell script in the place of `kapu serve`.

use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;

use tempfile::TempDir;

use super::*;
use crate::cli::logging::LogFormat;

const LONG: Duration = Duration::from_secs(60);
/// Runs until its stdin ends or it is asked to stop.
const OBEDIENT: &str = "echo started; trap 'exit 0' TERM; cat <&0 & wait";

/// Three fake nodes, each of which runs `script` with the arguments of a node.
fn fake(script: &str) -> (TempDir, Nodes) {
    let directory = tempfile::tempdir().unwrap();
    let binary = directory.path().join("kapu");
    #[expect(clippy::disallowed_methods, reason = "a test makes a script")]
    let mut file = std::fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o755)
        .open(&binary)
        .unwrap();
    write!(file, "#!/bin/sh\n{script}\n").unwrap();
    let data = directory.path().to_owned();
    let plan = Plan {
        binary,
        data,
        nodes: 3,
        partitions: Some(5),
        log_format: LogFormat::Text,
    };
    (directory, Nodes::new(plan))
}

/// Waits until each node has said that it started.
async fn started(nodes: &Nodes) {
    for node in &nodes.running {
        while !tail(&node.log).contains("started") {
            SystemClock.sleep(DEATH_POLL).await;
        }
    }
}

#[tokio::test]
async fn each_node_has_its_own_address_directory_and_log() {
    let (directory, mut nodes) = fake("echo started \"$@\"; cat");
    nodes.start().unwrap();
    started(&nodes).await;
    let endpoints = nodes.endpoints();
    for (id, address) in (1..).zip(&endpoints) {
        let log = tail(&directory.path().join(format!("node-{id}.log")));
        assert!(
            log.contains(&format!("--node-id {id} --listen {address} --peers 1=127.0.0.1:")),
            "{log}"
        );
        assert!(log.contains(&format!("/node-{id} --partitions 5")), "{log}");
    }
    nodes.kill().await;
    assert!(!nodes.are_running());
}

#[tokio::test]
async fn nodes_that_are_asked_stop_by_themselves() {
    let (_directory, mut nodes) = fake(OBEDIENT);
    nodes.start().unwrap();
    started(&nodes).await;
    nodes.stop(LONG).await;
    assert!(!nodes.are_running());
}

#[tokio::test]
async fn nodes_that_do_not_stop_are_killed() {
    let (_directory, mut nodes) = fake("trap '' TERM; echo started; cat");
    nodes.start().unwrap();
    started(&nodes).await;
    nodes.stop(Duration::from_millis(50)).await;
    assert!(!nodes.are_running());
}

#[tokio::test]
async fn a_node_sees_its_stdin_end_when_its_parent_is_gone() {
    let (_directory, mut nodes) = fake("echo started; cat; exit 9");
    nodes.start().unwrap();
    started(&nodes).await;
    drop(nodes.running[1].process.stdin.take());
    let death = nodes.next_death().await;
    assert_eq!((death.node, death.status.code()), (2, Some(9)));
    assert!(nodes.are_running());
    nodes.kill().await;
}

#[tokio::test]
async fn a_node_that_dies_is_told_once_with_the_end_of_its_log() {
    let (_directory, mut nodes) =
        fake("for i in $(seq 100); do echo line $i; done; echo the disk is on fire >&2; exit 74");
    nodes.start().unwrap();
    let mut told = Vec::new();
    for _ in 0..3 {
        told.push(nodes.next_death().await);
    }
    told.sort_by_key(|death| death.node);
    assert_eq!(told.iter().map(|death| death.node).collect::<Vec<_>>(), [1, 2, 3]);
    let text = told[0].to_string();
    assert!(text.contains("node 1 ended by itself (exit status: 74)"), "{text}");
    assert!(
        text.contains("line 100\nthe disk is on fire") && !text.contains("line 50\n"),
        "{text}"
    );
    assert!(!nodes.are_running() && !told[0].port_was_taken());
}

#[tokio::test]
async fn a_port_that_somebody_took_is_told_apart() {
    let (_directory, mut nodes) = fake("echo 'kapu: cannot listen on 127.0.0.1:1: in use' >&2; exit 1");
    nodes.start().unwrap();
    assert!(nodes.next_death().await.port_was_taken());
    nodes.kill().await;
}
