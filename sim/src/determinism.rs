//! `cargo sim determinism`: the same seed twice, in fresh processes, and not one event may differ.
//!
//! Everything else rests on this: a seed that fails differently each time is no seed. Each process writes its trace to a file; the files are compared
//! line by line, so that a difference is shown where it begins.

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};

use crate::swarm::Seeds;

/// `cargo sim determinism`
#[derive(Clone, Debug, clap::Args)]
pub struct Determinism {
    /// Which seed
    #[arg(long, default_value_t = 42, conflicts_with = "seeds")]
    pub seed: u64,
    /// Several, such as 1..20
    #[arg(long)]
    pub seeds: Option<Seeds>,
}

impl Determinism {
    /// Compares, prints, and says how it ended.
    #[must_use]
    pub fn execute(&self) -> ExitCode {
        let seeds: Vec<u64> = self
            .seeds
            .map_or_else(|| vec![self.seed], |seeds| seeds.iter().collect());
        for seed in seeds {
            match compare(seed) {
                Ok(Ok(events)) => println!("seed {seed}: {events} events, twice the same"),
                Ok(Err(difference)) => {
                    println!("seed {seed}: NOT the same\n{difference}");
                    return ExitCode::from(1);
                }
                Err(error) => {
                    eprintln!("kapu-sim: seed {seed}: {error}");
                    return ExitCode::from(3);
                }
            }
        }
        ExitCode::SUCCESS
    }
}

/// Runs a seed twice. The number of events, or the first difference.
fn compare(seed: u64) -> std::io::Result<Result<u64, String>> {
    let folder = std::env::temp_dir();
    let file = |name: &str| folder.join(format!("kapu-sim-{}-{seed}-{name}.jsonl", std::process::id()));
    let (first, second) = (file("first"), file("second"));
    let ran = trace(seed, &first).and_then(|()| trace(seed, &second));
    let compared = ran.and_then(|()| Ok(first_difference(open(&first)?, open(&second)?)));
    for path in [&first, &second] {
        // One that is not there need not go.
        drop(std::fs::remove_file(path));
    }
    compared
}

/// Runs a seed in a process of its own, which writes its trace.
fn trace(seed: u64, file: &PathBuf) -> std::io::Result<()> {
    let mut command = Command::new(std::env::current_exe()?);
    command
        .args(["run", "--seed", &seed.to_string(), "--output", "json", "--trace"])
        .arg(file);
    let status = command.stdout(Stdio::null()).status()?;
    match status.code() {
        // Whether promises were kept is not the question here.
        Some(0 | 1) => Ok(()),
        _ => Err(std::io::Error::other(format!("the run broke: {status}"))),
    }
}

#[expect(clippy::disallowed_methods, reason = "the harness reads its own files")]
fn open(path: &Path) -> std::io::Result<BufReader<File>> {
    File::open(path).map(BufReader::new)
}

/// How many lines two traces have, or where they part, with the line before.
fn first_difference(first: impl BufRead, second: impl BufRead) -> Result<u64, String> {
    let (mut first, mut second) = (
        first.lines().map_while(Result::ok),
        second.lines().map_while(Result::ok),
    );
    let mut count = 0;
    let mut before = "(the beginning)".to_owned();
    loop {
        match (first.next(), second.next()) {
            (None, None) => return Ok(count),
            (Some(a), Some(b)) if a == b => {
                before = a;
                count += 1;
            }
            (a, b) => {
                let line = |line: Option<String>| line.unwrap_or_else(|| "(the end)".to_owned());
                return Err(format!("both     {before}\nfirst    {}\nsecond   {}", line(a), line(b)));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_traces_are_equal() {
        assert_eq!(first_difference(&b"a\nb\n"[..], &b"a\nb\n"[..]), Ok(2));
    }

    #[test]
    fn the_first_difference_is_shown_with_what_was_before() {
        let said = first_difference(&b"a\nb\nc\n"[..], &b"a\nx\nc\n"[..]).unwrap_err();
        assert_eq!(said, "both     a\nfirst    b\nsecond   x");
        let said = first_difference(&b"a\n"[..], &b"a\nb\n"[..]).unwrap_err();
        assert_eq!(said, "both     a\nfirst    (the end)\nsecond   b");
    }
}
