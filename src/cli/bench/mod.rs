//! `kapu bench`: measures a cluster from outside, as a user would see it.
//!
//! A closed loop: each worker has one request in flight, so the rate is what that many callers get, not what could be queued. Two
//! measurements: [`cycle`] locks and unlocks, [`hold`] takes locks and leaves them held.

pub mod cycle;
pub mod hold;
pub mod report;

use std::time::Duration;

use crate::cli::duration;
use crate::cli::exit::{Exit, Failure};
use crate::cli::output::Output;
use crate::cli::seams::entropy;
use crate::client::{Client, ClientError};
use crate::limits;
use crate::types::Resource;

const CYCLE_WORKERS_DEFAULT: usize = 64;
const HOLD_WORKERS_DEFAULT: usize = 256;

/// Arguments of `kapu bench`.
#[derive(Debug, clap::Args)]
pub struct BenchArgs {
    /// How many requests are in flight at once [default: 64; with --hold 256]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=limits::BENCH_WORKERS_MAX as u64))]
    workers: Option<u64>,
    /// How long to measure, after a second of warm-up
    #[arg(long, value_name = "N", default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..=86_400))]
    seconds: u64,
    /// Take so many locks as fast as possible, and leave them held
    #[arg(long, value_name = "N", conflicts_with = "seconds", value_parser = clap::value_parser!(u64).range(1..=limits::BENCH_LOCKS_MAX))]
    hold: Option<u64>,
    /// The lease of each lock
    #[arg(long, value_name = "TIME", default_value = "1m", value_parser = duration::parse, allow_hyphen_values = true)]
    ttl: Duration,
}

/// What every worker of one measurement shares.
#[derive(Clone, Debug)]
struct Names {
    /// Drawn anew for each measurement, so that two at once, or one after the other, never meet.
    run: u64,
}

impl Names {
    fn resource(&self, number: u64) -> Resource {
        Resource::new(&format!("bench-{:016x}-{number}", self.run)).expect("a short name that is not empty")
    }
}

/// Measures, and prints the result.
///
/// # Errors
/// [`Failure`] when nothing could be measured.
pub async fn run(args: BenchArgs, client: Client, output: Output) -> Result<Exit, Failure> {
    let names = Names { run: entropy()? };
    let workers = |default| {
        args.workers
            .and_then(|workers| usize::try_from(workers).ok())
            .unwrap_or(default)
    };
    match args.hold {
        Some(locks) => hold::run(&client, &names, workers(HOLD_WORKERS_DEFAULT), locks, args.ttl, output).await,
        None => {
            let length = Duration::from_secs(args.seconds);
            cycle::run(
                &client,
                &names,
                workers(CYCLE_WORKERS_DEFAULT),
                length,
                args.ttl,
                output,
            )
            .await
        }
    }
}

/// The kind of an error, for counting.
fn kind(error: &ClientError) -> &'static str {
    match error {
        ClientError::Unreachable { .. } => "unreachable",
        ClientError::Unknown { .. } => "unknown",
        _ => "invalid_input",
    }
}
