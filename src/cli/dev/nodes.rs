//! The nodes of a development cluster: child processes, each with a log file.
//!
//! Each leads a process group of its own, so that Ctrl-C at the terminal ends them in order, through `kapu dev`, and not all at once behind
//! its back. Each holds a pipe as its stdin; when `kapu dev` dies the pipe ends, and so do they.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitStatus;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use tokio::process::Child;

use crate::cli::dev::plan::Plan;
use crate::cli::dev::ports::free_addresses;
use crate::cli::exit::{Exit, Failure};
use crate::clock::{Clock, SystemClock};

/// How often the nodes are looked at.
const DEATH_POLL: Duration = Duration::from_millis(50);
/// How much of a log is shown.
const TAIL_LINES: usize = 15;
/// What a node says when somebody else has its port.
const PORT_TAKEN: &str = "cannot listen on";

/// The nodes, running or not.
pub struct Nodes {
    plan: Plan,
    running: Vec<Node>,
}

/// One node's process.
pub(super) struct Node {
    pub(super) id: u64,
    pub(super) address: String,
    pub(super) pid: u32,
    pub(super) log: PathBuf,
    pub(super) process: Child,
    pub(super) ended: bool,
}

/// A node that ended without having been asked to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Death {
    node: u64,
    status: ExitStatus,
    log: PathBuf,
    tail: String,
}

impl Nodes {
    /// None is running yet.
    #[must_use]
    pub const fn new(plan: Plan) -> Self {
        Self {
            plan,
            running: Vec::new(),
        }
    }

    /// Starts all of them on free ports.
    ///
    /// # Errors
    /// [`Failure`] when one cannot be started.
    pub fn start(&mut self) -> Result<(), Failure> {
        self.start_all()
            .map_err(|error| Failure::new(Exit::No, format_args!("cannot start the nodes: {error}")))
    }

    fn start_all(&mut self) -> io::Result<()> {
        self.running.clear();
        let count = usize::try_from(self.plan.nodes).map_err(io::Error::other)?;
        let mut clients = free_addresses(2 * count)?;
        let peers = clients.split_off(count);
        for (id, address) in (1..).zip(clients) {
            self.running.push(self.plan.start(id, address, &peers)?);
        }
        Ok(())
    }

    /// Where clients reach them.
    #[must_use]
    pub fn endpoints(&self) -> Vec<String> {
        self.running.iter().map(|node| node.address.clone()).collect()
    }

    /// How many there are.
    #[must_use]
    pub fn count(&self) -> usize {
        self.running.len()
    }

    /// Whether any has not ended.
    #[must_use]
    pub fn are_running(&self) -> bool {
        self.running.iter().any(|node| !node.ended)
    }

    /// Node, process id, address and log of each.
    pub fn rows(&self) -> impl Iterator<Item = Vec<String>> {
        self.running.iter().map(|node| {
            vec![
                node.id.to_string(),
                node.pid.to_string(),
                node.address.clone(),
                node.log.display().to_string(),
            ]
        })
    }

    /// Waits until one ends that was not asked to. Each is told once. Dropping the future loses none.
    pub async fn next_death(&mut self) -> Death {
        loop {
            for node in self.running.iter_mut().filter(|node| !node.ended) {
                if let Ok(Some(status)) = node.process.try_wait() {
                    node.ended = true;
                    return Death {
                        node: node.id,
                        status,
                        log: node.log.clone(),
                        tail: tail(&node.log),
                    };
                }
            }
            SystemClock.sleep(DEATH_POLL).await;
        }
    }

    /// Adds what the nodes logged to a failure.
    #[must_use]
    pub fn with_logs(&self, failure: Failure) -> Failure {
        let logs = self
            .running
            .iter()
            .map(|node| format!("\n--- node {}: {}\n{}", node.id, node.log.display(), tail(&node.log)));
        Failure {
            message: failure.message + &logs.collect::<String>(),
            ..failure
        }
    }

    /// Asks all to stop, and kills those that have not after `grace`.
    pub async fn stop(&mut self, grace: Duration) {
        for node in self.running.iter().filter(|node| !node.ended) {
            node.ask_to_stop();
        }
        tokio::select! {
            biased;
            () = wait_all(&mut self.running) => {}
            () = SystemClock.sleep(grace) => self.kill().await,
        }
    }

    /// Kills all, and waits until they are gone.
    pub async fn kill(&mut self) {
        for node in &mut self.running {
            // One that has ended already needs no signal.
            let _ = node.process.start_kill();
        }
        wait_all(&mut self.running).await;
        self.running.clear();
    }
}

async fn wait_all(nodes: &mut [Node]) {
    for node in nodes {
        // A child that cannot be waited for is gone.
        let _ = node.process.wait().await;
        node.ended = true;
    }
}

impl Node {
    fn ask_to_stop(&self) {
        if let Some(pid) = self.process.id().and_then(|id| Pid::from_raw(id.try_into().ok()?)) {
            // It may have ended in this very moment.
            let _ = kill_process(pid, Signal::TERM);
        }
    }
}

impl Death {
    /// Whether somebody else had its port.
    #[must_use]
    pub fn port_was_taken(&self) -> bool {
        self.tail.contains(PORT_TAKEN)
    }
}

impl fmt::Display for Death {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "node {} ended by itself ({}); the end of {}:\n{}",
            self.node,
            self.status,
            self.log.display(),
            self.tail
        )
    }
}

/// The last lines of a log; what is wrong with it where it cannot be read.
fn tail(log: &Path) -> String {
    match std::fs::read_to_string(log) {
        Ok(text) => {
            let lines: Vec<_> = text.lines().collect();
            lines[lines.len().saturating_sub(TAIL_LINES)..].join("\n")
        }
        Err(error) => format!("(cannot be read: {error})"),
    }
}

#[cfg(test)]
mod tests;
