//! What callers want of a leader: commands become entries, questions become reads, and time goes on while nobody asks.

use std::collections::VecDeque;

use bytes::Bytes;

use super::Core;
use crate::error::Overloaded;
use crate::limits;
use crate::mutants::{self, Mutant};
use crate::partition::event::{Refusal, Reply};
use crate::partition::log_clock::Now;
use crate::raft::ProposeError;
use crate::types::LogTime;
use crate::wire::batch;

/// A leader proposes nothing more while so many of its writes are under way.
const WRITES_UNDER_WAY_MAX: usize = 1;

impl Core {
    pub(super) fn not_leader(&self) -> Refusal {
        Refusal::NotLeader(self.other_leader())
    }

    /// Proposes what was asked for, as few entries as their limits allow, stamped with log time.
    ///
    /// While enough of this replica's writes are under way, a leader lets commands gather: an entry more would wait for the same sync, and many
    /// small entries cost more than a large one.
    pub(super) fn propose_commands(&mut self, now: Now) {
        if self.clock.is_some() && self.raft.log().writes_under_way() >= WRITES_UNDER_WAY_MAX {
            return;
        }
        while !self.commands.is_empty() {
            let (commands, callers) = take_batch(&mut self.commands);
            self.propose(now, &commands, callers);
        }
    }

    fn propose(&mut self, now: Now, commands: &[Bytes], callers: Vec<Reply>) {
        let Some(clock) = &mut self.clock else {
            let refusal = self.not_leader();
            return callers.into_iter().for_each(|reply| reply.send(Err(refusal)));
        };
        let stamped = clock.stamp(now.monotonic);
        let payload = batch::encode_batch(stamped, clock.stamp_hybrid(now.hybrid), commands);
        match self.raft.propose(vec![payload]) {
            Ok(_) if mutants::on(Mutant::ReplyAtPropose) => self.answer_early(stamped, commands, callers),
            Ok(index) => self.pending.add_entry(index, callers),
            Err(error) => {
                let refusal = self.refusal(error);
                callers.into_iter().for_each(|reply| reply.send(Err(refusal)));
            }
        }
    }

    /// What only a planted bug does.
    fn answer_early(&mut self, now: LogTime, commands: &[Bytes], callers: Vec<Reply>) {
        self.log_time = self.log_time.max(now);
        for (command, reply) in commands.iter().zip(callers) {
            reply.send(Ok(self.machine.apply(self.log_time, command)));
        }
    }

    fn refusal(&self, error: ProposeError) -> Refusal {
        match error {
            ProposeError::NotLeader | ProposeError::HandingOver => self.not_leader(),
            ProposeError::Overloaded => Refusal::Overloaded(Overloaded {
                what: "the uncommitted bytes of the partition",
                limit: limits::UNCOMMITTED_BYTES_MAX,
            }),
        }
    }

    /// Proposes an empty batch when something ends and nothing else that is under way will bring time forward. Says whether it did.
    pub(super) fn bring_time_forward(&mut self, now: Now) -> bool {
        let (Some(clock), Some(deadline)) = (&mut self.clock, self.machine.next_deadline()) else {
            return false;
        };
        let idle = self.raft.log().last().index == self.applied.index;
        if !idle || clock.stamp(now.monotonic) < deadline {
            return false;
        }
        self.propose(now, &[], Vec::new());
        true
    }

    pub(super) fn begin_reads(&mut self) {
        if self.questions.is_empty() {
            return;
        }
        let questions = std::mem::take(&mut self.questions);
        let context = self.pending.add_read(questions);
        let early = !self.raft.may_serve() && !mutants::on(Mutant::ReadBeforeOpening);
        if early || self.raft.read_index(context).is_err() {
            self.pending.fail_read(context, self.not_leader());
        }
    }

    pub(super) fn answer_reads(&mut self, now: Now) {
        let questions = self.pending.take_answerable(self.applied.index);
        let log_time = self
            .clock
            .as_mut()
            .map_or(self.log_time, |clock| clock.stamp(now.monotonic));
        for (query, reply) in questions {
            let answer = query.map_or_else(Bytes::new, |query| self.machine.query(log_time, &query));
            reply.send(Ok(answer));
        }
    }
}

/// The first commands, as many as one entry may carry and at least one, and their callers.
fn take_batch(waiting: &mut VecDeque<(Bytes, Reply)>) -> (Vec<Bytes>, Vec<Reply>) {
    let mut bytes = 0;
    let mut fits = |(command, _): &mut (Bytes, Reply)| {
        let is_first = bytes == 0;
        bytes += command.len().max(1);
        is_first || bytes <= limits::ENTRY_COMMAND_BYTES_MAX
    };
    let batch = std::iter::from_fn(|| waiting.pop_front_if(&mut fits));
    batch.take(limits::ENTRY_COMMANDS_MAX).unzip()
}
