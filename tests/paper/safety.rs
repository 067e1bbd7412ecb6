//! Section 5.4: safety.

use kapu::raft::{Body, Message};

use crate::one::{One, append, entries, position, receivers};

/// "The RPC includes information about the candidate's log" (5.4.1).
#[test]
fn vote_request_tells_of_the_last_entry() {
    let cases: [&[u64]; 2] = [&[1], &[1, 2]];
    for terms in cases {
        let last = *terms.last().expect("an entry");
        let mut one = One::new(3, last, &[]);
        one.hear(2, last, append(position(0, 0), entries(1, terms), 0));
        let said = one.become_candidate();
        assert_eq!(receivers(&said), [2, 3]);
        for message in said {
            let asked =
                matches!(message.body, Body::Vote { last: told, .. } if told == position(terms.len() as u64, last));
            assert!(asked, "{message:?}");
            assert_eq!(message.term.0, last + 1);
        }
    }
}

/// "The voter denies its vote if its own log is more up-to-date than that of the candidate" (5.4.1).
#[test]
fn voter_denies_its_vote_to_an_older_log() {
    let cases: [(&[u64], (u64, u64), bool); 9] = [
        (&[1], (1, 1), true),
        (&[1], (2, 1), true),
        (&[1, 1], (1, 1), false),
        (&[1], (1, 2), true),
        (&[1], (2, 2), true),
        (&[1, 1], (1, 2), true),
        (&[2], (1, 1), false),
        (&[2], (2, 1), false),
        (&[2, 2], (1, 1), false),
    ];
    for (terms, (index, term), granted) in cases {
        for pre in [true, false] {
            let mut one = One::new(3, 2, terms);
            let last = position(index, term);
            let transfer = false;
            let body = if pre {
                Body::PreVote { last }
            } else {
                Body::Vote { last, transfer }
            };
            let said = one.hear(2, 3, body);
            let [Message { body, .. }] = &said[..] else {
                panic!("one answer, and not {said:?}")
            };
            let (Body::VoteResponse { granted: given } | Body::PreVoteResponse { granted: given }) = body else {
                panic!("{body:?}")
            };
            assert_eq!(
                *given, granted,
                "a log of {terms:?} and a candidate's that ends at {index}@{term}"
            );
        }
    }
}

/// "Only log entries from the leader's current term are committed by counting replicas" (5.4.2).
#[test]
fn only_entries_of_the_own_term_are_committed_by_counting() {
    for (acknowledged, commit) in [(1, 0), (2, 0), (3, 3), (4, 4)] {
        let mut one = One::new(3, 2, &[1, 2]);
        one.become_leader();
        one.propose("some data");
        one.acknowledge(2, acknowledged);
        assert_eq!(one.commit(), commit, "entry {acknowledged} is on a majority");
    }
}
