//! What a run comes to: pass, fail, or nothing at all, with the numbers that say what it did.
//!
//! One line of JSON, which a swarm, a shrink or a script reads; the text around it is for people. A run that gave no lock and applied
//! nothing has shown nothing, and is not called a pass.

use std::collections::BTreeMap;

use crate::checkers::Violation;
use crate::report::{Counts, Finding, Report, Verdict};

/// What must happen sometimes, and which number says so.
const SOMETIMES: [(&str, &str); 11] = [
    ("leader_change", "leader_changes"),
    ("expiry", "expiries"),
    ("lost_sync", "syncs_lost"),
    ("truncation", "truncations"),
    ("retry_after_unknown", "retries_after_unknown"),
    ("busy", "busy"),
    ("recovery", "restarts"),
    ("free_at_last", "free_at_last"),
    ("snapshot", "snapshots"),
    ("members_changed", "members_changed"),
    ("removed_node_ended", "removed_nodes_ended"),
];

/// The verdict on these violations and counts.
#[must_use]
pub fn judge(violations: &[Finding], counts: &Counts) -> Verdict {
    let count = |name: &str| counts.others.get(name).copied().unwrap_or_default();
    if !violations.is_empty() {
        Verdict::Fail
    } else if count("grants") == 0 || count("applied") == 0 {
        Verdict::Vacuous
    } else {
        Verdict::Pass
    }
}

/// What happened of what must happen sometimes.
#[must_use]
pub fn sometimes(counts: &Counts) -> BTreeMap<String, u64> {
    let fact = |(fact, count): (&str, &str)| (fact.to_owned(), counts.others.get(count).copied().unwrap_or_default());
    SOMETIMES.into_iter().map(fact).collect()
}

impl From<Violation> for Finding {
    fn from(violation: Violation) -> Self {
        Self {
            checker: violation.checker.to_owned(),
            message: violation.message,
        }
    }
}

impl Report {
    /// The line for programs.
    #[must_use]
    pub fn to_json(&self) -> String {
        serde_json::to_string(self).expect("a report is plain data")
    }

    /// The lines for people.
    #[must_use]
    pub fn lines(&self) -> Vec<String> {
        let list = |numbers: &BTreeMap<String, u64>| {
            let words: Vec<_> = numbers.iter().map(|(name, count)| format!("{name} {count}")).collect();
            words.join(", ")
        };
        let mut lines = vec![
            format!("faults     {}", list(&self.counts.faults)),
            format!("counts     {}", list(&self.counts.others)),
            format!("sometimes  {}", list(&self.sometimes)),
        ];
        let found = |finding: &Finding| format!("VIOLATION  {}: {}", finding.checker, finding.message);
        lines.extend(self.violations.iter().map(found));
        let verdict = match self.verdict {
            Verdict::Pass => "pass",
            Verdict::Fail => "FAIL",
            Verdict::Vacuous => "VACUOUS: nothing was shown",
            Verdict::Hang | Verdict::Broken => "BROKEN: the run did not come to its end",
        };
        let speed = self.simulated_ms / self.processor_ms.max(1);
        lines.push(format!(
            "{verdict}: trace {}, {} events, {} ms simulated in {} ms of processor time ({speed} times real time), {} ms of it for checking; \
             {} ms on the wall",
            self.trace_hash, self.events, self.simulated_ms, self.processor_ms, self.checking_ms, self.wall_ms
        ));
        lines
    }

    /// 0 for a pass, 1 else.
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        u8::from(self.verdict != Verdict::Pass)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counts(numbers: &[(&str, u64)]) -> Counts {
        let others = numbers
            .iter()
            .map(|(name, count)| ((*name).to_owned(), *count))
            .collect();
        Counts {
            others,
            ..Counts::default()
        }
    }

    #[test]
    fn a_run_that_did_nothing_is_not_a_pass() {
        assert_eq!(judge(&[], &counts(&[("grants", 0), ("applied", 9)])), Verdict::Vacuous);
        assert_eq!(judge(&[], &counts(&[])), Verdict::Vacuous);
        assert_eq!(judge(&[], &counts(&[("grants", 1), ("applied", 9)])), Verdict::Pass);
    }

    #[test]
    fn a_violation_fails_whatever_was_done() {
        let finding = Finding {
            checker: "fencing".to_owned(),
            message: "twice".to_owned(),
        };
        assert_eq!(
            judge(&[finding], &counts(&[("grants", 1), ("applied", 1)])),
            Verdict::Fail
        );
    }

    #[test]
    fn a_report_survives_its_own_text() {
        let counts = counts(&[("restarts", 4), ("grants", 2)]);
        let report = Report {
            seed: 42,
            verdict: Verdict::Pass,
            violations: Vec::new(),
            sometimes: sometimes(&counts),
            counts,
            trace_hash: "0123456789abcdef".to_owned(),
            events: 5,
            simulated_ms: 60_000,
            wall_ms: 800,
            processor_ms: 790,
            checking_ms: 20,
        };
        assert_eq!(report.sometimes["recovery"], 4);
        assert_eq!(serde_json::from_str::<Report>(&report.to_json()).unwrap(), report);
    }
}
