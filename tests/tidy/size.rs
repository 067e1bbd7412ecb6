//! How long files and functions may grow.
//!
//! The limits are far above what is good (80 to 270 lines a file, 6 to 10 a function); they are there for the day when somebody is in a
//! hurry. The ratchets name what is over them, with its length at the time: it may shrink, and never grow.

use std::cmp::Reverse;

use super::Objections;
use super::code::block_end;
use super::source::{Source, line_of, lines_with};

const FILE_LINES_MAX: usize = 500;
const FUNCTION_LINES_MAX: usize = 70;

/// Files over the limit: path and length.
const FILE_RATCHET: &[(&str, usize)] = &[];
/// Functions over the limit: path, name and length.
const FUNCTION_RATCHET: &[(&str, &str, usize)] = &[];

/// Files of `src` and `sim` stay below the limit.
pub fn check_files(sources: &[Source]) -> Objections {
    let ratchet = |path: &str| {
        FILE_RATCHET
            .iter()
            .find(|(over, _)| *over == path)
            .map(|(_, lines)| *lines)
    };
    let shipped = sources.iter().filter(|source| !source.path.starts_with("tests/"));
    shipped
        .filter_map(|source| {
            judge(
                source,
                1,
                "the file",
                length(source),
                FILE_LINES_MAX,
                ratchet(&source.path),
            )
        })
        .collect()
}

/// Functions everywhere stay below the limit.
pub fn check_functions(sources: &[Source]) -> Objections {
    let mut objections = Vec::new();
    for source in sources {
        for function in functions(source) {
            let known = |(path, name, _): &&(&str, &str, usize)| *path == source.path && *name == function.name;
            let ratchet = FUNCTION_RATCHET.iter().find(known).map(|(.., lines)| *lines);
            let what = format!("fn {}", function.name);
            objections.extend(judge(
                source,
                function.line,
                &what,
                function.lines,
                FUNCTION_LINES_MAX,
                ratchet,
            ));
        }
    }
    objections
}

fn judge(source: &Source, line: usize, what: &str, lines: usize, max: usize, ratchet: Option<usize>) -> Option<String> {
    let complaint = match ratchet {
        None if lines > max => {
            format!("{what} has {lines} lines, over the limit of {max}; give a part of it a home of its own")
        }
        Some(was) if lines > was => format!("{what} has grown from {was} to {lines} lines; it may only shrink"),
        Some(was) if lines < was => {
            format!("{what} has shrunk from {was} to {lines} lines: tighten or drop its ratchet")
        }
        _ => return None,
    };
    Some(source.object(line, complaint))
}

/// The five longest files and functions, for people.
pub fn describe_longest(sources: &[Source]) -> String {
    let mut files: Vec<_> = sources
        .iter()
        .map(|source| (length(source), source.path.clone()))
        .collect();
    let named = |source: &Source, f: Function| (f.lines, format!("{}:{} fn {}", source.path, f.line, f.name));
    let all = |source| functions(source).into_iter().map(move |f| named(source, f));
    let mut functions: Vec<_> = sources.iter().flat_map(all).collect();
    let mut text = String::new();
    for (title, longest) in [("files", &mut files), ("functions", &mut functions)] {
        longest.sort_by_key(|(lines, _)| Reverse(*lines));
        let lines = longest
            .iter()
            .take(5)
            .map(|(lines, name)| format!("{lines:5}  {name}\n"));
        text += &format!("longest {title}:\n{}", lines.collect::<String>());
    }
    text
}

fn length(source: &Source) -> usize {
    source.text.lines().count()
}

struct Function {
    name: String,
    line: usize,
    lines: usize,
}

/// Every function with a body, from its `fn` to its last brace.
fn functions(source: &Source) -> Vec<Function> {
    let code = &source.code;
    let mut functions = Vec::new();
    for (at, _) in code.match_indices("fn ") {
        let name: String = code[at + 3..]
            .chars()
            .take_while(|c| c.is_alphanumeric() || *c == '_')
            .collect();
        let is_word = lines_with(&code[at..at + 3], "fn ").len() == 1
            && !code[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_');
        let Some(body) = body_start(&code[at..]) else { continue };
        if is_word && !name.is_empty() {
            let lines = line_of(code, block_end(code, at + body)) - line_of(code, at) + 1;
            functions.push(Function {
                name,
                line: line_of(code, at),
                lines,
            });
        }
    }
    functions
}

/// The `{` that ends a signature; none where a `;` does.
fn body_start(signature: &str) -> Option<usize> {
    let mut depth = 0;
    for (at, c) in signature.char_indices() {
        match c {
            '(' | '[' => depth += 1,
            ')' | ']' => depth -= 1,
            '{' if depth == 0 => return Some(at),
            ';' if depth == 0 => return None,
            _ => {}
        }
    }
    None
}

#[test]
fn a_long_file_is_found() {
    let file = |path, lines| Source::new(path, &"\n".repeat(lines));
    assert!(check_files(&[file("src/a.rs", FILE_LINES_MAX)]).is_empty());
    assert_eq!(check_files(&[file("src/a.rs", FILE_LINES_MAX + 1)]).len(), 1);
    assert!(check_files(&[file("tests/a.rs", FILE_LINES_MAX + 1)]).is_empty());
}

#[test]
fn a_long_function_is_found() {
    let function = |lines: usize| {
        format!(
            "struct S;\nfn f(a: [u8; 2]) -> u8\n{{{}}}\nfn g();\n",
            "\n".repeat(lines - 2)
        )
    };
    let check = |text: &str| check_functions(&[Source::new("src/a.rs", text)]);
    assert!(check(&function(FUNCTION_LINES_MAX)).is_empty());
    let found = check(&function(FUNCTION_LINES_MAX + 1));
    assert_eq!(
        found,
        ["src/a.rs:2: fn f has 71 lines, over the limit of 70; give a part of it a home of its own"]
    );
}

#[test]
fn a_ratchet_neither_grows_nor_grows_stale() {
    let source = Source::new("src/a.rs", "");
    let judge = |lines, ratchet| judge(&source, 1, "the file", lines, 500, ratchet).is_some();
    assert!(judge(601, Some(600)) && judge(599, Some(600)) && !judge(600, Some(600)));
}

#[test]
fn lengths_are_counted_from_fn_to_the_last_brace() {
    let found = functions(&Source::new(
        "src/a.rs",
        "impl A {\n    pub fn a(&self) {\n        b(|| { c });\n    }\n}\nfn d() {}\n",
    ));
    let found: Vec<_> = found.iter().map(|f| (&f.name[..], f.line, f.lines)).collect();
    assert_eq!(found, [("a", 2, 3), ("d", 6, 1)]);
}
