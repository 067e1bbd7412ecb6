//! Section 5.3: log replication.

use std::collections::VecDeque;

use kapu::raft::{Body, Message};
use kapu::types::{Index, NodeId, Term};

use crate::one::{One, append, entries, position, receivers};

fn leader(nodes: u64, term: u64, terms: &[u64]) -> One {
    let mut one = One::new(nodes, term, terms);
    one.become_leader();
    one
}

/// A leader whose followers have everything.
fn caught_up(nodes: u64, term: u64, terms: &[u64]) -> One {
    let mut one = leader(nodes, term, terms);
    let last = one.terms().len() as u64;
    for peer in 2..=nodes {
        one.acknowledge(peer, last);
    }
    one
}

/// "The leader appends the command to its log as a new entry, then issues `AppendEntries` RPCs in parallel to each of the other servers. When
/// sending an `AppendEntries` RPC, the leader includes the index and term of the entry in its log that immediately precedes the new entries."
#[test]
fn leader_sends_a_new_entry_to_all_with_what_precedes_it() {
    let mut one = caught_up(3, 1, &[]);
    let said = one.propose("some data");
    assert_eq!(receivers(&said), [2, 3]);
    for message in said {
        let Body::Append {
            prev, entries, commit, ..
        } = message.body
        else {
            panic!("an append")
        };
        assert_eq!((prev, commit), (position(1, 2), Index(1)));
        assert_eq!(entries.len(), 1);
        assert_eq!((entries[0].index, entries[0].term), (Index(2), Term(2)));
        assert_eq!(entries[0].payload, "some data");
    }
    assert_eq!(one.commit(), 1, "nobody has answered");
}

/// "When the entry has been safely replicated, the leader applies the entry to its state machine. [...] The leader keeps track of the highest
/// index it knows to be committed, and it includes that index in future `AppendEntries` RPCs so that the other servers eventually find out."
#[test]
fn leader_applies_what_is_replicated_and_tells_how_far() {
    let mut one = caught_up(3, 1, &[]);
    one.propose("some data");
    one.acknowledge(2, 2);
    one.acknowledge(3, 2);
    assert_eq!(one.commit(), 2);
    assert_eq!(
        one.applied.last().map(|entry| &entry.payload[..]),
        Some(&b"some data"[..])
    );
    let said = one.propose("more");
    let tells = |message: &Message| matches!(message.body, Body::Append { commit, .. } if commit == Index(2));
    assert_eq!(said.len(), 2);
    assert!(said.iter().all(tells));
}

/// "A log entry is committed once the leader that created the entry has replicated it on a majority of the servers."
#[test]
fn entry_is_committed_when_a_majority_has_it() {
    let cases: [(u64, &[u64], bool); 10] = [
        (1, &[], true),
        (3, &[], false),
        (3, &[2], true),
        (3, &[2, 3], true),
        (4, &[2], false),
        (4, &[2, 3], true),
        (5, &[], false),
        (5, &[2], false),
        (5, &[2, 3], true),
        (5, &[2, 3, 4, 5], true),
    ];
    for (nodes, acceptors, committed) in cases {
        let mut one = caught_up(nodes, 1, &[]);
        one.propose("some data");
        for acceptor in acceptors {
            one.acknowledge(*acceptor, 2);
        }
        assert_eq!(one.commit() == 2, committed, "{acceptors:?} of {nodes}");
    }
}

/// "This also commits all preceding entries in the leader's log, including entries created by previous leaders."
#[test]
fn commit_includes_what_earlier_leaders_made() {
    let cases: [&[u64]; 4] = [&[], &[2], &[1, 2], &[1]];
    for terms in cases {
        let mut one = leader(3, 2, terms);
        one.propose("some data");
        one.acknowledge(2, terms.len() as u64 + 2);
        let applied: Vec<u64> = one.applied.iter().map(|entry| entry.term.0).collect();
        assert_eq!(applied, [terms, &[3, 3]].concat());
        assert!(
            (1..)
                .zip(&one.applied)
                .all(|(index, entry)| entry.index == Index(index))
        );
    }
}

/// "Once a follower learns that a log entry is committed, it applies the entry to its local state machine (in log order)."
#[test]
fn follower_applies_what_is_committed_in_order() {
    for commit in 0..=3 {
        let mut one = One::new(3, 1, &[]);
        one.hear(2, 1, append(position(0, 0), entries(1, &[1, 1, 1]), commit));
        let expected = entries(1, &[1, 1, 1][..usize::try_from(commit).expect("three")]);
        assert_eq!(one.applied, expected);
    }
}

/// "If the follower does not find an entry in its log with the same index and term, then it refuses the new entries."
#[test]
fn follower_refuses_what_follows_an_entry_that_it_lacks() {
    let cases = [
        (position(0, 0), true),
        (position(1, 1), true),
        (position(2, 2), true),
        (position(1, 2), false),
        (position(2, 1), false),
        (position(3, 3), false),
        (position(7, 2), false),
    ];
    for (prev, accepted) in cases {
        let mut one = One::new(3, 3, &[1, 2]);
        let said = one.hear(2, 3, append(prev, Vec::new(), 0));
        let [
            Message {
                to: NodeId(2), body, ..
            },
        ] = &said[..]
        else {
            panic!("one answer, and not {said:?}")
        };
        match body {
            Body::AppendResponse { matched, .. } => assert!(accepted && *matched == prev.index, "{prev:?}"),
            Body::AppendRejected { prev: refused, .. } => assert!(!accepted && *refused == prev.index, "{prev:?}"),
            other => panic!("{other:?}"),
        }
        assert_eq!(one.terms(), [1, 2]);
    }
}

/// "If an existing entry conflicts with a new one (same index but different terms), delete the existing entry and all that follow it. Append any
/// new entries not already in the log" (figure 2).
#[test]
fn follower_replaces_what_conflicts_and_keeps_what_does_not() {
    let cases: [(u64, u64, &[u64], &[u64]); 5] = [
        (2, 2, &[3], &[1, 2, 3]),
        (1, 1, &[3, 4], &[1, 3, 4]),
        (0, 0, &[1], &[1, 2]),
        (0, 0, &[3], &[3]),
        (0, 0, &[1, 2, 4], &[1, 2, 4]),
    ];
    for (index, term, sent, expected) in cases {
        let mut one = One::new(3, 4, &[1, 2]);
        one.hear(2, 4, append(position(index, term), entries(index + 1, sent), 0));
        assert_eq!(one.terms(), expected, "{sent:?} after {index}@{term}");
    }
}

/// "The leader handles inconsistencies by forcing the followers' logs to duplicate its own" (figure 7).
#[test]
fn leader_brings_the_logs_of_figure_7_in_line() {
    let own = [1, 1, 1, 4, 4, 5, 5, 6, 6, 6];
    let followers: [&[u64]; 6] = [
        &[1, 1, 1, 4, 4, 5, 5, 6, 6],
        &[1, 1, 1, 4],
        &[1, 1, 1, 4, 4, 5, 5, 6, 6, 6, 6],
        &[1, 1, 1, 4, 4, 5, 5, 6, 6, 6, 7, 7],
        &[1, 1, 1, 4, 4, 4, 4],
        &[1, 1, 1, 2, 2, 2, 3, 3, 3, 3, 3],
    ];
    for terms in followers {
        let (mut lead, mut follow) = (One::new(3, 7, &own), One::new(3, 7, terms));
        let mut to_follower: VecDeque<Message> = lead.become_leader().into();
        to_follower.retain(|message| message.to == NodeId(2));
        for _ in 0..20 {
            let Some(message) = to_follower.pop_front() else { break };
            // The follower is node 1 to itself, so the leader is node 2 to it, and the other way round.
            for answer in follow.hear(2, message.term.0, message.body) {
                let said = lead.hear(2, answer.term.0, answer.body);
                to_follower.extend(said.into_iter().filter(|message| message.to == NodeId(2)));
            }
        }
        assert_eq!(follow.terms(), lead.terms(), "{terms:?}");
        assert_eq!(lead.terms(), [&own[..], &[8]].concat());
        assert_eq!(lead.commit(), 11);
    }
}
