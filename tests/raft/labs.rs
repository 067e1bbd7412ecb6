//! The tests of a course in distributed systems (6.824, lab on Raft) by their names, told anew.
//!
//! Nothing here waits for a clock; a second of the course is an election time. Safety is checked after every event by
//! [checks](crate::checks), so each test says only what it is there for.

use bytes::Bytes;
use kapu::types::NodeId;
use rand::RngExt;

use crate::lab::{ELECTION_TICKS, Lab};

fn others(lab: &Lab, than: &[NodeId]) -> Vec<NodeId> {
    lab.ids().into_iter().filter(|id| !than.contains(id)).collect()
}

#[test]
fn initial_election() {
    let mut lab = Lab::new(3);
    let leader = lab.leader();
    lab.wait(ELECTION_TICKS);
    let term = lab.term(leader);
    assert!(
        lab.ids().into_iter().all(|id| lab.term(id) == term),
        "all agree on the term"
    );
    lab.wait(20 * ELECTION_TICKS);
    assert_eq!(
        (lab.leaders(), lab.term(leader)),
        (vec![leader], term),
        "without failure nothing changes"
    );
}

#[test]
fn reelection() {
    let mut lab = Lab::new(3);
    let first = lab.leader();
    lab.disconnect(first);
    let second = lab.leader();
    assert_ne!(first, second);
    lab.connect(first);
    lab.wait(3 * ELECTION_TICKS);
    assert_eq!(lab.leaders(), [second], "one that comes back does not disturb");
    let third = others(&lab, &[first, second])[0];
    lab.disconnect(second);
    lab.disconnect(third);
    lab.wait(20 * ELECTION_TICKS);
    assert_eq!(lab.leaders(), [], "without a majority nobody leads");
    lab.connect(third);
    let leader = lab.leader();
    lab.connect(second);
    lab.wait(3 * ELECTION_TICKS);
    assert_eq!(lab.leaders(), [leader]);
}

#[test]
fn basic_agree() {
    let mut lab = Lab::new(5);
    lab.leader();
    for _ in 0..3 {
        let before = lab.cluster.checks.committed();
        lab.wait(2);
        assert_eq!(
            lab.cluster.checks.committed(),
            before,
            "nothing is committed before it is proposed"
        );
        lab.agree();
    }
}

#[test]
fn rpc_bytes() {
    let mut lab = Lab::new(3);
    lab.agree();
    lab.bytes = 0;
    let leader = lab.leader();
    for _ in 0..10 {
        let payload = lab.payload(5_000);
        lab.cluster
            .propose(leader, vec![payload.clone()])
            .expect("it runs")
            .expect("it leads");
        lab.cluster.flush(leader);
        lab.wait(2);
        assert!(lab.is_committed(&payload));
    }
    assert_eq!(lab.bytes, 2 * 10 * 5_000, "each follower is sent each entry once");
}

#[test]
fn follower_failure() {
    let mut lab = Lab::new(3);
    lab.agree();
    let leader = lab.leader();
    let followers = others(&lab, &[leader]);
    lab.disconnect(followers[0]);
    lab.agree();
    assert_eq!(lab.leader(), leader);
    lab.disconnect(followers[1]);
    let lost = lab.start(leader).expect("it does not know yet");
    lab.wait(20 * ELECTION_TICKS);
    assert!(!lab.is_committed(&lost), "a minority commits nothing");
}

#[test]
fn leader_failure() {
    let mut lab = Lab::new(3);
    lab.agree();
    let first = lab.leader();
    lab.disconnect(first);
    lab.agree();
    let second = lab.leader();
    lab.disconnect(second);
    let lost = lab.start_everywhere();
    assert!(!lost.is_empty(), "one does not know yet that it leads no more");
    lab.wait(20 * ELECTION_TICKS);
    assert!(lost.iter().all(|payload| !lab.is_committed(payload)));
}

#[test]
fn fail_agree() {
    let mut lab = Lab::new(3);
    lab.agree();
    let leader = lab.leader();
    let follower = others(&lab, &[leader])[0];
    lab.disconnect(follower);
    let missed: Vec<Bytes> = (0..4).map(|_| lab.agree()).collect();
    lab.wait(5 * ELECTION_TICKS);
    lab.connect(follower);
    lab.agree();
    assert!(missed.iter().all(|payload| lab.has_applied(follower, payload)));
}

#[test]
fn fail_no_agree() {
    let mut lab = Lab::new(5);
    lab.agree();
    let leader = lab.leader();
    let cut_off = others(&lab, &[leader])[..3].to_vec();
    cut_off.iter().for_each(|id| lab.disconnect(*id));
    let stuck = lab.start(leader).expect("it does not know yet");
    lab.wait(10 * ELECTION_TICKS);
    assert!(!lab.is_committed(&stuck));
    cut_off.iter().for_each(|id| lab.connect(*id));
    (0..2).for_each(|_| drop(lab.agree()));
}

#[test]
fn concurrent_starts() {
    let mut lab = Lab::new(3);
    lab.agree();
    let leader = lab.leader();
    let term = lab.term(leader);
    let started: Vec<Bytes> = (0..5).filter_map(|_| lab.start(leader)).collect();
    lab.wait(3);
    assert_eq!((started.len(), lab.term(leader)), (5, term));
    for id in lab.ids() {
        assert!(started.iter().all(|payload| lab.has_applied(id, payload)));
    }
}

#[test]
fn rejoin() {
    let mut lab = Lab::new(3);
    lab.agree();
    let first = lab.leader();
    lab.disconnect(first);
    let lost: Vec<Bytes> = (0..3).filter_map(|_| lab.start(first)).collect();
    assert_eq!(lost.len(), 3);
    lab.agree();
    let second = lab.leader();
    lab.disconnect(second);
    lab.connect(first);
    lab.agree();
    lab.connect(second);
    lab.agree();
    assert!(
        lost.iter().all(|payload| !lab.is_committed(payload)),
        "what a deposed leader took is gone"
    );
}

#[test]
fn backup() {
    let mut lab = Lab::new(5);
    lab.agree();
    let first = lab.leader();
    let rest = others(&lab, &[first]);
    // The leader and one more take 50 entries that never commit; then the other three go on by themselves.
    rest[1..].iter().for_each(|id| lab.disconnect(*id));
    (0..50).for_each(|_| drop(lab.start(first)));
    lab.wait(1);
    lab.disconnect(first);
    lab.disconnect(rest[0]);
    rest[1..].iter().for_each(|id| lab.connect(*id));
    (0..50).for_each(|_| drop(lab.agree()));
    // One of the three leaves, and its leader takes 50 more that never commit.
    let second = lab.leader();
    let other = others(&lab, &[first, rest[0], second])[0];
    lab.disconnect(other);
    lab.ids()
        .into_iter()
        .filter(|id| ![second, other].contains(id))
        .for_each(|id| lab.disconnect(id));
    (0..50).for_each(|_| drop(lab.start(second)));
    lab.wait(1);
    // The first leader comes back with its one, and the one that left.
    lab.disconnect(second);
    [first, rest[0], other].into_iter().for_each(|id| lab.connect(id));
    (0..50).for_each(|_| drop(lab.agree()));
    lab.ids().into_iter().for_each(|id| lab.connect(id));
    lab.agree();
}

#[test]
fn count() {
    let mut lab = Lab::new(3);
    lab.leader();
    assert!(
        (1..=30).contains(&lab.messages),
        "{} messages to elect a leader",
        lab.messages
    );
    lab.agree();
    let leader = lab.leader();
    lab.messages = 0;
    let started: Vec<Bytes> = (0..10).filter_map(|_| lab.start(leader)).collect();
    lab.wait(2);
    assert!(started.iter().all(|payload| lab.is_committed(payload)));
    let (appends, heartbeats) = (2 * 2 * 10, 2 * 2 * 2);
    assert_eq!(
        lab.messages,
        appends + heartbeats,
        "an append and its answer an entry and follower, beside two ticks of heartbeats"
    );
    lab.messages = 0;
    lab.wait(ELECTION_TICKS);
    let heartbeats = usize::try_from(2 * 2 * ELECTION_TICKS).expect("a few");
    assert_eq!(
        lab.messages, heartbeats,
        "idle, a heartbeat and its answer a tick and follower"
    );
}

#[test]
fn persist_1() {
    let mut lab = Lab::new(3);
    lab.agree();
    lab.ids().into_iter().for_each(|id| lab.crash(id));
    lab.ids().into_iter().for_each(|id| lab.restart(id));
    lab.agree();
    for with_the_rest in [false, true] {
        let leader = lab.leader();
        lab.crash(leader);
        if with_the_rest {
            lab.agree();
        }
        lab.restart(leader);
        lab.agree();
    }
    let leader = lab.leader();
    let follower = others(&lab, &[leader])[0];
    lab.crash(follower);
    lab.agree();
    lab.restart(follower);
    lab.agree();
}

#[test]
fn persist_2() {
    let mut lab = Lab::new(5);
    for _ in 0..5 {
        lab.agree();
        let leader = lab.leader();
        let rest = others(&lab, &[leader]);
        lab.crash(rest[0]);
        lab.crash(rest[1]);
        lab.agree();
        [leader, rest[2], rest[3]].into_iter().for_each(|id| lab.crash(id));
        lab.restart(rest[0]);
        lab.restart(rest[1]);
        lab.wait(2 * ELECTION_TICKS);
        lab.restart(rest[2]);
        lab.agree();
        [leader, rest[3]].into_iter().for_each(|id| lab.restart(id));
    }
    lab.agree();
}

#[test]
fn persist_3() {
    let mut lab = Lab::new(3);
    lab.agree();
    let leader = lab.leader();
    let rest = others(&lab, &[leader]);
    lab.disconnect(rest[1]);
    lab.agree();
    lab.crash(leader);
    lab.crash(rest[0]);
    lab.connect(rest[1]);
    lab.restart(leader);
    let agreed = lab.agree();
    lab.restart(rest[0]);
    lab.agree();
    assert!(lab.has_applied(rest[0], &agreed));
}

/// Leaders crash, some soon and some late after they took an entry; at least three of five are left to elect the next.
fn crash_leaders(lab: &mut Lab, rounds: usize) {
    for _ in 0..rounds {
        let led = lab.leaders();
        lab.start_everywhere();
        let ticks = if lab.rng.random_bool(0.1) {
            lab.rng.random_range(0..ELECTION_TICKS)
        } else {
            lab.rng.random_range(0..2)
        };
        lab.wait(ticks);
        led.into_iter().for_each(|leader| lab.crash(leader));
        while lab.present().len() < 3 {
            let id = NodeId(lab.rng.random_range(1..=5));
            lab.restart(id);
        }
        lab.wait(1);
    }
    lab.ids().into_iter().for_each(|id| lab.restart(id));
}

#[test]
fn figure_8() {
    let mut lab = Lab::new(5);
    lab.agree();
    crash_leaders(&mut lab, 1_000);
    assert!(
        lab.cluster.checks.elections() > 30,
        "{} leaders",
        lab.cluster.checks.elections()
    );
    lab.agree();
}

#[test]
fn unreliable_agree() {
    let mut lab = Lab::new(5);
    lab.unreliable = true;
    for _ in 0..50 {
        lab.start_everywhere();
        lab.start_everywhere();
        lab.agree();
    }
    lab.unreliable = false;
    lab.agree();
}

#[test]
fn figure_8_unreliable() {
    let mut lab = Lab::new(5);
    lab.unreliable = true;
    lab.agree();
    for _ in 0..1_000 {
        let led = lab.leaders();
        lab.start_everywhere();
        let ticks = lab.rng.random_range(0..3);
        lab.wait(ticks);
        if let Some(leader) = led.first().filter(|_| lab.rng.random_bool(0.5)) {
            lab.disconnect(*leader);
        }
        while lab.present().len() < 3 {
            let id = NodeId(lab.rng.random_range(1..=5));
            lab.connect(id);
        }
    }
    lab.ids().into_iter().for_each(|id| lab.connect(id));
    lab.agree();
}

/// Clients propose all the while nodes come and go. What was committed at any time is there in the end, everywhere.
fn churn(unreliable: bool) {
    let mut lab = Lab::new(5);
    lab.unreliable = unreliable;
    let mut started = Vec::new();
    for _ in 0..200 {
        let id = NodeId(lab.rng.random_range(1..=5));
        match lab.rng.random_range(0..10) {
            0..2 => lab.disconnect(id),
            2..5 => lab.connect(id),
            5 => lab.crash(id),
            6..9 => lab.restart(id),
            _ => {}
        }
        for _ in 0..lab.rng.random_range(0..ELECTION_TICKS) {
            started.extend(lab.start_everywhere());
            lab.tick();
        }
    }
    let committed: Vec<Bytes> = started
        .iter()
        .filter(|payload| lab.is_committed(payload))
        .cloned()
        .collect();
    assert!(
        committed.len() > 50,
        "{} of {} are committed",
        committed.len(),
        started.len()
    );
    lab.unreliable = false;
    for id in lab.ids() {
        lab.connect(id);
        lab.restart(id);
    }
    lab.agree();
    for id in lab.ids() {
        assert!(committed.iter().all(|payload| lab.has_applied(id, payload)));
    }
}

#[test]
fn reliable_churn() {
    churn(false);
}

#[test]
fn unreliable_churn() {
    churn(true);
}
