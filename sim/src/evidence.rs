//! Everything that a run leaves behind for the checkers: what clients saw, what replicas did, what the disks hold, how it ended.

use kapu::raft::{Membership, Role};

use crate::history::{FencedWrite, Operation};

/// One thing that was seen inside the cluster, at a true time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Observation {
    /// True nanoseconds since the start.
    pub at_ns: u64,
    /// On which node.
    pub node: u64,
    /// In which of its lives: grows by one with each start of the process.
    pub boot: u64,
    /// In which partition.
    pub partition: u32,
    /// What.
    pub fact: Fact,
}

/// What was seen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fact {
    /// The replica after a batch of events.
    Status {
        /// Its role.
        role: Role,
        /// Its term.
        term: u64,
        /// Whom it follows; zero when nobody.
        leader: u64,
        /// Its last entry.
        last: u64,
        /// What it knows to be committed.
        commit: u64,
        /// What it has applied.
        applied: u64,
        /// What is durable on its disk.
        durable: u64,
        /// Who decides, by its newest membership.
        voters: Voters,
    },
    /// It applied an entry.
    Applied {
        /// The entry's index.
        index: u64,
        /// The entry's term.
        term: u64,
        /// Log time after it.
        log_time: u64,
        /// Hybrid time of this very entry; none where it has none.
        hlc: Option<u64>,
        /// The state after it.
        digest: u64,
        /// It came with a snapshot, in the place of all entries up to it.
        is_snapshot: bool,
    },
    /// It sent entries or a heartbeat as the leader of a term.
    Led {
        /// Which term.
        term: u64,
    },
    /// It sent an entry in an append.
    Sent {
        /// The term in which it led.
        leads: u64,
        /// The entry's index.
        index: u64,
        /// The entry's term.
        term: u64,
        /// A hash of its payload.
        payload: u64,
    },
}

/// Who decides, as a membership says it: a bit for each node id. Whoever made the membership also has an opinion of what a quorum is; this is
/// another one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Voters {
    /// Those who vote from now on.
    pub new: u64,
    /// Those who voted before the change that is under way; none outside of one.
    pub old: u64,
}

impl Voters {
    /// The voters of a membership.
    #[must_use]
    pub fn of(membership: &Membership) -> Self {
        let mut voters = Self::default();
        for (node, member) in membership.members() {
            voters.new |= u64::from(member.is_voter) << node.0;
            voters.old |= u64::from(member.is_outgoing) << node.0;
        }
        voters
    }

    /// The nodes 1 to `nodes`.
    #[must_use]
    pub const fn first(nodes: u64) -> Self {
        let new = (2 << nodes) - 2;
        Self { new, old: 0 }
    }

    /// Whether `nodes` suffice for a decision: a majority of the new voters, and one of the old ones where there are any.
    #[must_use]
    pub fn are_decided_by(self, nodes: impl IntoIterator<Item = u64>) -> bool {
        let agreed = nodes.into_iter().fold(0_u64, |agreed, node| agreed | 1 << node);
        let is_majority = |voters: u64| (agreed & voters).count_ones() > voters.count_ones() / 2;
        is_majority(self.new) && (self.old == 0 || is_majority(self.old))
    }

    /// Each of them, new or old.
    pub fn nodes(self) -> impl Iterator<Item = u64> {
        (0..u64::from(u64::BITS)).filter(move |node| (self.new | self.old) >> node & 1 == 1)
    }
}

/// What the disk of one node holds durably at the end, crashed nodes too, for one partition.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DurableReplica {
    /// On which node.
    pub node: u64,
    /// Of which partition.
    pub partition: u32,
    /// The durable term.
    pub term: u64,
    /// The last durable entry.
    pub last: u64,
    /// (index, term) where each run of equal terms begins, in order, the base before them; empty when that is not known.
    pub runs: Vec<(u64, u64)>,
    /// Whether the disk is lost, wiped or rotten, and holds nothing that counts.
    pub spoiled: bool,
}

/// How a run ended, after healing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ending {
    /// Nodes that should be alive.
    pub core: Vec<u64>,
    /// Nodes that should belong to the cluster: the core, and those whose disk is lost.
    pub members: Vec<u64>,
    /// (partition, voters) as each leader of `leaders` has them.
    pub voters: Vec<(u32, Voters)>,
    /// (partition, leader) for each partition with exactly one leader that its core agrees on.
    pub leaders: Vec<(u32, u64)>,
    /// (node, partition, applied, digest) of every replica in the core.
    pub digests: Vec<(u64, u32, u64, u64)>,
    /// Requests that were never answered, in words.
    pub unanswered: Vec<String>,
    /// From when on all was well and only the last look asked for anything, in true nanoseconds; none when it never was.
    pub calm_ns: Option<u64>,
    /// Nodes that ended by themselves and were not meant to, with why.
    pub failures: Vec<(u64, String)>,
    /// What tasks of nodes and clients said when they panicked.
    pub panics: Vec<String>,
}

/// All of it.
#[derive(Clone, Debug, Default)]
pub struct Evidence {
    /// How many nodes there were at first: 1 to so many.
    pub nodes: u64,
    /// How many partitions.
    pub partitions: u32,
    /// The greatest difference of clock rates, in parts per million, that was allowed.
    pub drift_ppm_max: u64,
    /// In the order of calls.
    pub operations: Vec<Operation>,
    /// In the order of arrival.
    pub writes: Vec<FencedWrite>,
    /// In the order of true time.
    pub observations: Vec<Observation>,
    /// At the end.
    pub disks: Vec<DurableReplica>,
    /// After healing.
    pub ending: Ending,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn voters_are_decided_by_a_majority_of_each_kind() {
        let three = Voters::first(3);
        assert_eq!(three.nodes().collect::<Vec<_>>(), [1, 2, 3]);
        assert!(three.are_decided_by([1, 3]) && !three.are_decided_by([1]) && !three.are_decided_by([1, 4, 5]));
        let joint = Voters {
            new: 0b11_0010,
            old: three.new,
        };
        assert!(joint.are_decided_by([1, 2, 4]));
        assert!(!joint.are_decided_by([4, 5]), "no majority of the old ones");
        assert!(!joint.are_decided_by([2, 3]), "no majority of the new ones");
        assert!(!Voters::default().are_decided_by([1, 2, 3]), "nobody decides nothing");
    }
}
