//! What a cluster of real processes costs over time: members that change, a million locks, millions of cycles, a follower that stands still.
//!
//! Each part starts a cluster of its own on loopback, in a temporary directory, puts load on it from this process, and prints figures as plain
//! lines. Nothing is judged but what must never happen: an acknowledged lock that is gone, a token that comes twice. `ci/endure` runs it.

#[path = "../cluster/harness.rs"]
#[expect(dead_code, reason = "the tests use more of it")]
mod harness;
#[path = "../cluster/ledger.rs"]
mod ledger;
#[path = "../cluster/load.rs"]
#[expect(dead_code, reason = "the tests use more of it")]
mod load;
#[path = "../cluster/process.rs"]
#[expect(dead_code, reason = "the tests use more of it")]
mod process;
#[path = "../cluster/requests.rs"]
#[expect(dead_code, reason = "the tests use more of it")]
mod requests;

mod cycles;
mod locks;
mod measure;
mod members;
mod stopped;

use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use kapu::cli::signals::Signals;

/// What to measure, and how much of it.
#[derive(Debug, Parser)]
struct Args {
    /// The parts, in order: members, locks, cycles, stopped
    #[arg(required = true)]
    parts: Vec<String>,
    #[arg(long, default_value_t = 64)]
    workers: u64,
    #[arg(long, default_value_t = 1)]
    partitions: u32,
    #[arg(long, default_value_t = 10)]
    seconds: u64,
    #[arg(long, default_value_t = 1_000_000)]
    locks: u64,
    #[arg(long, default_value_t = 10_000_000)]
    cycles: u64,
    #[arg(long, default_value_t = 60)]
    stop: u64,
    /// `cargo bench` says so.
    #[arg(long, hide = true)]
    bench: bool,
}

impl Args {
    /// How long a phase is whose length nothing else decides.
    const fn phase(&self) -> Duration {
        Duration::from_secs(self.seconds)
    }
}

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() -> ExitCode {
    let args = Args::parse();
    let Ok(mut signals) = Signals::catch() else {
        return ExitCode::FAILURE;
    };
    // What is broken off ends its nodes too, also one that is stopped.
    tokio::select! {
        biased;
        _ = signals.next() => ExitCode::FAILURE,
        () = run(&args) => ExitCode::SUCCESS,
    }
}

async fn run(args: &Args) {
    for part in &args.parts {
        match part.as_str() {
            "members" => members::run(args).await,
            "locks" => locks::run(args).await,
            "cycles" => cycles::run(args).await,
            "stopped" => stopped::run(args).await,
            other => panic!("{other:?} is no part; give members, locks, cycles or stopped"),
        }
    }
}
