//! What a leader knows of one follower, and how much it may send.
//!
//! The shape is etcd-io/raft's: a follower is *probed* with one append at a time until its log is found to meet the leader's, then
//! entries are *replicated* in a pipeline of bounded messages and bytes. No message is built here.

use std::collections::VecDeque;

use crate::limits;
use crate::types::Index;

/// How a follower is fed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// One append at a time, until one is accepted.
    Probe {
        /// One is out; the next goes out after an answer, or after a heartbeat is answered.
        waiting: bool,
    },
    /// A pipeline of appends.
    Replicate,
}

/// One follower.
///
/// - `matched < next`; everything up to `matched` is the leader's log, and durable at the follower.
/// - In `Replicate`, everything from `matched + 1` to `next - 1` is in flight.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Progress {
    matched: Index,
    next: Index,
    mode: Mode,
    in_flight: VecDeque<(Index, usize)>,
    bytes_in_flight: usize,
    /// The latest read round that the follower answered.
    pub round: u64,
    /// Whether it was heard since quorum was last checked.
    pub active: bool,
    /// Ticks since it was heard, or since this leader began to listen.
    pub silent_ticks: u32,
    stalled: bool,
}

impl Progress {
    /// A follower of whom nothing is known, to be probed from `next`.
    #[must_use]
    pub fn new(next: Index) -> Self {
        Self {
            matched: Index(0),
            next,
            mode: Mode::Probe { waiting: false },
            in_flight: VecDeque::new(),
            bytes_in_flight: 0,
            round: 0,
            active: false,
            silent_ticks: 0,
            stalled: false,
        }
    }

    /// A tick passes.
    pub const fn tick(&mut self) {
        self.silent_ticks = self.silent_ticks.saturating_add(1);
    }

    /// The last entry known to be durable there.
    #[must_use]
    pub const fn matched(&self) -> Index {
        self.matched
    }

    /// The next entry to send.
    #[must_use]
    pub const fn next(&self) -> Index {
        self.next
    }

    /// How it is fed.
    #[must_use]
    pub const fn mode(&self) -> Mode {
        self.mode
    }

    /// Whether an append may go out now, to a log that ends at `last`. A probe goes out even when it carries nothing.
    #[must_use]
    pub fn may_send(&self, last: Index) -> bool {
        match self.mode {
            Mode::Probe { waiting } => !waiting,
            Mode::Replicate => self.next <= last && self.has_room(),
        }
    }

    fn has_room(&self) -> bool {
        self.in_flight.len() < limits::APPENDS_IN_FLIGHT_MAX
            && self.bytes_in_flight < limits::APPEND_BYTES_IN_FLIGHT_MAX
    }

    /// An append went out whose last entry is `last`, with `bytes` of payload.
    pub fn sent(&mut self, last: Index, bytes: usize) {
        match &mut self.mode {
            Mode::Probe { waiting } => *waiting = true,
            Mode::Replicate if last >= self.next => {
                self.in_flight.push_back((last, bytes));
                self.bytes_in_flight += bytes;
                self.next = last.next();
            }
            Mode::Replicate => {}
        }
    }

    /// The follower has everything up to `matched`. Says whether that is news.
    pub fn accepted(&mut self, matched: Index) -> bool {
        let news = matched > self.matched;
        self.matched = self.matched.max(matched);
        self.next = self.next.max(self.matched.next());
        while let Some((_, bytes)) = self.in_flight.pop_front_if(|(last, _)| *last <= matched) {
            self.bytes_in_flight -= bytes;
        }
        self.stalled &= !news;
        if let Mode::Probe { .. } = self.mode {
            self.mode = Mode::Replicate;
            self.next = self.matched.next();
        }
        news
    }

    /// The follower lacks the entry at `prev`; the logs may meet at `meeting`. A stale rejection changes nothing.
    pub fn rejected(&mut self, prev: Index, meeting: Index) {
        let probed = match self.mode {
            Mode::Probe { .. } => prev == self.next.prev(),
            Mode::Replicate => true,
        };
        // One that lacks what it acknowledged is not probed again at once, or the two would never stop.
        if !probed || prev <= self.matched {
            return;
        }
        self.next = meeting.min(prev.prev()).max(self.matched).next();
        self.mode = Mode::Probe { waiting: false };
        self.in_flight.clear();
        self.bytes_in_flight = 0;
    }

    /// What the follower lacks is compacted: it is left alone until it answers a heartbeat.
    pub fn lacks_compacted(&mut self) {
        self.next = self.matched.next();
        self.mode = Mode::Probe { waiting: true };
        self.in_flight.clear();
        self.bytes_in_flight = 0;
    }

    /// The follower answered a heartbeat. Says whether appends to it may have been lost, so that an empty one should find out.
    pub fn answered_heartbeat(&mut self) -> bool {
        match &mut self.mode {
            Mode::Probe { waiting } => {
                *waiting = false;
                false
            }
            Mode::Replicate => {
                let in_flight = !self.in_flight.is_empty();
                std::mem::replace(&mut self.stalled, in_flight) && in_flight
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn replicating(matched: u64) -> Progress {
        let mut progress = Progress::new(Index(matched + 1));
        progress.accepted(Index(matched));
        progress
    }

    #[test]
    fn one_probe_is_out_at_a_time() {
        let mut progress = Progress::new(Index(5));
        assert!(progress.may_send(Index(4)));
        progress.sent(Index(4), 0);
        assert!(!progress.may_send(Index(9)));
        progress.answered_heartbeat();
        assert!(progress.may_send(Index(9)));
    }

    #[test]
    fn pipeline_stops_at_the_limit_of_messages() {
        let mut progress = replicating(0);
        for index in 1..=limits::APPENDS_IN_FLIGHT_MAX as u64 {
            assert!(progress.may_send(Index(1_000_000)));
            progress.sent(Index(index), 1);
        }
        assert!(!progress.may_send(Index(1_000_000)));
        progress.accepted(Index(1));
        assert!(progress.may_send(Index(1_000_000)));
    }

    #[test]
    fn pipeline_stops_at_the_limit_of_bytes() {
        let mut progress = replicating(0);
        progress.sent(Index(1), limits::APPEND_BYTES_IN_FLIGHT_MAX);
        assert!(!progress.may_send(Index(2)));
        progress.accepted(Index(1));
        assert!(progress.may_send(Index(2)));
    }

    #[test]
    fn next_never_falls_to_matched_after_a_rejection() {
        let mut progress = replicating(7);
        progress.sent(Index(9), 2);
        progress.rejected(Index(9), Index(2));
        assert_eq!((progress.matched(), progress.next()), (Index(7), Index(8)));
    }

    #[test]
    fn stale_rejection_changes_nothing() {
        let mut progress = replicating(7);
        let before = progress.clone();
        progress.rejected(Index(6), Index(0));
        assert_eq!(progress, before);
    }

    #[test]
    fn late_answer_never_lowers_matched() {
        let mut progress = replicating(7);
        assert!(!progress.accepted(Index(3)));
        assert_eq!(progress.matched(), Index(7));
    }

    #[test]
    fn lost_appends_are_suspected_after_two_heartbeats_without_news() {
        let mut progress = replicating(0);
        progress.sent(Index(1), 1);
        assert!(!progress.answered_heartbeat());
        assert!(progress.answered_heartbeat());
        progress.accepted(Index(1));
        assert!(!progress.answered_heartbeat());
    }
}
