//! Quorum arithmetic: what a majority of the voters has reached.
//!
//! It stands alone because everything rests on it, and because two shipped systems got it wrong: `max(2, n/2)` lets two of five commit,
//! and a tracker that lost its order commits without a quorum. It knows nothing of messages, terms or logs.

use std::collections::BTreeMap;

use crate::mutants::{self, Mutant};
use crate::types::NodeId;

/// How an election stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tally {
    /// A majority said yes.
    Won,
    /// A majority said no: yes can no longer win.
    Lost,
    /// Neither yet.
    Open,
}

/// The voters of a partition.
///
/// - Never empty; one voter is legal, and is its own majority.
/// - Sorted, without duplicates.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Quorum {
    voters: Vec<NodeId>,
}

impl Quorum {
    /// The quorum of `voters`.
    ///
    /// # Panics
    /// When there is none.
    #[must_use]
    pub fn new(voters: impl IntoIterator<Item = NodeId>) -> Self {
        let mut voters: Vec<_> = voters.into_iter().collect();
        voters.sort_unstable();
        voters.dedup();
        assert!(!voters.is_empty(), "a partition has at least one voter");
        Self { voters }
    }

    /// The voters, in order.
    #[must_use]
    pub fn voters(&self) -> &[NodeId] {
        &self.voters
    }

    /// Whether `node` is a voter.
    #[must_use]
    pub fn contains(&self, node: NodeId) -> bool {
        self.voters.binary_search(&node).is_ok()
    }

    /// The size of a majority: more than half of the voters.
    #[must_use]
    pub fn majority(&self) -> usize {
        let n = self.voters.len();
        let majority = mutants::either(Mutant::MajorityHalf, 1.max(n / 2), n / 2 + 1);
        mutants::either(Mutant::TwoOfFive, n.min(2.max(n / 2)), majority)
    }

    /// The greatest value that a majority has reached or passed, where `value` tells what each voter has reached.
    #[must_use]
    pub fn reached<T: Ord + Copy>(&self, value: impl Fn(NodeId) -> T) -> T {
        let mut values: Vec<T> = self.voters.iter().map(|voter| value(*voter)).collect();
        values.sort_unstable_by(|a, b| b.cmp(a));
        values[self.majority() - 1]
    }

    /// How an election with these votes stands. Votes of others than voters do not count.
    #[must_use]
    pub fn tally(&self, votes: &BTreeMap<NodeId, bool>) -> Tally {
        let count = |wanted: bool| {
            self.voters
                .iter()
                .filter(|voter| votes.get(voter) == Some(&wanted))
                .count()
        };
        if count(true) >= self.majority() {
            Tally::Won
        } else if self.voters.len() - count(false) < self.majority() {
            Tally::Lost
        } else {
            Tally::Open
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn quorum(n: u64) -> Quorum {
        Quorum::new((1..=n).map(NodeId))
    }

    #[test]
    fn majority_is_more_than_half_for_every_size() {
        for n in 1..=9 {
            let majority = quorum(n).majority();
            assert!(
                2 * majority > usize::try_from(n).unwrap(),
                "{majority} of {n} is no majority"
            );
            assert!(
                2 * (majority - 1) <= usize::try_from(n).unwrap(),
                "{majority} of {n} is more than needed"
            );
        }
    }

    #[test]
    fn two_of_five_are_no_majority() {
        let votes = BTreeMap::from([(NodeId(1), true), (NodeId(2), true)]);
        assert_eq!(quorum(5).tally(&votes), Tally::Open);
        assert_eq!(quorum(5).reached(|node| if node.0 <= 2 { 7 } else { 3 }), 3);
    }

    #[test]
    fn votes_of_strangers_do_not_count() {
        let votes = BTreeMap::from([(NodeId(1), true), (NodeId(8), true), (NodeId(9), true)]);
        assert_eq!(quorum(3).tally(&votes), Tally::Open);
    }

    proptest! {
        /// The naive model: try every value and count who reached it.
        #[test]
        fn reached_is_the_greatest_value_that_a_majority_has(values in prop::collection::vec(0u64..20, 1..9)) {
            let quorum = quorum(values.len() as u64);
            let value = |node: NodeId| values[usize::try_from(node.0).unwrap() - 1];
            let model = (0..20).filter(|v| 2 * values.iter().filter(|x| *x >= v).count() > values.len()).max().unwrap();
            prop_assert_eq!(quorum.reached(value), model);
        }

        #[test]
        fn tally_matches_counting(votes in prop::collection::vec(prop::option::of(any::<bool>()), 1..9)) {
            let cast: BTreeMap<_, _> = (1..).map(NodeId).zip(&votes).filter_map(|(n, v)| v.map(|v| (n, v))).collect();
            let (yes, no) = (cast.values().filter(|v| **v).count(), cast.values().filter(|v| !**v).count());
            let expected = if 2 * yes > votes.len() { Tally::Won } else if 2 * no >= votes.len() { Tally::Lost } else { Tally::Open };
            prop_assert_eq!(quorum(votes.len() as u64).tally(&cast), expected);
        }
    }
}
