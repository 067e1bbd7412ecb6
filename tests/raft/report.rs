//! The commands of the scripts that only look.

use std::collections::BTreeMap;

use kapu::raft::Message;

use crate::script::{Answer, Args, Script, node};
use crate::trace;

impl Script {
    /// What is under way, counted by link and kind.
    pub fn queue(&mut self) -> Answer {
        let mut sums: BTreeMap<_, (usize, usize)> = BTreeMap::new();
        for Message { from, to, body, .. } in self.cluster.network.under_way() {
            let (messages, bytes) = sums.entry((from, to, trace::kind(body))).or_default();
            *messages += 1;
            *bytes += trace::bytes(body);
        }
        let lines = sums
            .into_iter()
            .map(|((from, to, kind), (messages, bytes))| format!("{from}>{to} {messages} {kind} {bytes} bytes"));
        for line in lines.collect::<Vec<_>>() {
            self.cluster.trace.note(|| line);
        }
        Ok(())
    }

    pub fn status(&mut self) -> Answer {
        for id in self.cluster.ids() {
            let line = match self.cluster.raft(id) {
                None => format!("{id} down"),
                Some(raft) => {
                    let (log, role) = (raft.log(), raft.role().as_str());
                    let leader = raft
                        .leader()
                        .map_or_else(|| "none".to_owned(), |leader| leader.to_string());
                    let last = trace::position(log.last());
                    let (durable, commit, applied) = (log.durable(), log.commit(), log.applied());
                    let term = raft.term();
                    format!(
                        "{id} {role} t{term} leader={leader} last={last} durable={durable} commit={commit} applied={applied}"
                    )
                }
            };
            self.cluster.trace.note(|| line);
        }
        Ok(())
    }

    /// `log NODE`: its entries, as far as they are durable.
    pub fn log(&mut self, args: &mut Args<'_>) -> Answer {
        let id = node(args)?;
        let entries: Vec<String> = self
            .cluster
            .replica(id)
            .disk
            .entries()
            .iter()
            .map(trace::entry)
            .collect();
        self.cluster.trace.note(|| format!("{id} has {}", entries.join(", ")));
        Ok(())
    }
}
