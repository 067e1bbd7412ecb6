//! What one run says of itself in one line of JSON: the contract between a run and everything that starts runs.
//!
//! It is read leniently, field by field, so that an older sweep can read a newer run. What goes into it is decided elsewhere.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// How a run ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// Everything held, and enough happened.
    Pass,
    /// A promise was broken.
    Fail,
    /// Nothing was broken, and too little happened to mean anything.
    Vacuous,
    /// It was killed when its time was over.
    Hang,
    /// It ended without a report.
    #[default]
    Broken,
}

impl Verdict {
    /// Whether somebody has to look at it.
    #[must_use]
    pub const fn is_failure(self) -> bool {
        matches!(self, Self::Fail | Self::Hang | Self::Broken)
    }
}

/// A broken promise.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finding {
    /// Who found it.
    pub checker: String,
    /// What was found.
    pub message: String,
}

impl Finding {
    /// The assertion of kapu's own, not of the harness, that ended a process with this output.
    #[must_use]
    pub fn in_panic(output: &str) -> Option<Self> {
        let mut lines = output.lines();
        let place = lines.find(|line| line.contains("panicked at src/"))?;
        let place = place.split("panicked at ").nth(1).unwrap_or_default();
        let words = lines.next().unwrap_or_default();
        Some(Self {
            checker: "assertion".to_owned(),
            message: format!("{words} ({})", place.trim_end_matches(':')),
        })
    }
}

/// What a run did.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counts {
    /// Faults by kind.
    #[serde(default)]
    pub faults: BTreeMap<String, u64>,
    /// Everything else.
    #[serde(flatten)]
    pub others: BTreeMap<String, u64>,
}

/// The last line of a run.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    /// The seed.
    pub seed: u64,
    /// How it ended.
    pub verdict: Verdict,
    /// Every broken promise.
    #[serde(default)]
    pub violations: Vec<Finding>,
    /// What it did.
    #[serde(default)]
    pub counts: Counts,
    /// Things that must happen sometimes, and how often they did.
    #[serde(default)]
    pub sometimes: BTreeMap<String, u64>,
    /// Equal for equal seeds.
    #[serde(default)]
    pub trace_hash: String,
    /// How many events.
    #[serde(default)]
    pub events: u64,
    /// Simulated time.
    #[serde(default)]
    pub simulated_ms: u64,
    /// Wall time.
    #[serde(default)]
    pub wall_ms: u64,
    /// Processor time, which other processes do not change.
    #[serde(default)]
    pub processor_ms: u64,
    /// How much of it the checkers took.
    #[serde(default)]
    pub checking_ms: u64,
}

impl Report {
    /// Reads one.
    ///
    /// # Errors
    /// When the line is no report.
    pub fn parse(line: &str) -> Result<Self, serde_json::Error> {
        serde_json::from_str(line)
    }

    /// Who found something first; what happened instead when nobody did.
    #[must_use]
    pub fn checker(&self) -> &str {
        match (self.violations.first(), self.verdict) {
            (Some(finding), _) => &finding.checker,
            (None, Verdict::Hang) => "hang",
            (None, Verdict::Broken) => "broken",
            (None, _) => "",
        }
    }
}

/// A run that ended, with its last words when it left no report.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Run {
    /// What it said of itself, or what can be said for it.
    pub report: Report,
    /// What it printed last, when it left no report.
    pub last_output: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_is_read() {
        let line = r#"{"seed":42,"verdict":"fail","violations":[{"checker":"fencing","message":"m"}],
            "counts":{"faults":{"crash":3},"grants":120,"expiries":7},"sometimes":{"expiry":7},
            "trace_hash":"0123456789abcdef","events":5,"simulated_ms":60000,"wall_ms":800}"#;
        let report = Report::parse(line).unwrap();
        assert_eq!(
            (report.seed, report.verdict, report.checker()),
            (42, Verdict::Fail, "fencing")
        );
        assert_eq!(
            (report.counts.faults["crash"], report.counts.others["grants"]),
            (3, 120)
        );
        assert_eq!((report.sometimes["expiry"], report.simulated_ms), (7, 60_000));
    }

    #[test]
    fn what_is_no_report_is_refused() {
        for line in [
            "",
            "pass",
            "[1]",
            r#"{"seed":1,"verdict":"fine"}"#,
            r#"{"verdict":"pass"}"#,
        ] {
            assert!(Report::parse(line).is_err(), "{line}");
        }
    }

    #[test]
    fn an_assertion_of_kapu_is_a_finding_and_one_of_the_harness_is_not() {
        let own = "thread 'main' panicked at src/raft/log.rs:7:9:\nentry 3 is committed\nnote: run with";
        let finding = Finding::in_panic(own).unwrap();
        assert_eq!(finding.checker, "assertion");
        assert_eq!(finding.message, "entry 3 is committed (src/raft/log.rs:7:9)");
        assert_eq!(
            Finding::in_panic("thread 'main' panicked at sim/src/run.rs:7:9:\nhm"),
            None
        );
    }
}
