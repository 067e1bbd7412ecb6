//! What others test of members, by their names: MicroRaft's `MembershipChangeTest`, and openraft's tests of clusters that see each other only in part.
//!
//! As in the [labs](crate::labs): no clock, safety after every event. A member that left is switched off, as an operator would.

use kapu::raft::{Change, ChangeError, ReconfigureError};
use kapu::types::NodeId;

use crate::lab::{ELECTION_TICKS, Lab};
use crate::replica::address;

const NEW: NodeId = NodeId(4);

fn lab() -> Lab {
    let mut lab = Lab::new(3);
    lab.agree();
    lab
}

fn voters(lab: &mut Lab) -> Vec<NodeId> {
    let leader = lab.leader();
    let membership = lab.cluster.raft(leader).expect("it runs").membership();
    membership.voters().collect()
}

fn ids(ids: &[u64]) -> Vec<NodeId> {
    ids.iter().copied().map(NodeId).collect()
}

fn followers(lab: &mut Lab) -> Vec<NodeId> {
    let leader = lab.leader();
    let present = lab.present().into_iter();
    present.filter(|id| *id != leader).collect()
}

#[test]
fn when_new_raft_node_joins_then_it_appends_missing_entries() {
    let mut lab = lab();
    let before: Vec<_> = (0..20).map(|_| lab.agree()).collect();
    lab.join(NEW);
    lab.agree();
    assert!(before.iter().all(|payload| lab.has_applied(NEW, payload)));
    assert_eq!(voters(&mut lab), ids(&[1, 2, 3, 4]));
}

#[test]
fn when_new_raft_node_joins_after_snapshot_then_it_learns_members_from_it() {
    let mut lab = lab();
    lab.compact_every = Some(10);
    lab.leave(NodeId(3));
    (0..30).for_each(|_| drop(lab.agree()));
    lab.join(NEW);
    lab.agree();
    assert!(lab.cluster.counts().snapshots >= 1);
    let known = lab.cluster.raft(NEW).expect("it runs").membership();
    assert_eq!(known.voters().collect::<Vec<_>>(), ids(&[1, 2, 4]));
}

#[test]
fn when_follower_leaves_then_it_is_removed_from_the_group_members() {
    let mut lab = lab();
    let leaves = followers(&mut lab)[0];
    lab.leave(leaves);
    lab.agree();
    assert!(!voters(&mut lab).contains(&leaves));
}

#[test]
fn when_leader_leaves_then_followers_elect_new_leader() {
    let mut lab = lab();
    let leader = lab.leader();
    lab.leave(leader);
    assert_ne!(lab.leader(), leader);
    lab.agree();
    assert!(!voters(&mut lab).contains(&leader));
}

#[test]
fn when_leader_leaves_then_it_cannot_vote_for_commit_of_member_change() {
    let mut lab = lab();
    let leader = lab.leader();
    let others = followers(&mut lab);
    // Of the two who stay, one is away: the leader and the other are two of three old ones, and one of two new ones.
    lab.disconnect(others[0]);
    let index = lab.cluster.change(leader, &Change::Remove { node: leader });
    let index = index.expect("it runs").expect("a legal step").expect("not made yet");
    lab.cluster.flush(leader);
    lab.wait(5 * ELECTION_TICKS);
    assert!(lab.cluster.checks.committed() < index);
    lab.connect(others[0]);
    lab.wait(5 * ELECTION_TICKS);
    assert!(lab.cluster.checks.committed() > index);
    lab.disconnect(leader);
    lab.agree();
}

#[test]
fn when_non_existing_endpoint_is_removed_then_nothing_happens() {
    let mut lab = lab();
    let leader = lab.leader();
    let asked = lab.cluster.change(leader, &Change::Remove { node: NodeId(9) });
    let refused = ReconfigureError::Illegal(ChangeError::NotMember(NodeId(9)));
    assert_eq!(asked, Some(Err(refused)));
}

#[test]
fn when_id_of_removed_endpoint_is_added_then_it_fails() {
    let mut lab = lab();
    let leaves = followers(&mut lab)[0];
    lab.leave(leaves);
    let leader = lab.leader();
    let add = Change::AddLearner {
        node: leaves,
        address: address(leaves),
        priority: 1,
    };
    let refused = ReconfigureError::Illegal(ChangeError::IdUsed {
        node: leaves,
        id_max: NodeId(3),
    });
    assert_eq!(lab.cluster.change(leader, &add), Some(Err(refused)));
}

#[test]
fn when_another_change_is_under_way_then_a_second_one_fails() {
    let mut lab = lab();
    let leader = lab.leader();
    let others = followers(&mut lab);
    lab.disconnect(others[0]);
    lab.disconnect(others[1]);
    let first = lab.cluster.change(leader, &Change::Remove { node: others[0] });
    assert!(matches!(first, Some(Ok(Some(_)))));
    let second = lab.cluster.change(leader, &Change::Remove { node: others[1] });
    assert_eq!(second, Some(Err(ReconfigureError::UnderWay)));
}

#[test]
fn when_group_grows_and_shrinks_again_under_failures_then_nothing_is_lost() {
    let mut lab = lab();
    lab.unreliable = true;
    let mut agreed = vec![lab.agree()];
    for new in 4..=9 {
        lab.join(NodeId(new));
        agreed.push(lab.agree());
        let leader = lab.leader();
        lab.leave(leader);
        agreed.push(lab.agree());
    }
    assert_eq!(voters(&mut lab).len(), 3);
    let present = lab.present();
    for id in voters(&mut lab) {
        assert!(
            present.contains(&id) && agreed.iter().all(|payload| lab.has_applied(id, payload)),
            "node {id}"
        );
    }
}

/// openraft: one-way isolation of a follower.
#[test]
fn isolated_follower_that_is_not_heard_does_not_disturb() {
    let mut lab = lab();
    let (leader, mute) = (lab.leader(), followers(&mut lab)[0]);
    for other in lab.ids() {
        lab.cluster.network.cut(mute, other);
    }
    let term = lab.term(leader);
    lab.wait(20 * ELECTION_TICKS);
    assert_eq!((lab.leader(), lab.term(leader)), (leader, term));
}

/// openraft: a leader that hears nobody, and is heard.
#[test]
fn isolated_leader_that_hears_nobody_is_replaced() {
    let mut lab = lab();
    let deaf = lab.leader();
    for other in lab.ids() {
        lab.cluster.network.cut(other, deaf);
    }
    lab.wait(10 * ELECTION_TICKS);
    let successor = lab.leader();
    assert_ne!(successor, deaf);
    let taken = lab.start(successor).expect("it leads");
    lab.wait(ELECTION_TICKS);
    assert!(lab.is_committed(&taken));
}

/// openraft: a partial partition, in which one link of three is down.
#[test]
fn partial_partition_settles_on_one_leader() {
    let mut lab = lab();
    let (leader, apart) = (lab.leader(), followers(&mut lab)[0]);
    lab.cluster.network.cut(leader, apart);
    lab.cluster.network.cut(apart, leader);
    lab.wait(20 * ELECTION_TICKS);
    let (leader, term) = (lab.leader(), lab.ids().into_iter().map(|id| lab.term(id)).max());
    lab.wait(20 * ELECTION_TICKS);
    assert_eq!(
        (lab.leaders(), lab.ids().into_iter().map(|id| lab.term(id)).max()),
        (vec![leader], term),
        "nobody deposes anybody for ever"
    );
    let taken = lab.start(leader).expect("it leads");
    lab.wait(ELECTION_TICKS);
    assert!(lab.is_committed(&taken));
}
