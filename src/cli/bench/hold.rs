//! Many locks at once: takes them as fast as it can and exits with them held.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::task::JoinSet;

use crate::cli::bench::report::{Errors, HoldReport, Latencies, add_errors, rate};
use crate::cli::bench::{Names, kind};
use crate::cli::duration::millis;
use crate::cli::exit::{Exit, Failure};
use crate::cli::ops::text_owner;
use crate::cli::output::{Output, progress, progress_end};
use crate::client::{Client, ClientError};
use crate::clock::{Clock, SystemClock};
use crate::lock::{Command, Outcome, Request};
use crate::types::Owner;

const SECOND: Duration = Duration::from_secs(1);

/// What one worker found.
#[derive(Default)]
struct Tally {
    lock: Latencies,
    errors: Errors,
    last_error: Option<ClientError>,
}

/// What the workers share: which lock is next, and how many are held.
#[derive(Debug)]
struct Work {
    names: Names,
    owner: Owner,
    ttl_ms: u64,
    wanted: u64,
    next: AtomicU64,
    held: AtomicU64,
}

/// Takes `wanted` locks and prints the rate.
pub(super) async fn run(
    client: &Client,
    names: &Names,
    workers: usize,
    wanted: u64,
    ttl: Duration,
    output: Output,
) -> Result<Exit, Failure> {
    let (next, held) = (AtomicU64::new(0), AtomicU64::new(0));
    let work = Work {
        names: names.clone(),
        owner: text_owner(client),
        ttl_ms: millis(ttl),
        wanted,
        next,
        held,
    };
    let work = Arc::new(work);
    let start = SystemClock.now();
    let mut tasks = JoinSet::new();
    for _ in 0..workers {
        tasks.spawn(take(client.clone(), work.clone()));
    }
    let all = join(tasks, &work).await;
    let took = SystemClock.now() - start;
    let held = work.held.load(Ordering::Relaxed);
    if let (0, Some(error)) = (held, all.last_error) {
        return Err(error.into());
    }
    output.print(&HoldReport {
        workers,
        seconds: took.as_secs_f64(),
        wanted,
        held,
        locks_per_s: rate(held, took),
        lock: all.lock.summary(),
        errors: all.errors,
    })?;
    Ok(if held == wanted { Exit::Yes } else { Exit::No })
}

/// One worker: takes the next lock until there is none left, or nobody is reachable. Each is asked for once; the client has retried.
async fn take(client: Client, work: Arc<Work>) -> Tally {
    let mut tally = Tally::default();
    loop {
        let number = work.next.fetch_add(1, Ordering::Relaxed);
        if number >= work.wanted {
            return tally;
        }
        let (resource, owner) = (work.names.resource(number), work.owner.clone());
        let start = SystemClock.now();
        let kind = match client
            .request(Request::Command(Command::TryLock {
                resource,
                owner,
                ttl_ms: work.ttl_ms,
            }))
            .await
        {
            Ok(Outcome::Locked { .. }) => {
                tally.lock.record(SystemClock.now() - start);
                work.held.fetch_add(1, Ordering::Relaxed);
                continue;
            }
            Ok(_) => "busy",
            Err(error) => {
                let kind = kind(&error);
                tally.last_error = Some(error);
                kind
            }
        };
        *tally.errors.entry(kind).or_default() += 1;
        if matches!(tally.last_error, Some(ClientError::Unreachable { .. })) {
            return tally;
        }
    }
}

/// Waits for all workers, and says once a second how far they are.
async fn join(mut tasks: JoinSet<Tally>, work: &Work) -> Tally {
    let mut all = Tally::default();
    let mut second = SystemClock.sleep(SECOND);
    loop {
        tokio::select! {
            biased;
            () = &mut second => {
                progress(format_args!("{} of {} locks held", work.held.load(Ordering::Relaxed), work.wanted));
                second = SystemClock.sleep(SECOND);
            }
            ended = tasks.join_next() => match ended {
                Some(tally) => {
                    let tally = tally.expect("a worker does not panic and is not aborted");
                    all.lock.merge(&tally.lock);
                    add_errors(&mut all.errors, &tally.errors);
                    all.last_error = tally.last_error.or(all.last_error);
                }
                None => break,
            },
        }
    }
    progress_end();
    all
}
