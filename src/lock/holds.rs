//! The held locks, found by name and by the end of their lease.
//!
//! Two ordered maps that always hold the same locks. Ordered and not hashed: every replica walks them alike, clients who choose the names
//! cannot make them slow, and no growth step rehashes a million locks between two commands. Who may have a lock is not decided here.

use std::collections::BTreeMap;

use crate::types::{FencingToken, LogTime, Owner, Resource};

/// One lock that somebody has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Hold {
    /// Who has it.
    pub owner: Owner,
    /// The number of this ownership.
    pub fencing_token: FencingToken,
    /// The first instant at which it is no longer held.
    pub lease_end: LogTime,
}

impl Hold {
    /// Orders holds by lease end. Tokens are never given twice, so no two holds share a key.
    const fn deadline(&self) -> Deadline {
        (self.lease_end, self.fencing_token)
    }
}

type Deadline = (LogTime, FencingToken);

/// All held locks.
///
/// - A name has at most one hold.
/// - Each hold has exactly one deadline, that of its lease end: a million extends leave no more than one behind.
#[derive(Clone, Debug, Default)]
pub(super) struct Holds {
    by_name: BTreeMap<Resource, Hold>,
    by_deadline: BTreeMap<Deadline, Resource>,
}

impl Holds {
    /// The hold of `resource`.
    pub fn get(&self, resource: &Resource) -> Option<&Hold> {
        self.by_name.get(resource)
    }

    /// Whether [`Holds::insert`] would take this hold.
    pub fn admits(&self, resource: &Resource, hold: &Hold) -> bool {
        !self.by_name.contains_key(resource) && !self.by_deadline.contains_key(&hold.deadline())
    }

    /// Adds the hold of a free lock.
    pub fn insert(&mut self, resource: Resource, hold: Hold) {
        let other = self.by_deadline.insert(hold.deadline(), resource.clone());
        assert!(other.is_none(), "a fencing token is never given twice");
        let earlier = self.by_name.insert(resource, hold);
        assert!(earlier.is_none(), "a lock has at most one owner");
        self.assert_paired();
    }

    /// Ends the hold of `resource`, if there is one.
    pub fn remove(&mut self, resource: &Resource) -> Option<Hold> {
        let hold = self.by_name.remove(resource)?;
        let deadline = self.by_deadline.remove(&hold.deadline());
        assert_eq!(deadline.as_ref(), Some(resource), "each hold has its deadline");
        self.assert_paired();
        Some(hold)
    }

    /// Moves the lease end of a held lock.
    pub fn set_lease_end(&mut self, resource: &Resource, lease_end: LogTime) {
        let hold = self.by_name.get_mut(resource).expect("only a held lock is prolonged");
        let name = self.by_deadline.remove(&hold.deadline());
        hold.lease_end = lease_end;
        self.by_deadline
            .insert(hold.deadline(), name.expect("each hold has its deadline"));
        self.assert_paired();
    }

    /// Ends the hold with the earliest lease end if that is at or before `now`, and says whose name is free again.
    pub fn pop_ended(&mut self, now: LogTime) -> Option<Resource> {
        if self.first_lease_end()? > now {
            return None;
        }
        let (_, resource) = self.by_deadline.pop_first()?;
        let hold = self.by_name.remove(&resource);
        assert!(hold.is_some(), "each deadline has its hold");
        self.assert_paired();
        Some(resource)
    }

    /// The earliest lease end.
    pub fn first_lease_end(&self) -> Option<LogTime> {
        self.by_deadline.first_key_value().map(|((end, _), _)| *end)
    }

    /// Every hold, in the order of names.
    pub fn iter(&self) -> impl Iterator<Item = (&Resource, &Hold)> {
        self.by_name.iter()
    }

    fn assert_paired(&self) {
        assert_eq!(
            self.by_name.len(),
            self.by_deadline.len(),
            "holds and deadlines come in pairs"
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resource(name: &str) -> Resource {
        Resource::new(name).unwrap()
    }

    fn hold(token: u64, lease_end: u64) -> Hold {
        let owner = Owner::new(b"o").unwrap();
        Hold {
            owner,
            fencing_token: FencingToken(token),
            lease_end: LogTime(lease_end),
        }
    }

    #[test]
    fn holds_end_in_the_order_of_their_leases() {
        let mut holds = Holds::default();
        holds.insert(resource("late"), hold(1, 30));
        holds.insert(resource("early"), hold(2, 10));
        holds.insert(resource("middle"), hold(3, 20));
        assert_eq!(holds.pop_ended(LogTime(9)), None);
        assert_eq!(holds.pop_ended(LogTime(20)), Some(resource("early")));
        assert_eq!(holds.pop_ended(LogTime(20)), Some(resource("middle")));
        assert_eq!(holds.pop_ended(LogTime(20)), None);
        assert_eq!(holds.first_lease_end(), Some(LogTime(30)));
    }

    #[test]
    fn many_extends_leave_one_deadline() {
        let mut holds = Holds::default();
        holds.insert(resource("a"), hold(1, 1));
        for end in 2..10_000 {
            holds.set_lease_end(&resource("a"), LogTime(end));
        }
        assert_eq!(holds.by_deadline.len(), 1);
        assert_eq!(holds.first_lease_end(), Some(LogTime(9_999)));
    }

    #[test]
    fn a_removed_hold_leaves_no_deadline() {
        let mut holds = Holds::default();
        holds.insert(resource("a"), hold(1, 10));
        assert_eq!(holds.remove(&resource("a")), Some(hold(1, 10)));
        assert_eq!(holds.remove(&resource("a")), None);
        assert_eq!(holds.first_lease_end(), None);
    }

    #[test]
    #[should_panic(expected = "at most one owner")]
    fn a_second_hold_of_a_name_is_refused() {
        let mut holds = Holds::default();
        holds.insert(resource("a"), hold(1, 10));
        holds.insert(resource("a"), hold(2, 10));
    }

    #[test]
    #[should_panic(expected = "never given twice")]
    fn a_second_hold_of_a_token_is_refused() {
        let mut holds = Holds::default();
        holds.insert(resource("a"), hold(1, 10));
        holds.insert(resource("b"), hold(1, 10));
    }
}
