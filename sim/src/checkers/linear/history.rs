//! The history of one lock, made ready to be searched.
//!
//! Owners become numbers, operations with an outcome stand in the order of their calls, and those without become what they may do later. Refused
//! operations and unanswered questions did nothing and are left out.

use std::collections::BTreeMap;

use super::super::lease::LeaseTime;
use crate::history::{Op, Operation, Seen};

/// An owner, numbered within one history.
pub type OwnerId = u32;

/// An operation with an outcome.
#[derive(Debug)]
pub struct Known<'e> {
    /// What was seen.
    pub operation: &'e Operation,
    /// Who asked; of a `Got`, who holds.
    pub owner: OwnerId,
    /// When its caller knew.
    pub return_ns: u64,
    /// The token that was seen; zero where the outcome has none.
    pub token: u64,
    /// Before this the lease that it speaks of cannot end.
    pub ends_ns: u64,
}

/// A try with an unknown outcome: a grant that may come, once, at any time after its call.
#[derive(Debug)]
pub struct UnknownTry {
    /// For whom.
    pub owner: OwnerId,
    /// Not before this.
    pub call_ns: u64,
    /// Before this its lease cannot end.
    pub ends_ns: u64,
}

/// All operations on one lock.
#[derive(Debug, Default)]
pub struct History<'e> {
    /// In the order of calls.
    pub known: Vec<Known<'e>>,
    /// In the order of calls.
    pub tries: Vec<UnknownTry>,
    /// The names of owners, by number.
    pub owners: Vec<&'e str>,
    /// By owner: from when on an unknown release or renewal may end a hold before its lease.
    ends_early_ns: Vec<u64>,
    /// By owner: when it is heard of for the last time.
    last_heard_ns: Vec<u64>,
}

impl<'e> History<'e> {
    /// The history of these operations on one resource.
    pub fn new(time: LeaseTime, mut operations: Vec<&'e Operation>) -> Self {
        operations.sort_by_key(|operation| operation.call_ns);
        let mut history = Self::default();
        let mut numbers = BTreeMap::new();
        for operation in operations {
            let owner = match operation.outcome {
                Seen::Refused => continue,
                Seen::Got => operation.holder.as_deref().unwrap_or_default(),
                _ => operation.owner.as_str(),
            };
            let owner = *numbers.entry(owner).or_insert_with(|| history.add_owner(owner));
            match operation.return_ns.filter(|_| operation.outcome != Seen::Unknown) {
                Some(return_ns) => history.add_known(time, operation, owner, return_ns),
                None => history.add_unknown(time, operation, owner),
            }
        }
        history
    }

    /// From when on a hold of `owner` whose lease lasts until `ends_ns` may be over.
    pub fn may_end_ns(&self, owner: OwnerId, ends_ns: u64) -> u64 {
        ends_ns.min(self.ends_early_ns[index(owner)])
    }

    /// Whether `owner` is heard of at `now_ns` or later.
    pub fn is_heard_of(&self, owner: OwnerId, now_ns: u64) -> bool {
        self.last_heard_ns[index(owner)] >= now_ns
    }

    fn add_owner(&mut self, name: &'e str) -> OwnerId {
        self.owners.push(name);
        self.ends_early_ns.push(u64::MAX);
        self.last_heard_ns.push(0);
        OwnerId::try_from(self.owners.len() - 1).expect("a run has fewer owners")
    }

    fn add_known(&mut self, time: LeaseTime, operation: &'e Operation, owner: OwnerId, return_ns: u64) {
        let last_heard_ns = &mut self.last_heard_ns[index(owner)];
        *last_heard_ns = return_ns.max(*last_heard_ns);
        self.known.push(Known {
            operation,
            owner,
            return_ns,
            token: operation.token.unwrap_or_default(),
            ends_ns: time.end_ns(operation.call_ns, operation.lease_ms.unwrap_or_default()),
        });
    }

    fn add_unknown(&mut self, time: LeaseTime, operation: &Operation, owner: OwnerId) {
        let call_ns = operation.call_ns;
        let ends_ns = time.end_ns(call_ns, operation.ttl_ms);
        let early = &mut self.ends_early_ns[index(owner)];
        match operation.op {
            Op::TryLock => self.tries.push(UnknownTry {
                owner,
                call_ns,
                ends_ns,
            }),
            Op::Extend => *early = ends_ns.min(*early),
            Op::Unlock => *early = call_ns.min(*early),
            Op::Get => {}
        }
    }
}

fn index(owner: OwnerId) -> usize {
    usize::try_from(owner).expect("a number of 32 bits")
}
