//! What is written in the book.

use super::*;
use crate::workload::tests::{TestClock, resource};
use kapu::error::RequestError;
use kapu::types::{FencingToken, Owner};

type Answer = Option<Result<Outcome, CallError>>;

/// Gives one answer after a second; none: never.
struct Fixed(Answer);

impl Caller for Fixed {
    fn call(&self, _: &str, _: Request, _: Duration) -> BoxFuture<'static, Result<Outcome, CallError>> {
        let answer = self.0.clone();
        Box::pin(async move {
            TestClock::start().sleep(Duration::from_secs(1)).await;
            match answer {
                Some(answer) => answer,
                None => std::future::pending().await,
            }
        })
    }

    fn status(&self, _: &str, _: Duration) -> BoxFuture<'static, Result<NodeStatus, CallError>> {
        Box::pin(std::future::pending())
    }
}

fn get() -> Request {
    let resource = resource("r");
    Request::Query(Query::Get { resource })
}

fn try_lock() -> Request {
    Request::Command(Command::TryLock {
        resource: resource("r"),
        owner: Owner::new(b"o").unwrap(),
        ttl_ms: 77,
    })
}

/// What is in the book after one call that is waited for at most ten seconds.
async fn record(request: Request, answer: Answer) -> (Operation, usize) {
    let book = Book::new(TestClock::start());
    let caller = book.recording(4, Arc::new(Fixed(answer)));
    let call = caller.call("a:1", request, Duration::from_secs(5));
    assert_eq!(book.waiting().len(), 1, "it is written before anything is sent");
    let limit = TestClock::start().sleep(Duration::from_secs(10));
    tokio::select! {
        biased;
        _ = call => {}
        () = limit => {}
    }
    (book.operations().remove(0), book.waiting().len())
}

#[tokio::test(start_paused = true)]
async fn a_grant_is_written_with_its_token_and_lease() {
    let answer = Outcome::Locked {
        fencing_token: FencingToken(9),
        expires_in_ms: 70,
    };
    let (operation, waiting) = record(try_lock(), Some(Ok(answer))).await;
    assert_eq!((operation.client, operation.op, operation.ttl_ms), (4, Op::TryLock, 77));
    assert_eq!((operation.resource.as_str(), operation.owner.as_str()), ("r", "o"));
    assert_eq!(operation.outcome, Seen::Locked);
    assert_eq!((operation.token, operation.lease_ms), (Some(9), Some(70)));
    let took = operation.return_ns.unwrap() - operation.call_ns;
    assert_eq!((took, waiting), (1_000_000_000, 0));
}

#[tokio::test(start_paused = true)]
async fn who_holds_it_is_written_too() {
    let answer = Outcome::Got {
        owner: Owner::new(b"x").unwrap(),
        fencing_token: FencingToken(3),
        expires_in_ms: 1,
    };
    let (operation, _) = record(get(), Some(Ok(answer))).await;
    assert_eq!((operation.op, operation.outcome), (Op::Get, Seen::Got));
    assert_eq!((operation.holder.as_deref(), operation.token), (Some("x"), Some(3)));
    assert_eq!(operation.owner, "");
}

#[tokio::test(start_paused = true)]
async fn definite_and_indefinite_failures_are_never_mixed() {
    let text = String::new;
    let (endpoint, reason) = (text(), text());
    let unreachable = CallError::Unreachable { endpoint, reason };
    let (endpoint, reason) = (text(), text());
    let lost = CallError::Lost { endpoint, reason };
    for (error, seen) in [
        (unreachable, Seen::Refused),
        (CallError::Request(RequestError::Stopping), Seen::Refused),
        (CallError::Request(RequestError::Unknown("why")), Seen::Unknown),
        (lost, Seen::Unknown),
    ] {
        let (operation, _) = record(try_lock(), Some(Err(error))).await;
        assert_eq!(operation.outcome, seen);
        assert!(operation.return_ns.is_some());
    }
}

#[tokio::test(start_paused = true)]
async fn what_nobody_waits_for_any_more_stays_unknown() {
    let (operation, waiting) = record(try_lock(), None).await;
    assert_eq!((operation.outcome, operation.return_ns), (Seen::Unknown, None));
    assert_eq!(waiting, 0);
}
