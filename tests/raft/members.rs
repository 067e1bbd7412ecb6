//! The commands of the scripts that change members and carry snapshots.

use kapu::raft::{Change, FollowerStatus};
use kapu::types::NodeId;

use crate::replica::address;
use crate::script::{Answer, Args, Script, node};
use crate::trace;

impl Script {
    /// `member NODE add|promote|remove|update ID [priority=N]`: the leader changes the members.
    pub fn member(&mut self, args: &mut Args<'_>) -> Answer {
        let leader = node(args)?;
        let word = args.next_pos().ok_or("what is to change?")?.value.clone();
        let node = node(args)?;
        let (address, priority) = (address(node), args.lookup_parse("priority")?.unwrap_or(1));
        let change = match word.as_str() {
            "add" => Change::AddLearner {
                node,
                address,
                priority,
            },
            "promote" => Change::Promote { node },
            "remove" => Change::Remove { node },
            "update" => Change::Update {
                node,
                address,
                priority,
            },
            _ => return Err("add, promote, remove or update".into()),
        };
        let index = self.cluster.change(leader, &change).ok_or("it is down")??;
        if index.is_none() {
            self.cluster.trace.note(|| "nothing to change".to_owned());
        }
        self.cluster.flush(leader);
        Ok(())
    }

    /// `members NODE`: who belongs here, as a node knows it, and what it knows of its followers.
    pub fn members(&mut self, args: &mut Args<'_>) -> Answer {
        let id = node(args)?;
        let raft = self.cluster.raft(id).ok_or("it is down")?;
        let described = |status: FollowerStatus| {
            let live = if status.is_live { "live" } else { "silent" };
            format!(", {} has {} and is {live}", status.node, status.matched)
        };
        let followers: String = raft.follower_statuses().into_iter().map(described).collect();
        let line = format!("{id} knows {}{followers}", trace::members(raft.membership()));
        self.cluster.trace.note(|| line);
        Ok(())
    }

    /// `snapshot NODE [which=N] [crash=true]`: a snapshot that the node was offered arrives, the oldest unless another is named. With
    /// `crash`, power fails when the state is durable and the log is not replaced yet.
    pub fn snapshot(&mut self, args: &mut Args<'_>) -> Answer {
        let id: NodeId = node(args)?;
        let which = args.lookup_parse("which")?.unwrap_or(0);
        let crashes = args.lookup_parse("crash")?.unwrap_or(false);
        if which >= self.cluster.replica(id).incoming.len() {
            return Err("no such snapshot is under way".into());
        }
        self.cluster.install(id, which, crashes);
        self.cluster.flush(id);
        Ok(())
    }
}
