//! Which endpoints are asked, how often, and how a failure is called in the end.

use kapu::client::ClientError;
use kapu::clock::Clock;
use kapu::lock::Outcome;
use kapu::types::InvalidInput;

use super::cluster::{Faults, Health, address};
use super::*;

fn asked(cluster: &Cluster) -> Vec<String> {
    let attempts = std::mem::take(&mut cluster.lock().attempts);
    attempts.into_iter().map(|(endpoint, _)| endpoint).collect()
}

#[test]
fn the_leader_is_found_once_and_then_asked_at_once() {
    let (mut executor, cluster, client) = setup();
    cluster.lock().leaders = vec![Some(2)];
    for expected in [vec![address(0), address(2)], vec![address(2)]] {
        let client = client.clone();
        executor
            .block_on(async move { client.request(get("a")).await })
            .unwrap();
        assert_eq!(asked(&cluster), expected);
    }
    assert!(executor.world.now() < ms(10), "the hint was followed without a pause");
}

#[test]
fn a_leader_that_was_not_among_the_endpoints_is_found() {
    let (mut executor, cluster, _) = setup();
    cluster.lock().leaders = vec![Some(2)];
    let client = client_of(&executor.world, &cluster, 1, &["node-0:2070"]);
    let outcome = executor.block_on(async move { client.request(try_lock("a", "me", 1000)).await });
    assert!(matches!(outcome, Ok(Outcome::Locked { .. })));
    assert_eq!(asked(&cluster), [address(0), address(2)]);
}

#[test]
fn a_leader_that_dies_is_left_for_the_next() {
    let (mut executor, cluster, client) = setup();
    let again = client.clone();
    executor
        .block_on(async move { client.request(get("a")).await })
        .unwrap();
    cluster.lock().health[0] = Health::Down;
    cluster.lock().leaders = vec![Some(1)];
    executor.block_on(async move { again.request(get("a")).await }).unwrap();
    assert!(executor.world.now() < ms(50));
}

/// Asks one node, the only one that it was given, for `time`; then that node is gone for good.
fn ask_until_the_only_one_is_gone(time: Duration) -> Result<Outcome, ClientError> {
    let (mut executor, cluster, _) = setup();
    let client = client_of(&executor.world, &cluster, 1, &["node-0:2070"]);
    let (world, until) = (executor.world.clone(), executor.world.now() + time);
    executor.block_on(async move {
        while world.now() < until {
            client.request(get("a")).await?;
            world.sleep(ms(100)).await;
        }
        cluster.lock().health[0] = Health::Down;
        cluster.lock().leaders = vec![Some(1)];
        client.request(get("a")).await
    })
}

/// The leader was the only endpoint and never changed, so no hint named anybody else.
#[test]
fn a_client_that_is_in_use_outlives_the_nodes_that_it_was_given() {
    assert_eq!(
        ask_until_the_only_one_is_gone(ms(12_000)),
        Ok(Outcome::LockDoesNotExist)
    );
}

#[test]
fn a_client_that_was_used_for_a_moment_knows_only_what_it_was_given() {
    let answer = ask_until_the_only_one_is_gone(ms(1000));
    assert!(
        matches!(&answer, Err(ClientError::Unreachable { endpoints, .. }) if endpoints == "node-0:2070"),
        "{answer:?}"
    );
}

#[test]
fn a_node_that_hangs_costs_one_attempt_and_not_the_operation() {
    let (mut executor, cluster, client) = setup();
    cluster.lock().health[0] = Health::Hung;
    cluster.lock().leaders = vec![Some(1)];
    let outcome = executor.block_on(async move { client.request(try_lock("a", "me", 60_000)).await });
    assert!(matches!(outcome, Ok(Outcome::Locked { .. })));
    assert!(executor.world.now() < ms(2100), "{:?}", executor.world.now());
    let attempts = cluster.lock().attempts.clone();
    assert!(
        attempts
            .iter()
            .all(|(_, request)| *request == try_lock("a", "me", 60_000)),
        "{attempts:?}"
    );
}

#[test]
fn followers_that_still_name_a_hung_leader_do_not_send_the_client_back_to_it() {
    let (mut executor, cluster, client) = setup();
    cluster.lock().health[0] = Health::Hung;
    let world = executor.world.clone();
    let elected = cluster.clone();
    let election = async move {
        world.sleep(ms(2020)).await;
        elected.lock().leaders = vec![Some(2)];
    };
    kapu::env::Spawn::spawn(&executor.world, "election", Box::pin(election));
    executor
        .block_on(async move { client.request(get("a")).await })
        .unwrap();
    assert!(executor.world.now() < ms(4500), "{:?}", executor.world.now());
}

#[test]
fn hints_in_circles_do_not_spin() {
    let (mut executor, cluster, client) = setup();
    cluster.lock().faults.circle = true;
    let error = executor
        .block_on(async move { client.request(try_lock("a", "me", 1000)).await })
        .unwrap_err();
    assert!(matches!(error, ClientError::Unreachable { .. }), "{error}");
    let count = asked(&cluster).len();
    assert!((40..200).contains(&count), "{count} attempts in ten seconds");
}

#[test]
fn a_cluster_that_is_down_is_unreachable_after_the_timeout_and_not_long_before() {
    let (mut executor, cluster, client) = setup();
    cluster.lock().health = vec![Health::Down; 3];
    let client = client.with_timeout(ms(3000));
    let error = executor
        .block_on(async move { client.request(try_lock("a", "me", 1000)).await })
        .unwrap_err();
    assert!(matches!(error, ClientError::Unreachable { .. }), "{error}");
    assert!(
        error
            .to_string()
            .contains("node-0:2070,node-1:2070,node-2:2070 within 3s"),
        "{error}"
    );
    assert!((ms(2700)..=ms(3000)).contains(&executor.world.now()));
    let asked = asked(&cluster);
    assert!((0..3).all(|node| asked.contains(&address(node))), "{asked:?}");
}

#[test]
fn a_command_without_an_answer_is_unknown_and_a_query_is_not() {
    let faults = [
        Faults {
            reply_lost: 100,
            ..Faults::default()
        },
        Faults {
            request_lost: 100,
            ..Faults::default()
        },
        Faults {
            unknown: 100,
            ..Faults::default()
        },
    ];
    for faults in faults {
        let (mut executor, cluster, client) = setup();
        cluster.lock().faults = faults;
        let query = client.clone();
        let error = executor
            .block_on(async move { client.request(try_lock("a", "me", 1000)).await })
            .unwrap_err();
        assert!(matches!(error, ClientError::Unknown { .. }), "{faults:?}: {error}");
        let error = executor
            .block_on(async move { query.request(get("a")).await })
            .unwrap_err();
        assert!(matches!(error, ClientError::Unreachable { .. }), "{faults:?}: {error}");
    }
}

#[test]
fn one_lost_attempt_makes_the_end_unknown_even_if_the_rest_is_refused() {
    let (mut executor, cluster, client) = setup();
    cluster.lock().faults.request_lost = 100;
    let world = executor.world.clone();
    let later = cluster.clone();
    let change = async move {
        world.sleep(ms(2)).await;
        later.lock().faults.request_lost = 0;
        later.lock().leaders = vec![None];
    };
    kapu::env::Spawn::spawn(&executor.world, "change", Box::pin(change));
    let error = executor
        .block_on(async move { client.request(try_lock("a", "me", 1000)).await })
        .unwrap_err();
    assert!(matches!(error, ClientError::Unknown { .. }), "{error}");
    assert!(asked(&cluster).len() > 10);
}

#[test]
fn an_outcome_ends_the_doubt_and_is_told_as_it_is() {
    let (mut executor, cluster, client) = setup();
    cluster.apply(&try_lock("a", "me", 60_000));
    cluster.lock().faults.reply_lost = 100;
    let (world, later) = (executor.world.clone(), cluster.clone());
    let change = async move {
        world.sleep(ms(2)).await;
        later.lock().faults.reply_lost = 0;
    };
    kapu::env::Spawn::spawn(&executor.world, "change", Box::pin(change));
    let outcome = executor.block_on(async move { client.request(unlock("a", "me")).await });
    assert_eq!(outcome, Ok(Outcome::LockDoesNotExist));
    assert_eq!(
        asked(&cluster),
        [0, 1, 2, 0].map(address),
        "the others were asked first, and named a suspect"
    );
}

#[test]
fn a_bad_name_ttl_or_endpoint_is_refused_before_anything_is_sent() {
    let (mut executor, cluster, client) = setup();
    let refused = |executor: &mut Executor, lock: kapu::client::LockBuilder| {
        executor.block_on(async move { lock.acquire().await.map(|guard| guard.is_some()) })
    };
    let error = refused(&mut executor, client.lock(""));
    assert_eq!(error, Err(ClientError::InvalidInput(InvalidInput::EmptyResource)));
    let error = refused(&mut executor, client.lock(&"x".repeat(1025)));
    assert_eq!(error, Err(ClientError::InvalidInput(InvalidInput::LongResource(1025))));
    for (ttl, shown) in [
        (Duration::ZERO, 0),
        (Duration::from_micros(999), 0),
        (ms(86_400_001), 86_400_001),
    ] {
        let error = refused(&mut executor, client.lock("a").ttl(ttl));
        assert_eq!(error, Err(ClientError::InvalidInput(InvalidInput::BadTtl(shown))));
    }
    assert!(refused(&mut executor, client.lock("a").ttl(Duration::MAX)).is_err());
    assert!(asked(&cluster).is_empty());
}

#[test]
fn every_endpoint_tells_its_status_or_why_not() {
    let (mut executor, cluster, client) = setup();
    cluster.lock().health = vec![Health::Up, Health::Down, Health::Hung];
    let statuses = executor.block_on(async move { client.status().await });
    let told: Vec<_> = statuses
        .iter()
        .map(|(endpoint, status)| (endpoint.as_str(), status.is_ok()))
        .collect();
    assert_eq!(
        told,
        [("node-0:2070", true), ("node-1:2070", false), ("node-2:2070", false)]
    );
    assert_eq!(executor.world.now(), ms(2000));
}
