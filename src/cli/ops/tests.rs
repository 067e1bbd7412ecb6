//! How each outcome is printed, and whether it is a yes.

use super::*;
use crate::types::FencingToken;

fn answer(outcome: Outcome) -> Answer {
    let caller = Owner::new(b"me").unwrap();
    Answer::of(&Resource::new("a").unwrap(), Some(&caller), outcome)
}

fn json(outcome: Outcome) -> String {
    serde_json::to_string(&answer(outcome)).unwrap()
}

const TOKEN: FencingToken = FencingToken(7);

#[test]
fn the_json_of_each_outcome_has_the_promised_shape() {
    let locked = Outcome::Locked {
        fencing_token: TOKEN,
        expires_in_ms: 30_000,
    };
    assert_eq!(
        json(locked),
        r#"{"outcome":"locked","resource":"a","owner":"me","fencing_token":7,"expires_in_ms":30000}"#
    );
    let extended = Outcome::Extended {
        fencing_token: TOKEN,
        expires_in_ms: 5,
    };
    assert_eq!(
        json(extended),
        r#"{"outcome":"extended","resource":"a","owner":"me","fencing_token":7,"expires_in_ms":5}"#
    );
    let got = Outcome::Got {
        owner: Owner::new(b"you").unwrap(),
        fencing_token: TOKEN,
        expires_in_ms: 1,
    };
    assert_eq!(
        json(got),
        r#"{"outcome":"got","resource":"a","owner":"you","fencing_token":7,"expires_in_ms":1}"#
    );
    assert_eq!(
        json(Outcome::Unlocked),
        r#"{"outcome":"unlocked","resource":"a","owner":"me"}"#
    );
    assert_eq!(
        json(Outcome::LockDoesNotExist),
        r#"{"outcome":"lock_does_not_exist","resource":"a"}"#
    );
    assert_eq!(
        json(Outcome::InvalidOwner),
        r#"{"outcome":"invalid_owner","resource":"a"}"#
    );
}

#[test]
fn a_refusal_never_names_the_caller_as_the_holder() {
    assert_eq!(
        json(Outcome::Busy { expires_in_ms: 9 }),
        r#"{"outcome":"busy","resource":"a","expires_in_ms":9}"#
    );
}

#[test]
fn text_is_one_line_of_the_same_words() {
    let locked = Outcome::Locked {
        fencing_token: TOKEN,
        expires_in_ms: 30_000,
    };
    assert_eq!(
        answer(locked).text(),
        "locked resource=a owner=me fencing_token=7 expires_in_ms=30000\n"
    );
    assert_eq!(answer(Outcome::InvalidOwner).text(), "invalid_owner resource=a\n");
}

#[test]
fn busy_not_held_and_wrong_owner_are_a_no_and_the_rest_a_yes() {
    let yes = [
        Outcome::Locked {
            fencing_token: TOKEN,
            expires_in_ms: 1,
        },
        Outcome::Extended {
            fencing_token: TOKEN,
            expires_in_ms: 1,
        },
        Outcome::Unlocked,
        Outcome::Got {
            owner: Owner::new(b"you").unwrap(),
            fencing_token: TOKEN,
            expires_in_ms: 0,
        },
    ];
    let no = [
        Outcome::Busy { expires_in_ms: 1 },
        Outcome::LockDoesNotExist,
        Outcome::InvalidOwner,
    ];
    assert!(yes.into_iter().all(|outcome| answer(outcome).yes));
    assert!(no.into_iter().all(|outcome| !answer(outcome).yes));
}
