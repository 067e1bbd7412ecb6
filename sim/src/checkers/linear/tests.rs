//! That the checker of histories accepts what a lock table may do, and objects to what it may not.
//!
//! First small stories, one a rule; then histories by the thousand, as they were and with one forged answer.

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use super::generate::{Weather, generate};
use super::*;
use crate::checkers::samples::{MS, busy, extended, got, history, locked, operation, unlocked};
use crate::history::{Op, Seen};

fn is_linear(operations: Vec<Operation>) -> bool {
    let judgement = judge(&history(operations));
    assert_eq!(judgement.undecided, 0);
    judgement.violation.is_none()
}

fn after(first: Vec<Operation>, then: Operation) -> bool {
    is_linear([first, vec![then]].concat())
}

fn unknown(op: Op, owner: &str, call: u64) -> Operation {
    operation(op, owner, (call, 0), Seen::Unknown)
}

#[test]
fn one_holder_at_a_time() {
    let held = || vec![locked("a", (0, 1), 1)];
    assert!(after(held(), busy("b", (2, 3))));
    assert!(!after(held(), locked("b", (2, 3), 2)));
    assert!(!is_linear(vec![busy("b", (2, 3))]), "busy, and nobody holds it");
    assert!(is_linear(vec![locked("a", (0, 9), 1), busy("b", (2, 3))]), "concurrent");
}

#[test]
fn a_lease_ends_no_earlier_than_it_may_and_as_late_as_it_likes() {
    let held = || vec![locked("a", (10, 20), 1)];
    assert!(!after(held(), locked("b", (90, 108), 2)));
    assert!(after(held(), locked("b", (90, 109), 2)));
    assert!(after(held(), busy("b", (5000, 5001))));
    assert!(!after(held(), operation(Op::Get, "", (21, 22), Seen::LockDoesNotExist)));
}

#[test]
fn a_renewal_is_the_holders_alone_and_counts_from_its_call() {
    let held = || vec![locked("a", (0, 1), 1), extended("a", (60, 61), 1)];
    assert!(!after(held(), locked("b", (110, 120), 2)));
    assert!(after(held(), locked("b", (110, 160), 2)));
    assert!(!after(held(), extended("b", (62, 63), 1)));
    let regranted = vec![locked("a", (0, 1), 1), locked("b", (150, 151), 2)];
    assert!(!after(regranted, extended("a", (152, 153), 1)));
}

#[test]
fn a_release_is_the_holders_alone() {
    let held = || vec![locked("a", (0, 1), 1)];
    assert!(!after(held(), unlocked("b", (2, 3))));
    let released = || [held(), vec![unlocked("a", (2, 3))]].concat();
    assert!(after(released(), locked("b", (4, 5), 2)));
    assert!(!after(released(), unlocked("a", (4, 5))), "released twice");
    assert!(after(
        released(),
        operation(Op::Unlock, "a", (4, 5), Seen::LockDoesNotExist)
    ));
    assert!(!after(
        released(),
        operation(Op::Unlock, "a", (4, 5), Seen::InvalidOwner)
    ));
}

#[test]
fn a_holder_that_asks_again_keeps_its_token() {
    let held = || vec![locked("a", (0, 1), 1)];
    assert!(after(held(), locked("a", (2, 3), 1)));
    assert!(!after(held(), locked("a", (2, 3), 2)));
    let released = vec![locked("a", (0, 1), 1), unlocked("a", (2, 3))];
    assert!(!after(released, locked("a", (4, 5), 1)));
}

#[test]
fn a_lease_is_as_long_as_was_asked_for() {
    let mut long = locked("a", (0, 1), 1);
    long.lease_ms = Some(101);
    assert!(!is_linear(vec![long]));
    let mut short = extended("a", (2, 3), 1);
    short.lease_ms = Some(99);
    assert!(!after(vec![locked("a", (0, 1), 1)], short));
}

#[test]
fn a_read_sees_the_latest() {
    let held = || vec![locked("a", (0, 1), 1), unlocked("a", (2, 3)), locked("b", (4, 5), 2)];
    assert!(after(held(), got("b", (6, 7), 2, 50)));
    assert!(!after(held(), got("a", (6, 7), 1, 50)));
    assert!(!after(held(), got("b", (6, 7), 3, 50)));
}

#[test]
fn a_read_that_tells_of_a_long_lease_holds_the_next_grant_back() {
    let held = || vec![locked("a", (0, 1), 1), got("a", (80, 81), 1, 90)];
    assert!(!after(held(), locked("b", (150, 160), 2)));
    assert!(after(held(), locked("b", (150, 170), 2)));
}

#[test]
fn an_unknown_try_may_be_granted_late_and_once() {
    let lost = || vec![unknown(Op::TryLock, "a", 0)];
    assert!(after(lost(), locked("b", (2, 3), 1)), "never");
    assert!(after(lost(), locked("b", (2, 3), 2)), "and ended, or granted elsewhere");
    assert!(after(lost(), busy("b", (900, 901))), "late");
    assert!(after(
        [lost(), vec![busy("b", (2, 3))]].concat(),
        got("a", (4, 5), 7, 50)
    ));
    assert!(
        !after([lost(), vec![busy("b", (2, 3))]].concat(), locked("b", (50, 51), 2)),
        "held by then"
    );
    let twice = |n| {
        let between = vec![busy("b", (2, 3)), locked("b", (150, 151), 5), unlocked("b", (152, 153))];
        let lost = vec![unknown(Op::TryLock, "a", 0); n];
        after([lost, between].concat(), busy("c", (154, 155)))
    };
    assert!(!twice(1));
    assert!(twice(2));
}

#[test]
fn an_unknown_release_may_come_at_any_time_after_its_call() {
    let lost = || vec![locked("a", (0, 1), 1), unknown(Op::Unlock, "a", 20)];
    assert!(after(lost(), locked("b", (30, 31), 2)));
    assert!(after(lost(), busy("b", (30, 31))));
    assert!(!after(lost(), locked("b", (2, 19), 2)), "before the release was sent");
    let others = vec![locked("a", (0, 1), 1), unknown(Op::Unlock, "c", 20)];
    assert!(!after(others, locked("b", (30, 31), 2)));
}

#[test]
fn a_refused_operation_did_nothing() {
    let refused = operation(Op::TryLock, "a", (0, 1), Seen::Refused);
    assert!(!after(vec![refused], busy("b", (2, 3))));
}

#[test]
fn an_outcome_that_answers_another_question_is_objected_to() {
    assert!(!is_linear(vec![operation(Op::Unlock, "a", (0, 1), Seen::Locked)]));
    assert!(!is_linear(vec![operation(
        Op::TryLock,
        "a",
        (0, 1),
        Seen::LockDoesNotExist
    )]));
}

const CALM: Weather = Weather {
    clients: 4,
    operations: 40,
    loss: 0,
};
const ROUGH: Weather = Weather { loss: 10, ..CALM };
const HISTORIES: u64 = 300;

#[test]
fn histories_of_a_correct_table_are_accepted() {
    for (weather, seeds) in [(CALM, 0..HISTORIES), (ROUGH, 0..HISTORIES)] {
        for seed in seeds {
            let judgement = judge(&generate(seed, weather));
            assert_eq!(judgement.violation, None, "seed {seed}, {weather:?}");
            assert_eq!(judgement.undecided, 0, "seed {seed}, {weather:?}");
        }
    }
}

#[test]
fn a_hot_resource_in_a_storm_is_decided() {
    let storm = Weather {
        clients: 12,
        operations: 300,
        loss: 10,
    };
    for seed in 0..3 {
        let evidence = generate(seed, storm);
        assert!(evidence.operations.len() >= 3600);
        let judgement = judge(&evidence);
        assert_eq!((judgement.violation, judgement.undecided), (None, 0), "seed {seed}");
    }
}

/// Changes one answer to one that a broken table might have given; none when the history has no such place.
type Forgery = fn(&mut StdRng, &mut [Operation]) -> Option<()>;

fn pick(rng: &mut StdRng, operations: &[Operation], fits: impl Fn(usize, &Operation) -> bool) -> Option<usize> {
    let places: Vec<_> = operations
        .iter()
        .enumerate()
        .filter(|(at, operation)| fits(*at, operation))
        .collect();
    (!places.is_empty()).then(|| places[rng.random_range(0..places.len())].0)
}

/// The last operation with this outcome that really came before.
fn before(operations: &[Operation], at: usize, fits: impl Fn(&Operation) -> bool) -> Option<&Operation> {
    let call_ns = operations[at].call_ns;
    let earlier = operations
        .iter()
        .filter(|operation| operation.return_ns.is_some_and(|back| back < call_ns));
    earlier
        .filter(|operation| fits(operation))
        .max_by_key(|operation| operation.return_ns)
}

fn token_reused(rng: &mut StdRng, operations: &mut [Operation]) -> Option<()> {
    let other = |at: usize, operation: &Operation| {
        let grant = |other: &Operation| other.outcome == Seen::Locked && other.owner != operation.owner;
        before(operations, at, grant).and_then(|grant| grant.token)
    };
    let at = pick(rng, operations, |at, operation| {
        operation.outcome == Seen::Locked && other(at, operation).is_some()
    })?;
    operations[at].token = other(at, &operations[at]);
    Some(())
}

fn granted_while_held(rng: &mut StdRng, operations: &mut [Operation]) -> Option<()> {
    let hold = |at: usize| {
        before(operations, at, |earlier| {
            matches!(earlier.outcome, Seen::Locked | Seen::Extended)
        })
    };
    let at = pick(rng, operations, |at, operation| {
        let left_ns = |hold: &Operation| hold.lease_ms.unwrap_or_default() * MS;
        operation.outcome == Seen::Busy
            && hold(at).is_some_and(|hold| Some(hold.call_ns + left_ns(hold)) > operation.return_ns)
    })?;
    let greatest = hold(at).and_then(|hold| hold.token).unwrap_or_default();
    let operation = &mut operations[at];
    operation.outcome = Seen::Locked;
    operation.token = Some(greatest + 5);
    operation.lease_ms = Some(operation.ttl_ms);
    Some(())
}

fn unlocked_by_another(rng: &mut StdRng, operations: &mut [Operation]) -> Option<()> {
    let at = pick(rng, operations, |_, operation| {
        operation.op == Op::Unlock && operation.outcome == Seen::InvalidOwner
    })?;
    operations[at].outcome = Seen::Unlocked;
    Some(())
}

fn extended_after_the_end(rng: &mut StdRng, operations: &mut [Operation]) -> Option<()> {
    let grant = |at: usize, operation: &Operation| {
        before(operations, at, |earlier| {
            earlier.owner == operation.owner && earlier.outcome == Seen::Locked
        })
        .and_then(|grant| grant.token)
    };
    let at = pick(rng, operations, |at, operation| {
        operation.op == Op::Extend && operation.outcome == Seen::InvalidOwner && grant(at, operation).is_some()
    })?;
    operations[at].token = grant(at, &operations[at]);
    operations[at].lease_ms = Some(operations[at].ttl_ms);
    operations[at].outcome = Seen::Extended;
    Some(())
}

fn stale_read(rng: &mut StdRng, operations: &mut [Operation]) -> Option<()> {
    let older = |at: usize, operation: &Operation| {
        let older = |earlier: &Operation| earlier.outcome == Seen::Locked && earlier.token < operation.token;
        before(operations, at, older).map(|grant| (grant.owner.clone(), grant.token))
    };
    let at = pick(rng, operations, |at, operation| {
        operation.outcome == Seen::Got && older(at, operation).is_some()
    })?;
    let (holder, token) = older(at, &operations[at])?;
    operations[at].holder = Some(holder);
    operations[at].token = token;
    Some(())
}

/// How many of a hundred forged histories are objected to.
fn rejections(weather: Weather, forge: Forgery) -> u64 {
    let (mut forged, mut rejected) = (0, 0);
    for seed in 0..HISTORIES {
        let mut evidence = generate(seed, weather);
        if forge(&mut StdRng::seed_from_u64(seed), &mut evidence.operations).is_some() {
            forged += 1;
            rejected += u64::from(judge(&evidence).violation.is_some());
        }
    }
    assert!(forged > HISTORIES / 4, "only {forged} histories had a place for it");
    100 * rejected / forged
}

#[test]
fn a_forged_answer_is_almost_always_objected_to() {
    let forgeries: [(&str, Forgery); 5] = [
        ("token reused", token_reused),
        ("granted while held", granted_while_held),
        ("unlocked by another", unlocked_by_another),
        ("extended after the end", extended_after_the_end),
        ("stale read", stale_read),
    ];
    for (name, forge) in forgeries {
        let (calm, rough) = (rejections(CALM, forge), rejections(ROUGH, forge));
        println!("{name}: {calm} % without losses, {rough} % with");
        assert!(calm >= 93, "{name}: {calm} %");
        assert!(rough >= 80, "{name}: {rough} %");
    }
}
