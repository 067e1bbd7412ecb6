//! The language of the golden scripts: one command an event, and the trace as the answer.
//!
//! Nodes are named by number. Messages under way are chosen by `from=`, `to=`, `kind=` and `count=`; without any, all of them are meant.
//! Every command ends with the [checks](crate::checks) of all replicas, so that a script can fail without saying what it expects.

use std::error::Error;

use bytes::Bytes;
use goldenscript::{ArgumentConsumer, Command, Runner};
use kapu::raft::{Body, Entry, HardState, Message, Role};
use kapu::types::{Index, NodeId, Term};

use crate::cluster::Cluster;
use crate::disk::Disk;
use crate::replica::Shape;

/// A cluster, and who reads its script.
pub struct Script {
    pub cluster: Cluster,
}

impl Default for Script {
    fn default() -> Self {
        let shape = Shape {
            nodes: 3,
            heartbeat_ticks: 3,
            election_ticks: 10,
            seed: 1,
        };
        Self {
            cluster: recorded(shape),
        }
    }
}

pub type Answer<T = ()> = Result<T, Box<dyn Error>>;
pub type Args<'a> = ArgumentConsumer<'a>;

fn recorded(shape: Shape) -> Cluster {
    let mut cluster = Cluster::new(shape);
    cluster.ids().into_iter().for_each(|id| cluster.flush(id));
    cluster.trace.recording = true;
    cluster
}

impl Runner for Script {
    fn run(&mut self, command: &Command) -> Answer<String> {
        let mut args = command.consume_args();
        self.dispatch(&command.name, &mut args)?;
        args.reject_rest()?;
        Ok(self.cluster.trace.take())
    }
}

impl Script {
    fn dispatch(&mut self, name: &str, args: &mut Args<'_>) -> Answer {
        match name {
            "cluster" => self.shape(args),
            "boot" => self.boot(args),
            "tick" => self.tick(args),
            "campaign" => self.campaign(args),
            "silence" => self.silence(args),
            "elect" => self.elect(args),
            "deliver" | "drop" | "duplicate" | "reverse" => self.messages(name, args),
            "cut" | "isolate" | "heal" => self.links(name, args),
            "disk" | "persist" => self.disk(name, args),
            "crash" | "restart" | "compact" => self.node(name, args),
            "propose" => self.propose(args),
            "read" => self.read(args),
            "transfer" => self.transfer(args),
            "inject" => self.inject(args),
            "member" => self.member(args),
            "members" => self.members(args),
            "snapshot" => self.snapshot(args),
            "stabilize" => self.stabilize(),
            "run" => self.run_ticks(args),
            "queue" => self.queue(),
            "status" => self.status(),
            "log" => self.log(args),
            _ => Err(format!("no command {name}").into()),
        }
    }

    /// `cluster [nodes=3] [election=10] [heartbeat=3] [seed=1]`: a new cluster.
    fn shape(&mut self, args: &mut Args<'_>) -> Answer {
        let shape = Shape {
            nodes: args.lookup_parse("nodes")?.unwrap_or(3),
            heartbeat_ticks: args.lookup_parse("heartbeat")?.unwrap_or(3),
            election_ticks: args.lookup_parse("election")?.unwrap_or(10),
            seed: args.lookup_parse("seed")?.unwrap_or(1),
        };
        self.cluster = recorded(shape);
        Ok(())
    }

    /// `boot NODE term=T [vote=NODE] [log="1 1 2"]`: starts a founder on a disk with entries of these terms. `boot NODE`: starts one that
    /// waits to be added.
    fn boot(&mut self, args: &mut Args<'_>) -> Answer {
        let id = node(args)?;
        let Some(term) = args.lookup_parse("term")? else {
            self.cluster.boot_waiting(id);
            self.cluster.flush(id);
            return Ok(());
        };
        let hard_state = HardState {
            term: Term(term),
            vote: args.lookup_parse("vote")?.map(NodeId),
        };
        let terms = args.lookup("log").map_or("", |argument| &argument.value);
        let entries = (1..).zip(terms.split_whitespace()).map(|(index, term)| {
            Ok(Entry {
                index: Index(index),
                term: Term(term.parse()?),
                payload: Bytes::from(format!("e{index}t{term}")),
            })
        });
        let founders = self.cluster.shape.founders();
        let disk = Disk::with(founders, hard_state, entries.collect::<Answer<_>>()?);
        self.cluster.boot(id, disk);
        Ok(())
    }

    /// `tick NODE [N]`
    fn tick(&mut self, args: &mut Args<'_>) -> Answer {
        let id = node(args)?;
        for _ in 0..number(args)?.unwrap_or(1) {
            self.cluster.tick(id);
            self.cluster.flush(id);
        }
        Ok(())
    }

    /// `campaign NODE`: ticks a node until it asks for pre-votes.
    fn campaign(&mut self, args: &mut Args<'_>) -> Answer {
        let id = node(args)?;
        let ticks = self.let_campaign(id)?;
        self.cluster.trace.note(|| format!("{id} waited {ticks} ticks"));
        Ok(())
    }

    /// Returns how many ticks it took.
    fn let_campaign(&mut self, id: NodeId) -> Answer<u32> {
        for ticks in 1..=4 * self.cluster.shape.election_ticks {
            let asked_before = self.cluster.raft(id).map(|raft| (raft.role(), raft.term()));
            self.cluster.tick(id);
            let asks = self.cluster.raft(id).map(|raft| (raft.role(), raft.term()));
            self.cluster.flush(id);
            if asked_before != asks || self.cluster.role(id) == Some(Role::Leader) {
                return Ok(ticks);
            }
        }
        Err(format!("node {id} does not campaign").into())
    }

    /// `silence NODE`: a node hears nobody for so long that it forgets the leader, or that it leads. What it sends meanwhile is lost.
    fn silence(&mut self, args: &mut Args<'_>) -> Answer {
        let id = node(args)?;
        self.make_silence(id);
        Ok(())
    }

    fn make_silence(&mut self, id: NodeId) {
        let under_way = self.cluster.network.len();
        let patience = self.cluster.shape.election_ticks;
        for tick in 0..2 * patience {
            // A leader notices in its second election time at the latest.
            if tick < patience || self.cluster.role(id) == Some(Role::Leader) {
                self.cluster.tick(id);
                self.cluster.flush(id);
            }
        }
        while let Some(message) = self.cluster.network.take(under_way) {
            self.cluster.lose(&message);
        }
    }

    /// `elect NODE`: nobody hears a leader any more, the node campaigns, everything is delivered, and it leads.
    fn elect(&mut self, args: &mut Args<'_>) -> Answer {
        let id = node(args)?;
        for other in self.cluster.ids().into_iter().filter(|other| *other != id) {
            self.make_silence(other);
        }
        self.let_campaign(id)?;
        self.stabilize()?;
        match self.cluster.role(id) {
            Some(Role::Leader) => Ok(()),
            role => Err(format!("node {id} is {role:?}").into()),
        }
    }

    /// `disk NODE hold`: writes stay under way. `disk NODE release`. `persist NODE [N]`: the oldest N writes complete.
    fn disk(&mut self, name: &str, args: &mut Args<'_>) -> Answer {
        let id = node(args)?;
        if name == "persist" {
            let count = number(args)?.unwrap_or(1);
            self.cluster.complete_writes(id, count);
        } else {
            match args.next_pos().map(|argument| argument.value.as_str()) {
                Some("hold") => self.cluster.replica_mut(id).disk.held = true,
                Some("release") => {
                    self.cluster.replica_mut(id).disk.held = false;
                    self.cluster.complete_writes(id, usize::MAX);
                }
                _ => return Err("hold or release".into()),
            }
        }
        self.cluster.flush(id);
        Ok(())
    }

    /// `crash NODE [reached=N]`: N writes under way reach the disk. `restart NODE`. `compact NODE [N]`: up to entry N, whoever may
    /// still want it.
    fn node(&mut self, name: &str, args: &mut Args<'_>) -> Answer {
        let id = node(args)?;
        match name {
            "crash" => {
                let reached = args.lookup_parse("reached")?.unwrap_or(0);
                self.cluster.crash(id, reached, Index(0));
            }
            "restart" => self.cluster.restart(id),
            _ => {
                let through = number(args)?.map(|index| Index(index as u64));
                self.cluster.compact(id, through);
            }
        }
        Ok(())
    }

    /// `propose NODE PAYLOAD.. [bytes=N]`: one entry each, padded to N bytes.
    fn propose(&mut self, args: &mut Args<'_>) -> Answer {
        let id = node(args)?;
        let bytes: usize = args.lookup_parse("bytes")?.unwrap_or(0);
        let padded = |name: &str| {
            let mut payload = name.as_bytes().to_vec();
            payload.resize(bytes.max(payload.len()), b'.');
            Bytes::from(payload)
        };
        let payloads = args.rest_pos().iter().map(|argument| padded(&argument.value)).collect();
        self.cluster.propose(id, payloads).ok_or("it is down")??;
        self.cluster.flush(id);
        Ok(())
    }

    /// `read NODE CONTEXT`
    fn read(&mut self, args: &mut Args<'_>) -> Answer {
        let (id, context) = (node(args)?, number(args)?.ok_or("a read has a number")?);
        self.cluster.read(id, context as u64).ok_or("it is down")??;
        self.cluster.flush(id);
        Ok(())
    }

    /// `transfer NODE [ID]`: the leader hands over.
    fn transfer(&mut self, args: &mut Args<'_>) -> Answer {
        let id = node(args)?;
        let wanted = number(args)?.map(|to| NodeId(to as u64));
        let hand_over = |raft: &mut kapu::raft::Raft| match wanted {
            Some(to) => raft.transfer_leader_to(to).then_some(to),
            None => raft.transfer_leader(),
        };
        let to = self.cluster.event(id, hand_over).flatten();
        let to = to.ok_or("nobody to hand over to")?;
        self.cluster.trace.note(|| format!("{id} hands over to {to}"));
        self.cluster.flush(id);
        Ok(())
    }

    /// `inject from=N to=N term=T kind=pre-vote-response|vote-response|timeout-now`: a yes, or a call to campaign, that nobody sent.
    fn inject(&mut self, args: &mut Args<'_>) -> Answer {
        let kind = args.lookup("kind").map_or("", |argument| argument.value.as_str());
        let body = match kind {
            "pre-vote-response" => Body::PreVoteResponse { granted: true },
            "vote-response" => Body::VoteResponse { granted: true },
            "timeout-now" => Body::TimeoutNow { stays: false },
            _ => return Err("no such kind".into()),
        };
        let mut number = |name: &str| {
            args.lookup_parse::<u64>(name)
                .and_then(|value| Ok(value.ok_or("a number is wanted")?))
        };
        let (from, to, term) = (NodeId(number("from")?), NodeId(number("to")?), Term(number("term")?));
        self.deliver(Message { from, to, term, body });
        Ok(())
    }
}

pub fn node(args: &mut Args<'_>) -> Answer<NodeId> {
    let argument = args.next_pos().ok_or("which node?")?;
    Ok(NodeId(argument.parse()?))
}

pub fn number(args: &mut Args<'_>) -> Answer<Option<usize>> {
    args.next_pos().map(goldenscript::Argument::parse).transpose()
}
