//! The rules of the repository, as tests.
//!
//! What people would otherwise have to remember at every review: who may import whom, which modules are pure, how files begin and how long
//! they may grow. A rule takes text and returns what it objects to, each as `file:line: what is wrong, and what to do`; so each has a
//! small test of its own that it can fail. What the compiler and clippy check is not checked again.
//!
//! Deliberately simple: the sources are read as text with comments and strings blanked out, and never parsed.

#[path = "tidy/code.rs"]
mod code;
#[path = "tidy/imports.rs"]
mod imports;
#[path = "tidy/layout.rs"]
mod layout;
#[path = "tidy/purity.rs"]
mod purity;
#[path = "tidy/size.rs"]
mod size;
#[path = "tidy/source.rs"]
mod source;
#[path = "tidy/text.rs"]
mod text;

use source::{Source, Tree};

/// One objection a line.
type Objections = Vec<String>;

fn demand_none(objections: Objections) {
    assert!(objections.is_empty(), "\n{}\n", objections.join("\n"));
}

fn each(sources: &[Source], rule: impl Fn(&Source) -> Objections) -> Objections {
    sources.iter().flat_map(rule).collect()
}

#[test]
fn a_module_imports_only_lower_floors() {
    demand_none(each(&Tree::read().rust, imports::check_floors));
}

#[test]
fn protobuf_redb_tonic_and_madsim_stay_where_they_belong() {
    demand_none(each(&Tree::read().rust, imports::check_crates));
}

#[test]
fn pure_modules_are_pure() {
    demand_none(each(&Tree::read().rust, purity::check_purity));
}

#[test]
fn only_tests_unwrap_and_nothing_sleeps() {
    let tree = Tree::read();
    demand_none(each(&tree.rust, purity::check_unwrap));
    demand_none(each(&tree.rust, purity::check_sleep));
}

#[test]
fn files_and_functions_stay_short() {
    let tree = Tree::read();
    println!("{}", size::describe_longest(&tree.rust));
    demand_none(size::check_files(&tree.rust));
    demand_none(size::check_functions(&tree.rust));
}

#[test]
fn every_file_begins_with_what_it_is() {
    demand_none(text::check_heads(&Tree::read().rust));
}

#[test]
fn no_unfinished_work_and_no_stray_white_space() {
    let tree = Tree::read();
    demand_none(each(&tree.rust, text::check_unfinished));
    demand_none(each(&tree.rust, text::check_white_space));
    demand_none(each(&tree.other, text::check_white_space));
}

#[test]
fn the_top_level_holds_only_what_was_agreed() {
    demand_none(layout::check_top_level(&layout::top_level()));
}

/// Rules that look at nothing object to nothing.
#[test]
fn the_rules_see_the_tree() {
    let tree = Tree::read();
    for path in [
        "src/lib.rs",
        "src/lock/table.rs",
        "sim/src/main.rs",
        "proto/build.rs",
        "tests/tidy.rs",
    ] {
        assert!(
            tree.rust.iter().any(|source| source.path == path),
            "{path} was not read"
        );
    }
    for path in ["ci/test", "proto/kapu/v1/lock.proto"] {
        assert!(
            tree.other.iter().any(|source| source.path == path),
            "{path} was not read"
        );
    }
}
