//! Every step from one membership to the next, its refusals, and its bytes.

use proptest::prelude::*;

use super::*;

fn address(node: u64) -> String {
    format!("10.0.0.{node}:2071")
}

fn voters(n: u64) -> Membership {
    Membership::of_voters((1..=n).map(|node| (NodeId(node), address(node))))
}

fn add(node: u64) -> Change {
    Change::AddLearner {
        node: NodeId(node),
        address: address(node),
        priority: PRIORITY_DEFAULT,
    }
}

fn step(membership: &Membership, change: &Change) -> Membership {
    membership.after(change).expect("legal").expect("a change")
}

#[test]
fn a_learner_counts_for_nothing() {
    let membership = step(&voters(3), &add(4));
    assert_eq!(membership.standing(NodeId(4)), Some(Standing::Learner));
    assert!(!membership.has_vote(NodeId(4)) && !membership.is_joint());
    let votes = BTreeMap::from([(NodeId(1), true), (NodeId(4), true)]);
    assert_eq!(membership.tally(&votes), Tally::Open);
    assert_eq!(membership.reached(|node| if node.0 == 4 { 9 } else { node.0 }), 2);
}

#[test]
fn in_a_joint_membership_both_majorities_decide() {
    // 1, 2, 3 become 2, 3: old majority 2 of 3, new majority 2 of 2.
    let joint = step(&voters(3), &Change::Remove { node: NodeId(1) });
    assert!(joint.is_joint());
    assert_eq!(joint.standing(NodeId(1)), Some(Standing::Leaving));
    let yes = |nodes: &[u64]| nodes.iter().map(|node| (NodeId(*node), true)).collect();
    assert_eq!(joint.tally(&yes(&[1, 2])), Tally::Open, "no majority of the new voters");
    assert_eq!(joint.tally(&yes(&[2, 3])), Tally::Won);
    assert_eq!(joint.reached(|node| if node.0 == 3 { 1 } else { 7 }), 1);
}

#[test]
fn one_majority_that_says_no_loses_a_joint_election() {
    let joint = step(&voters(3), &Change::Remove { node: NodeId(1) });
    let votes = BTreeMap::from([(NodeId(1), true), (NodeId(2), true), (NodeId(3), false)]);
    assert_eq!(joint.tally(&votes), Tally::Lost);
}

#[test]
fn after_the_joint_membership_the_old_vote_is_gone_and_so_is_its_node() {
    let left = step(&voters(3), &Change::Remove { node: NodeId(1) }).after_joint();
    assert!(!left.is_joint() && left.was_removed(NodeId(1)));
    assert_eq!(left.voters().collect::<Vec<_>>(), [NodeId(2), NodeId(3)]);
}

#[test]
fn a_promoted_learner_votes_in_the_new_majority_at_once() {
    let joint = step(&step(&voters(3), &add(4)), &Change::Promote { node: NodeId(4) });
    assert!(joint.has_vote(NodeId(4)));
    let four = joint.after_joint();
    assert_eq!(four.standing(NodeId(4)), Some(Standing::Voter));
    assert_eq!(four.voters().count(), 4);
}

#[test]
fn an_id_is_never_given_twice() {
    let left = step(&voters(3), &Change::Remove { node: NodeId(3) }).after_joint();
    let refused = left.after(&add(3)).unwrap_err();
    assert!(matches!(
        refused,
        ChangeError::IdUsed {
            node: NodeId(3),
            id_max: NodeId(3)
        }
    ));
    assert!(refused.to_string().contains("use 4 or more"), "{refused}");
}

#[test]
fn what_is_done_already_is_no_change() {
    let three = voters(3);
    assert_eq!(three.after(&add(2)), Ok(None));
    assert_eq!(three.after(&Change::Promote { node: NodeId(2) }), Ok(None));
    let left = step(&three, &Change::Remove { node: NodeId(3) }).after_joint();
    assert_eq!(left.after(&Change::Remove { node: NodeId(3) }), Ok(None));
}

#[test]
fn an_update_keeps_what_the_node_is() {
    let change = Change::Update {
        node: NodeId(2),
        address: "10.9.9.9:1".to_owned(),
        priority: 0,
    };
    let updated = step(&voters(3), &change);
    let member = &updated.members()[&NodeId(2)];
    assert_eq!(
        (member.address.as_str(), member.priority, member.is_voter),
        ("10.9.9.9:1", 0, true)
    );
}

#[test]
fn refusals_name_the_value() {
    let one = voters(1);
    let last = Change::Remove { node: NodeId(1) };
    assert_eq!(one.after(&last), Err(ChangeError::LastVoter(NodeId(1))));
    assert_eq!(
        one.after(&Change::Promote { node: NodeId(7) }),
        Err(ChangeError::NotMember(NodeId(7)))
    );
    let same = Change::AddLearner {
        node: NodeId(9),
        address: address(1),
        priority: 1,
    };
    assert!(matches!(one.after(&same), Err(ChangeError::AddressUsed { .. })));
    let full = (2..=limits::NODES_MAX as u64).fold(one, |membership, node| step(&membership, &add(node)));
    assert_eq!(full.after(&add(100)), Err(ChangeError::Full));
}

#[test]
fn a_node_that_waits_to_be_added_wins_nothing() {
    let empty = Membership::default();
    assert_eq!(empty.tally(&BTreeMap::from([(NodeId(1), true)])), Tally::Lost);
    assert!(!empty.has_vote(NodeId(1)) && !empty.is_alone(NodeId(1)));
    assert_eq!(Membership::decode(&empty.encode()), Ok(empty));
}

#[test]
fn bytes_that_no_encoder_writes_are_refused() {
    let good = step(&voters(3), &Change::Remove { node: NodeId(2) }).encode();
    for length in 0..good.len() {
        assert!(Membership::decode(&good[..length]).is_err(), "cut at {length}");
    }
    let mut longer = good.to_vec();
    longer.push(0);
    assert!(Membership::decode(&longer).is_err());
    let mut not_joint = good.to_vec();
    not_joint[2] = 0;
    assert!(Membership::decode(&not_joint).is_err(), "old voters without a change");
}

proptest! {
    /// Whatever is asked for, in whatever order, every membership survives its bytes, and two that follow each other share a decider.
    #[test]
    fn steps_overlap_and_survive_their_bytes(steps in prop::collection::vec((0u8..4, 1u64..8), 0..20)) {
        let mut membership = voters(3);
        for (kind, node) in steps {
            let node = NodeId(node);
            let change = match kind {
                0 => add(node.0),
                1 => Change::Promote { node },
                2 => Change::Remove { node },
                _ => Change::Update { node, address: address(node.0 + 100), priority: 2 },
            };
            let next = if membership.is_joint() { Some(membership.after_joint()) } else { membership.after(&change).unwrap_or_default() };
            let Some(next) = next else { continue };
            prop_assert_eq!(Membership::decode(&next.encode()), Ok(next.clone()));
            prop_assert!(is_membership(&next.encode()));
            prop_assert!(next.voters().next().is_some());
            prop_assert!(next.id_max() >= membership.id_max());
            let nodes: Vec<NodeId> = (1..=7).map(NodeId).collect();
            for set in 0u32..1 << 7 {
                let votes = |yes: u32| nodes.iter().filter(|n| yes >> (n.0 - 1) & 1 == 1).map(|n| (*n, true)).collect::<BTreeMap<_, _>>();
                if membership.tally(&votes(set)) == Tally::Won {
                    prop_assert!(next.tally(&votes(!set)) != Tally::Won, "two disjoint majorities: {set:b}");
                }
            }
            membership = next;
        }
    }

    #[test]
    fn hostile_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
        if let Ok(membership) = Membership::decode(&bytes) {
            prop_assert_eq!(membership.encode().to_vec(), bytes);
        }
    }
}
