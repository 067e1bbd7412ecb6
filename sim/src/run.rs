//! `cargo sim run`: one run, from a seed or from a plan in a file.
//!
//! It says what it is about to do before it does it, and how to do it again at the end.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use madsim::runtime::Runtime;

use crate::checkers;
use crate::plan::Plan;
use crate::process::{BROKEN, LIMIT_S, Stopwatch};
use crate::report::{Finding, Report};
use crate::say::say;
use crate::scenario::{self, Remains};
use crate::trace::Trace;
use crate::verdict;
use crate::watchdog::{Watchdog, processor_time};

/// As much as a main thread has.
const STACK_BYTES: usize = 8 * 1024 * 1024;

/// `cargo sim run`
#[derive(Clone, Debug, clap::Args)]
pub struct Run {
    /// What everything is drawn from
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
    /// Runs this plan instead of the one that the seed draws
    #[arg(long, value_name = "FILE")]
    pub plan: Option<PathBuf>,
    /// Writes the plan here and runs nothing
    #[arg(long, value_name = "FILE")]
    pub print_plan: Option<PathBuf>,
    /// Writes what clients saw, one JSON object a line
    #[arg(long, value_name = "FILE")]
    pub history: Option<PathBuf>,
    /// Writes every event, one JSON object a line
    #[arg(long, value_name = "FILE")]
    pub trace: Option<PathBuf>,
    /// Runs with this planted bug
    #[arg(long, value_name = "NAME")]
    pub mutant: Option<String>,
    /// Processor time after which it is ended, in seconds
    #[arg(long, default_value_t = LIMIT_S)]
    pub limit_s: u64,
    /// What is printed: for people, or one JSON object as the last line
    #[arg(long, value_name = "FORMAT", default_value = "text", value_parser = ["text", "json"])]
    pub output: String,
}

/// Why nothing was run, in words, with the exit code.
type Refused = (String, u8);

impl Run {
    /// Runs, prints, and says how it ended.
    #[must_use]
    pub fn execute(&self) -> ExitCode {
        match self.run() {
            Ok(code) => ExitCode::from(code),
            Err((why, code)) => {
                eprintln!("kapu-sim: {why}");
                ExitCode::from(code)
            }
        }
    }

    fn run(&self) -> Result<u8, Refused> {
        self.choose_mutant().map_err(|why| (why, 2))?;
        let plan = self.plan().map_err(|why| (why, 2))?;
        if let Some(path) = &self.print_plan {
            write(path, &plan.to_json())?;
            return Ok(0);
        }
        self.announce(&plan);
        let trace = Trace::new(self.trace.as_deref()).map_err(|error| (format!("the trace: {error}"), 2))?;
        let watch = Stopwatch::start();
        let watchdog = Watchdog::start(trace.clone(), Duration::from_secs(self.limit_s));
        let remains = play(plan.clone(), trace.clone())?;
        watchdog.simulation_is_over();
        let report = report(&plan, &remains, &trace, watch);
        trace
            .finish()
            .map_err(|error| (format!("the trace: {error}"), BROKEN))?;
        if let Some(path) = &self.history {
            let mut lines = Vec::new();
            crate::history::write_jsonl(&mut lines, &remains.evidence.operations)
                .map_err(|error| (error.to_string(), BROKEN))?;
            write(path, &String::from_utf8_lossy(&lines))?;
        }
        self.print(&report);
        Ok(report.exit_code())
    }

    #[cfg(feature = "mutants")]
    fn choose_mutant(&self) -> Result<(), String> {
        self.mutant
            .as_deref()
            .map_or(Ok(()), |name| kapu::mutants::choose(name).map(drop))
    }

    #[cfg(not(feature = "mutants"))]
    fn choose_mutant(&self) -> Result<(), String> {
        match &self.mutant {
            Some(name) => Err(format!(
                "{name} is not built in; use `cargo sim-mutants run --mutant {name}`"
            )),
            None => Ok(()),
        }
    }

    fn plan(&self) -> Result<Plan, String> {
        let Some(path) = &self.plan else {
            return Ok(Plan::draw(self.seed));
        };
        let text = std::fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))?;
        Plan::from_json(&text).map_err(|error| format!("{}: {error}", path.display()))
    }

    fn announce(&self, plan: &Plan) {
        if self.output == "text" {
            say(format_args!("{:>16}  {}", "seed", plan.options.seed));
            plan.options.lines().iter().for_each(say);
            say(format_args!("{:>16}  {} planned", "faults", plan.faults.len()));
        }
    }

    fn print(&self, report: &Report) {
        if self.output == "json" {
            say(report.to_json());
        } else {
            report.lines().iter().for_each(say);
            say(format_args!("again: {}", self.command()));
        }
    }

    /// What to type for the same run.
    fn command(&self) -> String {
        let what = match &self.plan {
            Some(path) => format!("--plan {}", path.display()),
            None => format!("--seed {}", self.seed),
        };
        match &self.mutant {
            Some(name) => format!("cargo sim-mutants run {what} --mutant {name}"),
            None => format!("cargo sim run {what}"),
        }
    }
}

fn write(path: &Path, text: &str) -> Result<(), Refused> {
    let written = std::fs::File::create(path).and_then(|mut file| file.write_all(text.as_bytes()));
    written.map_err(|error| (format!("{}: {error}", path.display()), BROKEN))
}

/// The whole simulation, on a thread that has done nothing before: madsim seeds the order of std's hash maps for its thread, and can do so
/// only before the first of them is made there.
#[expect(clippy::disallowed_methods, reason = "it is the only thread that the simulation has")]
fn play(plan: Plan, trace: Trace) -> Result<Remains, Refused> {
    let simulate = move || {
        let runtime = Runtime::with_seed_and_config(plan.options.seed, madsim::Config::default());
        runtime.block_on(scenario::play(plan, trace))
    };
    let thread = std::thread::Builder::new()
        .name("simulation".to_owned())
        .stack_size(STACK_BYTES);
    let played = thread
        .spawn(simulate)
        .map_err(|error| (error.to_string(), BROKEN))?
        .join();
    played.map_err(|_| ("the harness itself panicked".to_owned(), BROKEN))
}

fn report(plan: &Plan, remains: &Remains, trace: &Trace, watch: Stopwatch) -> Report {
    let millis = |duration: Duration| u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
    let before = processor_time();
    let (violations, figures) = checkers::judge(&remains.evidence);
    let after = processor_time();
    let violations: Vec<_> = violations.into_iter().map(Finding::from).collect();
    let mut counts = remains.counts.clone();
    counts.others.extend(figures.numbers());
    Report {
        seed: plan.options.seed,
        verdict: verdict::judge(&violations, &counts),
        violations,
        sometimes: verdict::sometimes(&counts),
        counts,
        trace_hash: format!("{:016x}", trace.hash()),
        events: trace.events(),
        simulated_ms: millis(remains.simulated),
        wall_ms: millis(watch.elapsed()),
        processor_ms: millis(after),
        checking_ms: millis(after.saturating_sub(before)),
    }
}
