//! Snapshots, as far as Raft has a part in them (section 7): who needs one, and what becomes of the log.
//!
//! A follower that needs what the leader has compacted is offered the state up to some applied entry. It gets the rows from whoever offered
//! them, at its own pace; that is the business of the shell, and no part of the protocol: rows up to a committed entry are true whoever
//! leads. When they are durable, [`Raft::install`] puts them in the place of the log.
//!
//! A log that has the offered entry needs no snapshot: what it holds up to there is committed, and what follows may have been acknowledged and
//! must stay.

use crate::mutants::{self, Mutant};
use crate::raft::membership::Membership;
use crate::raft::message::{Body, Position};
use crate::raft::node::Raft;
use crate::types::NodeId;

impl Raft {
    /// Offers `peer` the state up to `at`, which is applied here. Nothing when this replica does not lead, or `peer` is no follower of it.
    pub fn offer_snapshot(&mut self, peer: NodeId, at: Position) {
        assert!(
            at.index <= self.log.applied(),
            "entry {} of a snapshot is not applied",
            at.index
        );
        let follows = self
            .leader_and_log()
            .is_some_and(|(leader, _)| leader.progress.contains_key(&peer));
        if follows {
            self.send(peer, Body::Snapshot { at });
        }
    }

    /// The leader has compacted what this log lacks.
    pub(super) fn handle_snapshot(&mut self, from: NodeId, at: Position) {
        self.hear_leader(from, 0);
        if self.needs_snapshot(at) {
            self.offered = Some((from, at));
        } else {
            self.match_leader(at.index);
            self.log.commit_to(at.index);
        }
    }

    /// Whether a snapshot up to `at`, a committed entry, would bring this replica forward.
    ///
    /// Its term is durable here: a leader only offers a snapshot to who has answered it in its term. So a start never finds a state of a
    /// later term than its own.
    #[must_use]
    pub fn needs_snapshot(&self, at: Position) -> bool {
        !self.log.matches(at) || mutants::on(Mutant::SnapshotOverNewer)
    }

    /// The state up to `at` has taken the place of what was here, durably, with the membership that was in force there.
    ///
    /// # Panics
    /// When this replica leads, or needs no such snapshot.
    pub fn install(&mut self, at: Position, membership: Membership) {
        let before = self.snapshot();
        assert!(self.leader != Some(self.id()), "a leader lacks nothing");
        assert!(at.term <= self.term(), "a snapshot of a term that nobody has seen");
        let membership = if mutants::on(Mutant::SnapshotKeepsMembership) {
            (**self.membership()).clone()
        } else {
            membership
        };
        self.log.install(at, membership);
        self.check_installed(at);
        if self.leader.is_some() {
            self.match_leader(at.index);
        }
        self.check(&before);
    }
}
