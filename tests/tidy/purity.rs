//! What pure modules may not know, and what nobody may do.
//!
//! A pure module is a function of what it is given: no async, no I/O, no clock, no entropy, no order that differs from run to run. Its
//! tests may do as they like.

use super::Objections;
use super::source::{Source, lines_with, names_below};

/// Files and folders that are pure.
const PURE: [&str; 12] = [
    "src/types.rs",
    "src/limits.rs",
    "src/error.rs",
    "src/machine.rs",
    "src/status.rs",
    "src/hlc.rs",
    "src/hlc/civil.rs",
    "src/raft/",
    "src/lock/",
    "src/wire/",
    "src/partition/core.rs",
    "src/partition/core/",
];

/// Words that a pure module does not say, and why.
const IMPURE_WORDS: [(&str, &str); 17] = [
    ("async", "waiting is for shells"),
    ("await", "waiting is for shells"),
    ("tokio", "waiting is for shells"),
    ("Instant", "time is passed in"),
    ("SystemTime", "time is passed in"),
    ("HashMap", "its order differs from run to run; take a BTreeMap"),
    ("HashSet", "its order differs from run to run; take a BTreeSet"),
    ("RandomState", "entropy is passed in"),
    ("make_rng", "entropy is passed in"),
    ("thread_rng", "entropy is passed in"),
    ("SysRng", "entropy is passed in"),
    ("OsRng", "entropy is passed in"),
    ("rustix", "it asks the system"),
    ("println", "printing is I/O"),
    ("eprintln", "printing is I/O"),
    ("print", "printing is I/O"),
    ("eprint", "printing is I/O"),
];

/// Parts of the standard library that a pure module does not name.
const IMPURE_STD: [&str; 6] = ["fs", "net", "thread", "io", "env", "process"];

/// Pure modules say nothing impure.
pub fn check_purity(source: &Source) -> Objections {
    if !PURE.iter().any(|pure| source.path.starts_with(pure)) {
        return Vec::new();
    }
    let mut objections = Vec::new();
    for (word, why) in IMPURE_WORDS {
        let lines = lines_with(&source.shipped, word).into_iter();
        objections.extend(lines.map(|line| source.object(line, format!("{word} in a pure module: {why}"))));
    }
    for (line, name) in names_below(&source.shipped, "std") {
        if IMPURE_STD.contains(&&name[..]) {
            objections.push(source.object(line, format!("std::{name} in a pure module: it does no I/O")));
        }
    }
    objections
}

/// Outside of tests, what cannot fail says why.
pub fn check_unwrap(source: &Source) -> Objections {
    if source.path.starts_with("tests/") {
        return Vec::new();
    }
    let lines = lines_with(&source.shipped, ".unwrap()").into_iter();
    lines
        .map(|line| source.object(line, "unwrap outside of tests; handle it, or expect(\"why it holds\")"))
        .collect()
}

/// Nothing is timed by a sleep: shells await `env.clock`, tests await what they wait for.
pub fn check_sleep(source: &Source) -> Objections {
    if source.path == "src/clock.rs" || source.path.starts_with("sim/src/") {
        return Vec::new();
    }
    let sleeps = ["thread::sleep", "time::sleep"].map(|sleep| lines_with(&source.code, sleep));
    let lines = sleeps.into_iter().flatten();
    lines
        .map(|line| {
            source.object(
                line,
                "a sleep; await the event itself, or env.clock where time is meant",
            )
        })
        .collect()
}

#[test]
fn an_impure_word_is_found() {
    let check = |path, text| check_purity(&Source::new(path, text)).len();
    assert_eq!(
        check("src/lock/table.rs", "async fn f() { g().await }\nuse tokio::sync;"),
        3
    );
    assert_eq!(
        check(
            "src/raft/node.rs",
            "use std::collections::{HashMap, BTreeMap};\nfn f(t: Instant) {}"
        ),
        2
    );
    assert_eq!(
        check(
            "src/wire/mod.rs",
            "use std::{fs, fmt, net::IpAddr};\nstd::thread::spawn(f);"
        ),
        3
    );
    assert_eq!(check("src/types.rs", "println!();"), 1);
    assert_eq!(check("src/partition/core.rs", "use rand::rngs::SysRng;"), 1);
    assert_eq!(check("src/partition/actor.rs", "use tokio::sync;"), 0);
    let innocent =
        "use std::time::Duration; // tokio, HashMap\nfn print_all() {}\n#[cfg(test)]\nmod tests { use std::fs; }";
    assert_eq!(check("src/lock/table.rs", innocent), 0);
}

#[test]
fn an_unwrap_outside_of_tests_is_found() {
    let check = |path, text| check_unwrap(&Source::new(path, text)).len();
    assert_eq!(
        check("src/node/mod.rs", "a.unwrap();\nb.unwrap_or(1);\nc.expect(\"x\");"),
        1
    );
    assert_eq!(
        check("src/node/mod.rs", "#[cfg(test)]\nmod tests { fn f() { a.unwrap(); } }"),
        0
    );
    assert_eq!(check("tests/cli.rs", "a.unwrap();"), 0);
}

#[test]
fn a_sleep_is_found() {
    let check = |path, text| check_sleep(&Source::new(path, text)).len();
    assert_eq!(
        check("tests/cli.rs", "std::thread::sleep(d);\ntokio::time::sleep(d).await;"),
        2
    );
    assert_eq!(
        check("src/node/mod.rs", "#[cfg(test)]\nmod tests { use std::thread::sleep; }"),
        1
    );
    assert_eq!(check("src/node/mod.rs", "env.clock.sleep(d).await;"), 0);
}
