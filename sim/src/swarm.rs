//! Many seeds, each in a process of its own, and what they came to together.
//!
//! One run shows little; a sweep shows what broke, what was tried, and what was never tried. It fails when a run fails, and also when something
//! that must happen sometimes never did: a sweep without an expiry says nothing of expiries. It draws nothing and checks nothing itself.

use std::collections::BTreeMap;
use std::io::{self, IsTerminal, Write};
use std::ops::ControlFlow;
use std::path::PathBuf;
use std::process::ExitCode;
use std::str::FromStr;
use std::time::Duration;

use crate::hashes::{self, Hashes};
use crate::process::{self, BROKEN, Request, Stopwatch};
use crate::report::{Report, Run, Verdict};
use crate::say::say;

/// What must have happened in a sweep that is large enough to ask.
const SOMETIMES: [&str; 10] = [
    "leader_change",
    "expiry",
    "lost_sync",
    "truncation",
    "retry_after_unknown",
    "busy",
    "recovery",
    "snapshot",
    "members_changed",
    "removed_node_ended",
];
/// A sweep of fewer seeds is not asked what happened sometimes.
const SOMETIMES_SEEDS_MIN: u64 = 50;
/// One run in so many may have done too little to mean anything.
const VACUOUS_SHARE: u64 = 10;

/// `cargo sim swarm`
#[derive(Clone, Debug, clap::Args)]
pub struct Swarm {
    /// First and last seed, both included: 1..500
    #[arg(long, default_value = "1..100")]
    pub seeds: Seeds,
    /// How many runs at a time
    #[arg(long, default_value_t = 2)]
    pub jobs: usize,
    /// Plant this bug in every run (needs a build with the feature `mutants`)
    #[arg(long)]
    pub mutant: Option<String>,
    /// Processor time after which a run is ended, in seconds
    #[arg(long, default_value_t = process::LIMIT_S)]
    pub limit_s: u64,
    /// Writes the trace hash of each seed here, for `determinism --hashes`
    #[arg(long, value_name = "FILE")]
    pub hashes: Option<PathBuf>,
    /// `json` prints one line at the end for programs
    #[arg(long, default_value = "text", value_parser = ["text", "json"])]
    pub output: String,
}

/// A range of seeds, both ends included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seeds {
    first: u64,
    last: u64,
}

impl Seeds {
    /// Each of them.
    pub fn iter(self) -> impl Iterator<Item = u64> {
        self.first..=self.last
    }

    /// How many.
    #[must_use]
    pub const fn count(self) -> u64 {
        self.last - self.first + 1
    }
}

impl FromStr for Seeds {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let advice = || format!("{text} is no range of seeds; give the first and the last, as in 1..500");
        let (first, last) = text.split_once("..").unwrap_or((text, text));
        let first: u64 = first.parse().map_err(|_| advice())?;
        let last: u64 = last.trim_start_matches('=').parse().map_err(|_| advice())?;
        if last < first || last - first == u64::MAX {
            return Err(advice());
        }
        Ok(Self { first, last })
    }
}

impl Swarm {
    /// Runs the sweep and says whether it was clean.
    #[must_use]
    pub fn execute(&self) -> ExitCode {
        let tally = self.sweep(&mut io::stderr());
        match self.output.as_str() {
            "json" => say(tally.json()),
            _ => say(tally.text().trim_end()),
        }
        let written = self
            .hashes
            .as_ref()
            .map_or(Ok(()), |path| hashes::write(path, &tally.hashes));
        if let Err(error) = written {
            eprintln!("kapu-sim: the hashes were not written: {error}");
            return ExitCode::from(BROKEN);
        }
        ExitCode::from(u8::from(!tally.is_clean()))
    }

    /// Runs every seed, telling `progress` of failures as they come.
    pub fn sweep(&self, progress: &mut impl Write) -> Tally {
        let watch = Stopwatch::start();
        let mut tally = Tally::default();
        let live = io::stderr().is_terminal();
        process::run_all(self.requests(), self.jobs, |request, run| {
            if run.report.verdict.is_failure() {
                let again = repeat(run.report.seed, request.mutant.as_deref());
                let _ = write!(progress, "{}", describe(&run, &again));
            }
            tally.add(&run);
            if live {
                let (done, all, failed) = (tally.runs, self.seeds.count(), tally.failed.len());
                let _ = write!(progress, "\r{done} of {all} seeds, {failed} failed ");
            }
            ControlFlow::Continue(())
        });
        if live {
            let _ = writeln!(progress);
        }
        tally.wall = watch.elapsed();
        tally.mutant.clone_from(&self.mutant);
        tally
    }

    fn requests(&self) -> impl Iterator<Item = Request> + Send {
        let (mutant, limit) = (self.mutant.clone(), Duration::from_secs(self.limit_s));
        self.seeds.iter().map(move |seed| Request {
            seed,
            mutant: mutant.clone(),
            limit,
            ..Request::default()
        })
    }
}

/// A failed run in words: what broke, and the command that shows it again.
#[must_use]
pub fn describe(run: &Run, again: &str) -> String {
    let Report {
        seed,
        verdict,
        violations,
        ..
    } = &run.report;
    let mut text = format!("\rseed {seed}: {verdict:?}    {again}\n");
    for finding in violations {
        text += &format!("    {}: {}\n", finding.checker, finding.message);
    }
    for line in run.last_output.lines() {
        text += &format!("    | {line}\n");
    }
    text
}

/// The command that repeats a run.
fn repeat(seed: u64, mutant: Option<&str>) -> String {
    match mutant {
        Some(name) => format!("cargo sim-mutants run --seed {seed} --mutant {name}"),
        None => format!("cargo sim run --seed {seed}"),
    }
}

/// What a sweep came to.
#[derive(Clone, Debug, Default)]
pub struct Tally {
    runs: u64,
    vacuous: u64,
    failed: BTreeMap<u64, Report>,
    faults: BTreeMap<String, u64>,
    others: BTreeMap<String, u64>,
    sometimes: BTreeMap<String, (u64, u64)>,
    simulated_ms: u64,
    processor_ms: u64,
    checking_ms: u64,
    hashes: Hashes,
    wall: Duration,
    mutant: Option<String>,
}

impl Tally {
    /// Adds a run.
    pub fn add(&mut self, run: &Run) {
        let report = &run.report;
        self.runs += 1;
        self.vacuous += u64::from(report.verdict == Verdict::Vacuous);
        if report.verdict.is_failure() {
            self.failed.insert(report.seed, report.clone());
        }
        add_all(&mut self.faults, &report.counts.faults);
        add_all(&mut self.others, &report.counts.others);
        for (name, count) in report.sometimes.iter().filter(|(_, count)| **count > 0) {
            let (times, runs) = self.sometimes.entry(name.clone()).or_default();
            (*times, *runs) = (*times + count, *runs + 1);
        }
        self.simulated_ms += report.simulated_ms;
        self.processor_ms += report.processor_ms;
        self.checking_ms += report.checking_ms;
        if !report.trace_hash.is_empty() {
            self.hashes.insert(report.seed, report.trace_hash.clone());
        }
    }

    /// What must happen sometimes, and never did. Nothing is asked of a small sweep.
    #[must_use]
    pub fn missing(&self) -> Vec<&'static str> {
        let never = |name: &&str| !self.sometimes.contains_key(*name);
        match self.runs >= SOMETIMES_SEEDS_MIN {
            true => SOMETIMES.into_iter().filter(never).collect(),
            false => Vec::new(),
        }
    }

    /// Whether too many runs did too little.
    #[must_use]
    pub const fn is_vacuous(&self) -> bool {
        self.vacuous * VACUOUS_SHARE > self.runs || self.runs == 0
    }

    /// Whether nothing failed and nothing is missing.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        self.failed.is_empty() && self.missing().is_empty() && !self.is_vacuous()
    }

    /// Simulated seconds for each second of processor time.
    fn speed(&self) -> f64 {
        let seconds = |ms: u64| Duration::from_millis(ms).as_secs_f64();
        seconds(self.simulated_ms) / seconds(self.processor_ms).max(0.001)
    }

    /// For people.
    #[must_use]
    pub fn text(&self) -> String {
        let mut text = format!(
            "{} seeds: {} failed, {} vacuous\n",
            self.runs,
            self.failed.len(),
            self.vacuous
        );
        for (seed, report) in &self.failed {
            let message = report.violations.first().map_or("", |finding| finding.message.as_str());
            let repeat = repeat(*seed, self.mutant.as_deref());
            text += &format!("  {repeat}    {}: {message}\n", report.checker());
        }
        text += &format!("faults     {}\n", list(&self.faults));
        text += &format!("counts     {}\n", list(&self.others));
        let sometimes = self.sometimes.iter();
        let sometimes = sometimes.map(|(name, (times, runs))| format!("{name} {times} in {runs} seeds"));
        text += &format!("sometimes  {}\n", sometimes.collect::<Vec<_>>().join(", "));
        for name in self.missing() {
            text += &format!("NEVER      {name}: a sweep of this size must meet it\n");
        }
        if self.is_vacuous() {
            text += "VACUOUS    too many seeds did too little\n";
        }
        text += &format!(
            "time       {} simulated s in {:.1} s on the wall, {:.0} a second of processor time, {} % of it for checking\n",
            self.simulated_ms / 1000,
            self.wall.as_secs_f64(),
            self.speed(),
            100 * self.checking_ms / self.processor_ms.max(1)
        );
        text
    }

    /// For programs, in one line.
    #[must_use]
    pub fn json(&self) -> String {
        let failed: Vec<_> = self
            .failed
            .values()
            .map(|r| (r.seed, r.verdict, &r.violations))
            .collect();
        let object = serde_json::json!({
            "seeds": self.runs, "clean": self.is_clean(), "failed": failed, "vacuous": self.vacuous,
            "missing": self.missing(), "faults": self.faults, "counts": self.others, "sometimes": self.sometimes,
            "simulated_ms": self.simulated_ms, "processor_ms": self.processor_ms, "checking_ms": self.checking_ms, "wall_ms": u64::try_from(self.wall.as_millis()).unwrap_or(u64::MAX),
        });
        object.to_string()
    }
}

fn add_all(sums: &mut BTreeMap<String, u64>, more: &BTreeMap<String, u64>) {
    for (name, count) in more {
        *sums.entry(name.clone()).or_default() += count;
    }
}

fn list(counts: &BTreeMap<String, u64>) -> String {
    let words: Vec<_> = counts.iter().map(|(name, count)| format!("{name} {count}")).collect();
    words.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(seed: u64, verdict: &str, sometimes: &[&str]) -> Run {
        let sometimes: BTreeMap<_, _> = sometimes.iter().map(|name| (*name, 2)).collect();
        let line = serde_json::json!({
            "seed": seed, "verdict": verdict, "sometimes": sometimes, "simulated_ms": 1000, "wall_ms": 10,
            "violations": if verdict == "fail" { vec![serde_json::json!({"checker": "fencing", "message": "m"})] } else { vec![] },
            "counts": {"faults": {"crash": 1}, "grants": 5},
        });
        Run {
            report: Report::parse(&line.to_string()).unwrap(),
            last_output: String::new(),
        }
    }

    fn tally(runs: impl IntoIterator<Item = Run>) -> Tally {
        let mut tally = Tally::default();
        runs.into_iter().for_each(|run| tally.add(&run));
        tally
    }

    #[test]
    fn seeds_have_both_ends() {
        let seeds: Seeds = "3..5".parse().unwrap();
        assert_eq!(seeds.iter().collect::<Vec<_>>(), [3, 4, 5]);
        assert_eq!("7".parse::<Seeds>().unwrap().count(), 1);
        for bad in ["", "5..3", "a..b", "1-5"] {
            assert!(bad.parse::<Seeds>().is_err(), "{bad}");
        }
    }

    #[test]
    fn a_clean_sweep_adds_up() {
        let tally = tally((0..60).map(|seed| run(seed, "pass", &SOMETIMES)));
        assert!(tally.is_clean(), "{}", tally.text());
        assert_eq!((tally.faults["crash"], tally.others["grants"]), (60, 300));
        assert_eq!(tally.sometimes["expiry"], (120, 60));
        assert!(tally.text().contains("60 simulated s"), "{}", tally.text());
    }

    #[test]
    fn one_failure_spoils_a_sweep_and_is_named_with_its_command() {
        let tally = tally((0..60).map(|seed| run(seed, if seed == 9 { "fail" } else { "pass" }, &SOMETIMES)));
        assert!(!tally.is_clean());
        let text = tally.text();
        assert!(text.contains("cargo sim run --seed 9    fencing: m"), "{text}");
    }

    #[test]
    fn what_never_happened_spoils_a_large_sweep_only() {
        let some: Vec<_> = SOMETIMES.into_iter().filter(|name| *name != "truncation").collect();
        let sweep = |seeds| tally((0..seeds).map(|seed| run(seed, "pass", &some)));
        assert_eq!(sweep(50).missing(), ["truncation"]);
        assert!(!sweep(50).is_clean());
        assert!(sweep(49).is_clean());
    }

    #[test]
    fn runs_that_did_nothing_are_no_pass() {
        assert!(!tally([]).is_clean());
        assert!(!tally((0..9).map(|seed| run(seed, if seed == 0 { "vacuous" } else { "pass" }, &[]))).is_clean());
        assert!(tally((0..10).map(|seed| run(seed, if seed == 0 { "vacuous" } else { "pass" }, &[]))).is_clean());
    }

    #[test]
    fn a_hang_is_described_with_its_last_words() {
        let mut hung = run(4, "hang", &[]);
        hung.last_output = "waiting for node 2".to_owned();
        assert!(describe(&hung, "").contains("| waiting for node 2"));
        assert!(!tally([hung]).is_clean());
    }

    #[test]
    fn a_line_for_programs_names_the_failures() {
        let json: serde_json::Value = serde_json::from_str(&tally([run(3, "fail", &[])]).json()).unwrap();
        assert_eq!(
            (&json["failed"][0][0], &json["clean"]),
            (&serde_json::json!(3), &serde_json::json!(false))
        );
    }
}
