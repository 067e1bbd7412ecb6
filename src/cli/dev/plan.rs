//! How a node of a development cluster is started: its binary, arguments, environment and log.

use std::ffi::OsString;
use std::fs::File;
use std::io;
use std::path::PathBuf;
use std::process::Stdio;

use tokio::process::Command;

use crate::cli::dev::nodes::Node;
use crate::cli::logging::LogFormat;

/// What is to be started.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The binary `kapu`.
    pub binary: PathBuf,
    /// Where data and logs go.
    pub data: PathBuf,
    /// How many nodes.
    pub nodes: u64,
    /// How many partitions, unless the default.
    pub partitions: Option<u32>,
    /// The shape of the logs.
    pub log_format: LogFormat,
}

impl Plan {
    /// Starts node `id`, which listens at `address` and has `peers`, itself included, in the order of their ids.
    pub(super) fn start(&self, id: u64, address: String, peers: &[String]) -> io::Result<Node> {
        let log = self.data.join(format!("node-{id}.log"));
        let file = File::create(&log)?;
        let mut command = Command::new(&self.binary);
        command
            .args(self.arguments(id, &address, peers))
            .process_group(0)
            .kill_on_drop(true);
        command.stdin(Stdio::piped()).stdout(file.try_clone()?).stderr(file);
        // The flags are all that counts: a variable meant for the clients, or for another node, must not reach this one.
        for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("KAPU_")) {
            command.env_remove(name);
        }
        if std::env::var_os("RUST_LOG").is_none() {
            command.env("RUST_LOG", "info");
        }
        let process = command.spawn()?;
        let pid = process.id().expect("a child that was just started has an id");
        Ok(Node {
            id,
            address,
            pid,
            log,
            process,
            ended: false,
        })
    }

    fn arguments(&self, id: u64, address: &str, peers: &[String]) -> Vec<OsString> {
        let list: Vec<_> = (1..)
            .zip(peers)
            .map(|(id, address): (u64, _)| format!("{id}={address}"))
            .collect();
        let mut arguments: Vec<OsString> = ["serve", "--exit-with-parent", "--node-id"]
            .map(OsString::from)
            .to_vec();
        arguments.extend(
            [
                id.to_string(),
                "--listen".into(),
                address.into(),
                "--peers".into(),
                list.join(","),
            ]
            .map(OsString::from),
        );
        arguments.extend([
            "--data-dir".into(),
            self.data.join(format!("node-{id}")).into_os_string(),
        ]);
        if let Some(partitions) = self.partitions {
            arguments.extend(["--partitions".into(), partitions.to_string().into()]);
        }
        if self.log_format == LogFormat::Json {
            arguments.extend(["--log-format".into(), "json".into()]);
        }
        arguments
    }
}
