//! How files begin, and what is left lying about in them.

use std::collections::BTreeMap;

use super::Objections;
use super::source::{Source, lines_with};

/// Every file begins with a line of its own that says what it is.
pub fn check_heads(sources: &[Source]) -> Objections {
    let mut objections = Vec::new();
    let mut heads = BTreeMap::new();
    for source in sources {
        let head = source.text.lines().next().unwrap_or_default();
        if !is_head(head) {
            let advice = "begin the file with `//! What it is.`: a noun phrase on one line, then why it exists and what it does not do";
            objections.push(source.object(1, advice));
        } else if let Some(other) = heads.insert(head, &source.path) {
            objections.push(source.object(
                1,
                format!("begins like {other}; two files that are the same thing are one"),
            ));
        }
    }
    objections
}

fn is_head(line: &str) -> bool {
    let Some(head) = line.strip_prefix("//! ") else {
        return false;
    };
    head.split_whitespace().count() > 1 && head.ends_with('.')
}

/// Nothing is merged half done.
pub fn check_unfinished(source: &Source) -> Objections {
    let macros = ["todo!", "unimplemented!", "dbg!"].map(|word| (word, lines_with(&source.code, word)));
    let words = [concat!("TO", "DO"), concat!("FIX", "ME")].map(|word| (word, lines_with(&source.text, word)));
    let mut objections = Vec::new();
    for (word, lines) in macros.into_iter().chain(words) {
        let object = |line| {
            source.object(
                line,
                format!("{word}: finish it, or leave it out and say so where people look"),
            )
        };
        objections.extend(lines.into_iter().map(object));
    }
    objections
}

/// No white space at the ends of lines, no tabs in Rust, one line break at the end.
pub fn check_white_space(source: &Source) -> Objections {
    let mut objections = Vec::new();
    for (line, text) in (1..).zip(source.text.lines()) {
        if text.ends_with(char::is_whitespace) {
            objections.push(source.object(line, "white space at the end of the line"));
        }
        if text.contains('\t') && source.path.ends_with(".rs") {
            objections.push(source.object(line, "a tab"));
        }
    }
    if !source.text.ends_with('\n') || source.text.ends_with("\n\n") {
        objections.push(source.object(
            source.text.lines().count(),
            "the file does not end with exactly one line break",
        ));
    }
    objections
}

#[test]
fn a_file_without_a_head_of_its_own_is_found() {
    let check = |heads: &[&str]| {
        let file = |(i, head): (usize, &&str)| Source::new(&format!("src/{i}.rs"), &format!("{head}\n"));
        check_heads(&heads.iter().enumerate().map(file).collect::<Vec<_>>()).len()
    };
    assert_eq!(check(&["//! A thing.", "//! Another thing."]), 0);
    assert_eq!(check(&["//! A thing.", "//! A thing."]), 1);
    assert_eq!(
        check(&["", "//!", "//! Locks.", "use std::fmt;", "// A thing.", "//! A thing"]),
        6
    );
}

#[test]
fn unfinished_work_is_found() {
    let check = |text: &str| check_unfinished(&Source::new("src/a.rs", text)).len();
    assert_eq!(check("todo!()\nunimplemented!()\ndbg!(x)"), 3);
    assert_eq!(check(concat!("// TO", "DO later\n/* FIX", "ME */")), 2);
    assert_eq!(check("// todo! is not code\nlet s = \"dbg!\";"), 0);
}

#[test]
fn stray_white_space_is_found() {
    let check = |path, text| check_white_space(&Source::new(path, text)).len();
    assert_eq!(check("src/a.rs", "a \nb\t\n\tc\n"), 4);
    assert_eq!(check("ci/test", "a\n\tb\n"), 0);
    assert_eq!(check("ci/test", "a"), 1);
    assert_eq!(check("ci/test", "a\n\n"), 1);
}
