//! What others test of snapshots, by their names: the last lab of the course in distributed systems (6.824, 2D), and MicroRaft's `SnapshotTest`.
//!
//! As in the [labs](crate::labs): no clock, safety after every event, and each test says only what it is there for. Here every node saves its state
//! and cuts its log by itself, without asking who still wants the entries: so who is away for long needs a snapshot.

use kapu::types::NodeId;

use crate::lab::{ELECTION_TICKS, Lab};

/// Entries between two snapshots of a node.
const EVERY: u64 = 10;

fn lab() -> Lab {
    let mut lab = Lab::new(3);
    lab.compact_every = Some(EVERY);
    lab.agree();
    lab
}

fn agree_often(lab: &mut Lab, times: u64) {
    (0..times).for_each(|_| drop(lab.agree()));
}

fn follower(lab: &mut Lab) -> NodeId {
    let leader = lab.leader();
    lab.ids().into_iter().find(|id| *id != leader).expect("there are three")
}

/// How a node goes away in a lab.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Away {
    Disconnected,
    Crashed,
}

/// Again and again somebody is away for longer than the others keep their logs, every third time the leader.
fn install(away: Away, unreliable: bool) {
    let mut lab = lab();
    lab.unreliable = unreliable;
    for round in 0..12 {
        let victim = if round % 3 == 1 {
            lab.leader()
        } else {
            follower(&mut lab)
        };
        match away {
            Away::Disconnected => lab.disconnect(victim),
            Away::Crashed => lab.crash(victim),
        }
        agree_often(&mut lab, EVERY + 1);
        match away {
            Away::Disconnected => lab.connect(victim),
            Away::Crashed => lab.restart(victim),
        }
        let last = lab.agree();
        assert!(lab.has_applied(victim, &last), "round {round}");
    }
    assert!(lab.cluster.counts().snapshots >= 6, "{:?}", lab.cluster.counts());
}

#[test]
fn snapshot_basic() {
    let mut lab = lab();
    agree_often(&mut lab, 5 * EVERY);
    for id in lab.ids() {
        assert!(lab.base(id).0 >= 4 * EVERY, "node {id} has cut its log");
    }
    assert_eq!(lab.cluster.counts().snapshots, 0, "nobody needed one");
}

#[test]
fn snapshot_install() {
    install(Away::Disconnected, false);
}

#[test]
fn snapshot_install_unreliable() {
    install(Away::Disconnected, true);
}

#[test]
fn snapshot_install_crash() {
    install(Away::Crashed, false);
}

#[test]
fn snapshot_install_unreliable_crash() {
    install(Away::Crashed, true);
}

#[test]
fn snapshot_all_crash() {
    let mut lab = lab();
    for _ in 0..5 {
        agree_often(&mut lab, EVERY + 1);
        let before = lab.agree();
        lab.ids().into_iter().for_each(|id| lab.crash(id));
        lab.ids().into_iter().for_each(|id| lab.restart(id));
        lab.agree();
        assert!(lab.ids().into_iter().all(|id| lab.has_applied(id, &before)));
    }
}

#[test]
fn when_follower_falls_too_far_behind_then_it_installs_snapshot() {
    let mut lab = lab();
    let slow = follower(&mut lab);
    lab.disconnect(slow);
    agree_often(&mut lab, 3 * EVERY);
    lab.connect(slow);
    let last = lab.agree();
    assert!(lab.has_applied(slow, &last));
    assert_eq!(lab.cluster.counts().snapshots, 1, "one is enough");
}

#[test]
fn when_follower_misses_a_few_entries_before_the_snapshot_then_it_catches_up_without_installing_snapshot() {
    let mut lab = lab();
    let slow = follower(&mut lab);
    lab.disconnect(slow);
    agree_often(&mut lab, 3);
    lab.connect(slow);
    lab.agree();
    assert_eq!(lab.cluster.counts().snapshots, 0);
}

#[test]
fn when_follower_crashes_while_it_installs_snapshot_then_it_installs_it_after_restart() {
    let mut lab = lab();
    let slow = follower(&mut lab);
    lab.disconnect(slow);
    agree_often(&mut lab, 3 * EVERY);
    lab.compact_every = None;
    lab.connect(slow);
    // By hand: the offer comes, and the power goes between the state and the log.
    while lab.cluster.replica(slow).incoming.is_empty() {
        for id in lab.ids() {
            lab.cluster.tick(id);
            lab.cluster.flush(id);
        }
        for message in lab.cluster.network.take_all(|_| true) {
            let to = message.to;
            lab.cluster.deliver(message);
            lab.cluster.flush(to);
        }
    }
    lab.cluster.install(slow, 0, true);
    lab.restart(slow);
    let last = lab.agree();
    assert!(lab.has_applied(slow, &last));
}

#[test]
fn when_isolated_leader_appends_entries_then_it_loses_them_upon_install_snapshot() {
    let mut lab = lab();
    let old = lab.leader();
    lab.disconnect(old);
    let lost: Vec<_> = (0..5).filter_map(|_| lab.start(old)).collect();
    assert_eq!(lost.len(), 5, "it does not know that it is alone");
    agree_often(&mut lab, 2 * EVERY);
    lab.connect(old);
    let last = lab.agree();
    assert!(lab.has_applied(old, &last));
    assert!(
        lost.iter()
            .all(|payload| !lab.is_committed(payload) && !lab.has_applied(old, payload))
    );
    assert_eq!(lab.cluster.counts().snapshots, 1);
}

#[test]
fn when_follower_restarts_after_snapshot_then_it_goes_on_from_there() {
    let mut lab = lab();
    agree_often(&mut lab, 2 * EVERY);
    let restarted = follower(&mut lab);
    let base = lab.base(restarted);
    lab.crash(restarted);
    lab.restart(restarted);
    assert_eq!(lab.base(restarted), base);
    lab.agree();
    lab.wait(ELECTION_TICKS);
    assert_eq!(lab.cluster.counts().snapshots, 0, "it has what it needs");
}
