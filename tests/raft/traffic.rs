//! The commands of the scripts that move messages and mend links.

use kapu::raft::Message;
use kapu::types::NodeId;

use crate::script::{Answer, Args, Script, node, number};
use crate::trace;

/// More rounds of delivery than this are a loop.
const ROUNDS_MAX: usize = 1_000;

impl Script {
    pub fn messages(&mut self, name: &str, args: &mut Args<'_>) -> Answer {
        let (from, to) = (
            args.lookup_parse("from")?.map(NodeId),
            args.lookup_parse("to")?.map(NodeId),
        );
        let kind = args.lookup("kind").map(|argument| argument.value.clone());
        let count: Option<usize> = args.lookup_parse("count")?;
        let fits = |message: &Message| {
            from.is_none_or(|from| message.from == from)
                && to.is_none_or(|to| message.to == to)
                && kind.as_ref().is_none_or(|kind| trace::kind(&message.body) == kind)
        };
        let mut chosen = self.cluster.network.take_all(fits);
        if chosen.is_empty() {
            return Err("no such message is under way".into());
        }
        let rest = chosen.split_off(count.unwrap_or(chosen.len()).min(chosen.len()));
        match name {
            "deliver" => chosen.into_iter().for_each(|message| self.deliver(message)),
            "drop" => chosen.iter().for_each(|message| self.cluster.lose(message)),
            "duplicate" => self
                .cluster
                .network
                .put_back(chosen.iter().chain(&chosen).cloned().collect::<Vec<_>>()),
            _ => self.cluster.network.put_back(chosen.into_iter().rev()),
        }
        self.cluster.network.put_back(rest);
        Ok(())
    }

    pub fn deliver(&mut self, message: Message) {
        let to = message.to;
        self.cluster.deliver(message);
        self.cluster.flush(to);
    }

    /// `cut from=NODE to=NODE`: one way. `cut NODE NODE`: both ways. `isolate NODE`. `heal`.
    pub fn links(&mut self, name: &str, args: &mut Args<'_>) -> Answer {
        if name == "heal" {
            self.cluster.network.heal();
        } else if name == "isolate" {
            let id = node(args)?;
            for other in self.cluster.ids() {
                self.cluster.network.cut(id, other);
                self.cluster.network.cut(other, id);
            }
        } else if let Some(from) = args.lookup_parse("from")? {
            let to = args.lookup_parse("to")?.ok_or("to= is wanted")?;
            self.cluster.network.cut(NodeId(from), NodeId(to));
        } else {
            let (a, b) = (node(args)?, node(args)?);
            self.cluster.network.cut(a, b);
            self.cluster.network.cut(b, a);
        }
        Ok(())
    }

    /// Delivers what is under way, and what comes of it, until nothing is.
    pub fn stabilize(&mut self) -> Answer {
        for _ in 0..ROUNDS_MAX {
            let round = self.cluster.network.take_all(|_| true);
            if round.is_empty() {
                return Ok(());
            }
            round.into_iter().for_each(|message| self.deliver(message));
        }
        Err("the cluster never comes to rest".into())
    }

    /// `run N`: N ticks of all nodes, everything delivered after each.
    pub fn run_ticks(&mut self, args: &mut Args<'_>) -> Answer {
        for _ in 0..number(args)?.ok_or("how many ticks?")? {
            for id in self.cluster.ids() {
                self.cluster.tick(id);
                self.cluster.flush(id);
            }
            self.stabilize()?;
        }
        Ok(())
    }
}
