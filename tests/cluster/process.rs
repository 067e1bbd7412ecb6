//! The binary `kapu` as a child process, and what can be known of processes from outside.

use std::fs::File;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::time::Duration;

use kapu::clock::{Clock, SystemClock};
use rustix::process::{Pid, Signal, kill_process};

/// Nothing that is awaited takes longer on a machine that is not broken. `KAPU_DEADLINE` says otherwise, in seconds, where a lot is to be done.
pub const DEADLINE: Duration = Duration::from_secs(60);
const POLL: Duration = Duration::from_millis(20);

fn deadline() -> Duration {
    let set = std::env::var("KAPU_DEADLINE").ok();
    set.map_or(DEADLINE, |seconds| {
        Duration::from_secs(seconds.parse().expect("KAPU_DEADLINE is a number"))
    })
}

/// `kapu`, with nothing of the tester's own settings.
pub fn kapu() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_kapu"));
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("KAPU_") {
            command.env_remove(name);
        }
    }
    command.stdin(Stdio::null());
    command
}

/// Looks until `found` finds something. Fails with `what` was awaited when the deadline passes.
pub async fn until<T>(what: &str, mut found: impl AsyncFnMut() -> Option<T>) -> T {
    let (start, deadline) = (SystemClock.now(), deadline());
    loop {
        if let Some(value) = found().await {
            return value;
        }
        assert!(
            SystemClock.now() - start < deadline,
            "still waiting after {deadline:?} until {what}"
        );
        SystemClock.sleep(POLL).await;
    }
}

/// A child process that does not outlive the test.
pub struct Process(Child);

impl Process {
    pub fn start(command: &mut Command) -> Self {
        Self(command.spawn().expect("the binary starts"))
    }

    pub fn pid(&self) -> Pid {
        Pid::from_raw(self.0.id().try_into().expect("a process id")).expect("a process id is not zero")
    }

    pub fn is_running(&mut self) -> bool {
        self.0.try_wait().expect("a child can be waited for").is_none()
    }

    /// Sends a signal to a process that is still running.
    pub fn signal(&self, signal: Signal) {
        kill_process(self.pid(), signal).expect("the child has not been waited for");
    }

    pub async fn exit(&mut self) -> ExitStatus {
        until("a process ends", async || {
            self.0.try_wait().expect("a child can be waited for")
        })
        .await
    }

    /// SIGKILL, and gone when this returns.
    pub fn kill(&mut self) {
        self.0.kill().expect("a child can be killed");
        self.0.wait().expect("a child can be waited for");
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Whether a process exists and is more than an entry that nobody has waited for yet.
pub fn is_alive(pid: u32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat"));
    stat.is_ok_and(|stat| {
        !stat
            .rsplit_once(") ")
            .is_some_and(|(_, rest)| rest.starts_with(['Z', 'X']))
    })
}

/// Runs `kapu` to its end, with its output in files, so that what it leaves behind cannot hold the test up.
pub async fn run(command: &mut Command) -> Output {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let (stdout, stderr) = (directory.path().join("stdout"), directory.path().join("stderr"));
    let create = |path: &Path| File::create(path).expect("a file in a temporary directory");
    let mut process = Process::start(command.stdout(create(&stdout)).stderr(create(&stderr)));
    let status = process.exit().await;
    let read = |path: &Path| std::fs::read_to_string(path).expect("text output").into_bytes();
    Output {
        status,
        stdout: read(&stdout),
        stderr: read(&stderr),
    }
}

pub fn stdout(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

pub fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}
