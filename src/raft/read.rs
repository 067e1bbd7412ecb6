//! Linearizable reads without writing: read-index (thesis, section 6.4).
//!
//! A read notes the commit index, and waits until a majority has answered something that was sent after the read began: then no
//! later leader had committed anything newer by then. Rounds number what is sent, so that an old answer never confirms a new read. There
//! is no leader lease: no clock is trusted.

use std::collections::VecDeque;
use std::sync::Arc;

use crate::mutants::{self, Mutant};
use crate::raft::node::{ProposeError, Raft};
use crate::raft::ready::ReadState;
use crate::types::Index;

/// The reads of a leader that wait for a majority.
#[derive(Debug, Default)]
pub struct Reads {
    round: u64,
    /// Reads were added since the round began.
    fresh: bool,
    waiting: VecDeque<Waiting>,
}

#[derive(Debug)]
struct Waiting {
    context: u64,
    round: u64,
    index: Index,
}

impl Reads {
    /// The latest round.
    pub const fn round(&self) -> u64 {
        self.round
    }
}

impl Raft {
    /// Begins a read, which `context` names when it comes back confirmed or failed.
    ///
    /// # Errors
    /// [`ProposeError::NotLeader`] when this replica does not lead.
    pub fn read_index(&mut self, context: u64) -> Result<(), ProposeError> {
        let (leader, log) = self.leader_and_log().ok_or(ProposeError::NotLeader)?;
        let index = log.commit().max(leader.opening);
        let index = mutants::either(Mutant::ReadBeforeOpening, log.commit(), index);
        let reads = &mut leader.reads;
        reads.fresh = true;
        reads.waiting.push_back(Waiting {
            context,
            round: mutants::either(Mutant::ReadByOldRound, reads.round, reads.round + 1),
            index,
        });
        Ok(())
    }

    /// Opens a round for the reads that came since the last one. Says whether there is one to announce.
    pub(super) fn begin_read_round(&mut self) -> bool {
        let Some((leader, _)) = self.leader_and_log() else {
            return false;
        };
        if !std::mem::take(&mut leader.reads.fresh) {
            return false;
        }
        leader.reads.round += 1;
        self.confirm_reads();
        true
    }

    /// Releases the reads that a majority has confirmed, once this term has committed something.
    pub(super) fn confirm_reads(&mut self) {
        let (id, membership) = (self.id(), Arc::clone(self.membership()));
        let Some((leader, log)) = self.leader_and_log() else {
            return;
        };
        let early = log.commit() < leader.opening && !mutants::on(Mutant::ReadBeforeOpening);
        if leader.reads.waiting.is_empty() || early {
            return;
        }
        let now = leader.reads.round;
        let confirmed = membership.reached(|node| if node == id { now } else { leader.progress[&node].round });
        let mut done = Vec::new();
        while let Some(read) = leader.reads.waiting.pop_front_if(|read| read.round <= confirmed) {
            done.push(ReadState {
                context: read.context,
                index: read.index,
            });
        }
        self.reads_confirmed.append(&mut done);
    }

    /// This replica leads no more: its reads will never be confirmed.
    pub(super) fn fail_reads(&mut self) {
        if let Some((leader, _)) = self.leader_and_log() {
            let failed: Vec<_> = leader.reads.waiting.drain(..).map(|read| read.context).collect();
            self.reads_failed.extend(failed);
        }
    }
}
