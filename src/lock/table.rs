//! Who holds which lock, until when, under which fencing token.
//!
//! One replica's state, changed by committed commands and by the advance of log time alone. It remembers which rows changed, so that
//! storage can follow without copying the whole. It knows no bytes of the wire and waits for nothing.

use std::collections::BTreeMap;
use std::mem;

use xxhash_rust::xxh3::Xxh3;

use super::command::{Command, Query};
use super::holds::{Hold, Holds};
use super::outcome::Outcome;
use super::snapshot::{self, Saved};
use crate::machine::{RestoreError, Row};
use crate::mutants::{self, Mutant};
use crate::types::{FencingToken, LogTime, Owner, Resource};

/// The locks of one partition.
///
/// - A name has at most one owner.
/// - Fencing tokens strictly grow, from one, over every grant of the partition.
/// - Log time never goes back.
/// - After each call, no lease ended before log time.
///
/// Every operation takes O(log n) of the held locks; `advance` takes that for each lease that it ends. A held lock with a name of 20 bytes
/// and an owner of 16 takes about 250 bytes on a 64-bit machine (a million locks: 236 to 259 MB), and 30 more until its row is taken.
#[derive(Clone, Debug, Default)]
pub struct Table {
    now: LogTime,
    /// The grant counter: the last token given.
    last_token: FencingToken,
    holds: Holds,
    /// What changed since rows were last taken, and whether each has a row by then.
    changed: BTreeMap<Resource, bool>,
    counter_changed: bool,
}

impl Table {
    /// Applies one committed command at log time `now` and returns what it came to.
    ///
    /// # Panics
    /// When `now` is before the log time of an earlier call.
    pub fn apply(&mut self, now: LogTime, command: &Command) -> Outcome {
        self.advance(now);
        let outcome = match command {
            Command::TryLock {
                resource,
                owner,
                ttl_ms,
            } => self.try_lock(resource, owner, *ttl_ms),
            Command::Extend {
                resource,
                owner,
                ttl_ms,
            } => self.extend(resource, owner, *ttl_ms),
            Command::Unlock { resource, owner } => self.unlock(resource, owner),
        };
        self.assert_no_overdue_lease();
        outcome
    }

    /// Brings log time forward to `now`: every lease that ends at or before it ends.
    ///
    /// # Panics
    /// When `now` is before the log time of an earlier call.
    pub fn advance(&mut self, now: LogTime) {
        assert!(now >= self.now, "log time went back from {} to {now}", self.now);
        self.now = now;
        let now = mutants::either(Mutant::ExpiresEarly, now.after(500), now);
        while let Some(resource) = self.holds.pop_ended(now) {
            self.changed.entry(resource).or_insert(true);
        }
    }

    /// Answers `query` from the present state, at log time `now`.
    ///
    /// `now` may be ahead of the log. A lock whose lease has ended by then, in an entry that is still to come, is `Got` with nothing
    /// left: the log has not given it up, and a later leader's log time may continue before `now`.
    #[must_use]
    pub fn query(&self, now: LogTime, query: &Query) -> Outcome {
        let Query::Get { resource } = query;
        let now = self.now.max(now);
        let ended = |hold: &Hold| mutants::on(Mutant::ExpiryByLeaderClock) && hold.lease_end <= now;
        match self.holds.get(resource).filter(|hold| !ended(hold)) {
            None => Outcome::LockDoesNotExist,
            Some(hold) => Outcome::Got {
                owner: hold.owner.clone(),
                fencing_token: hold.fencing_token,
                expires_in_ms: now.until(hold.lease_end),
            },
        }
    }

    /// When [`Table::advance`] would next end a lease.
    #[must_use]
    pub fn next_deadline(&self) -> Option<LogTime> {
        self.holds.first_lease_end()
    }

    /// Takes a free lock, or sets the holder's lease to at least `ttl_ms` from now: a retry that comes late never shortens it.
    fn try_lock(&mut self, resource: &Resource, owner: &Owner, ttl_ms: u64) -> Outcome {
        let lease_end = self.now.after(ttl_ms);
        match self.holds.get(resource) {
            None => self.grant(resource, owner, lease_end),
            Some(hold) if hold.owner == *owner && mutants::on(Mutant::ReacquireNewToken) => {
                let lease_end = hold.lease_end.max(lease_end);
                self.holds.remove(resource);
                self.grant(resource, owner, lease_end)
            }
            Some(hold) if hold.owner == *owner => {
                let (fencing_token, longer) = (hold.fencing_token, hold.lease_end.max(lease_end));
                let lease_end = mutants::either(Mutant::ReacquireShortens, lease_end, longer);
                self.set_lease_end(resource, lease_end);
                Outcome::Locked {
                    fencing_token,
                    expires_in_ms: self.now.until(lease_end),
                }
            }
            Some(hold) => Outcome::Busy {
                expires_in_ms: self.now.until(hold.lease_end),
            },
        }
    }

    /// Makes `owner` the holder of a free lock, under the next token.
    fn grant(&mut self, resource: &Resource, owner: &Owner, lease_end: LogTime) -> Outcome {
        let last = self.last_token.0;
        let fencing_token = FencingToken(last.checked_add(1).expect("2^64 grants outlast the cluster"));
        let hold = Hold {
            owner: owner.clone(),
            fencing_token,
            lease_end,
        };
        self.holds.insert(resource.clone(), hold);
        self.last_token = fencing_token;
        self.counter_changed = true;
        self.changed.entry(resource.clone()).or_insert(false);
        Outcome::Locked {
            fencing_token,
            expires_in_ms: self.now.until(lease_end),
        }
    }

    /// Sets the holder's lease to exactly `ttl_ms` from now, as Kahuna does, even where that is sooner than before.
    ///
    /// `TryLock` prolongs and never shortens, so that its retries are harmless; `Extend` is how a holder says what it wants, and a shorter
    /// lease is the polite way out of a long one. A holder that extends by less than before waits for its earlier extends first: one that
    /// is still on its way would be taken at its word when it arrives. With one ttl throughout, a late extend can only prolong.
    fn extend(&mut self, resource: &Resource, owner: &Owner, ttl_ms: u64) -> Outcome {
        let fencing_token = match self.holds.get(resource) {
            None if mutants::on(Mutant::ExtendRevives) => return self.revive(resource, owner, ttl_ms),
            None => return Outcome::LockDoesNotExist,
            Some(hold) if hold.owner != *owner => return Outcome::InvalidOwner,
            Some(hold) => hold.fencing_token,
        };
        let lease_end = self.now.after(ttl_ms);
        self.set_lease_end(resource, lease_end);
        Outcome::Extended {
            fencing_token,
            expires_in_ms: self.now.until(lease_end),
        }
    }

    fn set_lease_end(&mut self, resource: &Resource, lease_end: LogTime) {
        self.holds.set_lease_end(resource, lease_end);
        self.changed.entry(resource.clone()).or_insert(true);
    }

    /// Frees the holder's lock. The retry of one whose reply was lost finds no lock, or another owner's, and changes nothing.
    fn unlock(&mut self, resource: &Resource, owner: &Owner) -> Outcome {
        match self.holds.get(resource) {
            None => Outcome::LockDoesNotExist,
            Some(hold) if hold.owner != *owner && !mutants::on(Mutant::UnlockIgnoresOwner) => Outcome::InvalidOwner,
            Some(hold) => {
                if mutants::on(Mutant::TokenReused) && hold.fencing_token == self.last_token {
                    self.last_token.0 -= 1;
                }
                self.holds.remove(resource);
                self.changed.entry(resource.clone()).or_insert(true);
                Outcome::Unlocked
            }
        }
    }

    /// Also true of a ttl of zero, which is refused where requests enter and would here end with the next call.
    fn assert_no_overdue_lease(&self) {
        let first = self.holds.first_lease_end();
        assert!(first.is_none_or(|end| end >= self.now), "an ended lease is still held");
    }
}

/// What only a planted bug does.
impl Table {
    fn revive(&mut self, resource: &Resource, owner: &Owner, ttl_ms: u64) -> Outcome {
        self.grant(resource, owner, self.now.after(ttl_ms));
        self.extend(resource, owner, ttl_ms)
    }
}

/// Saving and restoring.
impl Table {
    /// How many rows [`Table::take_changes`] would return at most.
    #[must_use]
    pub fn changes(&self) -> usize {
        self.changed.len() + usize::from(self.counter_changed)
    }

    /// The rows that changed since the last call, in the order of keys; a lock that is no longer held is a row without a value. Most locks are
    /// taken and freed between two calls: they never have a row.
    pub fn take_changes(&mut self) -> Vec<Row> {
        let mut rows = Vec::with_capacity(self.changes());
        if mem::take(&mut self.counter_changed) && !mutants::on(Mutant::CounterNotSaved) {
            rows.push(snapshot::encode_counter(self.last_token));
        }
        let changed = mem::take(&mut self.changed);
        let row = |(resource, had_row): (&Resource, &bool)| match self.holds.get(resource) {
            Some(hold) => Some(snapshot::encode_hold(resource, hold)),
            None => had_row.then(|| snapshot::encode_free(resource)),
        };
        rows.extend(changed.iter().filter_map(row));
        rows
    }

    /// Puts one saved row into a fresh table. Rows come in the order of keys: the grant counter before any lock.
    ///
    /// # Errors
    /// When no table wrote this row, or not together with the rows before it. The table is then of no more use.
    pub fn restore(&mut self, key: &[u8], value: &[u8]) -> Result<(), RestoreError> {
        match snapshot::decode(key, value)? {
            Saved::Counter(token) if self.last_token == FencingToken::default() => self.last_token = token,
            Saved::Counter(_) => return Err(RestoreError("the grant counter is there twice".into())),
            Saved::Hold(resource, hold) => self.restore_hold(resource, hold)?,
        }
        Ok(())
    }

    fn restore_hold(&mut self, resource: Resource, hold: Hold) -> Result<(), RestoreError> {
        let token = hold.fencing_token;
        if mutants::on(Mutant::CounterNotSaved) {
            self.last_token = self.last_token.max(token);
        }
        if token > self.last_token {
            let counter = self.last_token;
            let reason = format!("lock {resource} has token {token}, above the grant counter {counter}");
            return Err(RestoreError(reason));
        }
        if !self.holds.admits(&resource, &hold) {
            return Err(RestoreError(format!(
                "lock {resource} or its token {token} is there twice"
            )));
        }
        self.holds.insert(resource, hold);
        Ok(())
    }

    /// A hash of the grant counter and every hold, equal on replicas that applied the same entries. O(n) of the held locks.
    ///
    /// Log time is left out: a restored table learns it from the mark beside its rows.
    #[must_use]
    pub fn digest(&self) -> u64 {
        let mut hash = Xxh3::new();
        let mut add = |bytes: &[u8]| {
            hash.update(&(bytes.len() as u64).to_le_bytes());
            hash.update(bytes);
        };
        add(&self.last_token.0.to_le_bytes());
        for (resource, hold) in self.holds.iter() {
            add(resource.as_str().as_bytes());
            add(hold.owner.as_bytes());
            add(&hold.fencing_token.0.to_le_bytes());
            add(&hold.lease_end.0.to_le_bytes());
        }
        hash.digest()
    }
}
