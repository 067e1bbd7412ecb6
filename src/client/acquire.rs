//! The way to a held lock: one owner, tries with pauses between, and no trace left when it ends without a guard.
//!
//! An acquisition that gives up, or whose future is dropped, may have left a try behind that takes effect. So as long as that is possible,
//! its end frees the lock in the background. There is no waiting line here: the last try decides.

use std::time::Duration;

use super::ClientError;
use super::client::{Answer, Client};
use super::guard::LockGuard;
use super::lease::Lease;
use super::retry::Backoff;
use crate::lock::{Command, Outcome, Request};
use crate::types::{self, Owner, Resource};

const TTL_DEFAULT: Duration = Duration::from_secs(30);
const BUSY_PAUSE_FLOOR: Duration = Duration::from_millis(5);
const BUSY_PAUSE_MIN: Duration = Duration::from_millis(20);
const BUSY_PAUSE_MAX: Duration = Duration::from_millis(250);

/// A lock to be acquired.
#[must_use = "nothing is locked before `acquire`"]
pub struct LockBuilder {
    client: Client,
    name: String,
    ttl: Duration,
    wait: Duration,
    owner: Option<Owner>,
}

impl LockBuilder {
    pub(super) fn new(client: Client, name: &str) -> Self {
        let name = name.to_owned();
        Self {
            client,
            name,
            ttl: TTL_DEFAULT,
            wait: Duration::ZERO,
            owner: None,
        }
    }

    /// The lease; renewed at a third of it. Whole milliseconds, default 30 s.
    pub fn ttl(mut self, ttl: Duration) -> Self {
        self.ttl = ttl;
        self
    }

    /// How long to wait while somebody else holds it. Default zero: one try.
    ///
    /// A try that meets a cluster out of reach may take the client's timeout on top.
    pub fn wait(mut self, wait: Duration) -> Self {
        self.wait = wait;
        self
    }

    /// The owner, instead of a random one. One owner is one acquisition: whoever else uses it shares the hold, and ends it for both.
    pub fn owner(mut self, owner: Owner) -> Self {
        self.owner = Some(owner);
        self
    }

    /// Acquires; `None` when somebody else held it all the time. A guard whose lease ended on its way, as that of a process that was
    /// stopped meanwhile, is lost from the start.
    ///
    /// When this ends without a guard, or is dropped on the way, a try that may have taken effect is undone in the background.
    ///
    /// # Errors
    /// [`ClientError`], with [`ClientError::Unknown`] when a try may have taken effect; the lock is then freed in the background, or at
    /// the latest by the end of its lease.
    pub async fn acquire(self) -> Result<Option<LockGuard>, ClientError> {
        let resource = Resource::new(&self.name)?;
        let ttl_ms = types::check_ttl(u64::try_from(self.ttl.as_millis()).unwrap_or(u64::MAX))?;
        let owner = self.owner.unwrap_or_else(|| self.client.new_owner());
        let acquisition = Acquisition {
            client: self.client,
            resource,
            owner,
            ttl_ms,
            may_hold: false,
        };
        acquisition.run(self.wait).await
    }
}

/// One acquisition under way. Dropped while it may hold the lock, it frees it.
struct Acquisition {
    client: Client,
    resource: Resource,
    owner: Owner,
    ttl_ms: u64,
    /// A try was sent that may have taken effect, or may yet.
    may_hold: bool,
}

impl Acquisition {
    async fn run(mut self, wait: Duration) -> Result<Option<LockGuard>, ClientError> {
        let deadline = self.client.now().saturating_add(wait);
        let mut backoff = Backoff::new(BUSY_PAUSE_MIN, BUSY_PAUSE_MAX);
        loop {
            let answer = self.try_lock().await?;
            let holder_expires_in_ms = match answer.outcome {
                Outcome::Locked {
                    fencing_token,
                    expires_in_ms,
                } => {
                    let lease = Lease::granted(answer.sent, expires_in_ms);
                    self.may_hold = false;
                    let (client, resource, owner) = (self.client.clone(), self.resource.clone(), self.owner.clone());
                    return Ok(Some(LockGuard::new(
                        client,
                        resource,
                        owner,
                        self.ttl_ms,
                        fencing_token,
                        lease,
                    )));
                }
                Outcome::Busy { expires_in_ms } => expires_in_ms,
                outcome => return Err(unexpected(&outcome)),
            };
            let left = deadline.saturating_sub(self.client.now());
            if left.is_zero() {
                return Ok(None);
            }
            let free_in = Duration::from_millis(holder_expires_in_ms).max(BUSY_PAUSE_FLOOR);
            let pause = self.client.pause(&mut backoff).min(free_in).min(left);
            self.client.env().clock.sleep(pause).await;
        }
    }

    /// One try. Only a refusal without a doubt, in this try and all before it, means that nothing is held.
    async fn try_lock(&mut self) -> Result<Answer, ClientError> {
        let doubt_before = self.may_hold;
        let (resource, owner, ttl_ms) = (self.resource.clone(), self.owner.clone(), self.ttl_ms);
        let request = Request::Command(Command::TryLock {
            resource,
            owner,
            ttl_ms,
        });
        self.may_hold = true;
        let answer = self.client.perform(&request, self.client.timeout()).await;
        self.may_hold = match &answer {
            Ok(Answer {
                outcome: Outcome::Busy { .. },
                in_doubt,
                ..
            }) => doubt_before || *in_doubt,
            Ok(_) => true,
            Err(error) => doubt_before || !error.is_definite(),
        };
        answer
    }
}

impl Drop for Acquisition {
    fn drop(&mut self) {
        if self.may_hold {
            let ttl = Duration::from_millis(self.ttl_ms);
            self.client
                .unlock_in_background(self.resource.clone(), self.owner.clone(), ttl);
        }
    }
}

pub(super) fn unexpected(outcome: &Outcome) -> ClientError {
    ClientError::Unknown {
        last: format!("the node answered something else than was asked: {outcome:?}"),
    }
}
