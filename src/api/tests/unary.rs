//! Unary calls: checked, submitted, answered, and every failure with a code of its own.

use super::*;
use crate::error::Overloaded;

#[tokio::test]
async fn a_unary_call_is_checked_submitted_and_answered() {
    let mut served = start().await;
    let mut client = served.client().await;
    let request = pb::TryLockRequest {
        resource: "a".to_owned(),
        owner: "me".into(),
        ttl_ms: 1000,
    };
    let (reply, asked) = tokio::join!(client.try_lock(request), served.answer(Ok(locked(7))));
    let reply = reply.unwrap().into_inner();
    assert_eq!((reply.outcome(), reply.fencing_token), (pb::Outcome::Locked, 7));
    assert!(matches!(
        asked,
        LockRequest::Command(Command::TryLock { ttl_ms: 1000, .. })
    ));
}

#[tokio::test]
async fn a_call_to_a_follower_learns_who_leads() {
    let mut served = start().await;
    let mut client = served.client().await;
    let not_leader = RequestError::NotLeader(NotLeader {
        partition: PartitionId(3),
        partitions: 8,
        leader: Some(LeaderHint {
            node: NodeId(2),
            address: "10.0.0.2:2070".to_owned(),
        }),
    });
    let (reply, _) = tokio::join!(client.get(get("a")), served.answer(Err(not_leader)));
    let status = reply.unwrap_err();
    assert_eq!(status.code(), Code::FailedPrecondition);
    let expected = [
        ("kapu-failure", "not-leader"),
        ("kapu-partition", "3"),
        ("kapu-partitions", "8"),
        ("kapu-leader-node", "2"),
        ("kapu-leader-address", "10.0.0.2:2070"),
    ];
    for (key, value) in expected {
        assert_eq!(status.metadata().get(key).unwrap(), value, "{key}");
    }
}

#[tokio::test]
async fn every_failure_has_a_code_of_its_own() {
    let mut served = start().await;
    let mut client = served.client().await;
    let overloaded = RequestError::Overloaded(Overloaded {
        what: "the queue",
        limit: 9,
    });
    let failures = [
        (InvalidInput::EmptyOwner.into(), Code::InvalidArgument, "invalid-input"),
        (overloaded, Code::ResourceExhausted, "overloaded"),
        (RequestError::Stopping, Code::Aborted, "stopping"),
        (RequestError::Unknown("no quorum"), Code::Unknown, "unknown"),
    ];
    for (error, code, kind) in failures {
        let words = error.to_string();
        let (reply, _) = tokio::join!(client.get(get("a")), served.answer(Err(error)));
        let status = reply.unwrap_err();
        assert_eq!((status.code(), status.message()), (code, words.as_str()));
        assert_eq!(status.metadata().get("kapu-failure").unwrap(), kind);
    }
}

#[tokio::test]
async fn wrong_input_never_reaches_the_node() {
    let mut served = start().await;
    let mut client = served.client().await;
    let request = pb::TryLockRequest {
        resource: "a".to_owned(),
        owner: "me".into(),
        ttl_ms: 0,
    };
    let status = client.try_lock(request).await.unwrap_err();
    assert_eq!(status.code(), Code::InvalidArgument);
    assert!(status.message().contains("ttl is 0 ms"), "{status}");
    let status = client.get(get(&"a".repeat(1025))).await.unwrap_err();
    assert!(status.message().contains("1025 bytes"), "{status}");
    assert!(served.asked.try_recv().is_err());
}
