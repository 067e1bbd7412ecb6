//! Snapshots on their way: what a partition sends to a follower that lacks what is compacted, and what it receives as such a follower.
//!
//! The receiver pulls: it asks for the rows after the last key that it holds durably, and gets one message of them. So a slow receiver
//! throttles itself, a lost message is asked for again, and a transfer goes on where it was after a restart of either side, as long as
//! somebody still offers the same state. Heartbeats and other partitions never wait behind more than one message of rows.
//!
//! ```text
//! leader    behind ─▶ Open ─▶ offer ···            rows ◀── Read ◀── request
//! follower            Receive ◀── offered ─▶ request ··· ─▶ Stage ─▶ staged ─▶ request .. ─▶ Install ─▶ Raft::install
//! ```
//!
//! This file decides and does nothing: [`serve`] reads rows, [`receive`] writes them and builds the machine, each on a thread of its own.

pub mod receive;
pub mod serve;
mod shell;
#[cfg(test)]
mod tests;

pub use shell::{SnapshotShared, SnapshotTasks};

use bytes::Bytes;

use crate::limits;
use crate::machine::StateMachine;
use crate::raft::{Body, Message, Position, Raft, SnapshotEnd, SnapshotRows};
use crate::storage::StateMark;
use crate::types::NodeId;

/// What is to be done for a snapshot.
pub enum Step {
    /// Open a consistent view of the saved rows; comes back as [`Snapshots::opened`].
    Open,
    /// Nobody wants it any more.
    Close,
    /// Read the rows after this key for this follower; comes back as [`Snapshots::read`].
    Read(NodeId, Bytes),
    /// Get ready for the rows of this state; comes back as [`Snapshots::staged`] with what is here already.
    Receive(Position),
    /// Keep these rows; comes back as [`Snapshots::staged`].
    Stage(SnapshotRows),
    /// Forget what was received.
    Abandon,
}

/// A state that was received as a whole.
pub struct Finished {
    /// The machine that holds it.
    pub machine: Box<dyn StateMachine>,
    /// What belongs to it beside its rows.
    pub end: SnapshotEnd,
}

/// Both sides of one partition.
#[derive(Default)]
pub struct Snapshots {
    outgoing: Outgoing,
    incoming: Option<Incoming>,
    /// What is to be done, in order.
    pub steps: Vec<Step>,
    /// What is to be sent.
    pub send: Vec<(NodeId, Body)>,
}

#[derive(Default)]
struct Outgoing {
    open: Option<Position>,
    is_opening: bool,
    idle_ticks: u32,
    /// To be offered it as soon as it is open.
    waiting: Vec<NodeId>,
}

struct Incoming {
    from: NodeId,
    at: Position,
    /// The last key that is here durably.
    after: Bytes,
    stage: Stage,
    /// Ticks since rows came.
    silent_ticks: u32,
    asked_this_tick: u32,
}

enum Stage {
    /// What is here of it already is being read.
    Preparing,
    /// Rows are wanted.
    Asking {
        /// And asked for.
        asked: bool,
    },
    /// Rows are being written.
    Staging,
    /// It is whole.
    Whole(Finished),
    /// It is about to take the place of what is here.
    Installing(Finished),
}

/// As leader.
impl Snapshots {
    /// Followers lack what is compacted: they are offered what is open, if it is of use, else what is saved by now.
    pub fn offer(&mut self, behind: Vec<NodeId>, raft: &mut Raft) {
        let base = raft.log().base().index;
        match self.outgoing.open.filter(|at| at.index >= base) {
            Some(at) => behind.into_iter().for_each(|peer| raft.offer_snapshot(peer, at)),
            None if behind.is_empty() => {}
            None => {
                self.outgoing.waiting = behind;
                if !std::mem::replace(&mut self.outgoing.is_opening, true) {
                    self.steps.push(Step::Open);
                }
            }
        }
    }

    /// The saved state up to `at` is open.
    pub fn opened(&mut self, at: Position, raft: &mut Raft) {
        self.outgoing.open = Some(at);
        self.outgoing.is_opening = false;
        self.outgoing.idle_ticks = 0;
        for peer in std::mem::take(&mut self.outgoing.waiting) {
            raft.offer_snapshot(peer, at);
        }
    }

    /// A follower asks for rows. If they are not of what is open, it will be offered that.
    pub fn requested(&mut self, from: NodeId, at: Position, after: Bytes) {
        if self.outgoing.open == Some(at) {
            self.outgoing.idle_ticks = 0;
            self.steps.push(Step::Read(from, after));
        }
    }

    /// The rows that a follower asked for.
    pub fn read(&mut self, to: NodeId, rows: SnapshotRows) {
        self.send.push((to, Body::SnapshotRows(Box::new(rows))));
    }

    /// What is open while somebody receives it: the log above it is kept for them.
    #[must_use]
    pub const fn pinned(&self) -> Option<Position> {
        self.outgoing.open
    }

    /// Lets go of what is open, whoever receives it.
    pub fn close(&mut self) {
        if self.outgoing.open.take().is_some() {
            self.steps.push(Step::Close);
        }
    }
}

/// As follower.
impl Snapshots {
    /// The leader offers a state that this replica needs. One that is being received is not given up for another, unless it stands still.
    pub fn offered(&mut self, from: NodeId, at: Position) {
        match &mut self.incoming {
            Some(incoming) if incoming.at == at => incoming.from = from,
            Some(incoming) if !incoming.is_stuck() => {}
            _ => {
                self.incoming = Some(Incoming {
                    from,
                    at,
                    after: Bytes::new(),
                    stage: Stage::Preparing,
                    silent_ticks: 0,
                    asked_this_tick: 0,
                });
                self.steps.push(Step::Receive(at));
            }
        }
    }

    /// Everything up to the key `after` is here durably; with the last rows, the machine that holds all of them.
    pub fn staged(&mut self, at: Position, after: Bytes, finished: Option<Finished>) {
        let Some(incoming) = self.incoming.as_mut().filter(|incoming| incoming.at == at) else {
            return;
        };
        incoming.after = after;
        incoming.stage = finished.map_or(Stage::Asking { asked: false }, Stage::Whole);
        self.ask();
    }

    /// Rows came. Others than those that were asked for last are late.
    pub fn arrived(&mut self, rows: SnapshotRows) {
        let Some(incoming) = &mut self.incoming else { return };
        let wanted =
            matches!(incoming.stage, Stage::Asking { .. }) && rows.at == incoming.at && rows.after == incoming.after;
        if wanted && rows.checksum == rows.computed_checksum() {
            incoming.stage = Stage::Staging;
            incoming.silent_ticks = 0;
            self.steps.push(Step::Stage(rows));
        }
    }

    /// It cannot be received here and now.
    pub fn dropped(&mut self, at: Position) {
        self.incoming.take_if(|incoming| incoming.at == at);
    }

    /// The state that is whole, if one is and `raft` still needs it: from now on nothing else may happen to the partition until it is
    /// installed.
    pub fn begin_install(&mut self, raft: &Raft) -> Option<StateMark> {
        let is_whole =
            |incoming: &mut Incoming| matches!(incoming.stage, Stage::Whole(_)) && raft.hard_state_is_durable();
        let mut incoming = self.incoming.take_if(is_whole)?;
        let Stage::Whole(finished) = incoming.stage else {
            return None;
        };
        if !raft.needs_snapshot(incoming.at) {
            self.steps.push(Step::Abandon);
            return None;
        }
        let mark = StateMark {
            applied: incoming.at,
            log_time: finished.end.log_time,
            hlc: finished.end.hlc,
            membership: finished.end.membership.clone(),
        };
        incoming.stage = Stage::Installing(finished);
        self.incoming = Some(incoming);
        Some(mark)
    }

    /// Whether a state is being installed.
    #[must_use]
    pub fn is_installing(&self) -> bool {
        let stage = self.incoming.as_ref().map(|incoming| &incoming.stage);
        matches!(stage, Some(Stage::Installing(_)))
    }

    /// The state that is installed durably.
    ///
    /// # Panics
    /// When none was to be installed.
    pub fn finish_install(&mut self) -> (Position, Finished) {
        match self.incoming.take() {
            Some(Incoming {
                at,
                stage: Stage::Installing(finished),
                ..
            }) => (at, finished),
            _ => panic!("a snapshot was installed that nobody asked for"),
        }
    }

    fn ask(&mut self) {
        let Some(incoming) = &mut self.incoming else { return };
        let Stage::Asking { asked } = &mut incoming.stage else {
            return;
        };
        if incoming.asked_this_tick < limits::SNAPSHOT_MESSAGES_PER_TICK_MAX {
            incoming.asked_this_tick += 1;
            *asked = true;
            let body = Body::SnapshotRequest {
                at: incoming.at,
                after: incoming.after.clone(),
            };
            self.send.push((incoming.from, body));
        }
    }
}

impl Snapshots {
    /// A tick has passed: asks again for what did not come, and closes what nobody asks for.
    pub fn tick(&mut self) {
        self.outgoing.idle_ticks = self.outgoing.idle_ticks.saturating_add(1);
        if self.outgoing.idle_ticks >= limits::SNAPSHOT_IDLE_TICKS_MAX {
            self.close();
        }
        let Some(incoming) = &mut self.incoming else { return };
        incoming.asked_this_tick = 0;
        incoming.silent_ticks = incoming.silent_ticks.saturating_add(1);
        let again = incoming.silent_ticks.is_multiple_of(limits::SNAPSHOT_ASK_AGAIN_TICKS);
        if matches!(incoming.stage, Stage::Asking { asked } if !asked || again) {
            self.ask();
        }
    }
}

impl Incoming {
    /// Whether whoever offered it does not send it any more.
    const fn is_stuck(&self) -> bool {
        matches!(self.stage, Stage::Asking { .. }) && self.silent_ticks >= limits::SNAPSHOT_PATIENCE_TICKS
    }
}

/// A message of this partition's shell.
#[must_use]
pub fn message(raft: &Raft, to: NodeId, body: Body) -> Message {
    Message {
        from: raft.id(),
        to,
        term: raft.term(),
        body,
    }
}
