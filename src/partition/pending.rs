//! Callers that wait: for their entry to be applied, or for their read to be confirmed.

use std::collections::{BTreeMap, VecDeque};

use bytes::Bytes;

use crate::mutants::{self, Mutant};
use crate::partition::event::{Refusal, Reply};
use crate::raft::ReadState;
use crate::types::Index;

/// The callers of one entry, in the order of its commands.
pub type Callers = Vec<Reply>;

/// A question, or none for somebody who only wants it confirmed that this replica leads; and who asked it.
pub type Question = (Option<Bytes>, Reply);

/// Everyone who waits.
///
/// - Callers are kept by the index of their entry, in order; an index is never used twice while someone waits on it.
#[derive(Default)]
pub struct Pending {
    entries: VecDeque<(Index, Callers)>,
    reads: BTreeMap<u64, Vec<Question>>,
    confirmed: VecDeque<(Index, Vec<Question>)>,
    last_context: u64,
}

impl Pending {
    /// The entry at `index` was proposed for `callers`.
    pub fn add_entry(&mut self, index: Index, callers: Callers) {
        assert!(
            self.entries.back().is_none_or(|(last, _)| *last < index),
            "entries are proposed in order"
        );
        self.entries.push_back((index, callers));
    }

    /// The callers of the entry at `index`, which is being applied.
    pub fn take_entry(&mut self, index: Index) -> Callers {
        let taken = self
            .entries
            .pop_front_if(|(first, _)| *first == index)
            .map(|(_, callers)| callers);
        assert!(
            self.entries.front().is_none_or(|(first, _)| *first > index),
            "no caller is passed over"
        );
        taken.unwrap_or_default()
    }

    /// These questions wait for a majority; the result names them.
    pub fn add_read(&mut self, questions: Vec<Question>) -> u64 {
        self.last_context += 1;
        self.reads.insert(self.last_context, questions);
        self.last_context
    }

    /// A majority confirmed a read: it waits until its index is applied.
    pub fn confirm(&mut self, read: ReadState) {
        if let Some(questions) = self.reads.remove(&read.context) {
            self.confirmed.push_back((read.index, questions));
        }
    }

    /// The questions that may be answered from a state that has applied `applied`.
    pub fn take_answerable(&mut self, applied: Index) -> Vec<Question> {
        let mut answerable = Vec::new();
        while let Some((_, mut questions)) = self.confirmed.pop_front_if(|(index, _)| *index <= applied) {
            answerable.append(&mut questions);
        }
        answerable
    }

    /// The read named `context` will never be confirmed.
    pub fn fail_read(&mut self, context: u64, refusal: Refusal) {
        for (_, reply) in self.reads.remove(&context).unwrap_or_default() {
            reply.send(Err(refusal));
        }
    }

    /// Leadership is lost: whoever waits for an entry cannot know whether it will be committed.
    pub fn lose_leadership(&mut self) {
        for reply in self.entries.drain(..).flat_map(|(_, callers)| callers) {
            if mutants::on(Mutant::LostLeadershipIsDefinite) {
                reply.send(Err(Refusal::NotLeader(None)));
                continue;
            }
            reply.send(Err(Refusal::Unknown(
                "leadership was lost before the entry was committed",
            )));
        }
    }
}
