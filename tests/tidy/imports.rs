//! Who may import whom: the floors of the modules, and the doors of the crates behind the seams.
//!
//! A module imports modules of the floors below its own and itself. The table is the design; an exception carries its reason.

use super::Objections;
use super::source::{Source, lines_with, names_below};

/// The floors, from the ground up.
const FLOORS: [&[&str]; 10] = [
    &["types", "env", "clock", "mutants"],
    &["limits", "error", "config", "machine", "hlc"],
    &["raft", "lock"],
    &["wire", "storage", "status", "admin", "events"],
    &["network", "client"],
    &["partition"],
    &["node"],
    &["service"],
    &["api"],
    &["cli"],
];

/// Who may import a module that is not below it, and why.
const FLOOR_EXCEPTIONS: [(&str, &str, &str); 6] = [
    (
        "types",
        "limits",
        "a name knows how long it may be, and limits is constants alone",
    ),
    ("error", "limits", "a refusal says what would have been allowed"),
    ("config", "limits", "settings are checked against constants"),
    ("hlc", "limits", "how far ahead is followed is a constant"),
    ("env", "clock", "the clock is one of the seams"),
    (
        "wire",
        "status",
        "what a node says of itself is carried too, and status is data alone",
    ),
];

/// A crate behind a door: its word, where it may be named (a path or the beginning of one), and what to do instead.
const DOORS: [(&str, &[&str], &str); 6] = [
    ("prost", &["src/wire", "src/api", "src/client/grpc"], PROTOBUF),
    ("include_proto", &["src/wire", "src/api", "src/client/grpc"], PROTOBUF),
    ("tonic_prost", &["src/wire", "src/api", "src/client/grpc"], PROTOBUF),
    (
        "tonic",
        &["src/api", "src/network/grpc", "src/client/grpc"],
        "gRPC stays behind the seams Network and Caller",
    ),
    (
        "redb",
        &["src/storage", "src/env.rs"],
        "storage goes through LogStore, StateStore and Disk",
    ),
    ("madsim", &[], "what is shipped does not know that it is simulated"),
];
const PROTOBUF: &str = "only the wire speaks protobuf; ask it for the domain's own types";

/// A module imports only floors below its own.
pub fn check_floors(source: &Source) -> Objections {
    let Some(module) = module_of(&source.path) else {
        return Vec::new();
    };
    let Some(own) = floor_of(module) else {
        return vec![source.object(
            1,
            format!("module {module} has no floor; give it one in tests/tidy/imports.rs"),
        )];
    };
    let mut objections = escapes(source);
    for (line, name) in names_below(&source.shipped, "crate") {
        let allowed = name == module
            || FLOOR_EXCEPTIONS
                .iter()
                .any(|(who, whom, _)| (*who, *whom) == (module, &name));
        match floor_of(&name) {
            Some(floor) if floor >= own && !allowed => {
                let what = format!("{module} (floor {}) imports {name} (floor {})", own + 1, floor + 1);
                objections.push(source.object(line, format!("{what}; a module imports only floors below its own")));
            }
            _ => {}
        }
    }
    objections
}

/// `super` must not lead out of a module past the rule above.
fn escapes(source: &Source) -> Objections {
    let depth = source.path.trim_end_matches("/mod.rs").matches('/').count();
    let way_out = "super::".repeat(depth);
    let lines = lines_with(&source.shipped, &way_out);
    let object = |line| {
        source.object(
            line,
            format!("{way_out} leads out of the module; write crate:: instead"),
        )
    };
    lines.into_iter().map(object).collect()
}

/// The module of a file of the library. The root and the binary see everything.
fn module_of(path: &str) -> Option<&str> {
    let module = path.strip_prefix("src/")?.split('/').next()?.trim_end_matches(".rs");
    (!matches!(module, "lib" | "main")).then_some(module)
}

fn floor_of(module: &str) -> Option<usize> {
    FLOORS.iter().position(|floor| floor.contains(&module))
}

/// The crates behind the seams are named only where the seam is.
pub fn check_crates(source: &Source) -> Objections {
    if !source.path.starts_with("src/") {
        return Vec::new();
    }
    // The macro that includes what prost generates lives in tonic, and counts as protobuf.
    let code = source.code.replace("tonic::include_proto!", "       include_proto!");
    let mut objections = Vec::new();
    for (word, doors, instead) in DOORS {
        if doors.iter().any(|door| is_below(&source.path, door)) {
            continue;
        }
        let lines = lines_with(&code, word).into_iter();
        objections.extend(lines.map(|line| source.object(line, format!("names {word}; {instead}"))));
    }
    objections
}

/// Whether `path` is the file or folder `door`: `src/a` is `src/a.rs` and all below `src/a/`.
fn is_below(path: &str, door: &str) -> bool {
    let rest = path.strip_prefix(door);
    rest.is_some_and(|rest| rest.is_empty() || rest == ".rs" || rest.starts_with('/'))
}

#[test]
fn an_import_of_a_higher_floor_is_found() {
    let check = |path, text| check_floors(&Source::new(path, text));
    let found = check(
        "src/lock/table.rs",
        "use crate::types::X;\nuse crate::{limits, storage::Row};",
    );
    assert_eq!(found.len(), 1, "{found:?}");
    assert!(
        found[0].starts_with("src/lock/table.rs:2: lock (floor 3) imports storage (floor 4)"),
        "{found:?}"
    );
    assert_eq!(
        check("src/raft/log.rs", "fn f() { crate::lock::g() }").len(),
        1,
        "the same floor"
    );
    assert_eq!(
        check("src/types.rs", "use crate::limits;\nuse crate::error::E;").len(),
        1,
        "an exception is for one"
    );
    assert_eq!(check("src/misc/mod.rs", "").len(), 1, "a module without a floor");
    assert!(check("src/lib.rs", "use crate::cli;").is_empty());
    assert!(check("src/node/mod.rs", "use crate::raft::R; // crate::api").is_empty());
}

#[test]
fn a_way_around_the_floors_is_found() {
    let check = |path, text| check_floors(&Source::new(path, text));
    assert_eq!(check("src/lock/table.rs", "use super::super::node::Node;").len(), 1);
    assert_eq!(check("src/lock/mod.rs", "use super::node::Node;").len(), 1);
    assert_eq!(check("src/types.rs", "use super::node::Node;").len(), 1);
    assert!(check("src/lock/table.rs", "use super::holds::Hold;").is_empty());
    assert!(
        check("src/a.rs", "").len() == 1 && check("src/types.rs", "#[cfg(test)]\nmod t { use super::*; }").is_empty()
    );
}

#[test]
fn a_crate_outside_of_its_door_is_found() {
    let check = |path, text| check_crates(&Source::new(path, text)).len();
    assert_eq!(
        check(
            "src/node/mod.rs",
            "use redb::Database;\nuse tonic::Status;\nuse prost::Message;"
        ),
        3
    );
    assert_eq!(check("src/network/peer.rs", "use tonic::Status;"), 1);
    assert_eq!(
        check("src/network/grpc.rs", "use tonic::Status;\nuse prost::Message;"),
        1
    );
    assert_eq!(check("src/clock.rs", "madsim::time::sleep()"), 1);
    assert_eq!(check("src/environment.rs", "use redb::X;"), 1);
    assert_eq!(check("src/node/mod.rs", "tonic::include_proto!(x)"), 1);
    let allowed = "tonic::include_proto!(x); use prost::Message; // like madsim, redb";
    assert_eq!(check("src/wire/mod.rs", allowed), 0);
    assert_eq!(check("src/client/grpc/pipeline.rs", "use tonic::Streaming;"), 0);
    assert_eq!(check("sim/src/clock.rs", "use madsim::time;"), 0);
}
