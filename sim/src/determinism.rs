//! `cargo sim determinism`: the same seed twice, in fresh processes, and not one event may differ.
//!
//! Everything else rests on this: a seed that fails differently each time is no seed. Each process writes its trace to a file; the files are compared
//! line by line, so that a difference is shown where it begins. What a sweep recorded of the same seeds can be held against them.

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};

use crate::hashes::{self, Hashes};
use crate::process::BROKEN;
use crate::report::Report;
use crate::say::say;
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
    /// Compares with what `swarm --hashes` wrote, too
    #[arg(long, value_name = "FILE")]
    pub hashes: Option<PathBuf>,
}

/// What two runs of a seed have in common.
#[derive(Debug, PartialEq, Eq)]
struct Same {
    events: u64,
    hash: String,
}

impl Determinism {
    /// Compares, prints, and says how it ended.
    #[must_use]
    pub fn execute(&self) -> ExitCode {
        match self.compare_all() {
            Ok(true) => ExitCode::SUCCESS,
            Ok(false) => ExitCode::from(1),
            Err(error) => {
                eprintln!("kapu-sim: {error}");
                ExitCode::from(BROKEN)
            }
        }
    }

    /// Whether every seed was the same each time; the first that was not is the last one tried.
    fn compare_all(&self) -> std::io::Result<bool> {
        let recorded = self.hashes.as_deref().map(hashes::read).transpose()?;
        let seeds = self
            .seeds
            .map_or_else(|| vec![self.seed], |seeds| seeds.iter().collect());
        for seed in seeds {
            let compared = compare(seed)?.and_then(|same| match &recorded {
                Some(recorded) => same_as_recorded(seed, &same, recorded),
                None => Ok(format!("{} events, twice the same: {}", same.events, same.hash)),
            });
            match compared {
                Ok(words) => say(format_args!("seed {seed}: {words}")),
                Err(difference) => {
                    say(format_args!("seed {seed}: NOT the same\n{difference}"));
                    return Ok(false);
                }
            }
        }
        Ok(true)
    }
}

/// Holds what two runs have in common against what was recorded of the same seed, in words.
fn same_as_recorded(seed: u64, same: &Same, recorded: &Hashes) -> Result<String, String> {
    let Same { events, hash } = same;
    match recorded.get(&seed) {
        Some(other) if other == hash => Ok(format!("{events} events, twice the same and as recorded: {hash}")),
        other => {
            let other = other.map_or("nothing", String::as_str);
            Err(format!("now      {hash}\nrecorded {other}"))
        }
    }
}

/// Runs a seed twice. What is the same, or the first difference.
fn compare(seed: u64) -> std::io::Result<Result<Same, String>> {
    let folder = std::env::temp_dir();
    let file = |name: &str| folder.join(format!("kapu-sim-{}-{seed}-{name}.jsonl", std::process::id()));
    let (first, second) = (file("first"), file("second"));
    let ran = trace(seed, &first).and_then(|hash| trace(seed, &second).map(|_| hash));
    let compared = ran.and_then(|hash| {
        let difference = first_difference(open(&first)?, open(&second)?);
        Ok(difference.map(|events| Same { events, hash }))
    });
    for path in [&first, &second] {
        // One that is not there need not go.
        drop(std::fs::remove_file(path));
    }
    compared
}

/// Runs a seed in a process of its own, which writes its trace, and returns its hash.
fn trace(seed: u64, file: &PathBuf) -> std::io::Result<String> {
    let mut command = Command::new(std::env::current_exe()?);
    command
        .args(["run", "--seed", &seed.to_string(), "--output", "json", "--trace"])
        .arg(file)
        .stderr(Stdio::inherit());
    let output = command.output()?;
    let text = String::from_utf8_lossy(&output.stdout);
    let report = text.lines().next_back().and_then(|line| Report::parse(line).ok());
    match (output.status.code(), report) {
        // Whether promises were kept is not the question here.
        (Some(0 | 1), Some(report)) => Ok(report.trace_hash),
        _ => Err(std::io::Error::other(format!("seed {seed} broke: {}", output.status))),
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
    fn what_was_recorded_must_be_the_same() {
        let same = Same {
            events: 5,
            hash: "ab".to_owned(),
        };
        let recorded = Hashes::from([(7, "ab".to_owned()), (8, "cd".to_owned())]);
        assert!(same_as_recorded(7, &same, &recorded).is_ok());
        assert_eq!(
            same_as_recorded(8, &same, &recorded).unwrap_err(),
            "now      ab\nrecorded cd"
        );
        assert!(same_as_recorded(9, &same, &recorded).unwrap_err().contains("nothing"));
    }

    #[test]
    fn the_first_difference_is_shown_with_what_was_before() {
        let said = first_difference(&b"a\nb\nc\n"[..], &b"a\nx\nc\n"[..]).unwrap_err();
        assert_eq!(said, "both     a\nfirst    b\nsecond   x");
        let said = first_difference(&b"a\n"[..], &b"a\nb\n"[..]).unwrap_err();
        assert_eq!(said, "both     a\nfirst    (the end)\nsecond   b");
    }
}
