//! The command line: one binary for nodes, for users and for measuring.
//!
//! Parses, runs one command, and turns its end into an exit code ([`exit::Exit`] is the contract). It decides nothing about locks: that is
//! the business of [`crate::client`] and [`crate::node`].

pub mod bench;
pub mod child;
pub mod dev;
pub mod duration;
pub mod exit;
pub mod lock;
pub mod logging;
pub mod node;
pub mod ops;
pub mod output;
pub mod seams;
pub mod serve;
pub mod settings;
pub mod signals;
pub mod status;
pub mod view;

use std::future::Future;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Parser, Subcommand};

use crate::cli::exit::{Exit, Failure};
use crate::cli::logging::LogFormat;
use crate::cli::output::Output;
use crate::client::Client;
use crate::config::CLIENT_ADDRESS_DEFAULT;

const EXIT_CODES: &str = "Exit codes:
  0 yes, done             1 no, or could not start   2 usage
  69 not reachable        70 outcome not known       74 the node failed
  75 lock not had in time 76 lock lost               126, 127 command cannot run
  `lock` and `dev` exit with the code of their command.

Start a cluster on this machine and run a command under a lock:
  kapu dev -- kapu lock demo -- sh -c 'echo \"I hold demo, token $KAPU_FENCING_TOKEN\"'";

/// A distributed lock service: leases, fencing tokens, multi-partition Raft.
#[derive(Debug, Parser)]
#[command(name = "kapu", version, after_help = EXIT_CODES, arg_required_else_help = true)]
struct Cli {
    #[command(flatten)]
    global: Global,
    #[command(subcommand)]
    command: Command,
}

/// Flags that every command takes, before or after its name.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Everywhere")]
struct Global {
    /// Where the cluster's nodes listen for clients
    #[arg(
        long,
        global = true,
        env = "KAPU_ENDPOINTS",
        value_name = "ADDR,..",
        value_delimiter = ',',
        default_value = CLIENT_ADDRESS_DEFAULT
    )]
    endpoints: Vec<String>,
    /// The shape of results
    #[arg(
        long,
        global = true,
        value_name = "text|json",
        hide_possible_values = true,
        value_enum,
        default_value_t
    )]
    output: Output,
    /// How long one request may take, retries included
    #[arg(
        long,
        global = true,
        value_name = "TIME",
        default_value = "10s",
        value_parser = duration::parse,
        allow_hyphen_values = true
    )]
    timeout: Duration,
    /// The shape of logs on stderr; RUST_LOG says how much
    #[arg(
        long,
        global = true,
        env = "KAPU_LOG_FORMAT",
        value_name = "text|json",
        hide_possible_values = true,
        value_enum,
        default_value_t
    )]
    log_format: LogFormat,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run a node; with no flag a durable single node
    #[command(
        after_help = "Example, on each of three machines with its own --node-id and --listen:
  kapu serve --node-id 1 --listen 10.0.0.1:2070 \\
    --peers 1=10.0.0.1:2071,2=10.0.0.2:2071,3=10.0.0.3:2071

Example, a fourth node that is added to them:
  kapu serve --node-id 4 --listen 10.0.0.4:2070 --peer-listen 10.0.0.4:2071 --join 10.0.0.1:2070

A flag wins over its KAPU_* variable, that over --config, that over the default."
    )]
    Serve(Box<serve::ServeArgs>),
    /// Run a cluster on this machine, for as long as a command runs or until Ctrl-C
    #[command(after_help = "Example:
  kapu dev -- kapu lock demo -- sh -c 'echo token $KAPU_FENCING_TOKEN'")]
    Dev(dev::DevArgs),
    /// Run a command while holding a lock
    #[command(after_help = "Example:
  kapu lock nightly-backup --ttl 30s --wait 1m -- ./backup.sh

The command sees KAPU_RESOURCE, KAPU_OWNER and KAPU_FENCING_TOKEN.
Exits with its code; with 75 when the lock was not had in time; with 76 when it was
lost, after SIGTERM at once and SIGKILL after --grace.")]
    Lock(lock::LockArgs),
    /// Take a lock if it is free
    #[command(after_help = "Example:
  kapu try-lock demo --ttl 1m --output json")]
    TryLock(ops::TryLockArgs),
    /// Prolong a lock
    #[command(after_help = "Example:
  kapu extend demo --owner \"$KAPU_OWNER\" --ttl 1m")]
    Extend(ops::ExtendArgs),
    /// Free a lock
    #[command(after_help = "Example:
  kapu unlock demo --owner \"$KAPU_OWNER\"")]
    Unlock(ops::UnlockArgs),
    /// Tell who holds a lock
    #[command(after_help = "Example:
  kapu get demo")]
    Get(ops::GetArgs),
    /// Show every node and partition; exit 0 when every partition has a leader
    #[command(after_help = "Example:
  kapu status --endpoints 10.0.0.1:2070")]
    Status,
    /// List the nodes of a cluster, or remove one; new ones add themselves: see `kapu serve --join`
    #[command(subcommand)]
    Node(node::NodeCommand),
    /// List partitions, or hand the leadership of one over
    #[command(subcommand)]
    Partition(node::PartitionCommand),
    /// Measure a cluster
    #[command(after_help = "Examples:
  kapu bench --workers 64 --seconds 10
  kapu bench --hold 100000 --ttl 10m")]
    Bench(bench::BenchArgs),
}

/// Parses the arguments, runs the command, and returns the exit code.
#[must_use]
pub fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            // Help that nobody reads any more is no error.
            let _ = error.print();
            return if error.use_stderr() { Exit::Usage } else { Exit::Yes }.into();
        }
    };
    match run(cli) {
        Ok(exit) => exit.into(),
        Err(failure) => {
            output::note(&failure.message);
            failure.exit.into()
        }
    }
}

fn run(cli: Cli) -> Result<Exit, Failure> {
    let global = cli.global;
    logging::start(global.log_format)?;
    match cli.command {
        Command::Serve(args) => serve::run(*args),
        Command::Dev(args) => block_on(dev::run(args, global.log_format)),
        Command::Lock(args) => with_client(&global, async |client| lock::run(args, &client).await),
        Command::TryLock(args) => with_client(&global, async |client| {
            ops::try_lock(args, &client, global.output).await
        }),
        Command::Extend(args) => with_client(&global, async |client| ops::extend(args, &client, global.output).await),
        Command::Unlock(args) => with_client(&global, async |client| ops::unlock(args, &client, global.output).await),
        Command::Get(args) => with_client(&global, async |client| ops::get(args, &client, global.output).await),
        Command::Status => with_client(&global, async |client| {
            status::run(&client, global.timeout, global.output).await
        }),
        Command::Node(command) => with_client(&global, async |client| {
            node::run_node(command, &client, global.timeout, global.output).await
        }),
        Command::Partition(command) => with_client(&global, async |client| {
            node::run_partition(command, &client, global.timeout, global.output).await
        }),
        Command::Bench(args) => with_client(&global, async |client| bench::run(args, client, global.output).await),
    }
}

/// Runs what needs a client. One thread: clients wait for the network, they do not compute.
fn with_client(global: &Global, work: impl AsyncFnOnce(Client) -> Result<Exit, Failure>) -> Result<Exit, Failure> {
    block_on(async {
        let client = Client::connect(global.endpoints.iter().cloned())
            .await?
            .with_timeout(global.timeout);
        work(client).await
    })
}

fn block_on(work: impl Future<Output = Result<Exit, Failure>>) -> Result<Exit, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| Failure::new(Exit::No, format_args!("cannot start a runtime: {error}")))?;
    let result = runtime.block_on(work);
    runtime.shutdown_background();
    result
}

#[cfg(test)]
mod tests;
