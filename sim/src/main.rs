//! The simulation of a whole kapu cluster: one seed, one run.
//!
//! Built without `--cfg madsim` it has no world to run in: it says so, and exits with a code that no script takes for a pass.

use std::process::ExitCode;

/// Whole kapu clusters under deterministic simulation.
#[cfg(madsim)]
#[derive(clap::Parser)]
#[command(name = "cargo sim", version)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[cfg(madsim)]
#[derive(clap::Subcommand)]
enum Command {
    /// One run of one seed: its options, its verdict, and how to repeat it
    Run(kapu_sim::run::Run),
    /// The same seed twice in fresh processes: not one event may differ
    Determinism(kapu_sim::determinism::Determinism),
    /// Every plan that ever failed, with the headline of its story
    Regressions(kapu_sim::regressions::Regressions),
    /// Many seeds, each in a process of its own
    Swarm(kapu_sim::swarm::Swarm),
    /// The smallest plan that still fails
    Shrink(kapu_sim::shrink::Shrink),
    /// The kill table: which planted bug is found by whom, and how soon
    Mutants(kapu_sim::mutants::Mutants),
}

#[cfg(madsim)]
fn main() -> ExitCode {
    use clap::Parser as _;
    // Nodes that fail are the daily business of a run: they are silent unless asked for.
    let filter = std::env::var("KAPU_SIM_LOG").unwrap_or_else(|_| "off".to_owned());
    tracing_subscriber::fmt()
        .with_env_filter(tracing_subscriber::EnvFilter::new(filter))
        .with_writer(std::io::stderr)
        .without_time()
        .init();
    match Arguments::parse().command {
        Command::Run(run) => run.execute(),
        Command::Determinism(determinism) => determinism.execute(),
        Command::Regressions(regressions) => regressions.execute(),
        Command::Swarm(swarm) => swarm.execute(),
        Command::Shrink(shrink) => shrink.execute(),
        Command::Mutants(mutants) => mutants.execute(),
    }
}

#[cfg(not(madsim))]
fn main() -> ExitCode {
    eprintln!("kapu-sim: this binary was built without its world; use `cargo sim`");
    ExitCode::from(69)
}
