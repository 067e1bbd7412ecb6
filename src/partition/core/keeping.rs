//! The partition's durable state beside its log.
//!
//! Rows that changed are saved now and then; what they contain, the log may let go of; and a received snapshot takes the place of both. How it is
//! written is the business of [`crate::storage`].

use bytes::Bytes;

use super::{Core, Effects};
use crate::config::Keeping;
use crate::limits;
use crate::machine::Row;
use crate::mutants::{self, Mutant};
use crate::partition::event::Reply;
use crate::raft::SnapshotEnd;
use crate::storage::StateMark;
use crate::types::Index;

/// Who waits for a checkpoint, and how far the latest of them wants the log cut.
#[derive(Default)]
pub struct Checkpoints {
    waiting: Vec<(Index, Reply)>,
    cut: Index,
}

impl Checkpoints {
    fn complete(&mut self, saved: Index) {
        for (_, reply) in self.waiting.extract_if(.., |(wanted, _)| *wanted <= saved) {
            reply.send(Ok(Bytes::new()));
        }
    }
}

impl Core {
    /// Saves at the next flush, and tells when everything that is applied now is saved. The log up to there is let go of as soon as it may be.
    pub(super) fn begin_checkpoint(&mut self, reply: Reply) {
        self.checkpoints.waiting.push((self.applied.index, reply));
        self.checkpoints.cut = self.applied.index;
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
        let wanted = !self.checkpoints.waiting.is_empty();
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
        let rows = self.machine.take_changes();
        rows.iter().for_each(check_row);
        effects.save = Some((mark, rows));
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
        let base = log.base().index;
        let step = if base < self.checkpoints.cut {
            1
        } else {
            compact_entries
        };
        if through.0 >= base.0 + step {
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

/// A row over its limit could be saved here, and never be sent to a replica that needs it.
fn check_row(row: &Row) {
    let (key, value) = (row.key.len(), row.value.as_ref().map_or(0, Bytes::len));
    assert!(
        key <= limits::ROW_KEY_BYTES_MAX && value <= limits::ROW_VALUE_BYTES_MAX,
        "a state machine keeps its rows within the limits: this one has a key of {key} bytes and a value of {value}"
    );
}
