//! The kill table: every planted bug, who finds it, and how soon.
//!
//! A harness that finds nothing has shown nothing. Here each bug that others shipped is planted in turn, and seeds are run until one fails; a bug
//! that survives is a gap in the harness. The same seeds without a bug must be clean, or the table means nothing. It builds nothing: the
//! binary has the bugs when it was built by `cargo sim-mutants`.

use std::io;
use std::ops::ControlFlow;
use std::process::ExitCode;
use std::time::Duration;

use crate::process::{self, Request, Stopwatch};
use crate::report::Verdict;
use crate::say::say;
use crate::swarm::{Seeds, Swarm};

/// `cargo sim-mutants mutants`
#[derive(Clone, Debug, clap::Args)]
pub struct Mutants {
    /// First and last seed, both included
    #[arg(long, default_value = "1..300")]
    pub seeds: Seeds,
    /// How many runs at a time
    #[arg(long, default_value_t = 2)]
    pub jobs: usize,
    /// Only the bug of this name
    #[arg(long)]
    pub only: Option<String>,
    /// Processor time after which a run is ended, in seconds
    #[arg(long, default_value_t = process::LIMIT_S)]
    pub limit_s: u64,
    /// Leave out the run of the same seeds without a bug
    #[arg(long)]
    pub skip_clean: bool,
}

/// How one planted bug fared.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Row {
    name: &'static str,
    /// Who found it; none when it survived.
    checker: Option<String>,
    /// Runs until then.
    seeds: u64,
    wall: Duration,
}

/// Name and sentence of each planted bug that this binary has.
#[cfg(feature = "mutants")]
fn planted() -> Vec<(&'static str, &'static str)> {
    let all = kapu::mutants::Mutant::ALL.iter();
    all.map(|mutant| (mutant.name(), mutant.sentence())).collect()
}

#[cfg(not(feature = "mutants"))]
const fn planted() -> Vec<(&'static str, &'static str)> {
    Vec::new()
}

impl Mutants {
    /// Prints the table. Fails when a bug survives, or a run without one does not. A binary without bugs has one made that has them.
    #[must_use]
    pub fn execute(&self) -> ExitCode {
        if cfg!(not(feature = "mutants")) {
            return process::run_other_build("sim-mutants");
        }
        let wanted = |name: &str| self.only.as_deref().is_none_or(|only| only == name);
        let planted: Vec<_> = planted().into_iter().filter(|(name, _)| wanted(name)).collect();
        if planted.is_empty() {
            eprintln!("kapu-sim: no planted bug is called {:?}", self.only);
            return ExitCode::from(2);
        }
        let mut rows = Vec::new();
        for (name, sentence) in planted {
            let row = self.hunt(name);
            say(format_args!("{}  {sentence}", line(&row)));
            rows.push(row);
        }
        say(summary(&rows).trim_end());
        let survived = rows.iter().any(|row| row.checker.is_none());
        ExitCode::from(u8::from(survived | !self.is_clean()))
    }

    /// Runs seeds with one bug until one of them fails.
    fn hunt(&self, name: &'static str) -> Row {
        let watch = Stopwatch::start();
        let mut row = Row {
            name,
            checker: None,
            seeds: 0,
            wall: Duration::ZERO,
        };
        let request = |seed| Request {
            seed,
            mutant: Some(name.to_owned()),
            limit: Duration::from_secs(self.limit_s),
            ..Request::default()
        };
        process::run_all(self.seeds.iter().map(request), self.jobs, |_, run| {
            row.seeds += u64::from(row.checker.is_none());
            if run.report.verdict == Verdict::Broken && run.report.violations.is_empty() {
                eprintln!("{name}: seed {} broke:\n{}", run.report.seed, run.last_output);
                return ControlFlow::Continue(());
            }
            if !run.report.verdict.is_failure() {
                return ControlFlow::Continue(());
            }
            row.checker.get_or_insert_with(|| run.report.checker().to_owned());
            ControlFlow::Break(())
        });
        row.wall = watch.elapsed();
        row
    }

    /// Whether the same seeds are clean without a bug.
    fn is_clean(&self) -> bool {
        if self.skip_clean {
            say("the run without a bug was SKIPPED");
            return true;
        }
        let swarm = Swarm {
            seeds: self.seeds,
            jobs: self.jobs,
            mutant: None,
            limit_s: self.limit_s,
            hashes: None,
            output: "text".to_owned(),
        };
        let tally = swarm.sweep(&mut io::stderr());
        say(format_args!("without a bug: {}", tally.text().trim_end()));
        tally.is_clean()
    }
}

fn line(row: &Row) -> String {
    let seconds = row.wall.as_secs_f64();
    let found = row.checker.as_deref().unwrap_or("SURVIVED");
    format!("{:<31} {found:<22} {:>5} seeds {seconds:>7.1} s", row.name, row.seeds)
}

fn summary(rows: &[Row]) -> String {
    let found: Vec<_> = rows.iter().filter(|row| row.checker.is_some()).collect();
    let survivors = rows.iter().filter(|row| row.checker.is_none()).map(|row| row.name);
    let survivors: Vec<_> = survivors.collect();
    let mut text = format!("{} of {} found", found.len(), rows.len());
    let seeds = median(found.iter().map(|row| row.seeds).collect());
    let wall = median(found.iter().map(|row| row.wall).collect());
    if let (Some(seeds), Some(wall)) = (seeds, wall) {
        text += &format!(", median {seeds} seeds and {:.1} s", wall.as_secs_f64());
    }
    if !survivors.is_empty() {
        text += &format!("; survived: {}", survivors.join(", "));
    }
    text + "\n"
}

fn median<T: Ord + Copy>(mut values: Vec<T>) -> Option<T> {
    values.sort_unstable();
    values.get(values.len() / 2).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(name: &'static str, checker: Option<&str>, seeds: u64) -> Row {
        Row {
            name,
            checker: checker.map(str::to_owned),
            seeds,
            wall: Duration::from_secs(seeds),
        }
    }

    #[test]
    fn a_survivor_is_named() {
        let rows = [
            row("a", Some("fencing"), 3),
            row("b", None, 100),
            row("c", Some("assertion"), 9),
            row("d", Some("fencing"), 5),
        ];
        assert_eq!(summary(&rows), "3 of 4 found, median 5 seeds and 5.0 s; survived: b\n");
        assert!(line(&rows[1]).contains("SURVIVED"));
        assert!(line(&rows[0]).contains("fencing"));
    }

    #[test]
    fn a_build_without_the_feature_has_no_bug() {
        assert_eq!(planted().is_empty(), !cfg!(feature = "mutants"));
    }
}
