//! A held lock: renewed in the background, told when it is lost, freed when it is dropped.
//!
//! What a guard says of itself is the client's certainty, not the server's state: it ends before the lease does (see [`super::lease`]).
//! A lost guard stays lost. Nothing here stops the work that the lock was for; only the fencing token does that.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;

use super::ClientError;
use super::acquire::unexpected;
use super::client::{Answer, Client};
use super::lease::Lease;
use crate::lock::{Command, Outcome, Request};
use crate::mutants::{self, Mutant};
use crate::types::{FencingToken, Owner, Resource};

/// How often one who waits for the loss looks at the clock: timers stand still while the machine is suspended, the lease does not.
const SUSPEND_CHECK: Duration = Duration::from_millis(500);
/// The pause after a renewal that failed as a whole.
const RENEW_PAUSE: Duration = Duration::from_millis(50);

/// A held lock, renewed in the background, released on drop (best effort) or by [`LockGuard::release`].
///
/// - It is held until the first of: the end of the certain part of its lease, an answer that somebody else holds it, its release.
/// - Once it is lost it is never held again.
pub struct LockGuard {
    held: Arc<Held>,
    freed: bool,
}

/// What the guard shares with its renewal.
struct Held {
    client: Client,
    resource: Resource,
    owner: Owner,
    ttl_ms: u64,
    fencing_token: FencingToken,
    state: watch::Sender<State>,
}

#[derive(Clone, Copy)]
struct State {
    lease: Lease,
    ended: bool,
}

impl LockGuard {
    pub(super) fn new(
        client: Client,
        resource: Resource,
        owner: Owner,
        ttl_ms: u64,
        fencing_token: FencingToken,
        lease: Lease,
    ) -> Self {
        let (state, _) = watch::channel(State { lease, ended: false });
        let held = Arc::new(Held {
            client,
            resource,
            owner,
            ttl_ms,
            fencing_token,
            state,
        });
        let renewal = Arc::clone(&held).renew();
        held.client.env().spawn.spawn("client renewal", Box::pin(renewal));
        Self { held, freed: false }
    }

    /// The number to fence with.
    #[must_use]
    pub fn fencing_token(&self) -> FencingToken {
        self.held.fencing_token
    }

    /// What is locked.
    #[must_use]
    pub fn resource(&self) -> &Resource {
        &self.held.resource
    }

    /// Who holds it.
    #[must_use]
    pub fn owner(&self) -> &Owner {
        &self.held.owner
    }

    /// Whether the lease is certain at this moment. Looks at the clock itself, so a process that was paused sees the truth at once.
    #[must_use]
    pub fn is_held(&self) -> bool {
        !self.expires_in().is_zero()
    }

    /// What is left of the certain part of the lease if no renewal succeeds; zero when the lock is lost.
    #[must_use]
    pub fn expires_in(&self) -> Duration {
        self.held.expires_in()
    }

    /// Completes when the lock is lost, for everybody who waits and ever after; never while it is held. On a machine that was suspended,
    /// within half a second of waking.
    pub async fn lost(&self) {
        let mut state = self.held.state.subscribe();
        loop {
            state.mark_unchanged();
            let left = self.held.expires_in();
            if left.is_zero() {
                return;
            }
            let timer = self.held.client.env().clock.sleep(left.min(SUSPEND_CHECK));
            tokio::select! {
                biased;
                _ = state.changed() => {}
                () = timer => {}
            }
        }
    }

    /// Stops renewing, frees the lock, and says whether it was still held.
    ///
    /// A retry that finds the lock gone, after an attempt whose reply was lost, counts as freed if the guard was sure of it before.
    ///
    /// # Errors
    /// [`ClientError`] when the cluster cannot be asked in time. The client goes on in the background; the lease ends in any case.
    pub async fn release(mut self) -> Result<bool, ClientError> {
        let was_held = self.is_held();
        self.held.end();
        let request = Request::Command(self.held.unlock());
        let answer = self.held.client.perform(&request, self.held.client.timeout()).await?;
        self.freed = true;
        match answer.outcome {
            Outcome::Unlocked => Ok(true),
            Outcome::LockDoesNotExist | Outcome::InvalidOwner => Ok(answer.in_doubt && was_held),
            outcome => Err(unexpected(&outcome)),
        }
    }
}

impl Drop for LockGuard {
    fn drop(&mut self) {
        self.held.end();
        if !self.freed {
            let (resource, owner) = (self.held.resource.clone(), self.held.owner.clone());
            self.held.client.unlock_in_background(resource, owner, self.held.ttl());
        }
    }
}

impl Held {
    /// Renews until the lock is lost or given up.
    async fn renew(self: Arc<Self>) {
        let mut state = self.state.subscribe();
        tokio::select! {
            biased;
            _ = state.wait_for(|state| state.ended) => {}
            () = self.renew_while_held() => self.end(),
        }
    }

    async fn renew_while_held(&self) {
        let request = Request::Command(self.extend());
        loop {
            let renew_at = self.state.borrow().lease.renew_at(self.ttl());
            self.sleep_until(renew_at).await;
            let left = self.expires_in();
            if left.is_zero() {
                return;
            }
            match self.client.perform(&request, left).await {
                Ok(Answer {
                    outcome:
                        Outcome::Extended {
                            fencing_token,
                            expires_in_ms,
                        },
                    sent,
                    ..
                }) if fencing_token == self.fencing_token => {
                    self.extended(sent, expires_in_ms);
                }
                // The lock is gone, or it is another hold: of another owner, or of this one under another token.
                Ok(_) => return,
                Err(_) => self.client.env().clock.sleep(RENEW_PAUSE).await,
            }
        }
    }

    /// Takes a renewal, unless the guard was lost in the meantime: who was told of the loss must not see it undone.
    fn extended(&self, sent: Duration, expires_in_ms: u64) {
        self.state.send_modify(|state| {
            state.ended |= state.lease.expires_in(self.client.now()).is_zero();
            state.lease.renew(sent, expires_in_ms);
        });
    }

    fn end(&self) {
        self.state.send_modify(|state| state.ended = true);
    }

    /// Reads the clock under the lock of the state, as [`Held::extended`] does, so that the two agree on what came first.
    fn expires_in(&self) -> Duration {
        let state = self.state.borrow();
        if state.ended {
            Duration::ZERO
        } else if mutants::on(Mutant::GuardNeverLost) {
            self.ttl()
        } else {
            state.lease.expires_in(self.client.now())
        }
    }

    async fn sleep_until(&self, at: Duration) {
        loop {
            let left = at.saturating_sub(self.client.now());
            if left.is_zero() {
                return;
            }
            self.client.env().clock.sleep(left).await;
        }
    }

    fn extend(&self) -> Command {
        let (resource, owner, ttl_ms) = (self.resource.clone(), self.owner.clone(), self.ttl_ms);
        Command::Extend {
            resource,
            owner,
            ttl_ms,
        }
    }

    fn unlock(&self) -> Command {
        let (resource, owner) = (self.resource.clone(), self.owner.clone());
        Command::Unlock { resource, owner }
    }

    const fn ttl(&self) -> Duration {
        Duration::from_millis(self.ttl_ms)
    }
}
