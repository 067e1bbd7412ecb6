//! The stream of events: what is told, to whom, from when on, and what who is too slow hears.

use bytes::Bytes;
use kapu::error::PartitionError;
use kapu::limits;
use kapu::node::{Events, Lagged, NodeEvent};
use kapu::types::{Index, NodeId, PartitionId};

use crate::bench_top::{Cluster, P, text};

/// The next event that is of interest.
async fn next<T>(events: &mut Events, of_interest: impl Fn(NodeEvent) -> Option<T>) -> T {
    loop {
        let event = events
            .next()
            .await
            .expect("the node runs")
            .expect("nobody is slow here");
        if let Some(found) = of_interest(event) {
            return found;
        }
    }
}

fn applied(event: NodeEvent) -> Option<Vec<Bytes>> {
    match event {
        NodeEvent::Applied {
            partition, commands, ..
        } => {
            assert_eq!(partition, P);
            Some(commands.to_vec())
        }
        _ => None,
    }
}

fn restored(event: NodeEvent) -> Option<(Index, bool)> {
    match event {
        NodeEvent::Restored {
            partition,
            through,
            is_snapshot,
        } => {
            assert_eq!(partition, P);
            Some((through, is_snapshot))
        }
        _ => None,
    }
}

fn leader(event: NodeEvent) -> Option<NodeId> {
    match event {
        NodeEvent::LeaderChanged { leader, .. } => leader,
        _ => None,
    }
}

#[tokio::test]
async fn every_node_tells_what_it_applied_in_order() {
    let cluster = Cluster::start(3).await;
    cluster.leader().await;
    let mut streams: Vec<_> = cluster.handles().iter().map(|node| node.events()).collect();
    let node = cluster.handle(cluster.leader().await);
    let results = node.replicate_many(P, vec![text("a"), text("b")]).await;
    assert!(results.iter().all(Result::is_ok), "{results:?}");
    cluster.replicate("c").await;
    for events in &mut streams {
        assert_eq!(next(events, applied).await, ["a", "b"]);
        assert_eq!(next(events, applied).await, ["c"]);
    }
    cluster.close().await;
}

#[tokio::test]
async fn a_change_of_leader_is_told_to_all_and_by_the_leader_itself_once_it_serves() {
    let mut cluster = Cluster::of(3);
    let mut streams = Vec::new();
    for id in 1..=3 {
        let builder = cluster.builder(id);
        streams.push(builder.events());
        cluster.run(builder).await;
    }
    let first = next(&mut streams[0], leader).await;
    assert_eq!(next(&mut streams[1], leader).await, first);
    let mut own = streams.remove(usize::try_from(first.0 - 1).unwrap());
    if first != NodeId(1) && first != NodeId(2) {
        assert_eq!(next(&mut own, leader).await, first);
    }
    assert!(cluster.handle(first.0).replicate(P, text("served")).await.is_ok());
    // When it stops it hands over.
    cluster.stop(first.0).await;
    let other = |event| leader(event).filter(|now| *now != first);
    let second = next(&mut streams[0], other).await;
    assert_eq!(next(&mut streams[1], other).await, second);
    cluster.close().await;
}

#[tokio::test]
async fn rows_are_told_to_be_restored_from_the_disk_and_from_a_snapshot() {
    let mut cluster = Cluster::start(1).await;
    cluster.replicate("a").await;
    let node = cluster.handle(1);
    node.checkpoint(P).await.unwrap();
    cluster.stop(1).await;
    let builder = cluster.builder(1);
    let mut events = builder.events();
    cluster.run(builder).await;
    let (from_disk, is_snapshot) = next(&mut events, restored).await;
    assert!(from_disk > Index(0) && !is_snapshot);

    // The log begins after the rows, so that who is new needs them.
    cluster.leader().await;
    let node = cluster.handle(1);
    node.checkpoint(P).await.unwrap();
    crate::bench_top::eventually(|| crate::bench_top::status(&node).base >= from_disk).await;
    let builder = cluster.builder(2);
    let mut events = builder.events();
    let newcomer = cluster.run(builder).await;
    newcomer.join(&cluster.handles(), &drop).await.unwrap();
    let (through, is_snapshot) = next(&mut events, restored).await;
    assert!(through >= from_disk && is_snapshot);
    cluster.replicate("b").await;
    assert_eq!(next(&mut events, applied).await, ["b"]);
    cluster.close().await;
}

#[tokio::test]
async fn members_are_told_when_they_change_and_when_that_is_final() {
    let mut cluster = Cluster::start(1).await;
    cluster.leader().await;
    let mut events = cluster.handle(1).events();
    let newcomer = cluster.run(cluster.builder(2)).await;
    newcomer.join(&cluster.handles(), &drop).await.unwrap();
    let voters = |event| match event {
        NodeEvent::MembersChanged { newest, applied, .. } => Some((newest.voters().count(), applied.voters().count())),
        _ => None,
    };
    let mut seen = Vec::new();
    while seen.last() != Some(&(2, 2)) {
        seen.push(next(&mut events, voters).await);
    }
    assert_eq!(seen[0], (1, 1), "a learner first");
    assert!(seen.contains(&(2, 1)), "in force before it is applied: {seen:?}");
    cluster.close().await;
}

#[tokio::test]
async fn what_could_not_be_replicated_is_told_to_listeners_and_callers_alike() {
    let cluster = Cluster::start(3).await;
    let (_, follower) = cluster.leader_and_follower().await;
    let mut events = follower.events();
    let refusal = follower.replicate(P, text("lost")).await.unwrap_err();
    let failed = |event| match event {
        NodeEvent::ReplicationFailed { partition, error } => Some((partition, error)),
        _ => None,
    };
    assert_eq!(next(&mut events, failed).await, (P, refusal));
    let none = PartitionId(9);
    let refusal = follower.replicate(none, text("lost")).await.unwrap_err();
    assert_eq!(next(&mut events, failed).await, (none, refusal));
    cluster.close().await;
}

/// Nothing runs beside this test while it does not wait, so nothing else is told.
#[tokio::test(flavor = "current_thread")]
async fn a_listener_that_is_too_slow_loses_the_oldest_and_is_told_how_many() {
    let cluster = Cluster::start(1).await;
    let node = cluster.handle(cluster.leader().await);
    let mut events = node.events();
    let fail = |number: usize| node.propose(PartitionId(u32::try_from(number).unwrap()), Bytes::new(), drop);
    (1..=limits::EVENTS_KEPT_MAX + 3).for_each(fail);
    let told = events.next().await.unwrap();
    assert_eq!(told.err(), Some(Lagged(3)));
    let oldest = events.next().await.unwrap().unwrap();
    let NodeEvent::ReplicationFailed { error, .. } = oldest else {
        panic!("{oldest:?}")
    };
    assert_eq!(error, PartitionError::NoPartition(PartitionId(4), 1));
    drop(events);
    assert_eq!(
        node.replicate(P, text("a")).await.unwrap(),
        "1",
        "nobody waits for a listener"
    );
    cluster.close().await;
}
