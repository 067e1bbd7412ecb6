//! What to do after an attempt has failed: follow, pause, or give up, and with which words.
//!
//! Time and randomness are handed in. Which endpoint is next is not decided here but in [`super::router`]; the owner is never changed by
//! anyone, so every retry is idempotent.

use std::time::Duration;

use rand::{Rng, RngExt};

use super::{CallError, ClientError};
use crate::error::RequestError;
use crate::lock::Request;

/// The longest that one attempt may take, so that a node that hangs does not eat the whole time.
const ATTEMPT_TIMEOUT_MAX: Duration = Duration::from_secs(2);
/// An attempt may take a third of what is left of a short operation, but not less than this.
const ATTEMPT_TIMEOUT_MIN: Duration = Duration::from_millis(250);
const PAUSE_MIN: Duration = Duration::from_millis(5);
const PAUSE_MAX: Duration = Duration::from_millis(250);

/// Pauses that double up to a limit. Each is drawn from the upper half of its range, so that many clients do not come back at once.
pub struct Backoff {
    next: Duration,
    max: Duration,
}

impl Backoff {
    /// Pauses from `min` to `max`.
    pub const fn new(min: Duration, max: Duration) -> Self {
        Self { next: min, max }
    }

    /// The next pause.
    pub fn pause(&mut self, rng: &mut impl Rng) -> Duration {
        let most = self.next;
        self.next = most.saturating_mul(2).min(self.max);
        rng.random_range(most / 2..=most)
    }
}

/// What comes after a failed attempt.
#[derive(Debug, PartialEq, Eq)]
pub enum Next {
    /// Another attempt, at once.
    Follow,
    /// Another attempt after this time.
    Pause(Duration),
    /// No attempt is left: [`Retry::into_error`].
    GiveUp,
}

/// The attempts of one operation.
///
/// - An indefinite attempt of a command leaves a doubt that only an outcome of a later attempt takes away.
/// - At most one attempt follows another without a pause.
pub struct Retry {
    deadline: Duration,
    timeout: Duration,
    is_command: bool,
    backoff: Backoff,
    followed: bool,
    doubt: Option<CallError>,
    last: Option<CallError>,
}

impl Retry {
    /// The attempts of `request`, from `now` for `timeout`.
    pub const fn new(request: &Request, now: Duration, timeout: Duration) -> Self {
        Self {
            deadline: now.saturating_add(timeout),
            timeout,
            is_command: matches!(request, Request::Command(_)),
            backoff: Backoff::new(PAUSE_MIN, PAUSE_MAX),
            followed: false,
            doubt: None,
            last: None,
        }
    }

    /// How long an attempt that begins at `now` may take.
    pub fn attempt_timeout(&self, now: Duration) -> Duration {
        let left = self.deadline.saturating_sub(now);
        (left / 3).clamp(ATTEMPT_TIMEOUT_MIN, ATTEMPT_TIMEOUT_MAX).min(left)
    }

    /// Takes the failure of an attempt at `now`. `redirected` says that the answer named somebody else to ask.
    pub fn failed(&mut self, error: CallError, redirected: bool, now: Duration, rng: &mut impl Rng) -> Next {
        let final_ = !error.is_retryable();
        if self.is_command && !error.is_definite() {
            self.doubt = Some(error.clone());
        }
        self.last = Some(error);
        if final_ {
            return Next::GiveUp;
        }
        self.followed = redirected && !self.followed;
        let pause = if self.followed {
            Duration::ZERO
        } else {
            self.backoff.pause(rng)
        };
        match now.saturating_add(pause) >= self.deadline {
            true => Next::GiveUp,
            false if self.followed => Next::Follow,
            false => Next::Pause(pause),
        }
    }

    /// Whether an earlier attempt may have taken effect, or may yet.
    pub const fn in_doubt(&self) -> bool {
        self.doubt.is_some()
    }

    /// The failure of the whole operation.
    pub fn into_error(self, endpoints: &str) -> ClientError {
        let text = |error: Option<CallError>| error.map_or_else(|| "nothing was tried".to_owned(), |e| e.to_string());
        if self.doubt.is_some() {
            return ClientError::Unknown { last: text(self.doubt) };
        }
        if let Some(CallError::Request(RequestError::InvalidInput(invalid))) = self.last {
            return ClientError::InvalidInput(invalid);
        }
        ClientError::Unreachable {
            endpoints: endpoints.to_owned(),
            timeout: self.timeout,
            last: text(self.last),
        }
    }
}

#[cfg(test)]
#[path = "retry_tests.rs"]
mod tests;
