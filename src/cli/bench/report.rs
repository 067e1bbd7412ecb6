//! What a measurement found: rates, latencies, and errors by kind.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::time::Duration;

use hdrhistogram::Histogram;
use serde::Serialize;

use crate::cli::output::Report;

/// Latencies above this count as this: one minute, in microseconds.
const LATENCY_US_MAX: u64 = 60 * 1_000_000;

/// How often each kind of error was met.
pub type Errors = BTreeMap<&'static str, u64>;

/// The latencies of one operation.
#[derive(Clone, Debug)]
pub struct Latencies(Histogram<u64>);

impl Default for Latencies {
    fn default() -> Self {
        Self(Histogram::new_with_bounds(1, LATENCY_US_MAX, 3).expect("the bounds are constants in order"))
    }
}

impl Latencies {
    /// Adds one.
    pub fn record(&mut self, latency: Duration) {
        self.0
            .saturating_record(u64::try_from(latency.as_micros()).unwrap_or(u64::MAX));
    }

    /// Adds all of `other`.
    pub fn merge(&mut self, other: &Self) {
        self.0.add(&other.0).expect("all histograms have the same bounds");
    }

    /// The figures that are reported.
    #[must_use]
    pub fn summary(&self) -> Summary {
        let at = |quantile| self.0.value_at_quantile(quantile);
        Summary {
            p50_us: at(0.5),
            p99_us: at(0.99),
            p999_us: at(0.999),
            max_us: self.0.max(),
        }
    }
}

/// Latencies in microseconds; zero when nothing was measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Summary {
    /// Half are at or below.
    pub p50_us: u64,
    /// 99 of 100 are at or below.
    pub p99_us: u64,
    /// 999 of 1,000 are at or below.
    pub p999_us: u64,
    /// The longest.
    pub max_us: u64,
}

/// The result of locking and unlocking.
#[derive(Clone, Debug, Serialize)]
pub struct CycleReport {
    /// How many requests were in flight at once.
    pub workers: usize,
    /// How long was measured.
    pub seconds: f64,
    /// How many times a lock was taken and freed.
    pub cycles: u64,
    /// The same per second.
    pub cycles_per_s: f64,
    /// Latencies of taking.
    pub lock: Summary,
    /// Latencies of freeing.
    pub unlock: Summary,
    /// Errors by kind, those of the warm-up included.
    pub errors: Errors,
}

/// The result of taking locks and leaving them held.
#[derive(Clone, Debug, Serialize)]
pub struct HoldReport {
    /// How many requests were in flight at once.
    pub workers: usize,
    /// How long it took.
    pub seconds: f64,
    /// How many locks were asked for.
    pub wanted: u64,
    /// How many were taken and are still held.
    pub held: u64,
    /// The same per second.
    pub locks_per_s: f64,
    /// Latencies of taking.
    pub lock: Summary,
    /// Errors by kind.
    pub errors: Errors,
}

/// Events per second; zero when no time has passed.
#[must_use]
#[expect(
    clippy::cast_precision_loss,
    reason = "a rate for people; counts stay far below 2^52"
)]
pub fn rate(count: u64, time: Duration) -> f64 {
    if time.is_zero() {
        0.0
    } else {
        (count as f64 / time.as_secs_f64() * 10.0).round() / 10.0
    }
}

/// Adds the errors of one worker to those of all.
pub fn add_errors(all: &mut Errors, more: &Errors) {
    for (kind, count) in more {
        *all.entry(kind).or_default() += count;
    }
}

fn latency_line(name: &str, summary: &Summary) -> String {
    let Summary {
        p50_us,
        p99_us,
        p999_us,
        max_us,
    } = summary;
    format!("{name:<8} p50 {p50_us} us  p99 {p99_us} us  p99.9 {p999_us} us  max {max_us} us\n")
}

fn error_lines(errors: &Errors) -> String {
    errors.iter().fold(String::new(), |mut lines, (kind, count)| {
        writeln!(lines, "errors   {kind} {count}").expect("a string takes all text");
        lines
    })
}

impl Report for CycleReport {
    fn text(&self) -> String {
        let Self {
            workers,
            seconds,
            cycles,
            cycles_per_s,
            lock,
            unlock,
            errors,
        } = self;
        let head = format!("{cycles_per_s:.1} cycles/s  ({cycles} in {seconds:.1} s, {workers} workers)\n");
        head + &latency_line("lock", lock) + &latency_line("unlock", unlock) + &error_lines(errors)
    }
}

impl Report for HoldReport {
    fn text(&self) -> String {
        let Self {
            workers,
            seconds,
            wanted,
            held,
            locks_per_s,
            lock,
            errors,
        } = self;
        let head =
            format!("{locks_per_s:.1} locks/s  ({held} of {wanted} held after {seconds:.1} s, {workers} workers)\n");
        head + &latency_line("lock", lock) + &error_lines(errors)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn latencies(us: impl IntoIterator<Item = u64>) -> Latencies {
        let mut latencies = Latencies::default();
        us.into_iter()
            .for_each(|us| latencies.record(Duration::from_micros(us)));
        latencies
    }

    #[test]
    fn percentiles_are_those_of_what_was_recorded() {
        let summary = latencies(1..=1000).summary();
        assert_eq!(
            summary,
            Summary {
                p50_us: 500,
                p99_us: 990,
                p999_us: 999,
                max_us: 1000
            }
        );
    }

    #[test]
    fn the_histograms_of_workers_add_up() {
        let mut all = latencies([10]);
        all.merge(&latencies([20, 30]));
        assert_eq!((all.summary().p50_us, all.summary().max_us), (20, 30));
    }

    #[test]
    fn a_latency_beyond_the_scale_is_counted_and_nothing_measured_is_zero() {
        let long = latencies([u64::MAX]).summary();
        assert!(long.p50_us >= LATENCY_US_MAX, "{long:?}");
        assert_eq!(
            latencies([]).summary(),
            Summary {
                p50_us: 0,
                p99_us: 0,
                p999_us: 0,
                max_us: 0
            }
        );
        assert_eq!(rate(5, Duration::ZERO).to_bits(), 0.0_f64.to_bits());
    }

    #[test]
    fn the_report_of_cycles_has_the_promised_fields() {
        let summary = latencies([100, 200, 300]).summary();
        let errors = Errors::from([("busy", 2), ("unknown", 1)]);
        let report = CycleReport {
            workers: 64,
            seconds: 2.0,
            cycles: 3,
            cycles_per_s: rate(3, Duration::from_secs(2)),
            lock: summary,
            unlock: summary,
            errors,
        };
        let json = serde_json::to_value(&report).unwrap();
        assert_eq!(json["cycles_per_s"], 1.5);
        assert_eq!(json["lock"]["p50_us"], 200);
        assert_eq!(json["unlock"]["p999_us"], 300);
        assert_eq!(json["errors"]["unknown"], 1);
        let text = "1.5 cycles/s  (3 in 2.0 s, 64 workers)\n\
            lock     p50 200 us  p99 300 us  p99.9 300 us  max 300 us\n\
            unlock   p50 200 us  p99 300 us  p99.9 300 us  max 300 us\n\
            errors   busy 2\nerrors   unknown 1\n";
        assert_eq!(report.text(), text);
    }
}
