//! What the lists say of a cluster in which a node is being added.

use std::sync::Arc;

use super::*;
use crate::cli::view::tests::status;
use crate::raft::{FollowerStatus, Membership, Role};
use crate::types::Index;

/// Nodes 1 and 2 vote, 3 is a learner that lacks five entries, and node 1 leads both partitions.
fn view() -> ClusterView {
    let mut one = status(1, &[(Role::Leader, 2), (Role::Leader, 3)]);
    let two = Membership::of_voters([1, 2].map(|node| (NodeId(node), format!("h{node}:2"))));
    let add = Change::AddLearner {
        node: NodeId(3),
        address: "h3:2".to_owned(),
        priority: 0,
    };
    let membership = Arc::new(two.after(&add).unwrap().unwrap());
    let follower = |node, matched, is_live| FollowerStatus {
        node: NodeId(node),
        matched: Index(matched),
        is_live,
    };
    for partition in &mut one.partitions {
        partition.membership = Arc::clone(&membership);
        partition.followers = Arc::new([follower(2, 9, false), follower(3, 4, true)]);
    }
    ClusterView::of(vec![("h1:1".into(), Ok(one))])
}

#[test]
fn nodes_are_listed_with_what_they_are_and_what_they_lack() {
    let expected = "\
NODE  PEER ADDRESS  PRIORITY  VOTER OF  LEARNER OF  LEADS  LIVE  LACKS
1     h1:2          1         2         0           2      yes   0
2     h2:2          1         2         0           0      no    0
3     h3:2          0         0         2           0      yes   5
";
    assert_eq!(NodeList::of(&view()).text(), expected);
}

#[test]
fn partitions_are_listed_with_their_members() {
    let expected = "\
PARTITION  LEADER  TERM  MEMBERS
0          1       2     1, 2, 3 (learner)
1          1       3     1, 2, 3 (learner)
";
    assert_eq!(PartitionList::of(&view()).text(), expected);
}

#[test]
fn a_change_that_cannot_be_made_is_a_no_and_one_that_is_late_can_be_asked_for_again() {
    let exit = |error: AdminError| Failure::from(error).exit;
    assert_eq!(exit(AdminError::Refused("no".to_owned())), Exit::No);
    assert_eq!(exit(AdminError::NotNow("later".to_owned())), Exit::Unreachable);
    assert_eq!(exit(AdminError::Unknown("lost".to_owned())), Exit::Unknown);
    assert_eq!(exit(AdminError::NoPartition(PartitionId(9), 1)), Exit::Usage);
}
