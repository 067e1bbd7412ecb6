//! The client: one operation is attempts at endpoints until there is an outcome or the time is over.
//!
//! It joins the pure parts, [`super::router`] and [`super::retry`], to the seams. It never makes up an owner for a request that failed,
//! and never calls a failure definite when one of its attempts was not.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rand::RngExt;
use rand::rngs::StdRng;
use tokio::sync::oneshot;

use super::endpoint::Endpoint;
use super::lookout::{Lookout, addresses};
use super::retry::{Next, Retry};
use super::router::Router;
use super::{CallError, Caller, ClientError, LockBuilder};
use crate::clock::Clock;
use crate::env::{self, Spawn};
use crate::lock::{Command, Outcome, Request};
use crate::mutants::{self, Mutant};
use crate::status::NodeStatus;
use crate::types::{Owner, Resource};

/// How long one operation may take when nobody says otherwise, retries included.
const TIMEOUT_DEFAULT: Duration = Duration::from_secs(10);
/// How long a node may take to tell its status.
const STATUS_TIMEOUT_MAX: Duration = Duration::from_secs(2);
/// For how long the client tries to free, in the background, what it may hold and nobody wants. Leases end by themselves after that.
const CLEANUP_TIMEOUT_MAX: Duration = Duration::from_secs(60);
/// Letters that need no quoting anywhere. 20 of 32 are 100 bits.
const OWNER_LETTERS: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";
const OWNER_LETTERS_COUNT: usize = 20;

/// What a client takes from outside.
#[derive(Clone)]
pub struct ClientEnv {
    /// Carries attempts.
    pub caller: Arc<dyn Caller>,
    /// Time. The client reads [`Clock::now_with_suspend`] only.
    pub clock: Arc<dyn Clock>,
    /// Tasks: renewals, and unlocks that nobody waits for.
    pub spawn: Arc<dyn Spawn>,
    /// Jitter and new owners are drawn from it. No two clients of a cluster may have the same.
    pub seed: u64,
}

/// A connection to a cluster. Cheap to clone; clones share what they learn.
///
/// The endpoints that it is given are where it begins: while it is in use it hears of nodes that are added, and goes on when all that it was given
/// are gone. One that stands still while all of them are replaced has to be made anew, with endpoints that exist.
///
/// ```no_run
/// use std::time::Duration;
/// use kapu::client::Client;
///
/// # async fn example() -> Result<(), kapu::client::ClientError> {
/// let client = Client::connect(["127.0.0.1:2070", "127.0.0.1:2071", "127.0.0.1:2072"]).await?;
/// let lock = client.lock("nightly-report").ttl(Duration::from_secs(30)).wait(Duration::from_secs(10));
/// let Some(guard) = lock.acquire().await? else {
///     println!("somebody else is at it");
///     return Ok(());
/// };
/// tokio::select! {
///     () = write_report(guard.fencing_token().0) => println!("done"),
///     () = guard.lost() => println!("stopped: somebody else may hold the lock now"),
/// }
/// guard.release().await?;
/// # Ok(())
/// # }
/// # async fn write_report(fencing_token: u64) {}
/// ```
#[derive(Clone)]
pub struct Client {
    core: Arc<Core>,
    timeout: Duration,
}

/// What all clones share.
struct Core {
    env: ClientEnv,
    endpoints: Vec<Endpoint>,
    router: Mutex<Router>,
    lookout: Lookout,
    rng: Mutex<StdRng>,
}

/// The outcome of an operation, and how it came about.
pub(super) struct Answer {
    pub outcome: Outcome,
    /// When the attempt began that was answered.
    pub sent: Duration,
    /// An earlier attempt was indefinite: it may have taken effect, and may yet.
    pub in_doubt: bool,
}

impl Client {
    /// A client of the cluster at `endpoints`: each `host:port` or `http://host:port`, or several with commas between. Connects when it
    /// has something to say.
    ///
    /// # Errors
    /// [`ClientError::BadEndpoint`].
    pub fn new(env: ClientEnv, endpoints: impl IntoIterator<Item = impl Into<String>>) -> Result<Self, ClientError> {
        let endpoints = Endpoint::parse_all(endpoints)?;
        let router = Mutex::new(Router::new(endpoints.clone()));
        let rng = Mutex::new(env::rng(env.seed, "client"));
        let lookout = Lookout::new(env.clock.now_with_suspend());
        let core = Arc::new(Core {
            env,
            endpoints,
            router,
            lookout,
            rng,
        });
        Ok(Self {
            core,
            timeout: TIMEOUT_DEFAULT,
        })
    }

    /// The same client with another limit on how long one operation may take, retries included. Default 10 s.
    #[must_use]
    pub fn with_timeout(&self, timeout: Duration) -> Self {
        let core = Arc::clone(&self.core);
        Self { core, timeout }
    }

    /// Starts to describe a lock that is to be acquired and kept.
    pub fn lock(&self, name: &str) -> LockBuilder {
        LockBuilder::new(self.clone(), name)
    }

    /// A new owner, drawn at random: text of 20 letters and digits.
    #[must_use]
    pub fn new_owner(&self) -> Owner {
        if mutants::on(Mutant::OwnersCollide) {
            return Owner::new(b"everybody").expect("nine letters are an owner");
        }
        let mut rng = lock(&self.core.rng);
        let letters: [u8; OWNER_LETTERS_COUNT] =
            std::array::from_fn(|_| OWNER_LETTERS[rng.random_range(0..OWNER_LETTERS.len())]);
        Owner::new(&letters).expect("twenty letters are an owner")
    }

    /// Sends one request to the leader of its partition, wherever that is; retries the same request until the timeout.
    ///
    /// The outcome is that of the attempt that was answered: an `Unlock` whose first reply was lost may come back as `LockDoesNotExist`.
    ///
    /// # Errors
    /// [`ClientError`]; [`ClientError::Unknown`] only for commands.
    pub async fn request(&self, request: Request) -> Result<Outcome, ClientError> {
        let answer = self.perform(&request, self.timeout).await?;
        Ok(answer.outcome)
    }

    /// What each endpoint that the client was given says of itself, all asked at once; an error for each that does not answer.
    pub async fn status(&self) -> Vec<(String, Result<NodeStatus, CallError>)> {
        let asked: Vec<_> = self
            .core
            .endpoints
            .iter()
            .map(|endpoint| self.ask_status(endpoint))
            .collect();
        let mut statuses = Vec::with_capacity(asked.len());
        for (endpoint, answer) in self.core.endpoints.iter().zip(asked) {
            let endpoint = endpoint.to_string();
            let status = answer.await.unwrap_or_else(|_| Err(abandoned(&endpoint)));
            statuses.push((endpoint, status));
        }
        statuses
    }

    fn ask_status(&self, endpoint: &Endpoint) -> oneshot::Receiver<Result<NodeStatus, CallError>> {
        let env = &self.core.env;
        let (sender, receiver) = oneshot::channel();
        let call = env
            .caller
            .status(endpoint.as_str(), self.timeout.min(STATUS_TIMEOUT_MAX));
        let ask = async move {
            // Nobody waits for it any more: the caller of `status` has gone.
            let _ = sender.send(call.await);
        };
        env.spawn.spawn("client status", Box::pin(ask));
        receiver
    }

    /// Makes attempts until there is an outcome, for at most `timeout`.
    pub(super) async fn perform(&self, request: &Request, timeout: Duration) -> Result<Answer, ClientError> {
        let core = &*self.core;
        let mut retry = Retry::new(request, self.now(), timeout);
        let mut tried = None;
        loop {
            let route = lock(&core.router).route(request.resource(), tried.as_ref());
            let sent = self.now();
            let attempt = core.env.caller.call(
                route.endpoint.as_str(),
                self.spoil(request, retry.in_doubt()),
                retry.attempt_timeout(sent),
            );
            match attempt.await {
                Ok(outcome) => {
                    let sent = mutants::either(Mutant::LeaseFromReply, self.now(), sent);
                    if !route.expected {
                        lock(&core.router).answered(request.resource(), &route.endpoint);
                    }
                    if core.lookout.is_due(sent) {
                        self.look_around(&route.endpoint);
                    }
                    return Ok(Answer {
                        outcome,
                        sent,
                        in_doubt: retry.in_doubt(),
                    });
                }
                Err(error) => match self.after_failure(&mut retry, request.resource(), &route.endpoint, error) {
                    Next::Follow => {}
                    Next::Pause(pause) => core.env.clock.sleep(pause).await,
                    Next::GiveUp => return Err(retry.into_error(&self.endpoints_text())),
                },
            }
            tried = Some(route.endpoint);
        }
    }

    /// The request itself, unless a planted bug sends another one after a lost reply.
    fn spoil(&self, request: &Request, in_doubt: bool) -> Request {
        let mut request = request.clone();
        if let Request::Command(Command::TryLock { owner, .. }) = &mut request
            && in_doubt
            && mutants::on(Mutant::RetryUnderNewOwner)
        {
            *owner = self.new_owner();
        }
        request
    }

    fn after_failure(&self, retry: &mut Retry, resource: &Resource, endpoint: &Endpoint, error: CallError) -> Next {
        let redirected = lock(&self.core.router).failed(resource, endpoint, &error);
        retry.failed(error, redirected, self.now(), &mut *lock(&self.core.rng))
    }

    /// Asks the node at `endpoint` who belongs to the cluster, without anybody waiting.
    fn look_around(&self, endpoint: &Endpoint) {
        let core = Arc::clone(&self.core);
        let call = core.env.caller.status(endpoint.as_str(), STATUS_TIMEOUT_MAX);
        let look = async move {
            // One that does not answer is asked again later, or another is.
            if let Ok(status) = call.await {
                lock(&core.router).hear_of(addresses(&status));
            }
        };
        self.core.env.spawn.spawn("client lookout", Box::pin(look));
    }

    /// Frees what `owner` may hold, without anybody waiting. Best effort: for as long as the lease may last, within limits.
    pub(super) fn unlock_in_background(&self, resource: Resource, owner: Owner, ttl: Duration) {
        let client = self.clone();
        let unlock = async move {
            let request = Request::Command(Command::Unlock { resource, owner });
            // Nobody is left to be told of a failure; then the lease ends the hold.
            let _ = client.perform(&request, ttl.min(CLEANUP_TIMEOUT_MAX)).await;
        };
        self.core.env.spawn.spawn("client unlock", Box::pin(unlock));
    }

    pub(super) fn endpoints(&self) -> &[Endpoint] {
        &self.core.endpoints
    }

    pub(super) fn env(&self) -> &ClientEnv {
        &self.core.env
    }

    pub(super) const fn timeout(&self) -> Duration {
        self.timeout
    }

    /// The one clock of the client: it goes on while the machine is suspended.
    pub(super) fn now(&self) -> Duration {
        self.core.env.clock.now_with_suspend()
    }

    /// A pause out of `backoff`.
    pub(super) fn pause(&self, backoff: &mut super::retry::Backoff) -> Duration {
        backoff.pause(&mut *lock(&self.core.rng))
    }

    fn endpoints_text(&self) -> String {
        let texts: Vec<_> = self.core.endpoints.iter().map(Endpoint::as_str).collect();
        texts.join(",")
    }
}

fn abandoned(endpoint: &str) -> CallError {
    let (endpoint, reason) = (endpoint.to_owned(), "the task that asked was stopped".to_owned());
    CallError::Lost { endpoint, reason }
}

/// What the mutexes guard is whole between any two statements, so a panic elsewhere leaves nothing to fear.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
