//! What must be well again once the faults are over: leaders, answers, equal replicas.
//!
//! Safety is the business of the others. Here a node that ended without a reason is a fault of its own.

use std::collections::BTreeMap;

use super::Violation;
use crate::evidence::Evidence;

/// Every partition has one leader, of the core; all replicas of the core have one state; nobody waits; nobody failed.
///
/// # Errors
/// When something of it is not so.
pub fn check(evidence: &Evidence) -> Result<(), Violation> {
    let ending = &evidence.ending;
    let object = |message: String| Err(Violation::new("liveness", message));
    if let Some((node, why)) = ending.failures.first() {
        return object(format!("node {node} ended by itself: {why}"));
    }
    if let Some(what) = ending.unanswered.first() {
        return object(format!(
            "{} requests were never answered; the first: {what}",
            ending.unanswered.len()
        ));
    }
    if ending.core.is_empty() {
        return object("no node was left alive in the end".to_owned());
    }
    for partition in 0..evidence.partitions {
        let mut leaders = ending.leaders.iter().filter(|(of, _)| *of == partition);
        match (leaders.next(), leaders.next()) {
            (Some((_, leader)), None) if ending.core.contains(leader) => {}
            found => {
                return object(format!(
                    "partition {partition} has no leader of core {:?}: {found:?}",
                    ending.core
                ));
            }
        }
        check_voters(evidence, partition)?;
        check_digests(evidence, partition)?;
    }
    Ok(())
}

/// Whoever should belong to the cluster votes, and nobody else.
fn check_voters(evidence: &Evidence, partition: u32) -> Result<(), Violation> {
    let ending = &evidence.ending;
    let voters = ending.voters.iter().find(|(of, _)| *of == partition);
    let voters = voters.map(|(_, voters)| voters.nodes().collect::<Vec<_>>());
    if voters.as_ref() == Some(&ending.members) {
        return Ok(());
    }
    let message = format!(
        "partition {partition}: voters are {voters:?}, and should be {:?}",
        ending.members
    );
    Err(Violation::new("liveness", message))
}

fn check_digests(evidence: &Evidence, partition: u32) -> Result<(), Violation> {
    let of_partition = |(_, of, ..): &&(u64, u32, u64, u64)| *of == partition;
    let replicas: BTreeMap<u64, (u64, u64)> = (evidence.ending.digests.iter())
        .filter(of_partition)
        .map(|(node, _, applied, digest)| (*node, (*applied, *digest)))
        .collect();
    let states: Vec<_> = evidence.ending.core.iter().map(|node| replicas.get(node)).collect();
    let equal = states.iter().all(|state| state.is_some() && *state == states[0]);
    if equal {
        return Ok(());
    }
    let message = format!("partition {partition}: replicas of the core differ in (applied, digest): {replicas:x?}");
    Err(Violation::new("liveness", message))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checkers::samples::cluster;
    use crate::evidence::{Ending, Voters};

    fn well() -> Ending {
        Ending {
            core: vec![1, 3],
            members: vec![1, 2, 3],
            voters: vec![(0, Voters::first(3)), (1, Voters::first(3))],
            leaders: vec![(0, 1), (1, 3)],
            digests: vec![(1, 0, 9, 7), (3, 0, 9, 7), (2, 0, 4, 1), (1, 1, 5, 5), (3, 1, 5, 5)],
            ..Ending::default()
        }
    }

    fn judge(spoil: impl FnOnce(&mut Ending)) -> Result<(), Violation> {
        let mut ending = well();
        spoil(&mut ending);
        check(&Evidence { ending, ..cluster() })
    }

    #[test]
    fn a_cluster_that_is_well_again_is_fine() {
        assert_eq!(judge(|_| {}), Ok(()));
    }

    #[test]
    fn each_way_not_to_be_well_is_objected_to() {
        assert!(judge(|e| e.leaders.truncate(1)).is_err(), "no leader");
        assert!(judge(|e| e.leaders.push((0, 3))).is_err(), "two leaders");
        assert!(judge(|e| e.leaders[0].1 = 2).is_err(), "a leader outside of the core");
        assert!(judge(|e| e.digests[0].3 = 8).is_err(), "another state");
        assert!(judge(|e| e.digests[0].2 = 8).is_err(), "not caught up");
        assert!(
            judge(|e| e.digests.retain(|digest| digest.1 != 0 || digest.0 != 3)).is_err(),
            "a replica that says nothing"
        );
        assert!(judge(|e| e.unanswered.push("try_lock r".to_owned())).is_err());
        assert!(judge(|e| e.failures.push((2, "disk".to_owned()))).is_err());
        assert!(judge(|e| e.core.clear()).is_err());
        assert!(judge(|e| e.members.push(4)).is_err(), "a member that does not vote");
        assert!(judge(|e| e.voters.truncate(1)).is_err(), "voters that nobody knows");
    }
}
