//! `kapu lock`: runs a command while it holds a lock.
//!
//! The client renews the lease. When the lock is lost the command is stopped, at once: what it would do from then on, another holder may be
//! doing too. Only the fencing token protects against a command that does not stop in time; it is in the command's environment.

use std::ffi::OsString;
use std::time::Duration;

use crate::cli::child::Child;
use crate::cli::duration;
use crate::cli::exit::{Exit, Failure};
use crate::cli::ops::text_owner;
use crate::cli::output::note;
use crate::cli::signals::{Signals, Stop};
use crate::client::{Client, LockGuard};
use crate::lock::{Command, Outcome, Query, Request};
use crate::types::{Owner, Resource};

/// How long a wait that was broken off takes to withdraw what it may have asked for.
const WITHDRAW_MAX: Duration = Duration::from_secs(1);

/// Arguments of `kapu lock`.
#[derive(Debug, clap::Args)]
pub struct LockArgs {
    /// What to lock: 1 to 1,024 bytes
    #[arg(value_parser = Resource::new)]
    name: Resource,
    /// The lease, renewed at a third of it: 1ms to 24h
    #[arg(long, default_value = "30s", value_name = "TIME", value_parser = duration::parse, allow_hyphen_values = true)]
    ttl: Duration,
    /// How long to wait while another holds the lock; 0s to try once
    #[arg(long, default_value = "10s", value_name = "TIME", value_parser = duration::parse_or_zero, allow_hyphen_values = true)]
    wait: Duration,
    /// How long the command may take to stop after the lock is lost, before it is killed
    #[arg(long, default_value = "5s", value_name = "TIME", value_parser = duration::parse_or_zero, allow_hyphen_values = true)]
    grace: Duration,
    /// The command and its arguments
    #[arg(last = true, required = true, value_name = "CMD")]
    command: Vec<OsString>,
}

/// Acquires, runs the command, releases.
///
/// # Errors
/// [`Failure`] when the lock was not had, the command cannot be run, or the lock was lost.
pub async fn run(args: LockArgs, client: &Client) -> Result<Exit, Failure> {
    let mut signals = Signals::catch()?;
    let owner = text_owner(client);
    let acquire = client
        .lock(args.name.as_str())
        .ttl(args.ttl)
        .wait(args.wait)
        .owner(owner.clone())
        .acquire();
    let guard = tokio::select! {
        biased;
        stop = signals.next() => return Ok(withdraw(client, &args.name, &owner, stop).await),
        guard = acquire => guard?,
    };
    let Some(guard) = guard else {
        return Err(not_had(&args, client).await);
    };
    let result = match Child::start(&args.command, &variables(&args.name, &guard)) {
        Ok(child) => attend(child, &guard, &mut signals, args.grace).await,
        Err(failure) => Err(failure),
    };
    release(guard, &args.name).await;
    result
}

/// What the command is told of the lock.
fn variables(name: &Resource, guard: &LockGuard) -> [(&'static str, OsString); 3] {
    [
        ("KAPU_RESOURCE", name.to_string().into()),
        ("KAPU_OWNER", guard.owner().to_string().into()),
        ("KAPU_FENCING_TOKEN", guard.fencing_token().to_string().into()),
    ]
}

/// Waits for the command's end, passes signals on to it, and stops it when the lock is lost.
async fn attend(mut child: Child, guard: &LockGuard, signals: &mut Signals, grace: Duration) -> Result<Exit, Failure> {
    loop {
        tokio::select! {
            biased;
            () = guard.lost() => {
                note(format_args!("the lock is lost; stopping the command within {grace:?}"));
                child.stop(grace).await;
                return Err(Failure::new(Exit::LockLost, "the lock was lost and the command was stopped"));
            }
            stop = signals.next() => child.forward(stop),
            exit = child.wait() => return Ok(exit),
        }
    }
}

/// A lock that cannot be released ends with its lease: worth a word, not another exit code.
async fn release(guard: LockGuard, name: &Resource) {
    if !guard.is_held() {
        return;
    }
    match guard.release().await {
        Ok(true) => {}
        Ok(false) => note(format_args!("{name} was not held any more when it was released")),
        Err(error) => note(format_args!(
            "{name} could not be released and ends with its lease: {error}"
        )),
    }
}

/// After a signal while waiting: whatever was asked for must not be granted to nobody.
async fn withdraw(client: &Client, name: &Resource, owner: &Owner, stop: Stop) -> Exit {
    let command = Command::Unlock {
        resource: name.clone(),
        owner: owner.clone(),
    };
    // Its answer changes nothing: a lock that was never granted is none of ours, and one that was ends with its lease.
    let _ = client
        .with_timeout(WITHDRAW_MAX)
        .request(Request::Command(command))
        .await;
    stop.exit()
}

async fn not_had(args: &LockArgs, client: &Client) -> Failure {
    let query = Query::Get {
        resource: args.name.clone(),
    };
    let holder = match client.with_timeout(WITHDRAW_MAX).request(Request::Query(query)).await {
        Ok(Outcome::Got {
            owner,
            fencing_token,
            expires_in_ms,
        }) => {
            format!("held by {owner} with token {fencing_token}, for {expires_in_ms} ms unless it is extended")
        }
        _ => "its holder is not known".to_owned(),
    };
    Failure::new(
        Exit::NotHad,
        format_args!("{} was not free within {:?}: {holder}", args.name, args.wait),
    )
}
