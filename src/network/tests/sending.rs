//! The sending side: what is joined, dropped, dialled again and told.

use super::*;

#[tokio::test]
async fn what_waits_leaves_in_one_frame() {
    let (sink, mut frames) = sink(1, unreachable());
    let (peers, _) = start(vec![Ok(sink)]);
    // The sender runs only when the test waits: all of this is there when it first looks, and the first dial clears nothing of it.
    tokio::task::yield_now().await;
    for partition in 0..100 {
        peers.send_all(
            PartitionId(partition),
            vec![message(2, 1), message(3, 9), message(2, 2)],
        );
    }
    let frame = frames.recv().await.unwrap();
    assert_eq!(rounds(&frame), [1, 2].repeat(100));
    assert_eq!(frame.header.sequence, 2, "after the introduction");
    assert_eq!(frame.header.client_address, "client-1:2070");
    peers.send(PartitionId(0), message(2, 3));
    let frame = frames.recv().await.unwrap();
    assert_eq!((rounds(&frame), frame.header.sequence), (vec![3], 3));
}

#[tokio::test]
async fn what_does_not_fit_in_one_frame_leaves_in_several() {
    let (sink, mut frames) = sink(1, unreachable());
    let (peers, _) = start(vec![Ok(sink)]);
    tokio::task::yield_now().await;
    let large = limits::ENTRY_BYTES_MAX;
    let count = 2 * limits::FRAME_BYTES_MAX / large;
    peers.send_all(PartitionId(0), vec![append(large); count]);
    let (mut arrived, mut frames_used) = (0, 0);
    while arrived < count {
        arrived += frames.recv().await.unwrap().messages.len();
        frames_used += 1;
    }
    assert_eq!((arrived, frames_used), (count, 3), "nearly full frames");
}

#[tokio::test]
async fn a_full_queue_drops_and_goes_on() {
    let (sink, mut frames) = sink(1, unreachable());
    let (peers, _) = start(vec![Ok(sink)]);
    tokio::task::yield_now().await;
    let over = limits::PEER_QUEUE_MESSAGES_MAX as u64 + 5;
    peers.send_all(PartitionId(0), (0..over).map(|round| message(2, round)).collect());
    let frame = frames.recv().await.unwrap();
    assert_eq!(frame.messages.len(), limits::PEER_QUEUE_MESSAGES_MAX);
    peers.send(PartitionId(0), message(2, 7));
    assert_eq!(rounds(&frames.recv().await.unwrap()), [7]);
}

#[test]
fn a_queue_is_bounded_in_bytes() {
    let outbox = outbox::Outbox::default();
    let large = limits::APPEND_BYTES_MAX;
    let most = limits::PEER_QUEUE_BYTES_MAX / large;
    let dropped = outbox.push_all(PartitionId(0), std::iter::repeat_n(append(large), most));
    assert_eq!(dropped, 1, "the overheads do not fit in");
    outbox.clear();
    assert_eq!(
        outbox.push_all(PartitionId(0), [append(large)]),
        0,
        "there is room again"
    );
    assert_eq!(
        outbox.push_all(PartitionId(0), [append(limits::FRAME_BYTES_MAX)]),
        1,
        "fits in no frame"
    );
}

#[tokio::test]
async fn what_waited_for_an_unreachable_peer_is_dropped() {
    let (sink, mut frames) = sink(1, unreachable());
    let (peers, _) = start(vec![Err(unreachable()), Err(unreachable()), Ok(sink)]);
    peers.send(PartitionId(0), message(2, 1));
    // Let the sender fail twice: it clears, dials and pauses without waiting for anything else.
    for _ in 0..10 {
        tokio::task::yield_now().await;
    }
    peers.send(PartitionId(0), message(2, 2));
    assert_eq!(rounds(&frames.recv().await.unwrap()), [2]);
}

#[tokio::test]
async fn a_broken_stream_is_dialled_again() {
    let (first, mut first_frames) = sink(1, unreachable());
    let (second, mut second_frames) = sink(1, unreachable());
    let (peers, _) = start(vec![Ok(first), Err(unreachable()), Ok(second)]);
    tokio::task::yield_now().await;
    peers.send(PartitionId(0), message(2, 1));
    assert_eq!(rounds(&first_frames.recv().await.unwrap()), [1]);
    drop(first_frames);
    let frame = loop {
        peers.send(PartitionId(0), message(2, 2));
        tokio::task::yield_now().await;
        if let Ok(frame) = second_frames.try_recv() {
            break frame;
        }
    };
    assert!(rounds(&frame).iter().all(|&round| round == 2));
    assert!(frame.header.sequence > 2, "it goes on counting");
}

#[tokio::test]
async fn a_peer_that_may_be_in_several_places_is_looked_for_in_each_in_turn() {
    let (sink, frames) = sink(1, unreachable());
    let script = vec![Err(unreachable()), Err(refused("another node")), Ok(sink)];
    let (peers, _told, mut dials) = start_at(&["a", "b", "c"], Arc::<NoTime>::default(), script);
    for expected in ["a", "b", "c"] {
        assert_eq!(dials.recv().await.unwrap(), expected);
    }
    drop(frames);
    assert_eq!(
        dialed_next(&peers, &mut dials).await,
        "a",
        "a stream that broke at once proves nothing"
    );
}

/// What is dialed once the stream that is open is found broken.
async fn dialed_next(peers: &Peers, dials: &mut mpsc::UnboundedReceiver<String>) -> String {
    loop {
        peers.send(PartitionId(0), message(2, 2));
        tokio::task::yield_now().await;
        if let Ok(address) = dials.try_recv() {
            return address;
        }
    }
}

#[tokio::test]
async fn a_place_in_which_the_peer_was_for_long_is_tried_again_first() {
    let (sink, mut frames) = sink(1, unreachable());
    let clock = Arc::<NoTime>::default();
    let script = vec![Err(unreachable()), Ok(sink)];
    let (peers, _told, mut dials) = start_at(&["a", "b"], Arc::clone(&clock) as Arc<dyn Clock>, script);
    for expected in ["a", "b"] {
        assert_eq!(dials.recv().await.unwrap(), expected);
    }
    clock.0.store(2, Ordering::Relaxed);
    peers.send(PartitionId(0), message(2, 1));
    frames.recv().await.unwrap();
    drop(frames);
    assert_eq!(dialed_next(&peers, &mut dials).await, "b");
}

#[tokio::test]
async fn a_refusal_is_told_once_for_each_reason() {
    let script = ["a", "a", "b", "b", "a"].map(|reason| Err(refused(reason)));
    let (_peers, mut told) = start(script.into());
    for reason in ["a", "b", "a"] {
        assert_eq!(told.recv().await.unwrap(), reason);
    }
    assert!(told.try_recv().is_err());
}

#[tokio::test]
async fn senders_end_with_their_peers() {
    let (sink, mut frames) = sink(1, unreachable());
    let (peers, mut told) = start(vec![Ok(sink)]);
    tokio::task::yield_now().await;
    peers.send(PartitionId(0), message(2, 1));
    frames.recv().await.unwrap();
    drop(peers);
    assert!(frames.recv().await.is_none(), "the stream is closed");
    assert!(told.recv().await.is_none(), "the task is gone");
}
