//! `kapu serve`: one node, in this process, until it is asked to stop.
//!
//! Ends with 0 when it was asked, 1 when it could not start, 74 when it failed while it ran: then it answers nothing more, and what starts it
//! again decides whether to.

mod join;

use std::io::Read;
use std::path::PathBuf;
use std::time::Duration;

use tokio::sync::oneshot;

use crate::cli::exit::{Exit, Failure};
use crate::cli::output::{note, print};
use crate::cli::seams;
use crate::cli::settings::{ServeConfig, Settings};
use crate::cli::signals::Signals;
use crate::clock::{BoxFuture, Clock, SystemClock};
use crate::env::{Env, Spawn, TokioSpawn};
use crate::node::{Node, NodeFailure};
use crate::service::{self, LockHandle};

/// A stop that takes longer is broken off: everything acknowledged is durable in any case.
const STOP_MAX: Duration = Duration::from_secs(10);

/// Arguments of `kapu serve`.
#[derive(Debug, clap::Args)]
pub struct ServeArgs {
    #[command(flatten)]
    settings: Settings,
    /// A TOML file of the same settings, with underscores: node_id = 1
    #[arg(long, env = "KAPU_CONFIG", value_name = "FILE")]
    config: Option<PathBuf>,
    /// Stop when stdin ends, as it does when the parent dies.
    #[arg(long, hide = true)]
    exit_with_parent: bool,
}

impl ServeArgs {
    fn resolve(self) -> Result<ServeConfig, Failure> {
        let file = match &self.config {
            None => Settings::default(),
            Some(path) => {
                let refuse = |error: &dyn std::fmt::Display| {
                    Failure::new(
                        Exit::Usage,
                        format_args!("the config file {} cannot be used: {error}", path.display()),
                    )
                };
                let text = std::fs::read_to_string(path).map_err(|error| refuse(&error))?;
                Settings::from_toml(&text).map_err(|failure| refuse(&failure.message))?
            }
        };
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        Ok(self.settings.or(file).resolve(cores)?)
    }
}

/// Runs a node until it is asked to stop.
///
/// # Errors
/// [`Failure`] when the settings cannot be used, it cannot start, or it fails.
pub fn run(args: ServeArgs) -> Result<Exit, Failure> {
    let with_parent = args.exit_with_parent;
    let config = args.resolve()?;
    let runtime = build_runtime(config.threads)?;
    let result = runtime.block_on(serve(config, with_parent));
    runtime.shutdown_background();
    result
}

fn build_runtime(threads: usize) -> Result<tokio::runtime::Runtime, Failure> {
    let mut builder = match threads {
        1 => tokio::runtime::Builder::new_current_thread(),
        _ => tokio::runtime::Builder::new_multi_thread(),
    };
    let built = builder.worker_threads(threads).enable_all().build();
    built.map_err(|error| Failure::new(Exit::No, format_args!("cannot start a runtime: {error}")))
}

async fn serve(config: ServeConfig, with_parent: bool) -> Result<Exit, Failure> {
    let mut signals = Signals::catch()?;
    let parent_gone = parent_gone(with_parent);
    let no_entropy = |error| Failure::new(Exit::No, format_args!("the system gives no entropy: {error}"));
    let env = Env::system(&config.data_dir).map_err(no_entropy)?;
    let config = tokio::select! {
        biased;
        _ = signals.next() => return Ok(Exit::Yes),
        config = join::complete(config, &env) => config?,
    };
    let node = tokio::select! {
        biased;
        _ = signals.next() => return Ok(Exit::Yes),
        node = service::start(env, config.node.clone()) => node.map_err(|error| Failure::new(Exit::No, error))?,
    };
    let clients = match Clients::listen(&config.listen, &node).await {
        Ok(clients) => clients,
        Err(failure) => {
            node.stop().await;
            return Err(failure);
        }
    };
    print(&announcement(&config))?;
    let settling = join::settle(&config, &node);
    let result = tokio::select! {
        biased;
        failure = node.failed() => ended(failure),
        settled = settling => settled,
        _ = signals.next() => Ok(Exit::Yes),
        () = parent_gone => Ok(Exit::Yes),
    };
    tokio::select! {
        biased;
        _ = signals.next() => note("asked twice: stopping at once"),
        () = SystemClock.sleep(STOP_MAX) => note(format_args!("not stopped after {STOP_MAX:?}: giving up")),
        () = async { tokio::join!(node.stop(), clients.stop()); } => {}
    }
    result
}

/// How a node that ended by itself ends its process: one that was removed has done all that it should.
fn ended(failure: NodeFailure) -> Result<Exit, Failure> {
    match failure {
        NodeFailure::Removed => {
            note(failure);
            Ok(Exit::Yes)
        }
        failure => Err(Failure::new(Exit::NodeFailed, failure)),
    }
}

/// The listener for clients, and the way to end it.
struct Clients {
    stop: oneshot::Sender<()>,
    stopped: oneshot::Receiver<()>,
}

impl Clients {
    async fn listen(address: &str, node: &Node) -> Result<Self, Failure> {
        let (stop, stopping) = oneshot::channel();
        let (tell, stopped) = oneshot::channel();
        let until = async move {
            // The other end is dropped only after the signal, or together with everything.
            let _ = stopping.await;
        };
        let (_, serving) = seams::serve_clients(address, LockHandle::new(node.handle()), Box::pin(until)).await?;
        let serving = async move {
            serving.await;
            let _ = tell.send(());
        };
        TokioSpawn.spawn("clients", Box::pin(serving));
        Ok(Self { stop, stopped })
    }

    async fn stop(self) {
        let _ = self.stop.send(());
        let _ = self.stopped.await;
    }
}

/// The one line on stdout: from now on the node can be reached.
fn announcement(config: &ServeConfig) -> String {
    let node = &config.node;
    let peers = match &node.peer_listen {
        None => "no peers".to_owned(),
        Some(address) => format!("peers on {address}"),
    };
    let data = config.data_dir.display();
    format!(
        "kapu node {} listening on {} ({peers}, data in {data})\n",
        node.node_id, config.listen
    )
}

/// Completes when stdin ends, if that matters. A thread of its own reads, because a read cannot be taken back; it ends with the process.
fn parent_gone(matters: bool) -> BoxFuture<'static, ()> {
    if !matters {
        return Box::pin(std::future::pending());
    }
    let (tell, told) = oneshot::channel::<()>();
    let read = async move {
        let mut byte = [0];
        while std::io::stdin().read(&mut byte).is_ok_and(|count| count > 0) {}
        drop(tell);
    };
    TokioSpawn.spawn_blocking("parent", Box::pin(read));
    Box::pin(async {
        let _ = told.await;
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn announced(toml: &str) -> String {
        announcement(&Settings::from_toml(toml).unwrap().resolve(1).unwrap())
    }

    #[test]
    fn the_line_on_start_says_where_everything_is() {
        assert_eq!(
            announced(""),
            "kapu node 1 listening on 127.0.0.1:2070 (no peers, data in ./kapu-data)\n"
        );
        let toml = "node_id = 2\npeers = \"1=a:1,2=b:2\"\nlisten = \"h:3\"\ndata_dir = \"/d\"";
        assert_eq!(
            announced(toml),
            "kapu node 2 listening on h:3 (peers on b:2, data in /d)\n"
        );
    }
}
