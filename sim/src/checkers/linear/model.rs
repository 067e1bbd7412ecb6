//! One lock as its callers may know it, and what it may answer.
//!
//! It says which outcomes are possible and what follows from each; it never predicts. Written against the promises in kapu's `lock` module and
//! not against its code.

use super::history::{Known, OwnerId};
use crate::history::{Op, Seen};

/// Who holds a lock.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Holder {
    /// Who.
    pub owner: OwnerId,
    /// Under which token; zero while nobody has said.
    pub token: u64,
    /// Before this the lease cannot end.
    pub ends_ns: u64,
}

/// A lock at one point of the order.
///
/// - A holder's known token is `token_min - 1`; an unknown one is that or more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Lock {
    /// Who holds it, if anybody does.
    pub holder: Option<Holder>,
    /// The least that the next grant's token may be.
    pub token_min: u64,
}

impl Lock {
    /// Before the first grant.
    pub const FREE: Self = Self {
        holder: None,
        token_min: 1,
    };

    /// The lock after it has answered so; none when it cannot have.
    pub fn answer(self, known: &Known<'_>) -> Option<Self> {
        let operation = known.operation;
        let (ttl, lease) = (Some(operation.ttl_ms), operation.lease_ms);
        let own = self.holder.filter(|holder| holder.owner == known.owner);
        match (operation.op, operation.outcome) {
            (Op::TryLock, Seen::Locked) if self.holder.is_none() => {
                let fits = known.token >= self.token_min && lease == ttl;
                fits.then(|| self.granted(known.owner, known.token, known.ends_ns))
            }
            (Op::TryLock, Seen::Locked) if lease >= ttl => self.witness(own?, known, own?.ends_ns.max(known.ends_ns)),
            (Op::Extend, Seen::Extended) if lease == ttl => self.witness(own?, known, known.ends_ns),
            (Op::Get, Seen::Got) => self.witness(own?, known, own?.ends_ns.max(known.ends_ns)),
            (Op::Unlock, Seen::Unlocked) => own.map(|_| self.freed()),
            (Op::TryLock, Seen::Busy) | (Op::Extend | Op::Unlock, Seen::InvalidOwner) => {
                (self.holder.is_some() && own.is_none()).then_some(self)
            }
            (Op::Extend | Op::Unlock | Op::Get, Seen::LockDoesNotExist) => self.holder.is_none().then_some(self),
            _ => None,
        }
    }

    /// Whether this answer leaves the lock as it is, or only tells that the holder's lease lasts longer.
    pub fn is_unchanged_by(self, known: &Known<'_>) -> bool {
        match known.operation.outcome {
            Seen::Locked | Seen::Got => self.holder.is_some_and(|holder| holder.token == known.token),
            Seen::Extended | Seen::Unlocked => false,
            _ => true,
        }
    }

    /// The free lock after a grant whose token nobody has seen yet.
    pub fn granted_unseen(self, owner: OwnerId, ends_ns: u64) -> Self {
        let granted = self.granted(owner, self.token_min, ends_ns);
        let holder = granted.holder.map(|holder| Holder { token: 0, ..holder });
        Self { holder, ..granted }
    }

    /// After a release, or the end of the lease.
    pub fn freed(self) -> Self {
        Self { holder: None, ..self }
    }

    /// The least token that an answer may still show.
    pub fn token_least(self) -> u64 {
        self.token_min - u64::from(self.holder.is_some())
    }

    fn granted(self, owner: OwnerId, token: u64, ends_ns: u64) -> Self {
        assert!(self.holder.is_none(), "only a free lock is granted");
        Self {
            holder: Some(Holder { owner, token, ends_ns }),
            token_min: token + 1,
        }
    }

    /// The holder's token is seen: it is the known one, or fills in the blank.
    fn witness(self, holder: Holder, known: &Known<'_>, ends_ns: u64) -> Option<Self> {
        let token = known.token;
        let fits = holder.token == token || holder.token == 0 && token >= self.token_least();
        let holder = Holder {
            token,
            ends_ns,
            ..holder
        };
        fits.then_some(Self {
            holder: Some(holder),
            token_min: token + 1,
        })
    }
}
