//! What the parser takes and refuses.

use clap::CommandFactory;
use clap::error::ErrorKind;

use super::*;
use crate::limits;

fn parse(line: &str) -> Result<Cli, clap::Error> {
    Cli::try_parse_from(line.split(' '))
}

fn refused(line: &str) -> String {
    parse(line).unwrap_err().to_string()
}

#[test]
fn the_definition_of_the_command_line_is_sound() {
    Cli::command().debug_assert();
}

#[test]
fn global_flags_work_before_and_after_the_command() {
    for line in [
        "kapu --endpoints a:1,b:2 --output json --timeout 3s get x",
        "kapu get x --endpoints a:1,b:2 --output json --timeout 3s",
        "kapu --output json get --endpoints a:1,b:2 x --timeout 3s",
    ] {
        let global = parse(line).unwrap().global;
        assert_eq!(global.endpoints, ["a:1", "b:2"], "{line}");
        assert_eq!(global.output, Output::Json, "{line}");
        assert_eq!(global.timeout, Duration::from_secs(3), "{line}");
    }
}

#[test]
fn everything_after_the_dashes_belongs_to_the_command() {
    let Command::Dev(args) = parse("kapu dev --nodes 5 -- kapu lock demo --ttl 3s -- sh -c x --output json")
        .unwrap()
        .command
    else {
        panic!("another command");
    };
    let line = format!("{args:?}");
    assert!(
        line.contains(r#"command: ["kapu", "lock", "demo", "--ttl", "3s", "--", "sh", "-c", "x", "--output", "json"]"#),
        "{line}"
    );
}

#[test]
fn durations_that_cannot_be_used_are_refused_with_their_value() {
    for (value, hint) in [
        ("0s", "zero"),
        ("-5s", "negative"),
        ("25h", "at most 24h"),
        ("soon", "not a duration"),
        ("30", "a unit"),
    ] {
        for line in [
            "kapu try-lock a --ttl",
            "kapu lock a -- x --ttl",
            "kapu extend a --owner o --ttl",
            "kapu get a --timeout",
        ] {
            let line = line
                .strip_suffix(" -- x --ttl")
                .map_or(format!("{line} {value}"), |head| format!("{head} --ttl {value} -- x"));
            let message = refused(&line);
            assert!(message.contains(hint) && message.contains(value), "{line}: {message}");
        }
    }
}

#[test]
fn a_wait_and_a_grace_of_zero_are_allowed() {
    assert!(parse("kapu lock a --wait 0s --grace 0s -- x").is_ok());
}

#[test]
fn names_and_owners_stay_within_their_limits() {
    let longest = "x".repeat(limits::RESOURCE_BYTES_MAX);
    assert!(parse(&format!("kapu get {longest}")).is_ok());
    assert!(refused(&format!("kapu get {longest}x")).contains("1025 bytes"));
    assert!(
        Cli::try_parse_from(["kapu", "get", ""])
            .unwrap_err()
            .to_string()
            .contains("name is empty")
    );
    let owner = "o".repeat(limits::OWNER_BYTES_MAX);
    assert!(parse(&format!("kapu unlock a --owner {owner}")).is_ok());
    assert!(refused(&format!("kapu unlock a --owner {owner}o")).contains("257 bytes"));
}

#[test]
fn counts_stay_within_their_limits() {
    for line in [
        "kapu dev --nodes 0",
        "kapu dev --nodes 10",
        "kapu dev --partitions 0",
        "kapu dev --partitions 1025",
        "kapu bench --workers 0",
        "kapu bench --workers 16385",
        "kapu bench --seconds 0",
        "kapu bench --hold 0",
    ] {
        assert_eq!(parse(line).unwrap_err().kind(), ErrorKind::ValueValidation, "{line}");
    }
    assert!(
        parse(&format!(
            "kapu dev --nodes {} --partitions {}",
            limits::NODES_MAX,
            limits::PARTITIONS_MAX
        ))
        .is_ok()
    );
    assert!(parse(&format!("kapu bench --workers {}", limits::BENCH_WORKERS_MAX)).is_ok());
}

#[test]
fn holding_and_cycling_exclude_each_other() {
    assert_eq!(
        parse("kapu bench --hold 5 --seconds 3").unwrap_err().kind(),
        ErrorKind::ArgumentConflict
    );
    assert!(parse("kapu bench --hold 5 --ttl 1h --workers 2").is_ok());
}

#[test]
fn what_is_needed_is_asked_for() {
    for line in [
        "kapu extend a --ttl 3s",
        "kapu extend a --owner o",
        "kapu unlock a",
        "kapu get",
        "kapu lock a",
        "kapu try-lock",
    ] {
        assert_eq!(
            parse(line).unwrap_err().kind(),
            ErrorKind::MissingRequiredArgument,
            "{line}"
        );
    }
}

#[test]
fn peers_are_read_and_refused_on_the_command_line() {
    assert!(parse("kapu serve --node-id 1 --peers 1=a:1,2=b:2").is_ok());
    assert!(refused("kapu serve --peers 1=a:1,1=b:2").contains("node 1 is twice"));
    assert!(refused("kapu serve --peers 0=a:1").contains("node id 0"));
    assert!(refused("kapu serve --peers 1=a").contains("no port"));
}
