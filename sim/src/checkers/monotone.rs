//! What never goes back: term, commit and applied in one life of a replica, and over all of them a term that it has led.
//!
//! And the order of the marks along a log, which a replica asserts of itself too; here it is asked of what others can see. A term that a
//! replica has only entered may go back when it dies: until it is durable, nothing that rests on it has left the node.

use std::collections::BTreeMap;

use kapu::raft::Role;

use super::Violation;
use crate::evidence::{Evidence, Fact, Observation};

/// The marks of one status.
#[derive(Clone, Copy, Debug)]
struct Marks {
    role: Role,
    term: u64,
    last: u64,
    commit: u64,
    applied: u64,
    durable: u64,
}

/// Marks never go back, and are in order.
///
/// # Errors
/// When one did, or two are out of order.
pub fn check(evidence: &Evidence) -> Result<(), Violation> {
    let mut lives: BTreeMap<(u64, u64, u32), Marks> = BTreeMap::new();
    let mut led: BTreeMap<(u64, u32), u64> = BTreeMap::new();
    for seen in &evidence.observations {
        let Fact::Status {
            role,
            term,
            leader: _,
            last,
            commit,
            applied,
            durable,
            voters: _,
        } = seen.fact
        else {
            continue;
        };
        let marks = Marks {
            role,
            term,
            last,
            commit,
            applied,
            durable,
        };
        let led = led.entry((seen.node, seen.partition)).or_default();
        if term < *led {
            return Err(object(seen, &format!("it has led term {led}, and is in term {term}")));
        }
        if role == Role::Leader {
            *led = term;
        }
        let before = lives.insert((seen.node, seen.boot, seen.partition), marks);
        if let Some(what) = disorder(&marks).or_else(|| before.and_then(|before| regress(&before, &marks))) {
            return Err(object(seen, &format!("{what}: {marks:?}, before {before:?}")));
        }
    }
    Ok(())
}

fn disorder(now: &Marks) -> Option<&'static str> {
    let rules = [
        (now.applied <= now.commit, "applied what is not committed"),
        (now.commit <= now.last, "committed beyond its log"),
        (now.applied <= now.durable, "applied what is not durable"),
        (now.durable <= now.last, "durable beyond its log"),
    ];
    rules.into_iter().find(|(holds, _)| !holds).map(|(_, what)| what)
}

fn regress(before: &Marks, now: &Marks) -> Option<&'static str> {
    let led_on = before.role == Role::Leader && now.role == Role::Leader && before.term == now.term;
    let rules = [
        (before.term <= now.term, "term went back"),
        (before.commit <= now.commit, "commit went back"),
        (before.applied <= now.applied, "applied went back"),
        (!led_on || before.last <= now.last, "a leader's log grew shorter"),
    ];
    rules.into_iter().find(|(holds, _)| !holds).map(|(_, what)| what)
}

fn object(seen: &Observation, what: &str) -> Violation {
    let message = format!(
        "partition {}, node {} in its life {} at {} ns: {what}",
        seen.partition, seen.node, seen.boot, seen.at_ns
    );
    Violation::new("monotone", message)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checkers::samples::{lived, observed, status};
    use crate::evidence::Voters;

    const F: Role = Role::Follower;

    #[test]
    fn a_new_life_may_know_less_but_not_of_a_term_that_it_led() {
        let run = |role, term| lived(vec![(1, 1, 0, status(role, 3, 9, 8)), (1, 2, 0, status(F, term, 9, 2))]);
        assert_eq!(check(&run(F, 2)), Ok(()));
        assert_eq!(check(&run(Role::Leader, 3)), Ok(()));
        assert!(check(&run(Role::Leader, 2)).is_err());
    }

    #[test]
    fn a_commit_index_or_a_term_that_goes_back_is_objected_to() {
        let run = |term, commit| observed(vec![(1, 0, status(F, 3, 9, 8)), (1, 0, status(F, term, 9, commit))]);
        assert_eq!(check(&run(3, 8)), Ok(()));
        assert!(check(&run(3, 7)).is_err());
        assert!(check(&run(2, 8)).is_err());
    }

    #[test]
    fn only_a_leader_may_not_lose_entries() {
        let run = |role| observed(vec![(1, 0, status(role, 3, 9, 8)), (1, 0, status(role, 3, 8, 8))]);
        assert_eq!(check(&run(F)), Ok(()));
        assert!(check(&run(Role::Leader)).is_err());
    }

    #[test]
    fn marks_out_of_order_are_objected_to() {
        let marks = |last, commit, applied, durable| {
            let (role, term, leader) = (F, 3, 0);
            observed(vec![(
                1,
                0,
                Fact::Status {
                    role,
                    term,
                    leader,
                    last,
                    commit,
                    applied,
                    durable,
                    voters: Voters::default(),
                },
            )])
        };
        assert_eq!(check(&marks(9, 8, 7, 7)), Ok(()));
        assert!(check(&marks(9, 10, 7, 7)).is_err(), "commit above last");
        assert!(check(&marks(9, 7, 8, 8)).is_err(), "applied above commit");
        assert!(check(&marks(9, 8, 7, 6)).is_err(), "applied above durable");
        assert!(check(&marks(9, 8, 7, 10)).is_err(), "durable above last");
    }
}
