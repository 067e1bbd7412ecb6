//! Pipelines: out of order, bounded, and one wrong request harms no other.

use super::*;

#[tokio::test]
async fn a_lost_answer_is_unknown_and_not_a_hang() {
    let mut served = start().await;
    let mut client = served.client().await;
    let mut line = open(&mut client).await;
    line.ask(1, "a");
    drop(served.next().await);
    assert_eq!(
        line.reply().await,
        (1, Err(RequestError::Unknown("the node cannot tell")))
    );
    let (reply, _) = tokio::join!(client.get(get("a")), async { drop(served.next().await) });
    assert_eq!(reply.unwrap_err().code(), Code::Unknown);
}

#[tokio::test]
async fn a_pipeline_answers_out_of_order() {
    let mut served = start().await;
    let mut line = open(&mut served.client().await).await;
    for (id, name) in [(10, "a"), (11, "b"), (12, "c")] {
        line.ask(id, name);
    }
    let mut replies = Vec::new();
    for _ in 0..3 {
        replies.push(served.next().await.1);
    }
    for (id, reply) in [12, 11, 10].into_iter().zip(replies.into_iter().rev()) {
        reply(Ok(locked(id)));
        assert_eq!(line.reply().await, (id, Ok(locked(id))));
    }
    drop(line.requests);
    assert!(
        line.replies.message().await.unwrap().is_none(),
        "ends with its requests"
    );
}

#[tokio::test]
async fn a_wrong_request_fails_alone_and_the_pipeline_goes_on() {
    let mut served = start().await;
    let mut line = open(&mut served.client().await).await;
    let nameless = pb::pipeline_request::Operation::Get(get(""));
    for (id, operation) in [(1, None), (2, Some(nameless))] {
        line.requests.send(pb::PipelineRequest { id, operation }).unwrap();
    }
    line.ask(3, "a");
    assert_eq!(line.reply().await, (1, Err(InvalidInput::NoOperation.into())));
    assert_eq!(line.reply().await, (2, Err(InvalidInput::EmptyResource.into())));
    served.answer(Ok(Outcome::Unlocked)).await;
    assert_eq!(line.reply().await, (3, Ok(Outcome::Unlocked)));
}

#[tokio::test]
async fn a_pipeline_takes_no_more_than_its_limit() {
    let mut served = start().await;
    let mut client = served.client().await;
    let mut line = open(&mut client).await;
    let limit = limits::PIPELINE_REQUESTS_MAX as u64;
    for id in 0..limit + 3 {
        line.ask(id, "a");
    }
    let mut waiting = Vec::new();
    for _ in 0..limit {
        waiting.push(served.next().await.1);
    }
    // A whole call on the same connection: what could have been read by now has been.
    let (reply, asked) = tokio::join!(client.get(get("aside")), served.answer(Ok(Outcome::Unlocked)));
    assert_eq!(asked.resource().as_str(), "aside", "nothing more of the pipeline");
    reply.unwrap();
    for reply in waiting {
        reply(Ok(Outcome::Unlocked));
    }
    for _ in 0..3 {
        served.answer(Ok(Outcome::Unlocked)).await;
    }
    for _ in 0..limit + 3 {
        assert_eq!(line.reply().await.1, Ok(Outcome::Unlocked));
    }
}

#[tokio::test]
async fn a_message_over_the_limit_ends_its_stream_only() {
    let mut served = start().await;
    let mut client = served.client().await;
    let mut line = open(&mut client).await;
    line.ask(1, "a");
    let (_, reply) = served.next().await;
    let huge = get(&"a".repeat(limits::REQUEST_BYTES_MAX));
    let operation = Some(pb::pipeline_request::Operation::Get(huge.clone()));
    line.requests.send(pb::PipelineRequest { id: 2, operation }).unwrap();
    reply(Ok(Outcome::Unlocked));
    assert_eq!(
        line.reply().await,
        (1, Ok(Outcome::Unlocked)),
        "what was in flight is answered"
    );
    assert_eq!(line.replies.message().await.unwrap_err().code(), Code::OutOfRange);
    assert_eq!(client.get(huge).await.unwrap_err().code(), Code::OutOfRange);
    served.expect_good().await;
}
