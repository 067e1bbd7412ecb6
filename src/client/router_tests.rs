//! The router, fact by fact.

use super::*;
use crate::error::NotLeader;
use crate::types::{NodeId, PartitionId};

fn endpoint(text: &str) -> Endpoint {
    Endpoint::parse(text).unwrap()
}

fn router(names: &[&str]) -> Router {
    Router::new(names.iter().map(|name| endpoint(name)).collect())
}

fn resource(name: &str) -> Resource {
    Resource::new(name).unwrap()
}

/// A resource of each of two partitions.
fn one_of_each() -> (Resource, Resource) {
    let of = |partition| {
        (0..)
            .map(|n| resource(&format!("r{n}")))
            .find(|r| r.partition(2) == PartitionId(partition))
    };
    (of(0).unwrap(), of(1).unwrap())
}

fn not_leader(partitions: u32, address: Option<&str>) -> CallError {
    let leader = address.map(|address| LeaderHint {
        node: NodeId(9),
        address: address.to_owned(),
    });
    let partition = PartitionId(0);
    CallError::Request(RequestError::NotLeader(NotLeader {
        partition,
        partitions,
        leader,
    }))
}

fn lost() -> CallError {
    CallError::Lost {
        endpoint: String::new(),
        reason: String::new(),
    }
}

fn next(router: &Router, resource: &Resource, tried: Option<&str>) -> String {
    let tried = tried.map(endpoint);
    router.route(resource, tried.as_ref()).endpoint.to_string()
}

#[test]
fn endpoints_are_tried_in_turn_while_nothing_is_known() {
    let (router, a) = (router(&["a:1", "b:1", "c:1"]), resource("a"));
    assert_eq!(next(&router, &a, None), "a:1");
    assert_eq!(next(&router, &a, Some("a:1")), "b:1");
    assert_eq!(next(&router, &a, Some("c:1")), "a:1");
    assert_eq!(next(&router, &a, Some("gone:1")), "a:1");
}

#[test]
fn a_leader_is_remembered_for_its_partition_only() {
    let mut router = router(&["a:1", "b:1"]);
    let (zero, one) = one_of_each();
    assert!(router.failed(&one, &endpoint("a:1"), &not_leader(2, Some("b:1"))));
    assert_eq!(next(&router, &one, None), "b:1");
    assert_eq!(next(&router, &one, Some("b:1")), "b:1");
    assert_eq!(next(&router, &zero, None), "a:1");
}

#[test]
fn an_address_that_was_never_given_is_learnt() {
    let (mut router, a) = (router(&["a:1"]), resource("a"));
    assert!(router.failed(&a, &endpoint("a:1"), &not_leader(1, Some("http://new:7"))));
    assert_eq!(next(&router, &a, None), "new:7");
    router.failed(&a, &endpoint("new:7"), &lost());
    assert_eq!(next(&router, &a, Some("new:7")), "a:1");
}

#[test]
fn nodes_that_were_heard_of_are_asked_in_their_turn() {
    let (mut router, a) = (router(&["a:1"]), resource("a"));
    router.hear_of(["", "a:1", "no port", "b:1"].into_iter());
    assert_eq!(next(&router, &a, None), "a:1");
    router.failed(&a, &endpoint("a:1"), &lost());
    assert_eq!(next(&router, &a, Some("a:1")), "b:1");
    assert_eq!(next(&router, &a, Some("b:1")), "a:1");
}

#[test]
fn an_endpoint_that_does_not_answer_loses_every_partition() {
    let mut router = router(&["a:1", "b:1"]);
    let (zero, one) = one_of_each();
    for resource in [&zero, &one] {
        router.failed(resource, &endpoint("a:1"), &not_leader(2, Some("b:1")));
    }
    router.failed(&zero, &endpoint("b:1"), &lost());
    assert_eq!(next(&router, &zero, Some("b:1")), "a:1");
    assert_eq!(next(&router, &one, None), "a:1");
}

#[test]
fn an_unknown_outcome_costs_a_node_one_partition_only() {
    let mut router = router(&["a:1", "b:1"]);
    let (zero, one) = one_of_each();
    for resource in [&zero, &one] {
        router.failed(resource, &endpoint("a:1"), &not_leader(2, Some("b:1")));
    }
    let unknown = CallError::Request(RequestError::Unknown("leadership lost"));
    assert!(!router.failed(&zero, &endpoint("b:1"), &unknown));
    assert_eq!(next(&router, &zero, Some("b:1")), "a:1");
    assert_eq!(next(&router, &one, None), "b:1");
}

#[test]
fn no_hint_leads_to_a_suspect_before_it_has_answered() {
    let (mut router, a) = (router(&["a:1", "b:1", "c:1"]), resource("a"));
    router.failed(&a, &endpoint("a:1"), &lost());
    assert!(!router.failed(&a, &endpoint("b:1"), &not_leader(1, Some("a:1"))));
    assert_eq!(next(&router, &a, Some("b:1")), "c:1");
    assert!(!router.failed(&a, &endpoint("c:1"), &not_leader(1, Some("a:1"))));
    assert_eq!(next(&router, &a, Some("c:1")), "a:1", "its turn comes all the same");
    router.answered(&a, &endpoint("a:1"));
    assert_eq!(next(&router, &a, None), "a:1");
    assert!(router.failed(&a, &endpoint("b:1"), &not_leader(1, Some("a:1"))));
}

#[test]
fn a_hint_that_leads_nowhere_is_no_redirection() {
    let (mut router, a) = (router(&["a:1", "b:1"]), resource("a"));
    for hint in [None, Some(""), Some("a:1"), Some("no port"), Some("https://b:1")] {
        assert!(!router.failed(&a, &endpoint("a:1"), &not_leader(1, hint)), "{hint:?}");
        assert_eq!(next(&router, &a, Some("a:1")), "b:1");
    }
}

#[test]
fn an_impossible_number_of_partitions_is_ignored() {
    let (mut router, a) = (router(&["a:1"]), resource("a"));
    for partitions in [0, limits::PARTITIONS_MAX + 1, u32::MAX] {
        router.failed(&a, &endpoint("a:1"), &not_leader(partitions, None));
        assert!(router.leaders.is_empty());
    }
    router.failed(&a, &endpoint("a:1"), &not_leader(limits::PARTITIONS_MAX, None));
    assert_eq!(router.leaders.len(), limits::PARTITIONS_MAX as usize);
}

#[test]
fn hints_without_end_leave_a_bounded_memory_and_what_was_given() {
    let (mut router, a) = (router(&["a:1"]), resource("a"));
    for n in 0..1000 {
        let hint = format!("n{n}:1");
        assert!(router.failed(&a, &endpoint("a:1"), &not_leader(1, Some(&hint))));
        assert_eq!(next(&router, &a, None), hint);
    }
    assert_eq!(router.known.len(), limits::CLIENT_ENDPOINTS_MAX);
    assert_eq!(router.known[0].endpoint, endpoint("a:1"));
}

#[test]
fn a_hint_beyond_a_full_list_of_given_endpoints_is_not_followed() {
    let names: Vec<_> = (0..limits::CLIENT_ENDPOINTS_MAX)
        .map(|n| endpoint(&format!("n{n}:1")))
        .collect();
    let (mut router, a) = (Router::new(names), resource("a"));
    assert!(!router.failed(&a, &endpoint("n0:1"), &not_leader(1, Some("new:1"))));
    assert_eq!(next(&router, &a, Some("n0:1")), "n1:1");
}

#[test]
fn the_next_operation_does_not_begin_at_a_dead_endpoint() {
    let (mut router, a) = (router(&["a:1", "b:1"]), resource("a"));
    router.failed(&a, &endpoint("a:1"), &lost());
    assert_eq!(next(&router, &a, None), "b:1");
}

#[test]
fn only_news_is_worth_a_report() {
    let (mut router, a) = (router(&["a:1", "b:1"]), resource("a"));
    assert!(router.route(&a, None).expected);
    assert!(!router.route(&a, Some(&endpoint("a:1"))).expected);
    router.failed(&a, &endpoint("a:1"), &lost());
    router.answered(&a, &endpoint("a:1"));
    assert!(router.route(&a, None).expected);
    router.failed(&a, &endpoint("a:1"), &not_leader(1, Some("b:1")));
    assert!(router.route(&a, None).expected);
    router.failed(&a, &endpoint("b:1"), &not_leader(1, None));
    assert!(!router.route(&a, None).expected);
    router.answered(&a, &endpoint("a:1"));
    assert!(router.route(&a, None).expected);
}
