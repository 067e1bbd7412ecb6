//! One run as a process of its own, watched from outside.
//!
//! Counters inside of macros are process-wide, so seeds that shared a process would change each other; and a run that blocks can only be ended
//! from outside. This file alone starts processes and looks at the wall clock; nothing of it is ever part of a simulation. It does not judge.

#![expect(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "the outside of the simulation owns wall time and processes"
)]

use std::io::Read;
use std::ops::ControlFlow;
use std::path::PathBuf;
use std::process::{Child, Command, ExitCode, ExitStatus, Stdio};
use std::sync::{Mutex, PoisonError, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use crate::report::{Finding, Report, Run, Verdict};

/// How much processor time a run may take when nobody says otherwise, in seconds.
pub const LIMIT_S: u64 = 120;
/// How a run ends that its own watchdog ended.
pub const HUNG: u8 = 4;
/// How a run ends that broke instead of failing.
pub const BROKEN: u8 = 3;
/// A run whose watchdog does not end it has so many times its limit on the wall.
const PATIENCE: u32 = 10;
/// How often somebody looks whether a run has ended.
const STEP: Duration = Duration::from_millis(100);
/// How much is kept of what a run printed when it ended without a report.
const LAST_LINES: usize = 20;

/// What is to be run.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Request {
    /// The seed.
    pub seed: u64,
    /// A plan to replay, instead of the one that the seed draws.
    pub plan: Option<PathBuf>,
    /// A planted bug.
    pub mutant: Option<String>,
    /// Where to write the plan instead of running it.
    pub print_plan: Option<PathBuf>,
    /// The most processor time.
    pub limit: Duration,
}

impl Request {
    /// The words after the name of the program.
    #[must_use]
    pub fn arguments(&self) -> Vec<String> {
        let mut words = vec!["run".to_owned(), "--seed".to_owned(), self.seed.to_string()];
        words.extend(["--output".to_owned(), "json".to_owned()]);
        words.extend(["--limit-s".to_owned(), self.limit.as_secs().max(1).to_string()]);
        let paths = [("--plan", &self.plan), ("--print-plan", &self.print_plan)];
        for (name, path) in paths {
            if let Some(path) = path {
                words.extend([name.to_owned(), path.display().to_string()]);
            }
        }
        if let Some(mutant) = &self.mutant {
            words.extend(["--mutant".to_owned(), mutant.clone()]);
        }
        words
    }

    /// Runs it and waits; a run that takes too long is killed.
    #[must_use]
    pub fn run(&self) -> Run {
        let program = std::env::current_exe().unwrap_or_else(|_| "kapu-sim".into());
        let mut command = Command::new(program);
        command.args(self.arguments());
        let (started, ended) = (Instant::now(), watch(command, self.limit));
        judge(self.seed, &ended, started.elapsed())
    }
}

/// How a process ended.
pub(crate) enum Ended {
    /// By itself.
    Exited {
        /// Its code; none when a signal ended it.
        code: Option<i32>,
        /// What it printed.
        stdout: String,
        /// What it complained of.
        stderr: String,
    },
    /// It was killed when its time was over.
    Killed {
        /// What it printed and complained of until then.
        output: String,
    },
    /// It never began.
    NotStarted(String),
}

/// Makes sense of a process that ended.
pub(crate) fn judge(seed: u64, ended: &Ended, wall: Duration) -> Run {
    let without_report = |verdict, output: &str| Run {
        report: Report {
            seed,
            verdict,
            violations: Finding::in_panic(output).into_iter().collect(),
            wall_ms: u64::try_from(wall.as_millis()).unwrap_or(u64::MAX),
            ..Report::default()
        },
        last_output: last_lines(output),
    };
    match ended {
        Ended::NotStarted(reason) => without_report(Verdict::Broken, reason),
        Ended::Killed { output } => without_report(Verdict::Hang, output),
        Ended::Exited { code, stdout, stderr } => {
            let report = stdout.lines().next_back().and_then(|line| Report::parse(line).ok());
            match report.filter(|_| matches!(code, Some(0 | 1))) {
                Some(report) => Run {
                    report,
                    last_output: String::new(),
                },
                None if *code == Some(i32::from(HUNG)) => without_report(Verdict::Hang, &format!("{stdout}\n{stderr}")),
                None => without_report(Verdict::Broken, &format!("{stdout}\n{stderr}")),
            }
        }
    }
}

fn last_lines(output: &str) -> String {
    let lines: Vec<_> = output.lines().filter(|line| !line.trim().is_empty()).collect();
    lines[lines.len().saturating_sub(LAST_LINES)..].join("\n")
}

fn watch(mut command: Command, limit: Duration) -> Ended {
    command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    match command.spawn() {
        Ok(child) => follow(child, limit),
        Err(error) => Ended::NotStarted(format!("the run cannot be started: {error}")),
    }
}

/// Reads both streams to their ends, so that the process never waits for us.
fn follow(mut child: Child, limit: Duration) -> Ended {
    let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
    let (ended, end) = mpsc::channel();
    thread::scope(|scope| {
        let complaints = scope.spawn(move || read_all(stderr));
        let printed = scope.spawn(move || {
            let text = read_all(stdout);
            // The receiver outlives this thread.
            let _ = ended.send(());
            text
        });
        let in_time = ends_within(&end, limit * PATIENCE);
        if !in_time {
            // It may have ended this very moment; then there is nothing to kill.
            let _ = child.kill();
        }
        let status = child.wait();
        let text = |thread: thread::ScopedJoinHandle<'_, String>| thread.join().unwrap_or_default();
        let (stdout, stderr) = (text(printed), text(complaints));
        if in_time {
            let code = status.ok().as_ref().and_then(ExitStatus::code);
            Ended::Exited { code, stdout, stderr }
        } else {
            let output = format!("{stdout}\n{stderr}\nkilled after {} s", (limit * PATIENCE).as_secs());
            Ended::Killed { output }
        }
    })
}

/// Waits in short steps and counts them: when the whole sweep is stopped for a while, that is one step, however long it took.
fn ends_within(end: &mpsc::Receiver<()>, limit: Duration) -> bool {
    let steps = limit.as_millis().div_ceil(STEP.as_millis());
    (0..steps).any(|_| end.recv_timeout(STEP).is_ok())
}

fn read_all(stream: Option<impl Read>) -> String {
    let mut bytes = Vec::new();
    if let Some(mut stream) = stream {
        // What was read before an error is all there is.
        let _ = stream.read_to_end(&mut bytes);
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// Runs `requests`, `jobs` at a time, and hands each result to `each` in the order of their ends. Once that breaks, no other begins.
pub fn run_all(
    requests: impl Iterator<Item = Request> + Send,
    jobs: usize,
    mut each: impl FnMut(&Request, Run) -> ControlFlow<()>,
) {
    let waiting = Mutex::new(Some(requests));
    let next = || {
        let mut waiting = waiting.lock().unwrap_or_else(PoisonError::into_inner);
        waiting.as_mut().and_then(Iterator::next)
    };
    let stop = || *waiting.lock().unwrap_or_else(PoisonError::into_inner) = None;
    let (done, results) = mpsc::channel();
    thread::scope(|scope| {
        for _ in 0..jobs.max(1) {
            let (done, next) = (done.clone(), &next);
            scope.spawn(move || {
                while let Some(request) = next() {
                    let run = request.run();
                    if done.send((request, run)).is_err() {
                        return;
                    }
                }
            });
        }
        drop(done);
        for (request, run) in results {
            if each(&request, run).is_break() {
                stop();
            }
        }
    });
}

/// Has cargo build this program by another alias, and run that with the same arguments. How it ends is how we end.
#[must_use]
pub fn run_other_build(alias: &str) -> ExitCode {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let arguments = std::env::args_os().skip(1);
    match Command::new(cargo).arg(alias).args(arguments).status() {
        Ok(status) => {
            let code = status.code().and_then(|code| u8::try_from(code).ok());
            ExitCode::from(code.unwrap_or(BROKEN))
        }
        Err(error) => {
            eprintln!("kapu-sim: cargo {alias} cannot be started: {error}");
            ExitCode::from(BROKEN)
        }
    }
}

/// Wall time since it was made.
#[derive(Clone, Copy, Debug)]
pub struct Stopwatch(Instant);

impl Stopwatch {
    /// Begins now.
    #[must_use]
    pub fn start() -> Self {
        Self(Instant::now())
    }

    /// What has passed.
    #[must_use]
    pub fn elapsed(&self) -> Duration {
        self.0.elapsed()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str, limit: Duration) -> Ended {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        watch(command, limit)
    }

    fn verdict(ended: &Ended) -> Verdict {
        judge(7, ended, Duration::ZERO).report.verdict
    }

    #[test]
    fn the_last_line_is_the_report() {
        let ended = shell(
            r#"echo options; echo '{"seed":7,"verdict":"fail"}'; exit 1"#,
            Duration::from_secs(60),
        );
        assert_eq!(verdict(&ended), Verdict::Fail);
    }

    #[test]
    fn a_run_that_prints_no_report_is_broken_whatever_its_code() {
        for script in [
            "exit 0",
            "echo half; exit 1",
            r#"echo '{"seed":7,"verdict":"pass"}'; exit 3"#,
            "kill -9 $$",
        ] {
            assert_eq!(
                verdict(&shell(script, Duration::from_secs(60))),
                Verdict::Broken,
                "{script}"
            );
        }
    }

    #[test]
    fn a_run_that_takes_too_long_is_killed_and_its_last_words_are_kept() {
        let ended = shell("echo at the ford; exec sleep 60", Duration::from_millis(30));
        let run = judge(7, &ended, Duration::ZERO);
        assert_eq!(run.report.verdict, Verdict::Hang);
        assert!(run.last_output.contains("at the ford"), "{}", run.last_output);
    }

    #[test]
    fn a_run_that_its_watchdog_ended_is_a_hang() {
        let ended = shell("echo the task at work: peer >&2; exit 4", Duration::from_secs(60));
        let run = judge(7, &ended, Duration::ZERO);
        assert_eq!(run.report.verdict, Verdict::Hang);
        assert!(run.last_output.contains("peer"), "{}", run.last_output);
    }

    #[test]
    fn arguments_name_what_is_wanted_and_nothing_else() {
        let mut request = Request {
            seed: 42,
            limit: Duration::from_secs(LIMIT_S),
            ..Request::default()
        };
        assert_eq!(
            request.arguments().join(" "),
            "run --seed 42 --output json --limit-s 120"
        );
        request.plan = Some("p.json".into());
        request.mutant = Some("vote".to_owned());
        assert_eq!(
            request.arguments().join(" "),
            "run --seed 42 --output json --limit-s 120 --plan p.json --mutant vote"
        );
    }
}
