//! Retries, error by error.

use super::*;
use crate::env::rng;
use crate::error::{NotLeader, Overloaded};
use crate::lock::{Command, Query};
use crate::types::{InvalidInput, Owner, PartitionId, Resource};

const fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

fn command() -> Request {
    let (resource, owner) = (Resource::new("a").unwrap(), Owner::new(b"me").unwrap());
    Request::Command(Command::Unlock { resource, owner })
}

fn query() -> Request {
    Request::Query(Query::Get {
        resource: Resource::new("a").unwrap(),
    })
}

fn lost() -> CallError {
    CallError::Lost {
        endpoint: "a:1".to_owned(),
        reason: "the reply is lost".to_owned(),
    }
}

fn unreachable() -> CallError {
    CallError::Unreachable {
        endpoint: "a:1".to_owned(),
        reason: "connection refused".to_owned(),
    }
}

fn not_leader() -> CallError {
    let (partition, partitions, leader) = (PartitionId(0), 1, None);
    CallError::Request(RequestError::NotLeader(NotLeader {
        partition,
        partitions,
        leader,
    }))
}

fn retry(request: &Request) -> Retry {
    Retry::new(request, ms(0), ms(10_000))
}

fn fail(retry: &mut Retry, error: CallError) -> Next {
    retry.failed(error, false, ms(0), &mut rng(1, "test"))
}

#[test]
fn definite_failures_end_as_unreachable() {
    let mut retry = retry(&command());
    let overloaded = CallError::Request(RequestError::Overloaded(Overloaded {
        what: "a queue",
        limit: 1,
    }));
    for error in [
        unreachable(),
        not_leader(),
        overloaded,
        CallError::Request(RequestError::Stopping),
    ] {
        assert!(matches!(fail(&mut retry, error), Next::Pause(_)));
    }
    assert!(!retry.in_doubt());
    let error = retry.into_error("a:1,b:1");
    assert!(error.is_definite());
    assert_eq!(
        error.to_string(),
        "the cluster is not reachable at a:1,b:1 within 10s: this node is stopping"
    );
}

#[test]
fn one_indefinite_attempt_makes_the_end_unknown_whatever_follows() {
    for indefinite in [lost(), CallError::Request(RequestError::Unknown("deposed"))] {
        let mut retry = retry(&command());
        fail(&mut retry, indefinite.clone());
        fail(&mut retry, not_leader());
        fail(&mut retry, unreachable());
        assert!(retry.in_doubt());
        assert_eq!(
            retry.into_error("a:1"),
            ClientError::Unknown {
                last: indefinite.to_string()
            }
        );
    }
}

#[test]
fn a_query_is_never_in_doubt() {
    let mut retry = retry(&query());
    fail(&mut retry, lost());
    fail(&mut retry, CallError::Request(RequestError::Unknown("deposed")));
    assert!(!retry.in_doubt());
    assert!(matches!(retry.into_error("a:1"), ClientError::Unreachable { .. }));
}

#[test]
fn a_refused_request_is_not_sent_again() {
    let refused = CallError::Request(RequestError::InvalidInput(InvalidInput::EmptyOwner));
    let mut first = retry(&command());
    assert_eq!(fail(&mut first, refused.clone()), Next::GiveUp);
    assert_eq!(
        first.into_error("a:1"),
        ClientError::InvalidInput(InvalidInput::EmptyOwner)
    );

    let mut second = retry(&command());
    fail(&mut second, lost());
    assert_eq!(fail(&mut second, refused), Next::GiveUp);
    assert!(
        !second.into_error("a:1").is_definite(),
        "the first attempt may still count"
    );
}

#[test]
fn pauses_double_to_a_limit_and_are_jittered() {
    let mut retry = retry(&command());
    let mut rng = rng(7, "test");
    for most in [5, 10, 20, 40, 80, 160, 250, 250] {
        let Next::Pause(pause) = retry.failed(unreachable(), false, ms(0), &mut rng) else {
            panic!("no pause")
        };
        assert!((ms(most) / 2..=ms(most)).contains(&pause), "{pause:?} of {most} ms");
    }
    let draw = |seed| Backoff::new(ms(100), ms(100)).pause(&mut crate::env::rng(seed, "test"));
    assert_ne!(draw(1), draw(2));
    assert_eq!(draw(1), draw(1));
}

#[test]
fn hints_in_circles_are_followed_once_between_pauses() {
    let mut retry = retry(&command());
    let mut rng = rng(1, "test");
    let mut step = || retry.failed(not_leader(), true, ms(0), &mut rng);
    for _ in 0..5 {
        assert_eq!(step(), Next::Follow);
        assert!(matches!(step(), Next::Pause(pause) if pause > Duration::ZERO));
    }
}

#[test]
fn nothing_is_tried_at_or_after_the_deadline() {
    let mut rng = rng(1, "test");
    assert_eq!(
        retry(&command()).failed(not_leader(), true, ms(10_000), &mut rng),
        Next::GiveUp
    );
    assert_eq!(
        retry(&command()).failed(unreachable(), false, ms(9_999), &mut rng),
        Next::GiveUp
    );
    assert_eq!(
        retry(&command()).failed(not_leader(), true, ms(9_999), &mut rng),
        Next::Follow
    );
}

#[test]
fn one_attempt_does_not_eat_the_time_of_all() {
    let retry = |timeout| Retry::new(&command(), ms(1000), ms(timeout));
    assert_eq!(retry(10_000).attempt_timeout(ms(1000)), ms(2000));
    assert_eq!(retry(10_000).attempt_timeout(ms(8000)), ms(1000));
    assert_eq!(retry(300).attempt_timeout(ms(1000)), ms(250));
    assert_eq!(retry(300).attempt_timeout(ms(1200)), ms(100));
    assert_eq!(retry(0).attempt_timeout(ms(1000)), ms(0));
}
