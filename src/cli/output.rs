//! What goes to stdout, as text for people or JSON for scripts.
//!
//! stdout carries results and nothing else; words about them go to stderr. A reader that has gone away (`kapu status | head -1`) is no
//! error.

use std::io::{self, IsTerminal, Write};

use serde::Serialize;

use crate::cli::exit::{Exit, Failure};

/// The shape of results.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Output {
    /// Lines for people.
    #[default]
    Text,
    /// One JSON value on one line.
    Json,
}

/// Something that has both shapes.
pub trait Report: Serialize {
    /// The lines for people, the last one ended.
    fn text(&self) -> String;
}

impl Output {
    /// Prints a report to stdout.
    ///
    /// # Errors
    /// [`Failure`] when stdout cannot be written to, except when nobody reads it any more.
    pub fn print(self, report: &impl Report) -> Result<(), Failure> {
        print(&self.render(report))
    }

    fn render(self, report: &impl Report) -> String {
        match self {
            Self::Text => report.text(),
            Self::Json => serde_json::to_string(report).expect("a report has only text keys") + "\n",
        }
    }
}

/// Writes `text` to stdout, at once.
///
/// # Errors
/// As [`Output::print`].
pub fn print(text: &str) -> Result<(), Failure> {
    let mut stdout = io::stdout().lock();
    match stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            Err(Failure::new(Exit::No, format_args!("cannot write to stdout: {error}")))
        }
        _ => Ok(()),
    }
}

/// Writes one line to stderr, where nothing can be done about a failure.
pub fn note(line: impl std::fmt::Display) {
    let _ = writeln!(io::stderr().lock(), "kapu: {line}");
}

/// Shows how far long work has come, over the line before; only to a terminal.
pub fn progress(line: impl std::fmt::Display) {
    let mut stderr = io::stderr().lock();
    if stderr.is_terminal() {
        let _ = write!(stderr, "\r\x1b[K{line}").and_then(|()| stderr.flush());
    }
}

/// Removes the line of [`progress`].
pub fn progress_end() {
    progress("");
}

/// Lines up columns, two spaces apart. The first row is the head.
#[must_use]
pub fn table(rows: &[Vec<String>]) -> String {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let width = |column| {
        rows.iter()
            .filter_map(|row| row.get(column))
            .map(|cell: &String| cell.chars().count())
            .max()
    };
    let widths: Vec<_> = (0..columns).map(|column| width(column).unwrap_or(0)).collect();
    let mut text = String::new();
    for row in rows {
        let cells = row.iter().zip(&widths).map(|(cell, &width)| format!("{cell:width$}"));
        text += cells.collect::<Vec<_>>().join("  ").trim_end();
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Serialize)]
    struct Sample {
        name: &'static str,
    }

    impl Report for Sample {
        fn text(&self) -> String {
            format!("the name is {}\n", self.name)
        }
    }

    #[test]
    fn a_report_has_a_text_and_a_json_shape() {
        let sample = Sample { name: "a\"b" };
        assert_eq!(Output::Text.render(&sample), "the name is a\"b\n");
        assert_eq!(Output::Json.render(&sample), "{\"name\":\"a\\\"b\"}\n");
    }

    #[test]
    fn columns_line_up_and_lines_have_no_trailing_spaces() {
        let rows = [
            vec!["NODE".into(), "ADDRESS".into()],
            vec!["1".into(), "ä:1".into()],
            vec!["10".into(), String::new()],
        ];
        assert_eq!(table(&rows), "NODE  ADDRESS\n1     ä:1\n10\n");
    }
}
