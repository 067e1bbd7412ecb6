//! Section 5.2: leader election.

use std::collections::BTreeSet;

use kapu::raft::{Body, Message, Role};
use kapu::types::{Index, NodeId, Term};

use crate::one::{ELECTION_TICKS, One, append, position, receivers};

fn ask_for_votes(said: &[Message]) -> bool {
    said.iter().all(|message| matches!(message.body, Body::Vote { .. }))
}

fn heartbeat() -> Body {
    Body::Heartbeat {
        commit: Index(0),
        round: 0,
        compact: Index(0),
    }
}

/// "Leaders send periodic heartbeats to all followers in order to maintain their authority."
#[test]
fn leader_sends_heartbeats_to_all() {
    let mut one = One::new(3, 1, &[]);
    one.become_leader();
    for _ in 0..3 {
        let said = one.tick();
        let beats = |message: &&Message| matches!(message.body, Body::Heartbeat { .. });
        let beats: Vec<Message> = said.iter().filter(beats).cloned().collect();
        assert_eq!(receivers(&beats), [2, 3]);
    }
}

/// "To begin an election, a follower increments its current term and transitions to candidate state. It then votes for itself and issues
/// `RequestVote` RPCs in parallel to each of the other servers."
fn starts_an_election(one: &mut One, term: u64) {
    let said = one.become_candidate();
    assert_eq!((one.raft.role(), one.raft.term()), (Role::Candidate, Term(term)));
    assert_eq!(
        (one.hard_state.term, one.hard_state.vote),
        (Term(term), Some(NodeId(1)))
    );
    assert!(ask_for_votes(&said));
    assert_eq!(receivers(&said), [2, 3]);
    assert!(said.iter().all(|message| message.term == Term(term)));
}

#[test]
fn follower_that_hears_nobody_starts_an_election() {
    starts_an_election(&mut One::new(3, 1, &[]), 2);
}

/// "When this happens, each candidate will time out and start a new election by incrementing its term."
#[test]
fn candidate_without_a_majority_starts_a_new_election() {
    let mut one = One::new(3, 1, &[]);
    starts_an_election(&mut one, 2);
    starts_an_election(&mut one, 3);
}

/// "A candidate wins an election if it receives votes from a majority of the servers in the full cluster for the same term."
#[test]
fn candidate_wins_with_a_majority_in_one_round() {
    let (yes, no) = (true, false);
    let cases: [(u64, &[bool], Role); 14] = [
        (1, &[], Role::Leader),
        (3, &[yes, yes], Role::Leader),
        (3, &[yes], Role::Leader),
        (5, &[yes, yes, yes, yes], Role::Leader),
        (5, &[yes, yes, yes], Role::Leader),
        (5, &[yes, yes], Role::Leader),
        (5, &[no, no, yes, yes], Role::Leader),
        (3, &[no, no], Role::Follower),
        (5, &[no, no, no, no], Role::Follower),
        (5, &[yes, no, no, no], Role::Follower),
        (3, &[], Role::Candidate),
        (5, &[yes], Role::Candidate),
        (5, &[no, no], Role::Candidate),
        (5, &[], Role::Candidate),
    ];
    for (nodes, votes, role) in cases {
        let mut one = One::new(nodes, 1, &[]);
        one.become_candidate();
        for (from, granted) in (2..).zip(votes) {
            one.hear(from, 2, Body::VoteResponse { granted: *granted });
        }
        assert_eq!(
            (one.raft.role(), one.raft.term()),
            (role, Term(2)),
            "{votes:?} of {nodes}"
        );
    }
}

/// "Each server will vote for at most one candidate in a given term, on a first-come-first-served basis."
#[test]
fn follower_votes_for_one_candidate_of_a_term() {
    let vote = |one: &mut One, from| {
        let body = Body::Vote {
            last: position(0, 0),
            transfer: false,
        };
        let said = one.hear(from, 2, body);
        matches!(said[..], [Message { body: Body::VoteResponse { granted: true }, to, .. }] if to == NodeId(from))
    };
    for (first, second) in [(2, 3), (3, 2)] {
        let mut one = One::new(3, 1, &[]);
        assert!(vote(&mut one, first), "the first one that asks");
        assert_eq!(one.hard_state.vote, Some(NodeId(first)), "and it is durable");
        assert!(vote(&mut one, first), "it may ask again");
        assert!(!vote(&mut one, second), "and no other");
    }
}

/// "While waiting for votes, a candidate may receive an `AppendEntries` RPC from another server claiming to be leader. If the leader's term is at
/// least as large as the candidate's current term, then the candidate recognizes the leader as legitimate and returns to follower state."
#[test]
fn candidate_recognizes_a_leader_of_its_term_or_a_later_one() {
    for term in [2, 3] {
        let mut one = One::new(3, 1, &[]);
        one.become_candidate();
        one.hear(3, term, append(position(0, 0), Vec::new(), 0));
        assert_eq!((one.raft.role(), one.raft.term()), (Role::Follower, Term(term)));
        assert_eq!(one.raft.leader(), Some(NodeId(3)));
    }
}

/// "Raft uses randomized election timeouts to ensure that split votes are rare and that they are resolved quickly."
fn waits_every_time_from_one_to_two_election_times(mut waits: impl FnMut() -> u32) {
    let seen: BTreeSet<u32> = (0..50 * ELECTION_TICKS).map(|_| waits()).collect();
    assert_eq!(seen, (ELECTION_TICKS..2 * ELECTION_TICKS).collect());
}

#[test]
fn follower_waits_a_random_time() {
    let mut one = One::new(3, 1, &[]);
    waits_every_time_from_one_to_two_election_times(|| {
        let term = one.raft.term().0 + 1;
        one.hear(2, term, heartbeat());
        assert_eq!(one.raft.role(), Role::Follower);
        one.wait_for_campaign().0
    });
}

#[test]
fn candidate_waits_a_random_time() {
    let mut one = One::new(3, 1, &[]);
    waits_every_time_from_one_to_two_election_times(|| {
        one.become_candidate();
        assert_eq!(one.raft.role(), Role::Candidate);
        one.wait_for_campaign().0
    });
}

/// "In most cases only a single server will time out": of five, two are first at once in less than a third of the cases.
fn seldom_time_out_together(make: impl Fn(u64) -> One) {
    const ROUNDS: u64 = 1_000;
    let together = |round: u64| {
        let timeouts: Vec<u32> = (0..5)
            .map(|node| make(round * 5 + node).raft.election_timeout_ticks())
            .collect();
        let least = timeouts.iter().min().copied();
        timeouts.iter().filter(|ticks| Some(**ticks) == least).count() > 1
    };
    let conflicts = (0..ROUNDS).filter(|round| together(*round)).count();
    assert!(conflicts * 3 < 1_000, "{conflicts} of {ROUNDS}");
}

#[test]
fn followers_seldom_time_out_together() {
    seldom_time_out_together(|seed| One::seeded(5, 1, &[], seed));
}

#[test]
fn candidates_seldom_time_out_together() {
    seldom_time_out_together(|seed| {
        let mut one = One::seeded(5, 1, &[], seed);
        one.become_candidate();
        one
    });
}
