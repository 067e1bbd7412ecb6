//! The commands of users against a single node: outcomes, shapes, codes, and a command that runs under a lock.

use std::path::Path;
use std::time::Duration;

use kapu::types::NodeId;
use rustix::process::Signal;
use serde_json::Value;

use crate::harness::{Cluster, PARTITIONS, free_address};
use crate::ledger::HELD;
use crate::process::{Process, is_alive, kapu, run, stderr, stdout, until};
use crate::requests::{holder, must_lock, name, owner};

/// Runs with `--output json`, and returns the code and the value.
async fn json(cluster: &Cluster, line: &[&str]) -> (Option<i32>, Value) {
    let output = cluster.tell(&[line, &["--output", "json"]].concat()).await;
    let value = serde_json::from_slice(&output.stdout);
    (
        output.status.code(),
        value.unwrap_or_else(|_| panic!("no JSON: {}{}", stdout(&output), stderr(&output))),
    )
}

#[tokio::test]
async fn a_lock_is_taken_prolonged_seen_and_freed_with_the_promised_answers() {
    let cluster = Cluster::start(1).await;
    let (code, locked) = json(&cluster, &["try-lock", "a", "--ttl", "30s"]).await;
    assert_eq!(
        (code, &locked["outcome"], &locked["resource"]),
        (Some(0), &"locked".into(), &"a".into())
    );
    assert_eq!(locked["expires_in_ms"], 30_000);
    let (me, token) = (locked["owner"].as_str().expect("an owner"), &locked["fencing_token"]);
    assert!(token.as_u64().is_some_and(|token| token > 0), "{locked}");

    let (code, busy) = json(&cluster, &["try-lock", "a", "--owner", "somebody else"]).await;
    assert_eq!(
        (code, &busy["outcome"], busy.get("owner")),
        (Some(1), &"busy".into(), None)
    );
    let (code, again) = json(&cluster, &["try-lock", "a", "--owner", me]).await;
    assert_eq!((code, &again["fencing_token"]), (Some(0), token));
    let (code, extended) = json(&cluster, &["extend", "a", "--owner", me, "--ttl", "2m"]).await;
    assert_eq!(
        (code, &extended["outcome"], &extended["fencing_token"]),
        (Some(0), &"extended".into(), token)
    );
    let (code, got) = json(&cluster, &["get", "a"]).await;
    assert_eq!(
        (code, &got["outcome"], &got["owner"]),
        (Some(0), &"got".into(), &me.into())
    );
    let (code, wrong) = json(&cluster, &["unlock", "a", "--owner", "somebody else"]).await;
    assert_eq!((code, &wrong["outcome"]), (Some(1), &"invalid_owner".into()));
    let (code, unlocked) = json(&cluster, &["unlock", "a", "--owner", me]).await;
    assert_eq!((code, &unlocked["outcome"]), (Some(0), &"unlocked".into()));
    for line in [
        &["get", "a"][..],
        &["unlock", "a", "--owner", me],
        &["extend", "a", "--owner", me, "--ttl", "1s"],
    ] {
        let (code, gone) = json(&cluster, line).await;
        assert_eq!(
            (code, &gone["outcome"]),
            (Some(1), &"lock_does_not_exist".into()),
            "{line:?}"
        );
    }
}

#[tokio::test]
async fn a_cluster_that_is_not_there_is_not_a_no() {
    let nowhere = free_address();
    for line in [
        &["get", "a"][..],
        &["try-lock", "a"],
        &["status"],
        &["lock", "a", "--", "true"],
        &["bench", "--seconds", "1"],
    ] {
        let mut command = kapu();
        command.args(["--endpoints", &nowhere, "--timeout", "300ms"]).args(line);
        let output = run(&mut command).await;
        assert_eq!(output.status.code(), Some(69), "{line:?}: {}", stderr(&output));
        assert!(stderr(&output).contains(&nowhere), "{line:?}: {}", stderr(&output));
    }
}

#[tokio::test]
async fn status_lists_every_node_and_partition_and_says_whether_all_have_leaders() {
    let mut cluster = Cluster::start(3).await;
    let (code, all) = json(&cluster, &["status"]).await;
    assert_eq!(
        (code, &all["partitions"], &all["partitions_led"]),
        (Some(0), &PARTITIONS.into(), &PARTITIONS.into())
    );
    // One endpoint is enough: it knows the others.
    let one = cluster.endpoint(NodeId(1)).to_owned();
    let (_, known) = json(&cluster, &["status", "--endpoints", &one]).await;
    assert_eq!(known["nodes"].as_array().map(Vec::len), Some(3));
    // So is one that has just started, which has heard of nobody but its leaders.
    cluster.kill(NodeId(2));
    cluster.start_node(NodeId(2));
    cluster.ready().await;
    let restarted = cluster.endpoint(NodeId(2)).to_owned();
    until("a node that has just started leads to all the others", async || {
        let (_, known) = json(&cluster, &["status", "--endpoints", &restarted]).await;
        let reachable = |node: &&Value| node["reachable"] == true;
        let count = known["nodes"].as_array()?.iter().filter(reachable).count();
        (count == 3).then_some(())
    })
    .await;
    cluster.kill(NodeId(2));
    cluster.kill(NodeId(3));
    let (_, rest) = until("the node that is left has seen that it leads nothing", async || {
        let answer = json(&cluster, &["status"]).await;
        (answer.0 == Some(1)).then_some(answer)
    })
    .await;
    assert_eq!(rest["nodes"][1]["reachable"], false);
    assert_eq!(rest["nodes"][0]["reachable"], true);
}

#[tokio::test]
async fn a_command_runs_under_its_lock_and_its_code_comes_back() {
    let cluster = Cluster::start(1).await;
    let script = "kapu=$0; echo \"$KAPU_RESOURCE $KAPU_FENCING_TOKEN\"; \"$kapu\" get a >&2; \"$kapu\" extend a --owner \"$KAPU_OWNER\" --ttl 1m >&2 || exit 3; exit 7";
    let output = cluster
        .tell(&["lock", "a", "--", "sh", "-c", script, env!("CARGO_BIN_EXE_kapu")])
        .await;
    assert_eq!(output.status.code(), Some(7), "{}", stderr(&output));
    assert_eq!(stdout(&output), "a 1\n");
    assert!(stderr(&output).contains("got resource=a"), "{}", stderr(&output));
    assert_eq!(
        holder(&cluster.client().await, &name("a")).await,
        None,
        "the lock was not released"
    );
}

#[tokio::test]
async fn a_command_that_cannot_run_leaves_its_lock_free() {
    let cluster = Cluster::start(1).await;
    for (command, code) in [("/nonexistent/command", 127), ("/etc/passwd", 126)] {
        let output = cluster.tell(&["lock", "a", "--", command]).await;
        assert_eq!(output.status.code(), Some(code), "{}", stderr(&output));
        assert!(stderr(&output).contains(command), "{}", stderr(&output));
        assert_eq!(holder(&cluster.client().await, &name("a")).await, None);
    }
}

#[tokio::test]
async fn a_lock_that_is_not_had_in_time_says_who_has_it() {
    let cluster = Cluster::start(1).await;
    must_lock(&cluster.client().await, &name("a"), &owner("the holder"), HELD).await;
    let output = cluster
        .tell(&["lock", "a", "--wait", "100ms", "--", "echo", "never"])
        .await;
    assert_eq!((output.status.code(), stdout(&output).as_str()), (Some(75), ""));
    assert!(stderr(&output).contains("the holder"), "{}", stderr(&output));
}

/// Starts `kapu lock` over a script that writes its own process id into a file and then sleeps, and returns both.
async fn start_holding(cluster: &Cluster, directory: &Path, options: &[&str], script: &str) -> (Process, u32) {
    let file = directory.join("pid");
    let script = format!(
        "{script}; echo $$ > '{0}.new'; mv '{0}.new' '{0}'; while :; do sleep 0.05; done",
        file.display()
    );
    let line = [&["lock", "a"], options, &["--", "sh", "-c", &script]].concat();
    let log = std::fs::File::create(directory.join("stderr")).expect("a file in a temporary directory");
    let process = Process::start(cluster.at(&line).stderr(log));
    let pid = until("the command runs", async || std::fs::read_to_string(&file).ok()).await;
    (process, pid.trim().parse().expect("a process id"))
}

/// A holder that cannot reach the cluster must stop before somebody else may hold its lock.
#[tokio::test]
async fn a_command_whose_lock_is_lost_is_stopped_and_killed_when_it_does_not_stop() {
    let cluster = Cluster::start(1).await;
    let directory = tempfile::tempdir().expect("a temporary directory");
    let options = ["--ttl", "600ms", "--grace", "200ms"];
    let (mut lock, command) = start_holding(&cluster, directory.path(), &options, "trap 'echo asked >&2' TERM").await;
    cluster.signal(NodeId(1), Signal::STOP);
    assert_eq!(lock.exit().await.code(), Some(76));
    until("the command is gone", async || (!is_alive(command)).then_some(())).await;
    let said = std::fs::read_to_string(directory.path().join("stderr")).expect("text output");
    assert!(said.contains("asked") && said.contains("lost"), "{said}");
}

#[tokio::test]
async fn a_signal_reaches_the_command_and_the_lock_is_released() {
    let cluster = Cluster::start(1).await;
    let directory = tempfile::tempdir().expect("a temporary directory");
    let (mut lock, command) = start_holding(&cluster, directory.path(), &[], "trap 'exit 9' TERM").await;
    lock.signal(Signal::TERM);
    assert_eq!(lock.exit().await.code(), Some(9));
    assert!(!is_alive(command));
    assert_eq!(
        holder(&cluster.client().await, &name("a")).await,
        None,
        "the lock was not released"
    );
}

#[tokio::test]
async fn a_wait_that_is_broken_off_leaves_no_lock_that_nobody_holds() {
    let cluster = Cluster::start(1).await;
    let client = cluster.client().await;
    must_lock(&client, &name("a"), &owner("the holder"), Duration::from_secs(2)).await;
    let mut waiting = Process::start(&mut cluster.at(&["lock", "a", "--wait", "1h", "--", "true"]));
    let running = format!("/proc/{}/status", waiting.pid().as_raw_nonzero());
    // Bit 14 of the caught signals is SIGTERM: from then on it ends in its own way.
    until("SIGTERM is caught", async || {
        let status = std::fs::read_to_string(&running).expect("the process runs");
        let caught = status
            .lines()
            .find_map(|line| line.strip_prefix("SigCgt:"))
            .expect("a mask of signals");
        (u64::from_str_radix(caught.trim(), 16).expect("a mask") & (1 << 14) != 0).then_some(())
    })
    .await;
    waiting.signal(Signal::TERM);
    assert_eq!(waiting.exit().await.code(), Some(143));
    until("the lock is free", async || {
        holder(&client, &name("a")).await.is_none().then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_benchmark_measures_cycles_and_holds_locks() {
    let cluster = Cluster::start(1).await;
    let (code, cycles) = json(&cluster, &["bench", "--workers", "4", "--seconds", "1"]).await;
    assert_eq!((code, &cycles["errors"]), (Some(0), &serde_json::json!({})));
    assert!(
        cycles["cycles_per_s"].as_f64().is_some_and(|rate| rate > 0.0),
        "{cycles}"
    );
    for operation in ["lock", "unlock"] {
        let at = |field: &str| cycles[operation][field].as_u64().expect("a latency");
        assert!(
            0 < at("p50_us") && at("p50_us") <= at("p99_us") && at("p99_us") <= at("p999_us"),
            "{cycles}"
        );
    }
    let (code, held) = json(&cluster, &["bench", "--hold", "100", "--ttl", "1h"]).await;
    assert_eq!(
        (code, &held["held"], &held["wanted"]),
        (Some(0), &100.into(), &100.into())
    );
}
