//! `kapu dev`: a cluster of real processes on this machine, for as long as a command runs or until Ctrl-C.
//!
//! It starts, waits, tells and stops; the nodes are `kapu serve` like any other. Whatever ends it, no process stays behind: it stops them
//! itself, and when it is killed they see their stdin end. A temporary data directory goes with it, except when it is killed.

pub mod data;
pub mod nodes;
pub mod plan;
pub mod ports;

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::cli::child::Child;
use crate::cli::dev::data::DataDir;
use crate::cli::dev::nodes::{Death, Nodes};
use crate::cli::dev::plan::Plan;
use crate::cli::exit::{Exit, Failure};
use crate::cli::logging::LogFormat;
use crate::cli::output::{note, print, progress, progress_end, table};
use crate::cli::signals::{Signals, Stop};
use crate::cli::view::look;
use crate::client::Client;
use crate::clock::{Clock, SystemClock};
use crate::limits;

/// How long a cluster may take until every partition has a leader.
const READY_MAX: Duration = Duration::from_secs(30);
/// How often the nodes are asked whether they have leaders.
const READY_POLL: Duration = Duration::from_millis(50);
/// How long one node may take to say so.
const ASK_MAX: Duration = Duration::from_secs(1);
/// How long nodes, and then the command, may take to stop before they are killed.
const STOP_MAX: Duration = Duration::from_secs(5);
/// How often a cluster is started again when somebody else took one of its ports.
const STARTS_MAX: u32 = 5;

/// Arguments of `kapu dev`.
#[derive(Debug, clap::Args)]
pub struct DevArgs {
    /// How many nodes
    #[arg(long, default_value_t = 3, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=limits::NODES_MAX as u64))]
    nodes: u64,
    /// Where the data lives, and stays [default: a temporary directory, removed at the end]
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
    /// How many partitions
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=i64::from(limits::PARTITIONS_MAX)))]
    partitions: Option<u32>,
    /// A command to run, with KAPU_ENDPOINTS set and `kapu` on its PATH; the cluster ends with it
    #[arg(last = true, value_name = "CMD")]
    command: Vec<OsString>,
}

/// Runs a cluster.
///
/// # Errors
/// [`Failure`] when it cannot be started, the command cannot be run, or every node has died.
pub async fn run(args: DevArgs, log_format: LogFormat) -> Result<Exit, Failure> {
    let mut signals = Signals::catch()?;
    let binary = std::env::current_exe()
        .map_err(|error| Failure::new(Exit::No, format_args!("cannot find my own binary: {error}")))?;
    let data = DataDir::prepare(args.data_dir.clone())?;
    let plan = Plan {
        binary: binary.clone(),
        data: data.path().to_owned(),
        nodes: args.nodes,
        partitions: args.partitions,
        log_format,
    };
    let mut nodes = Nodes::new(plan);
    let result = tokio::select! {
        biased;
        stop = signals.next() => {
            progress_end();
            Ok(ended_by(stop, &args))
        }
        started = start(&mut nodes) => started,
    };
    let result = match result {
        Ok(Exit::Yes) if nodes.are_running() => work(&args, &binary, &mut nodes, &mut signals).await,
        early => early,
    };
    tokio::select! {
        biased;
        _ = signals.next() => note("asked twice: killing the nodes"),
        () = nodes.stop(STOP_MAX) => {}
    }
    nodes.kill().await;
    data.remove();
    result
}

/// Ctrl-C is the normal end of a cluster that runs no command.
fn ended_by(stop: Stop, args: &DevArgs) -> Exit {
    if stop == Stop::Interrupt && args.command.is_empty() {
        Exit::Yes
    } else {
        stop.exit()
    }
}

/// Starts the nodes and waits for leaders; starts again, on other ports, when somebody else was faster to take one.
async fn start(nodes: &mut Nodes) -> Result<Exit, Failure> {
    for attempt in 1.. {
        nodes.start()?;
        let ready = wait_ready(nodes.endpoints(), nodes.count());
        let death = tokio::select! {
            biased;
            death = nodes.next_death() => death,
            ready = ready => {
                progress_end();
                return ready.map(|()| Exit::Yes).map_err(|failure| nodes.with_logs(failure));
            }
        };
        progress_end();
        if !death.port_was_taken() || attempt == STARTS_MAX {
            return Err(Failure::new(Exit::No, death));
        }
        nodes.kill().await;
    }
    unreachable!("the loop ends by returning")
}

/// Waits until every node answers and every partition has a leader.
async fn wait_ready(endpoints: Vec<String>, count: usize) -> Result<(), Failure> {
    let client = Client::connect(endpoints).await?.with_timeout(ASK_MAX);
    let start = SystemClock.now();
    loop {
        let view = look(&client, ASK_MAX).await;
        if view.is_ready() && view.statuses().count() == count {
            return Ok(());
        }
        let waited = SystemClock.now() - start;
        let (led, partitions, up) = (view.led(), view.partitions().len(), view.statuses().count());
        let state = format!("{up} of {count} nodes answer, {led} of {partitions} partitions have a leader");
        if waited > READY_MAX {
            return Err(Failure::new(
                Exit::No,
                format_args!("not ready after {READY_MAX:?}: {state}"),
            ));
        }
        progress(format_args!("{state} ({} s)", waited.as_secs()));
        SystemClock.sleep(READY_POLL).await;
    }
}

/// Tells where the cluster is, and lets it run for as long as it is wanted.
async fn work(args: &DevArgs, binary: &Path, nodes: &mut Nodes, signals: &mut Signals) -> Result<Exit, Failure> {
    let text = tell(nodes);
    if args.command.is_empty() {
        print(&text)?;
        return watch(nodes, signals).await;
    }
    eprint!("{text}");
    let variables = [
        ("KAPU_ENDPOINTS", nodes.endpoints().join(",").into()),
        ("PATH", path_with(binary)?),
    ];
    let child = Child::start(&args.command, &variables)?;
    Ok(attend(child, nodes, signals).await)
}

/// The table of nodes, and the line to paste into another terminal.
fn tell(nodes: &Nodes) -> String {
    let mut rows = vec![["NODE", "PID", "ADDRESS", "LOG"].map(String::from).to_vec()];
    rows.extend(nodes.rows());
    format!(
        "{}export KAPU_ENDPOINTS={}\n",
        table(&rows),
        nodes.endpoints().join(",")
    )
}

async fn watch(nodes: &mut Nodes, signals: &mut Signals) -> Result<Exit, Failure> {
    loop {
        tokio::select! {
            biased;
            stop = signals.next() => return Ok(if stop == Stop::Interrupt { Exit::Yes } else { stop.exit() }),
            death = nodes.next_death() => report(&death),
        }
        if !nodes.are_running() {
            return Err(Failure::new(Exit::No, "every node has ended"));
        }
    }
}

async fn attend(mut child: Child, nodes: &mut Nodes, signals: &mut Signals) -> Exit {
    loop {
        tokio::select! {
            biased;
            stop = signals.next() => {
                child.forward(stop);
                child.end_within(STOP_MAX).await;
                return stop.exit();
            }
            exit = child.wait() => return exit,
            death = nodes.next_death() => report(&death),
        }
    }
}

fn report(death: &Death) {
    note(death);
}

/// `PATH` with the directory of this binary first, so that the command finds the `kapu` that runs the cluster.
fn path_with(binary: &Path) -> Result<OsString, Failure> {
    let own = binary.parent().map(Path::to_owned).into_iter();
    let path = std::env::var_os("PATH").unwrap_or_default();
    let joined = std::env::join_paths(own.chain(std::env::split_paths(&path)));
    joined.map_err(|error| {
        Failure::new(
            Exit::No,
            format_args!("{} cannot be put on PATH: {error}", binary.display()),
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_binary_that_runs_the_cluster_is_found_first() {
        let path = path_with(Path::new("/opt/kapu/bin/kapu")).unwrap();
        assert_eq!(
            std::env::split_paths(&path).next(),
            Some(PathBuf::from("/opt/kapu/bin"))
        );
        assert!(std::env::split_paths(&path).count() > 1);
    }

    #[test]
    fn ctrl_c_is_the_normal_end_only_without_a_command() {
        let args = |command: &[&str]| DevArgs {
            nodes: 3,
            data_dir: None,
            partitions: None,
            command: command.iter().map(OsString::from).collect(),
        };
        assert_eq!(ended_by(Stop::Interrupt, &args(&[])), Exit::Yes);
        assert_eq!(ended_by(Stop::Terminate, &args(&[])).code(), 143);
        assert_eq!(ended_by(Stop::Interrupt, &args(&["true"])).code(), 130);
    }
}
