//! Section 5.1: terms.

use kapu::raft::{Body, Role};
use kapu::types::{Index, NodeId, Term};

use crate::one::{One, append, entries, position};

/// "If one server's current term is smaller than the other's, then it updates its current term to the larger value. If a candidate or leader
/// discovers that its term is out of date, it immediately reverts to follower state."
fn takes_a_later_term(mut one: One) {
    one.hear(2, 9, append(position(0, 0), Vec::new(), 0));
    assert_eq!((one.raft.term(), one.raft.role()), (Term(9), Role::Follower));
    assert_eq!(one.raft.leader(), Some(NodeId(2)));
    assert_eq!(one.hard_state.term, Term(9), "and it is durable");
}

#[test]
fn follower_takes_a_later_term() {
    takes_a_later_term(One::new(3, 1, &[]));
}

#[test]
fn candidate_takes_a_later_term_and_follows() {
    let mut one = One::new(3, 1, &[]);
    one.become_candidate();
    assert_eq!(one.raft.role(), Role::Candidate);
    takes_a_later_term(one);
}

#[test]
fn leader_takes_a_later_term_and_follows() {
    let mut one = One::new(3, 1, &[]);
    one.become_leader();
    takes_a_later_term(one);
}

/// "If a server receives a request with a stale term number, it rejects the request."
#[test]
fn request_with_a_stale_term_is_rejected() {
    let mut one = One::new(3, 2, &[1]);
    let said = one.hear(2, 1, append(position(1, 1), entries(2, &[1]), 2));
    assert_eq!(one.terms(), [1]);
    assert_eq!((one.commit(), one.raft.leader()), (0, None));
    assert_eq!(said.len(), 1);
    assert_eq!(
        (said[0].to, said[0].term),
        (NodeId(2), Term(2)),
        "its sender is told the term"
    );
    assert!(!matches!(said[0].body, Body::AppendResponse { matched, .. } if matched > Index(0)));
}

/// "When servers start up, they begin as followers."
#[test]
fn server_starts_as_follower() {
    assert_eq!(One::new(3, 0, &[]).raft.role(), Role::Follower);
    assert_eq!(One::new(3, 4, &[1, 4]).raft.role(), Role::Follower);
}
