//! A judge of histories that trusts no table.
//!
//! It knows only what callers were told, and objects when two of those answers cannot both be true. It predicts nothing: whether a lock
//! should have been granted is the business of the model.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::{Command, Outcome};
use crate::types::{FencingToken, Owner, Resource};

/// Judges a history by its commands and outcomes alone.
#[derive(Default)]
pub(super) struct Referee {
    /// Who was last told to hold a name, under which token, and until when.
    told: BTreeMap<Resource, (Owner, FencingToken, u64)>,
    greatest_token: FencingToken,
}

impl Referee {
    /// Takes the next command with its outcome at log time `now`.
    pub fn judge(&mut self, now: u64, command: &Command, outcome: &Outcome) -> Result<(), TestCaseError> {
        let name = command.resource();
        match (command, outcome) {
            (
                Command::TryLock { owner, .. },
                Outcome::Locked {
                    fencing_token,
                    expires_in_ms,
                },
            ) => {
                self.judge_lock(now, name, owner, *fencing_token)?;
                let end = now + expires_in_ms;
                self.told.insert(name.clone(), (owner.clone(), *fencing_token, end));
            }
            (
                Command::Extend { owner, .. },
                Outcome::Extended {
                    fencing_token,
                    expires_in_ms,
                },
            ) => {
                let Some((holder, token, end)) = self.told.get_mut(name) else {
                    return Err(TestCaseError::fail("an extend of a lock that nobody was given"));
                };
                prop_assert_eq!((&*holder, &*token), (owner, fencing_token));
                prop_assert!(now < *end, "an extend revived an ended lock");
                *end = now + expires_in_ms;
            }
            (Command::Unlock { owner, .. }, Outcome::Unlocked) => {
                let holder = self.told.remove(name).map(|(holder, ..)| holder);
                prop_assert_eq!(holder.as_ref(), Some(owner), "only the holder unlocks");
            }
            _ => {}
        }
        Ok(())
    }

    /// A token is either the holder's own, or new: then greater than all before it, and after the end of the last lease.
    fn judge_lock(
        &mut self,
        now: u64,
        name: &Resource,
        owner: &Owner,
        token: FencingToken,
    ) -> Result<(), TestCaseError> {
        match self.told.get(name) {
            Some((holder, held, end)) if *held == token => {
                prop_assert_eq!(holder, owner, "one token, two owners");
                prop_assert!(now < *end, "an ended lock came back with its old token");
            }
            earlier => {
                prop_assert!(
                    earlier.is_none_or(|(.., end)| *end <= now),
                    "granted before the lease's end"
                );
                prop_assert!(token > self.greatest_token, "a new grant with an old token");
                self.greatest_token = token;
            }
        }
        Ok(())
    }
}

#[test]
fn the_referee_objects_to_each_broken_promise() {
    let owner = |name: &str| Owner::new(name.as_bytes()).unwrap();
    let resource = || Resource::new("a").unwrap();
    let lock = |who: &str| Command::TryLock {
        resource: resource(),
        owner: owner(who),
        ttl_ms: 10,
    };
    let locked = |token| Outcome::Locked {
        fencing_token: FencingToken(token),
        expires_in_ms: 10,
    };
    let extend = Command::Extend {
        resource: resource(),
        owner: owner("x"),
        ttl_ms: 10,
    };
    let extended = Outcome::Extended {
        fencing_token: FencingToken(5),
        expires_in_ms: 10,
    };
    let unlock = Command::Unlock {
        resource: resource(),
        owner: owner("y"),
    };

    let after_a_grant = |now, command: &Command, outcome: &Outcome| {
        let mut referee = Referee::default();
        referee.judge(0, &lock("x"), &locked(5)).unwrap();
        referee.judge(now, command, outcome)
    };
    assert!(after_a_grant(10, &lock("y"), &locked(6)).is_ok());
    assert!(after_a_grant(9, &lock("y"), &locked(6)).is_err(), "granted early");
    assert!(after_a_grant(10, &lock("y"), &locked(4)).is_err(), "token went back");
    assert!(after_a_grant(10, &lock("x"), &locked(5)).is_err(), "token given again");
    assert!(after_a_grant(5, &lock("y"), &locked(5)).is_err(), "token of two owners");
    assert!(after_a_grant(5, &extend, &extended).is_ok());
    assert!(after_a_grant(10, &extend, &extended).is_err(), "revived");
    assert!(
        after_a_grant(5, &unlock, &Outcome::Unlocked).is_err(),
        "unlocked by another"
    );
}
