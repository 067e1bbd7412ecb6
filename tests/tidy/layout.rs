//! What stands at the top of the repository.

use super::Objections;
use super::source::root;

const FOLDERS_AND_FILES: [&str; 10] = [
    "Cargo.toml",
    "Cargo.lock",
    "src",
    "sim",
    "proto",
    "tests",
    "ci",
    "README.md",
    "ARCHITECTURE.md",
    "LICENSE",
];

/// What a build or a first try leaves behind; ignored by git.
const LEFT_BEHIND: [&str; 3] = ["target", "kapu-data", "proptest-regressions"];

/// The names at the top.
pub fn top_level() -> Vec<String> {
    let entries = std::fs::read_dir(root()).expect("the repository can be read");
    entries
        .map(|entry| {
            entry
                .expect("a readable folder")
                .file_name()
                .to_string_lossy()
                .into_owned()
        })
        .collect()
}

/// Only the agreed names, and dot-files.
pub fn check_top_level(names: &[String]) -> Objections {
    let known = |name: &str| FOLDERS_AND_FILES.contains(&name) || LEFT_BEHIND.contains(&name) || name.starts_with('.');
    let unknown = names.iter().filter(|name| !known(name));
    unknown
        .map(|name| {
            format!("{name}: not a name for the top of the repository; it has a place in src, sim, proto, tests or ci")
        })
        .collect()
}

#[test]
fn a_stray_name_at_the_top_is_found() {
    let check =
        |names: &[&str]| check_top_level(&names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>()).len();
    assert_eq!(check(&["src", "target", ".gitignore", "README.md"]), 0);
    assert_eq!(check(&["scripts", "notes.txt", "src"]), 2);
}
