//! `try-lock`, `extend`, `unlock` and `get`: one request, one answer, one exit code.
//!
//! 0 is yes, 1 is no. What is not known is neither, and has a code of its own.

use std::fmt::Write;
use std::time::Duration;

use serde::Serialize;

use crate::cli::duration::{self, millis};
use crate::cli::exit::{Exit, Failure};
use crate::cli::output::{Output, Report, note};
use crate::client::{Client, ClientError};
use crate::lock::{Command, Outcome, Query, Request};
use crate::types::{InvalidInput, Owner, Resource};

/// Arguments of `kapu try-lock`.
#[derive(Debug, clap::Args)]
pub struct TryLockArgs {
    /// What to lock: 1 to 1,024 bytes
    #[arg(value_parser = Resource::new)]
    name: Resource,
    /// For whom [default: a new one, printed]
    #[arg(long, value_parser = parse_owner)]
    owner: Option<Owner>,
    /// How long the lock is held unless it is extended: 1ms to 24h
    #[arg(long, default_value = "30s", value_name = "TIME", value_parser = duration::parse, allow_hyphen_values = true)]
    ttl: Duration,
}

/// Arguments of `kapu extend`.
#[derive(Debug, clap::Args)]
pub struct ExtendArgs {
    /// What is locked
    #[arg(value_parser = Resource::new)]
    name: Resource,
    /// By whom
    #[arg(long, value_parser = parse_owner)]
    owner: Owner,
    /// The lease from now: 1ms to 24h
    #[arg(long, value_name = "TIME", value_parser = duration::parse, allow_hyphen_values = true)]
    ttl: Duration,
}

/// Arguments of `kapu unlock`.
#[derive(Debug, clap::Args)]
pub struct UnlockArgs {
    /// What is locked
    #[arg(value_parser = Resource::new)]
    name: Resource,
    /// By whom
    #[arg(long, value_parser = parse_owner)]
    owner: Owner,
}

/// Arguments of `kapu get`.
#[derive(Debug, clap::Args)]
pub struct GetArgs {
    /// Which lock
    #[arg(value_parser = Resource::new)]
    name: Resource,
}

/// Takes a lock that is free.
///
/// # Errors
/// [`Failure`] when there is no outcome. It names the owner, who may hold the lock when that is not known.
pub async fn try_lock(args: TryLockArgs, client: &Client, output: Output) -> Result<Exit, Failure> {
    let owner = args.owner.unwrap_or_else(|| text_owner(client));
    let command = Command::TryLock {
        resource: args.name.clone(),
        owner: owner.clone(),
        ttl_ms: millis(args.ttl),
    };
    let answer = client.request(Request::Command(command)).await;
    if matches!(answer, Err(ClientError::Unknown { .. })) {
        note(format_args!(
            "owner {owner} may hold {} for up to {:?}; ask with `kapu get`",
            args.name, args.ttl
        ));
    }
    report(&args.name, Some(&owner), answer?, output)
}

/// Prolongs a lock.
///
/// # Errors
/// [`Failure`] when there is no outcome.
pub async fn extend(args: ExtendArgs, client: &Client, output: Output) -> Result<Exit, Failure> {
    let command = Command::Extend {
        resource: args.name.clone(),
        owner: args.owner.clone(),
        ttl_ms: millis(args.ttl),
    };
    let outcome = client.request(Request::Command(command)).await?;
    report(&args.name, Some(&args.owner), outcome, output)
}

/// Frees a lock.
///
/// # Errors
/// [`Failure`] when there is no outcome.
pub async fn unlock(args: UnlockArgs, client: &Client, output: Output) -> Result<Exit, Failure> {
    let command = Command::Unlock {
        resource: args.name.clone(),
        owner: args.owner.clone(),
    };
    let outcome = client.request(Request::Command(command)).await?;
    report(&args.name, Some(&args.owner), outcome, output)
}

/// Tells who holds a lock.
///
/// # Errors
/// [`Failure`] when there is no outcome.
pub async fn get(args: GetArgs, client: &Client, output: Output) -> Result<Exit, Failure> {
    let query = Query::Get {
        resource: args.name.clone(),
    };
    let outcome = client.request(Request::Query(query)).await?;
    report(&args.name, None, outcome, output)
}

/// A new owner that is text, so that it can be printed, put into a variable and given back as `--owner`.
#[must_use]
pub fn text_owner(client: &Client) -> Owner {
    Owner::new(client.new_owner().to_string().as_bytes()).unwrap_or_else(|_| client.new_owner())
}

fn parse_owner(text: &str) -> Result<Owner, InvalidInput> {
    Owner::new(text.as_bytes())
}

fn report(name: &Resource, owner: Option<&Owner>, outcome: Outcome, output: Output) -> Result<Exit, Failure> {
    let answer = Answer::of(name, owner, outcome);
    output.print(&answer)?;
    Ok(if answer.yes { Exit::Yes } else { Exit::No })
}

/// An outcome as it is printed. The owner is the holder, where the answer says who that is.
#[derive(Debug, PartialEq, Eq, Serialize)]
struct Answer {
    #[serde(skip)]
    yes: bool,
    outcome: &'static str,
    resource: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    owner: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    fencing_token: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    expires_in_ms: Option<u64>,
}

impl Answer {
    fn of(name: &Resource, caller: Option<&Owner>, outcome: Outcome) -> Self {
        let caller = caller.map(Owner::to_string);
        let (yes, outcome, owner, token, expires_in_ms) = match outcome {
            Outcome::Locked {
                fencing_token,
                expires_in_ms,
            } => (true, "locked", caller, Some(fencing_token), Some(expires_in_ms)),
            Outcome::Busy { expires_in_ms } => (false, "busy", None, None, Some(expires_in_ms)),
            Outcome::Extended {
                fencing_token,
                expires_in_ms,
            } => (true, "extended", caller, Some(fencing_token), Some(expires_in_ms)),
            Outcome::Unlocked => (true, "unlocked", caller, None, None),
            Outcome::Got {
                owner,
                fencing_token,
                expires_in_ms,
            } => (
                true,
                "got",
                Some(owner.to_string()),
                Some(fencing_token),
                Some(expires_in_ms),
            ),
            Outcome::LockDoesNotExist => (false, "lock_does_not_exist", None, None, None),
            Outcome::InvalidOwner => (false, "invalid_owner", None, None, None),
        };
        let fencing_token = token.map(|token| token.0);
        Self {
            yes,
            outcome,
            resource: name.to_string(),
            owner,
            fencing_token,
            expires_in_ms,
        }
    }
}

impl Report for Answer {
    fn text(&self) -> String {
        let mut line = format!("{} resource={}", self.outcome, self.resource);
        let mut add = |name: &str, value: Option<String>| {
            if let Some(value) = value {
                write!(line, " {name}={value}").expect("a string takes all text");
            }
        };
        add("owner", self.owner.clone());
        add("fencing_token", self.fencing_token.map(|token| token.to_string()));
        add("expires_in_ms", self.expires_in_ms.map(|ms| ms.to_string()));
        line + "\n"
    }
}

#[cfg(test)]
mod tests;
