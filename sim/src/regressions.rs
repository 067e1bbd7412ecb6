//! `cargo sim regressions`: plans that broke kapu, or this harness, once, kept after what they found was mended.
//!
//! A plan outlives the code that it was drawn for: the seed may draw something else by now. Its story lies beside it: the symptom as the headline, then
//! cause and fix. It is not enough that such a run passes. It must still go where it went: what its story turns on must happen in it.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use crate::process::{BROKEN, LIMIT_S, Request};
use crate::report::Run;
use crate::say::say;
use crate::swarm::describe;

/// One run that failed once.
struct Regression {
    /// Of its files.
    name: &'static str,
    plan: &'static str,
    story: &'static str,
    /// A count or a fault that the story turns on.
    turns_on: &'static str,
}

/// Those whose plan and story lie in `regressions/`.
macro_rules! regressions {
    ($($name:literal turns on $what:literal,)*) => {
        [$(Regression {
            name: $name,
            plan: include_str!(concat!("regressions/", $name, ".json")),
            story: include_str!(concat!("regressions/", $name, ".md")),
            turns_on: $what,
        },)*]
    };
}

const REGRESSIONS: [Regression; 6] = regressions![
    "a_rotten_disk_was_copied" turns on "faults_spared",
    "alone_on_an_old_disk" turns on "faults_spared",
    "moved_before_the_first_was_through" turns on "move",
    "old_disk_started_often" turns on "disks_refused",
    "removed_halfway_and_restarted" turns on "removed_nodes_ended",
    "removed_wiped_and_lost_to_all" turns on "move_all",
];

/// `cargo sim regressions`
#[derive(Clone, Debug, clap::Args)]
pub struct Regressions {
    /// Only those whose names contain this
    #[arg(value_name = "NAME", default_value = "")]
    pub name: String,
}

impl Regressions {
    /// Plays them one after another, prints, and says how it ended.
    #[must_use]
    pub fn execute(&self) -> ExitCode {
        let chosen: Vec<_> = REGRESSIONS.iter().filter(|one| one.name.contains(&self.name)).collect();
        if chosen.is_empty() {
            eprintln!("kapu-sim: no regression is called {:?}", self.name);
            return ExitCode::from(2);
        }
        let mut failed = 0;
        for regression in chosen {
            match regression.play() {
                Ok(Ok(words)) => say(format_args!(
                    "{}: {words}\n    {}",
                    regression.name,
                    regression.headline()
                )),
                Ok(Err(why)) => {
                    failed += 1;
                    say(format_args!("{}: FAILED\n{}", regression.name, why.trim_start()));
                }
                Err(error) => {
                    eprintln!("kapu-sim: {}: {error}", regression.name);
                    return ExitCode::from(BROKEN);
                }
            }
        }
        ExitCode::from(u8::from(failed > 0))
    }
}

impl Regression {
    fn headline(&self) -> &str {
        self.story.lines().next().unwrap_or_default()
    }

    /// The command that repeats it.
    fn again(&self) -> String {
        format!("cargo sim run --plan sim/src/regressions/{}.json", self.name)
    }

    /// Runs the plan in a process of its own. What there is to say, or what is wrong.
    fn play(&self) -> io::Result<Result<String, String>> {
        let file = PlanFile::write(self)?;
        let request = Request {
            plan: Some(file.0.clone()),
            limit: Duration::from_secs(LIMIT_S),
            ..Request::default()
        };
        Ok(self.judge(&request.run()))
    }

    fn judge(&self, run: &Run) -> Result<String, String> {
        let counts = &run.report.counts;
        let of = |counts: &BTreeMap<String, u64>| counts.get(self.turns_on).copied();
        let times = of(&counts.others).or_else(|| of(&counts.faults)).unwrap_or_default();
        if run.report.verdict.is_failure() {
            Err(describe(run, &self.again()))
        } else if times == 0 {
            let (what, again) = (self.turns_on, self.again());
            Err(format!(
                "it does not go there any more: {what} never happened    {again}"
            ))
        } else {
            Ok(format!("{:?}, {} {times}", run.report.verdict, self.turns_on).to_lowercase())
        }
    }
}

/// A plan in a file that goes with it.
struct PlanFile(PathBuf);

impl PlanFile {
    fn write(regression: &Regression) -> io::Result<Self> {
        let name = format!("kapu-sim-{}-{}.json", std::process::id(), regression.name);
        let file = Self(std::env::temp_dir().join(name));
        write(&file.0, regression.plan).map(|()| file)
    }
}

impl Drop for PlanFile {
    fn drop(&mut self) {
        // One that is gone need not go.
        drop(std::fs::remove_file(&self.0));
    }
}

#[expect(clippy::disallowed_methods, reason = "the harness writes its own files")]
fn write(path: &Path, text: &str) -> io::Result<()> {
    std::fs::write(path, text)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::ffi::OsStr;

    use super::*;
    use crate::report::{Report, Verdict};

    fn ran(verdict: Verdict, count: u64) -> Run {
        let mut report = Report {
            verdict,
            ..Report::default()
        };
        report.counts.others.insert(REGRESSIONS[0].turns_on.to_owned(), count);
        Run {
            report,
            last_output: String::new(),
        }
    }

    #[test]
    fn every_plan_of_the_folder_is_played_and_has_its_story() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/regressions");
        let files = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
        let plans = files.filter(|path| path.extension() == Some(OsStr::new("json")));
        let kept: BTreeSet<_> = plans.map(|path| path.file_stem().unwrap().to_owned()).collect();
        let played = REGRESSIONS.iter().map(|one| one.name.into()).collect();
        assert_eq!(kept, played);
        for one in &REGRESSIONS {
            assert!(
                !one.headline().is_empty() && one.story.contains("Cause:") && one.story.contains("Fix:"),
                "{}",
                one.name
            );
            crate::plan::Plan::from_json(one.plan).unwrap();
        }
    }

    #[test]
    fn a_run_that_fails_or_goes_elsewhere_has_failed() {
        let one = &REGRESSIONS[0];
        assert_eq!(one.judge(&ran(Verdict::Pass, 3)).unwrap(), "pass, faults_spared 3");
        assert!(
            one.judge(&ran(Verdict::Pass, 0))
                .unwrap_err()
                .contains("does not go there")
        );
        assert!(one.judge(&ran(Verdict::Fail, 3)).is_err());
        assert!(one.judge(&ran(Verdict::Hang, 3)).is_err());
    }
}
