//! The binary `kapu` without a cluster: help, usage errors, exit codes, and settings that cannot be used.

use std::path::Path;
use std::process::{Command, Output};

/// Runs `kapu` with `arguments` and nothing of the tester's own settings.
fn kapu(arguments: &[&str]) -> Output {
    kapu_with(arguments, &[])
}

fn kapu_with(arguments: &[&str], variables: &[(&str, &str)]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_kapu"));
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("KAPU_") || name == "RUST_LOG" {
            command.env_remove(name);
        }
    }
    command.args(arguments).envs(variables.iter().copied());
    command.output().expect("the binary runs")
}

fn stdout(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// Expects a usage error: code 2, nothing on stdout, and all of `words` on stderr.
fn refused(output: &Output, words: &[&str]) {
    let said = stderr(output);
    assert_eq!(output.status.code(), Some(2), "{said}");
    assert!(output.stdout.is_empty(), "{}", stdout(output));
    for word in words {
        assert!(said.contains(word), "{word:?} is not in: {said}");
    }
    assert!(!said.contains("panicked"), "{said}");
}

fn write(path: &Path, text: &str) {
    use std::io::Write;
    let mut file = std::fs::File::create(path).expect("a file in a temporary directory");
    file.write_all(text.as_bytes()).expect("a small file");
}

#[test]
fn help_shows_every_command_with_an_example() {
    let help = kapu(&["--help"]);
    assert_eq!(help.status.code(), Some(0));
    for command in [
        "serve", "dev", "lock", "try-lock", "extend", "unlock", "get", "status", "bench",
    ] {
        assert!(
            stdout(&help).contains(&format!("\n  {command} ")),
            "{command} is not in: {}",
            stdout(&help)
        );
        let own = kapu(&[command, "--help"]);
        assert_eq!(own.status.code(), Some(0), "{command}");
        assert!(stdout(&own).contains("Example"), "{command}: {}", stdout(&own));
        assert!(
            stdout(&own).contains(&format!("kapu {command}")),
            "{command}: {}",
            stdout(&own)
        );
    }
    assert!(stdout(&help).contains("Exit codes"));
}

#[test]
fn the_flag_between_parent_and_child_is_not_shown() {
    assert!(!stdout(&kapu(&["serve", "--help"])).contains("exit-with-parent"));
}

#[test]
fn the_version_is_that_of_the_package() {
    let version = kapu(&["--version"]);
    assert_eq!(stdout(&version), format!("kapu {}\n", env!("CARGO_PKG_VERSION")));
}

#[test]
fn without_a_command_help_goes_to_stderr_and_it_is_a_usage_error() {
    refused(&kapu(&[]), &["Usage: kapu"]);
}

#[test]
fn unknown_commands_and_flags_are_refused_by_name() {
    refused(&kapu(&["lokc", "a"]), &["lokc"]);
    refused(&kapu(&["get", "a", "--fast"]), &["--fast"]);
    refused(&kapu(&["serve", "extra"]), &["extra"]);
}

#[test]
fn names_that_are_empty_or_too_long_are_refused_before_anything_is_tried() {
    let long = "x".repeat(1025);
    for command in [
        vec!["get"],
        vec!["try-lock"],
        vec!["unlock", "--owner", "o"],
        vec!["extend", "--owner", "o", "--ttl", "1s"],
    ] {
        refused(
            &kapu(&[command.as_slice(), &[""]].concat()),
            &["the resource name is empty"],
        );
        refused(
            &kapu(&[command.as_slice(), &[&long]].concat()),
            &["1025 bytes", "at most 1024"],
        );
    }
    refused(&kapu(&["lock", "", "--", "true"]), &["the resource name is empty"]);
}

#[test]
fn a_ttl_of_zero_less_or_too_much_is_refused_with_its_value() {
    for (ttl, hint) in [
        ("0s", "zero"),
        ("-1s", "negative"),
        ("9999h", "at most 24h"),
        ("5", "a unit"),
        ("x", "not a duration"),
    ] {
        refused(&kapu(&["try-lock", "a", "--ttl", ttl]), &[ttl, hint]);
        refused(&kapu(&["lock", "a", "--ttl", ttl, "--", "true"]), &[ttl, hint]);
        refused(&kapu(&["bench", "--ttl", ttl]), &[ttl, hint]);
    }
}

#[test]
fn an_empty_owner_is_refused() {
    refused(&kapu(&["unlock", "a", "--owner", ""]), &["owner"]);
}

#[test]
fn a_lock_without_a_command_is_refused() {
    refused(&kapu(&["lock", "a"]), &["CMD"]);
    refused(&kapu(&["lock", "a", "--"]), &["CMD"]);
}

#[test]
fn settings_of_a_node_that_cannot_be_used_are_refused_with_what_to_do() {
    for (arguments, words) in [
        (vec!["--node-id", "0"], vec!["node id 0", "from 1"]),
        (
            vec!["--node-id", "4", "--peers", "1=a:1,2=b:1,3=c:1"],
            vec!["(1, 2, 3)", "this node, 4", "--node-id"],
        ),
        (vec!["--peers", "1=a:1,2=b:1,3=c:1"], vec!["--node-id"]),
        (vec!["--peers", "1=a:1,1=b:1"], vec!["node 1 is twice"]),
        (
            vec!["--node-id", "1", "--peers", "1=a:1,2=a:1"],
            vec!["same peer address a:1"],
        ),
        (vec!["--peers", "1=a"], vec!["\"a\"", "no port", "HOST:PORT"]),
        (vec!["--peers", "a:1"], vec!["\"a:1\"", "ID=HOST:PORT"]),
        (vec!["--listen", "localhost"], vec!["\"localhost\"", "no port"]),
        (vec!["--listen", "127.0.0.1:0"], vec!["port 0"]),
        (vec!["--partitions", "0"], vec!["0 partitions", "1 to 1024"]),
        (vec!["--partitions", "1025"], vec!["1025 partitions", "1 to 1024"]),
        (vec!["--partitions", "many"], vec!["many"]),
        (vec!["--threads", "0"], vec!["0 threads"]),
        (vec!["--cluster", ""], vec!["cluster name"]),
        (vec!["--election-timeout", "1ms"], vec!["election timeout", "100ms"]),
        (
            vec!["--node-id", "1", "--peers", "1=a:1,2=b:1", "--listen", "0.0.0.0:2070"],
            vec!["0.0.0.0:2070", "--advertise"],
        ),
    ] {
        refused(&kapu(&[&["serve"], arguments.as_slice()].concat()), &words);
    }
}

#[test]
fn more_nodes_than_a_cluster_may_have_are_refused() {
    let peers: Vec<_> = (1..=10).map(|id| format!("{id}=h{id}:1")).collect();
    refused(
        &kapu(&["serve", "--node-id", "1", "--peers", &peers.join(",")]),
        &["10 nodes are too many", "at most 9"],
    );
    refused(&kapu(&["dev", "--nodes", "10"]), &["10"]);
}

#[test]
fn a_flag_wins_over_a_variable_and_a_variable_over_the_file() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let file = directory.path().join("kapu.toml");
    write(&file, "partitions = 2001\n");
    let file = file.to_str().expect("a plain path");
    // Each value is wrong in its own way, so the message tells which one counted.
    refused(&kapu(&["serve", "--config", file]), &["2001 partitions"]);
    refused(
        &kapu_with(&["serve", "--config", file], &[("KAPU_PARTITIONS", "2002")]),
        &["2002 partitions"],
    );
    let flag = ["serve", "--config", file, "--partitions", "2003"];
    refused(&kapu_with(&flag, &[("KAPU_PARTITIONS", "2002")]), &["2003 partitions"]);
    refused(&kapu_with(&["serve"], &[("KAPU_CONFIG", file)]), &["2001 partitions"]);
}

#[test]
fn every_setting_has_a_variable() {
    for (name, value, word) in [
        ("KAPU_NODE_ID", "0", "node id 0"),
        ("KAPU_LISTEN", "x", "listen address \"x\""),
        ("KAPU_PEER_LISTEN", "x", "peer address \"x\""),
        ("KAPU_PEERS", "1=x", "peer address \"x\""),
        ("KAPU_PARTITIONS", "0", "0 partitions"),
        ("KAPU_CLUSTER", "a\u{7}", "cluster name"),
        ("KAPU_ADVERTISE", "x", "client address \"x\""),
        ("KAPU_ELECTION_TIMEOUT", "1ms", "election timeout"),
        ("KAPU_THREADS", "0", "0 threads"),
        ("KAPU_CONFIG", "/nonexistent.toml", "/nonexistent.toml"),
    ] {
        refused(&kapu_with(&["serve"], &[(name, value)]), &[word]);
    }
    refused(&kapu_with(&["get", "a"], &[("KAPU_LOG_FORMAT", "xml")]), &["xml"]);
}

#[test]
fn a_config_file_that_cannot_be_used_is_named_with_the_place() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let missing = directory.path().join("missing.toml");
    let missing = missing.to_str().expect("a plain path");
    refused(&kapu(&["serve", "--config", missing]), &[missing]);
    let path = directory.path().join("bad.toml");
    let file = path.to_str().expect("a plain path");
    for (text, words) in [
        (
            "listen = \"a:1\"\nlisten_to = \"b:1\"",
            vec![file, "line 2", "listen_to"],
        ),
        ("listen =", vec![file, "line 1"]),
        ("election_timeout = 500", vec![file, "line 1"]),
        ("election_timeout = \"1 s\"", vec![file, "500ms"]),
        ("[peers]\n1 = \"a\"", vec![file, "no port"]),
    ] {
        write(&path, text);
        refused(&kapu(&["serve", "--config", file]), &words);
    }
}

#[test]
fn a_log_filter_that_cannot_be_read_is_refused() {
    refused(
        &kapu_with(&["get", "a"], &[("RUST_LOG", "kapu=loud")]),
        &["RUST_LOG", "loud"],
    );
}
