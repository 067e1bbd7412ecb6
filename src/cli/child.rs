//! The user's command as a child process: started, told, stopped, and its end turned into an exit code.
//!
//! At a terminal the command stays in the foreground group, so that it can read the terminal and Ctrl-C reaches it. Where there is no
//! terminal it leads a group of its own, and whatever it started is signalled with it: a shell that dies must not leave its work running
//! after the lock is gone. `kapu` never waits for what a command leaves behind when it ends by itself.

use std::ffi::{OsStr, OsString};
use std::io::{self, IsTerminal};
use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process, kill_process_group, test_kill_process_group};
use tokio::process::Command;

use crate::cli::exit::{Exit, Failure};
use crate::cli::signals::Stop;
use crate::clock::{Clock, SystemClock};

/// How often a group that is being stopped is looked at.
const GROUP_POLL: Duration = Duration::from_millis(20);

/// A command that runs.
pub struct Child {
    process: tokio::process::Child,
    pid: Pid,
    /// Whether it leads a group of its own.
    own_group: bool,
}

impl Child {
    /// Starts `command` with `variables` added to its environment.
    ///
    /// # Errors
    /// [`Failure`] with 127 when it is not found, 126 when it cannot be executed.
    pub fn start(command: &[OsString], variables: &[(&str, OsString)]) -> Result<Self, Failure> {
        Self::start_in(command, variables, !at_terminal())
    }

    fn start_in(command: &[OsString], variables: &[(&str, OsString)], own_group: bool) -> Result<Self, Failure> {
        let (program, arguments) = command
            .split_first()
            .ok_or_else(|| Failure::new(Exit::Usage, "no command was given"))?;
        let mut builder = Command::new(program);
        builder
            .args(arguments)
            .envs(variables.iter().map(|(name, value)| (name, value)))
            .kill_on_drop(true);
        if own_group {
            builder.process_group(0);
        }
        let process = builder.spawn().map_err(|error| not_started(program, &error))?;
        let pid = process.id().and_then(|id| Pid::from_raw(id.try_into().ok()?));
        Ok(Self {
            process,
            pid: pid.expect("a child that was just started has an id"),
            own_group,
        })
    }

    /// Waits for the command to end. Dropping the future loses nothing.
    pub async fn wait(&mut self) -> Exit {
        match self.process.wait().await {
            Ok(status) => exit_of(status),
            Err(_) => Exit::No,
        }
    }

    /// Passes on a signal that `kapu` was sent. At a terminal Ctrl-C has reached the command already.
    pub fn forward(&self, stop: Stop) {
        if self.own_group || stop == Stop::Terminate || !at_terminal() {
            self.signal(stop.signal());
        }
    }

    /// Waits for the command to end for at most `grace`, then kills it, and returns when nothing of its group is left.
    pub async fn end_within(&mut self, grace: Duration) -> Exit {
        let ended = async {
            let exit = self.process.wait().await.map_or(Exit::No, exit_of);
            while self.own_group && test_kill_process_group(self.pid).is_ok() {
                SystemClock.sleep(GROUP_POLL).await;
            }
            exit
        };
        let in_time = tokio::select! {
            biased;
            exit = ended => Some(exit),
            () = SystemClock.sleep(grace) => None,
        };
        if let Some(exit) = in_time {
            return exit;
        }
        self.signal(Signal::KILL);
        self.wait().await
    }

    /// SIGTERM at once, SIGKILL after `grace`.
    pub async fn stop(&mut self, grace: Duration) -> Exit {
        self.signal(Signal::TERM);
        self.end_within(grace).await
    }

    /// A process or group that has ended already needs no signal, so errors say nothing.
    fn signal(&self, signal: Signal) {
        let _ = match self.process.id() {
            _ if self.own_group => kill_process_group(self.pid, signal),
            Some(_) => kill_process(self.pid, signal),
            None => Ok(()),
        };
    }
}

/// Whether somebody may be sitting before this process.
fn at_terminal() -> bool {
    io::stdin().is_terminal() || io::stdout().is_terminal() || io::stderr().is_terminal()
}

fn not_started(program: &OsStr, error: &io::Error) -> Failure {
    let exit = if error.kind() == io::ErrorKind::NotFound {
        Exit::NotFound
    } else {
        Exit::NotExecutable
    };
    Failure::new(exit, format_args!("cannot run {}: {error}", program.display()))
}

/// The command's own code, or 128 and the number of the signal that ended it.
fn exit_of(status: ExitStatus) -> Exit {
    match (status.code(), status.signal()) {
        (Some(code), _) => Exit::Command(u8::try_from(code).unwrap_or(u8::MAX)),
        (None, Some(signal)) => Exit::Signal(u8::try_from(signal).unwrap_or(u8::MAX)),
        (None, None) => Exit::No,
    }
}

#[cfg(test)]
mod tests {
    use std::process::Stdio;

    use tokio::io::{AsyncBufReadExt, BufReader};

    use super::*;

    const LONG: Duration = Duration::from_secs(60);

    fn shell(script: &str) -> Vec<OsString> {
        ["sh", "-c", script].map(OsString::from).to_vec()
    }

    fn start(script: &str) -> Child {
        Child::start_in(&shell(script), &[], true).unwrap()
    }

    /// Starts a script that says on its stdout when it is ready.
    async fn start_ready(script: &str) -> Child {
        let mut command = Command::new("sh");
        command
            .args(["-c", script])
            .process_group(0)
            .kill_on_drop(true)
            .stdout(Stdio::piped());
        let mut process = command.spawn().unwrap();
        let mut line = String::new();
        let mut stdout = BufReader::new(process.stdout.take().unwrap());
        stdout.read_line(&mut line).await.unwrap();
        assert_eq!(line, "ready\n");
        let pid = Pid::from_raw(process.id().unwrap().try_into().unwrap()).unwrap();
        Child {
            process,
            pid,
            own_group: true,
        }
    }

    #[tokio::test]
    async fn the_commands_code_is_passed_on() {
        assert_eq!(start("exit 7").wait().await, Exit::Command(7));
        assert_eq!(start("exit 0").wait().await.code(), 0);
    }

    #[tokio::test]
    async fn a_command_ended_by_a_signal_gives_128_and_its_number() {
        assert_eq!(start("kill -9 $$").wait().await.code(), 137);
    }

    #[tokio::test]
    async fn the_command_sees_the_variables() {
        let variables = [("KAPU_FENCING_TOKEN", OsString::from("33"))];
        let mut child = Child::start_in(&shell("exit $KAPU_FENCING_TOKEN"), &variables, true).unwrap();
        assert_eq!(child.wait().await, Exit::Command(33));
    }

    #[tokio::test]
    async fn a_command_that_is_not_found_or_not_executable_has_the_codes_of_a_shell() {
        let start = |program: &str| Child::start(&[program.into()], &[]).map(|_| ()).unwrap_err();
        assert_eq!(start("/nonexistent/command").exit, Exit::NotFound);
        let failure = start("/etc/passwd");
        assert_eq!(failure.exit, Exit::NotExecutable);
        assert!(failure.message.contains("/etc/passwd"), "{}", failure.message);
    }

    #[tokio::test]
    async fn a_signal_is_forwarded() {
        let mut child = start_ready("trap 'exit 5' INT; echo ready; while :; do sleep 0.01; done").await;
        child.forward(Stop::Interrupt);
        assert_eq!(child.wait().await, Exit::Command(5));
    }

    #[tokio::test]
    async fn a_command_may_clean_up_within_its_grace() {
        let mut child = start_ready("trap 'exit 6' TERM; echo ready; while :; do sleep 0.01; done").await;
        assert_eq!(child.stop(LONG).await, Exit::Command(6));
    }

    #[tokio::test]
    async fn a_command_that_ignores_sigterm_is_killed_after_its_grace() {
        let mut child = start_ready("trap '' TERM; echo ready; while :; do sleep 0.01; done").await;
        assert_eq!(child.stop(Duration::from_millis(50)).await.code(), 137);
    }

    /// A shell dies of SIGTERM and its work would run on without the lock.
    #[tokio::test]
    async fn what_the_command_started_is_stopped_with_it() {
        let mut child = start_ready("(trap '' TERM; echo ready; exec sleep 60) & wait").await;
        let group = child.pid;
        child.stop(Duration::from_millis(50)).await;
        while test_kill_process_group(group).is_ok_and(|()| !all_dead(group)) {
            SystemClock.sleep(GROUP_POLL).await;
        }
    }

    /// Whether only processes that wait for their parent to notice are left of a group.
    fn all_dead(group: Pid) -> bool {
        let stats = std::fs::read_dir("/proc")
            .unwrap()
            .filter_map(|entry| std::fs::read_to_string(entry.ok()?.path().join("stat")).ok());
        stats
            .filter_map(|stat| Some(stat.rsplit_once(") ")?.1.to_owned()))
            .all(|stat| {
                let fields: Vec<_> = stat.split(' ').collect();
                fields[2] != group.as_raw_nonzero().to_string() || fields[0] == "Z"
            })
    }
}
