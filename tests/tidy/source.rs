//! The sources as the rules see them, and how things are found in them.
//!
//! Each file is read as text, as code, and as what is shipped of it. Nothing is parsed: a rule looks for words and paths.

use std::fs;
use std::path::{Path, PathBuf};

use super::code::{blank_comments_and_strings, blank_tests};

/// One file.
pub struct Source {
    /// From the top of the repository.
    pub path: String,
    /// As it is.
    pub text: String,
    /// With comments and the insides of strings blanked out.
    pub code: String,
    /// `code` with what only tests compile blanked out too; all of it in a file of tests.
    pub shipped: String,
}

impl Source {
    pub fn new(path: &str, text: &str) -> Self {
        let code = blank_comments_and_strings(text);
        let shipped = blank_tests(&code);
        let (path, text) = (path.to_owned(), text.to_owned());
        Self {
            path,
            text,
            code,
            shipped,
        }
    }

    /// An objection to a line of this file, counted from one.
    pub fn object(&self, line: usize, what: impl AsRef<str>) -> String {
        format!("{}:{line}: {}", self.path, what.as_ref())
    }
}

/// Everything that the rules look at.
pub struct Tree {
    pub rust: Vec<Source>,
    pub other: Vec<Source>,
}

impl Tree {
    /// Reads `src sim proto tests ci`. Golden scripts are left out: what they hold is what the program said.
    pub fn read() -> Self {
        let mut paths = Vec::new();
        for folder in ["src", "sim", "proto", "tests", "ci"] {
            collect(&root().join(folder), &mut paths);
        }
        paths.sort();
        let read = |path: &PathBuf| {
            let name = path
                .strip_prefix(root())
                .expect("below the root")
                .to_string_lossy()
                .replace('\\', "/");
            let text = fs::read_to_string(path).unwrap_or_else(|error| panic!("{name}: {error}"));
            Source::new(&name, &text)
        };
        let (rust, other): (Vec<_>, Vec<_>) = paths.iter().map(read).partition(|source| source.path.ends_with(".rs"));
        Self {
            rust: mark_files_of_tests(rust),
            other,
        }
    }
}

pub fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn collect(folder: &Path, paths: &mut Vec<PathBuf>) {
    let Ok(entries) = fs::read_dir(folder) else { return };
    for path in entries.map(|entry| entry.expect("a readable folder").path()) {
        if !path.is_dir() {
            paths.push(path);
        } else if !path.ends_with("scripts") && !path.ends_with("target") {
            collect(&path, paths);
        }
    }
}

/// Nothing is shipped of a file whose `mod` is declared for tests alone.
fn mark_files_of_tests(mut sources: Vec<Source>) -> Vec<Source> {
    let of_tests: Vec<String> = sources.iter().flat_map(files_of_tests).collect();
    for source in &mut sources {
        let below = |file: &String| {
            file.strip_suffix("mod.rs")
                .is_some_and(|folder| source.path.starts_with(folder))
        };
        if of_tests.iter().any(|file| *file == source.path || below(file)) {
            source.shipped.clear();
        }
    }
    sources
}

/// The files that `#[cfg(test)] mod name;` of this file may mean.
fn files_of_tests(source: &Source) -> Vec<String> {
    let (folder, file) = source.path.rsplit_once('/').unwrap_or(("", &source.path));
    let stem = file.trim_end_matches(".rs");
    let children = match stem {
        "mod" | "lib" | "main" => folder.to_owned(),
        _ => format!("{folder}/{stem}"),
    };
    let mut files = Vec::new();
    for declaration in source.text.split("#[cfg(test)]").skip(1) {
        let declaration = declaration.split(['{', ';']).next().unwrap_or_default();
        let module = declaration.trim_end().rsplit_once("mod ").map(|(_, name)| name);
        match (
            declaration
                .split_once("#[path = \"")
                .and_then(|(_, rest)| rest.split_once('"')),
            module,
        ) {
            (Some((path, _)), _) => files.push(format!("{folder}/{path}")),
            (None, Some(name)) => files.extend([format!("{children}/{name}.rs"), format!("{children}/{name}/mod.rs")]),
            (None, None) => {}
        }
    }
    files
}

/// The lines, counted from one, on which `needle` stands by itself: not as a part of a longer word.
pub fn lines_with(code: &str, needle: &str) -> Vec<usize> {
    let is_word = |c: Option<char>| c.is_some_and(|c| c.is_alphanumeric() || c == '_');
    let stands_alone = |at: &usize| {
        let (before, after) = (
            code[..*at].chars().next_back(),
            code[at + needle.len()..].chars().next(),
        );
        !(is_word(before) && is_word(needle.chars().next()) || is_word(after) && is_word(needle.chars().next_back()))
    };
    code.match_indices(needle)
        .map(|(at, _)| at)
        .filter(stands_alone)
        .map(|at| line_of(code, at))
        .collect()
}

/// The line of a position, counted from one.
pub fn line_of(code: &str, at: usize) -> usize {
    code[..at].matches('\n').count() + 1
}

/// What is named directly below `root::`, with its line: `crate::a::b` and `crate::{a::b, c}` name `a`, and `a` and `c`.
pub fn names_below(code: &str, root: &str) -> Vec<(usize, String)> {
    let prefix = format!("{root}::");
    let mut names = Vec::new();
    for (at, _) in code.match_indices(&prefix) {
        let before = code[..at].chars().next_back();
        if before.is_some_and(|c| c.is_alphanumeric() || c == '_') {
            continue;
        }
        let rest = &code[at + prefix.len()..];
        names.extend(first_words(rest).into_iter().map(|name| (line_of(code, at), name)));
    }
    names
}

/// The first word of a path, or of each path of a group.
fn first_words(rest: &str) -> Vec<String> {
    let word = |text: &str| -> String {
        text.trim_start()
            .chars()
            .take_while(|c| c.is_alphanumeric() || *c == '_')
            .collect()
    };
    if !rest.starts_with('{') {
        return vec![word(rest)];
    }
    let (mut depth, mut names) = (0, Vec::new());
    for (at, c) in rest.char_indices() {
        match c {
            '{' => depth += 1,
            '}' => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            break;
        }
        if depth == 1 && matches!(c, '{' | ',') {
            names.push(word(&rest[at + 1..]));
        }
    }
    names.retain(|name| !name.is_empty());
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tests_are_not_shipped() {
        let source = Source::new(
            "src/x.rs",
            "fn a() {}\n#[cfg(test)]\nmod tests {\n fn b() { { } }\n}\nfn c() {}\n",
        );
        let words: Vec<_> = source.shipped.split_whitespace().collect();
        assert_eq!(words, ["fn", "a()", "{}", "fn", "c()", "{}"]);
        assert!(source.code.contains("fn b"));
    }

    #[test]
    fn files_of_tests_are_not_shipped() {
        let declares = |path, text| Source::new(path, text);
        let sources = vec![
            declares("src/a/mod.rs", "#[cfg(test)]\nmod model;\nmod real;"),
            declares("src/a/model.rs", "fn model() {}"),
            declares("src/a/real.rs", "fn real() {}\n#[cfg(test)]\nmod tests;"),
            declares("src/a/real/tests.rs", "fn tests() {}"),
            declares("src/b.rs", "#[cfg(test)]\n#[path = \"b_tests.rs\"]\nmod tests;"),
            declares("src/b_tests.rs", "fn tests() {}"),
            declares("src/c/mod.rs", "#[cfg(test)]\nmod tests;"),
            declares("src/c/tests/mod.rs", "mod deep;"),
            declares("src/c/tests/deep.rs", "fn tests() {}"),
        ];
        let marked = mark_files_of_tests(sources);
        let shipped: Vec<_> = marked
            .iter()
            .filter(|s| s.shipped.contains("fn"))
            .map(|s| &s.path[..])
            .collect();
        assert_eq!(shipped, ["src/a/real.rs"]);
    }

    #[test]
    fn a_needle_is_found_as_a_word_only() {
        assert_eq!(lines_with("redb\nmyredb redb2\nuse redb::x", "redb"), [1, 3]);
        assert_eq!(lines_with("a.unwrap()\na.unwrap_or(1)", ".unwrap()"), [1]);
    }

    #[test]
    fn names_below_a_root_are_found_in_groups_too() {
        let names = |code| {
            names_below(code, "crate")
                .into_iter()
                .map(|(_, name)| name)
                .collect::<Vec<_>>()
        };
        assert_eq!(names("use crate::a::b; use crate::{c::{d, e}, f};"), ["a", "c", "f"]);
        assert_eq!(names("mycrate::x"), Vec::<String>::new());
        assert_eq!(names_below("\n\ncrate::a", "crate"), [(3, "a".to_owned())]);
    }
}
