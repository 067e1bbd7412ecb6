//! The smallest plan that still fails: faults are taken out, then made shorter, as long as the same checker objects.
//!
//! Delta debugging (Zeller and Hildebrandt 2002) over the list of faults, one child process for each try. It works on the plan as JSON and knows
//! no fault: a duration is a field that ends in `_ms`. Options are left as they were drawn.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use serde_json::Value;

use crate::process::{self, BROKEN, Request};
use crate::report::Run;
use crate::say::say;

/// No duration is tried below this.
const SHORTEST_MS: u64 = 5;

/// `cargo sim shrink`
#[derive(Clone, Debug, clap::Args)]
pub struct Shrink {
    /// A seed that fails
    #[arg(long)]
    pub seed: u64,
    /// The planted bug that it fails with
    #[arg(long)]
    pub mutant: Option<String>,
    /// Where the smallest plan is written [default: target/shrunk-SEED.json]
    #[arg(long)]
    pub out: Option<PathBuf>,
    /// Processor time after which a run is ended, in seconds
    #[arg(long, default_value_t = process::LIMIT_S)]
    pub limit_s: u64,
}

impl Shrink {
    /// Shrinks, and says what was left.
    #[must_use]
    pub fn execute(&self) -> ExitCode {
        match self.shrink() {
            Ok(()) => ExitCode::SUCCESS,
            Err(reason) => {
                eprintln!("kapu-sim: {reason}");
                ExitCode::from(BROKEN)
            }
        }
    }

    fn out(&self) -> PathBuf {
        let usual = || format!("target/shrunk-{}.json", self.seed).into();
        self.out.clone().unwrap_or_else(usual)
    }

    fn shrink(&self) -> Result<(), String> {
        let plan = self.draw()?;
        let faults = faults_of(&plan).ok_or("the plan has no list of faults")?;
        let checker = self.run(&plan, faults.clone())?.report.checker().to_owned();
        if checker.is_empty() {
            return Err(format!("seed {} does not fail; there is nothing to shrink", self.seed));
        }
        let mut tries = 0;
        let mut fails = |faults: &[Value]| {
            tries += 1;
            let run = self.run(&plan, faults.to_vec());
            let same = run.is_ok_and(|run| run.report.verdict.is_failure() && run.report.checker() == checker);
            let kept = if same { "still fails" } else { "does not" };
            eprintln!("{:>4} faults: {kept}", faults.len());
            same
        };
        let fewest = ddmin(&faults, &mut fails);
        let shortest = shorten(fewest, &mut fails);
        let out = self.out();
        write(&out, &with_faults(&plan, shortest.clone()))?;
        say(format_args!(
            "{checker}: {} faults before, {} after, {tries} runs\n{}\ncargo sim{} run --plan {}{}",
            faults.len(),
            shortest.len(),
            shortest.iter().map(Value::to_string).collect::<Vec<_>>().join("\n"),
            if self.mutant.is_some() { "-mutants" } else { "" },
            out.display(),
            self.mutant
                .as_ref()
                .map_or(String::new(), |name| format!(" --mutant {name}")),
        ));
        Ok(())
    }

    fn request(&self) -> Request {
        Request {
            seed: self.seed,
            mutant: self.mutant.clone(),
            limit: Duration::from_secs(self.limit_s),
            ..Request::default()
        }
    }

    /// The plan that the seed draws.
    fn draw(&self) -> Result<Value, String> {
        let path = self.out();
        let run = Request {
            print_plan: Some(path.clone()),
            ..self.request()
        }
        .run();
        read(&path).map_err(|error| format!("the plan was not printed: {error}\n{}", run.last_output))
    }

    /// Replays the plan with other faults.
    fn run(&self, plan: &Value, faults: Vec<Value>) -> Result<Run, String> {
        let path = self.out();
        write(&path, &with_faults(plan, faults))?;
        let request = Request {
            plan: Some(path),
            ..self.request()
        };
        Ok(request.run())
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "a plan is a file of the person who asked, outside of any simulation"
)]
fn write(path: &Path, plan: &Value) -> Result<(), String> {
    std::fs::write(path, format!("{plan:#}\n")).map_err(|error| format!("{}: {error}", path.display()))
}

#[expect(
    clippy::disallowed_methods,
    reason = "a plan is a file of the person who asked, outside of any simulation"
)]
fn read(path: &Path) -> Result<Value, String> {
    let text = std::fs::read(path).map_err(|error| format!("{}: {error}", path.display()))?;
    serde_json::from_slice(&text).map_err(|error| format!("{}: {error}", path.display()))
}

fn faults_of(plan: &Value) -> Option<Vec<Value>> {
    plan.get("faults")?.as_array().cloned()
}

fn with_faults(plan: &Value, faults: Vec<Value>) -> Value {
    let mut plan = plan.clone();
    plan["faults"] = Value::Array(faults);
    plan
}

/// A subset that `fails`, of which no single one can be left out. `all` fails.
pub fn ddmin<T: Clone>(all: &[T], fails: &mut impl FnMut(&[T]) -> bool) -> Vec<T> {
    let (mut kept, mut parts) = (all.to_vec(), 2);
    if kept.is_empty() || fails(&[]) {
        return Vec::new();
    }
    while kept.len() >= 2 {
        let size = kept.len().div_ceil(parts);
        let starts: Vec<_> = (0..kept.len()).step_by(size).collect();
        let without = |start: usize| [&kept[..start], &kept[(start + size).min(kept.len())..]].concat();
        let smaller = starts.into_iter().map(without).find(|rest| fails(rest));
        match smaller {
            Some(rest) => {
                kept = rest;
                parts = (parts - 1).max(2);
            }
            None if size == 1 => break,
            None => parts = (parts * 2).min(kept.len()),
        }
    }
    kept
}

/// The same faults, each duration halved as long as they still fail.
fn shorten(mut faults: Vec<Value>, fails: &mut impl FnMut(&[Value]) -> bool) -> Vec<Value> {
    for at in 0..faults.len() {
        while let Some(shorter) = halve(&faults[at]) {
            let longer = std::mem::replace(&mut faults[at], shorter);
            if !fails(&faults) {
                faults[at] = longer;
                break;
            }
        }
    }
    faults
}

/// The fault with every duration halved; none when all are short already.
fn halve(planned: &Value) -> Option<Value> {
    let mut planned = planned.clone();
    let fields = planned
        .get_mut("fault")?
        .as_object_mut()?
        .values_mut()
        .next()?
        .as_object_mut()?;
    let mut shorter = false;
    for (_, value) in fields.iter_mut().filter(|(name, _)| name.ends_with("_ms")) {
        if let Some(ms) = value.as_u64().filter(|ms| ms / 2 >= SHORTEST_MS) {
            *value = (ms / 2).into();
            shorter = true;
        }
    }
    shorter.then_some(planned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_two_that_matter_are_left() {
        for (a, b) in [(0, 1), (3, 60), (62, 63), (17, 18)] {
            let all: Vec<u32> = (0..64).collect();
            let mut tries = 0;
            let left = ddmin(&all, &mut |some| {
                tries += 1;
                some.contains(&a) && some.contains(&b)
            });
            assert_eq!(left, [a, b]);
            assert!(tries < 200, "{tries} tries");
        }
    }

    #[test]
    fn nothing_is_left_where_nothing_matters() {
        assert!(ddmin(&[1, 2, 3], &mut |_| true).is_empty());
        assert!(ddmin::<u8>(&[], &mut |_| true).is_empty());
    }

    #[test]
    fn everything_is_left_where_everything_matters() {
        assert_eq!(ddmin(&[1, 2, 3, 4, 5], &mut |some| some.len() == 5), [1, 2, 3, 4, 5]);
        assert_eq!(ddmin(&[1], &mut |some| some.len() == 1), [1]);
    }

    #[test]
    fn no_single_one_can_be_left_out() {
        let needed = |some: &[u32]| some.iter().filter(|n| *n % 3 == 0).count() >= 4;
        let left = ddmin(&(0..40).collect::<Vec<u32>>(), &mut |some| needed(some));
        assert_eq!(left.len(), 4, "{left:?}");
    }

    #[test]
    fn durations_are_halved_while_it_fails() {
        let crash = |down| serde_json::json!({"at_ms": 1000, "fault": {"crash": {"node": 8, "down_ms": down}}});
        let long_enough = |faults: &[Value]| faults[0]["fault"]["crash"]["down_ms"].as_u64() >= Some(100);
        assert_eq!(
            shorten(vec![crash(900)], &mut |faults| long_enough(faults)),
            [crash(112)]
        );
        assert_eq!(shorten(vec![crash(900)], &mut |_| true), [crash(7)]);
    }
}
