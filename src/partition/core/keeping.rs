//! The partition's durable state beside its log.
//!
//! Rows that changed are saved now and then; what they contain, the log may let go of; and a received snapshot takes the place of both. How it is
//! written is the business of [`crate::storage`].

use super::{Core, Effects};
use crate::config::Keeping;
use crate::limits;
use crate::mutants::{self, Mutant};
use crate::raft::SnapshotEnd;
use crate::storage::StateMark;
use crate::types::Index;

/// Called when everything that was applied by then is saved.
pub type Saved = Box<dyn FnOnce() + Send>;

/// Who waits for a checkpoint.
#[derive(Default)]
pub struct Checkpoints(Vec<(Index, Saved)>);

impl Checkpoints {
    fn complete(&mut self, saved: Index) {
        for (_, done) in self.0.extract_if(.., |(wanted, _)| *wanted <= saved) {
            done();
        }
    }
}

impl Core {
    /// Saves at the next flush, and tells when everything that is applied now is saved.
    pub(super) fn begin_checkpoint(&mut self, done: Saved) {
        self.checkpoints.0.push((self.applied.index, done));
        self.checkpoints.complete(self.saved.applied.index);
    }

    pub(super) fn state_saved(&mut self, mark: StateMark) {
        assert!(mark.applied >= self.saved.applied, "saved state never goes back");
        self.saved = mark;
        self.saving = false;
        self.checkpoints.complete(self.saved.applied.index);
    }

    /// Hands out the rows that changed, now and then, one write at a time.
    pub(super) fn save_state(&mut self, effects: &mut Effects) {
        let news = self.applied > self.saved.applied;
        let wanted = !self.checkpoints.0.is_empty();
        let Keeping {
            save_rows, save_ticks, ..
        } = self.keeping;
        let due = wanted || self.ticks_since_save >= save_ticks || self.machine.changes() >= save_rows;
        if self.saving || !news || !due {
            return;
        }
        self.saving = true;
        self.ticks_since_save = 0;
        let mark = StateMark {
            applied: self.applied,
            log_time: self.log_time,
            hlc: self.hlc,
            membership: (**self.raft.log().memberships().applied()).clone(),
        };
        effects.save = Some((mark, self.machine.take_changes()));
    }

    /// Lets go of entries whose effect is durable here: those that every live follower holds, and those that are too many to be kept for one
    /// that is not live. What follows an open snapshot stays as long as it can, or who receives that would need another one.
    pub(super) fn compact(&mut self, effects: &mut Effects) {
        let log = self.raft.log();
        let Keeping {
            log_entries_max,
            log_bytes_max,
            compact_entries,
            ..
        } = self.keeping;
        let surplus = |times| log.surplus(times * log_entries_max, times * log_bytes_max);
        let wanted = self.raft.held_by_live().max(surplus(1));
        let wanted = match self.snapshots.pinned() {
            Some(at) => wanted.min(at.index).max(surplus(limits::LOG_KEPT_FOR_SNAPSHOT_MAX)),
            None => wanted,
        };
        let saved = mutants::either(Mutant::LogCutAboveState, self.applied.index, self.saved.applied.index);
        let through = wanted.min(saved);
        if through.0 >= log.base().index.0 + compact_entries {
            effects.compact = Some(self.raft.compact(through));
        }
    }

    /// Begins to install what was received as a whole, if that is so and it is still needed. Until it is done nothing else happens here: what is
    /// applied or saved now would be of the state that goes.
    pub(super) fn begin_install(&mut self, effects: &mut Effects) {
        effects.install = self.snapshots.begin_install(&self.raft);
    }

    /// The received state is the durable one.
    pub(super) fn finish_install(&mut self) {
        let (at, finished) = self.snapshots.finish_install();
        let SnapshotEnd {
            log_time,
            hlc,
            membership,
        } = finished.end;
        assert!(at > self.applied, "a snapshot never goes back");
        self.raft.install(at, membership.clone());
        if !mutants::on(Mutant::SnapshotKeepsMachine) {
            self.machine = finished.machine;
        }
        self.machine.advance(log_time);
        self.applied = at;
        self.log_time = log_time;
        self.hlc = hlc;
        self.saved = StateMark {
            applied: at,
            log_time,
            hlc,
            membership,
        };
        self.saving = false;
        self.installed_now = true;
        self.checkpoints.complete(at.index);
    }
}
