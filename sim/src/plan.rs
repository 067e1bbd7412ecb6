//! The faults of a run as data, drawn up front: they can be printed, stored, shrunk, and replayed after the code has changed.
//!
//! A plan says what happens to whom, when, and for how long; the nemesis does it. No plan goes beyond what the protocol must survive: the disks
//! of a majority lose what was not synced, never what was, and monotonic clocks drift within what clients allow for. Wall clocks may be
//! anything: they are for people, and a step of one must end no lease.

mod coup;
mod damage;
mod draw;
mod members;

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::options::Options;
pub use coup::{Coup, Fall};
pub use damage::{RollBack, damaged_max};
pub use members::Luck;

/// A whole run but for the code: what it is like, and what goes wrong.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Plan {
    /// What was drawn for it.
    pub options: Options,
    /// In the order of time.
    pub faults: Vec<Planned>,
}

/// One fault at one time.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Planned {
    /// True milliseconds since the start of the faulty phase.
    pub at_ms: u64,
    /// What happens.
    pub fault: Fault,
}

#[allow(missing_docs, reason = "the fields say what they are")]
/// What can go wrong. Nodes are counted from one. A fault with a duration ends by itself.
#[expect(
    missing_docs,
    reason = "`node` suffers, `from` and `to` are the ends of a link, and `for_ms` is how long it lasts"
)]
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Fault {
    /// The process dies; what was not synced may be lost, in any subset. It starts again after `down_ms`.
    Crash { node: u64, down_ms: u64 },
    /// As `Crash`, and again `again_ms` after it has begun to recover.
    CrashTwice { node: u64, down_ms: u64, again_ms: u64 },
    /// Everybody dies at once.
    CrashAll { down_ms: u64 },
    /// The process stands still.
    Pause { node: u64, for_ms: u64 },
    /// The machine sleeps: the process stands still, and so does its clock, but for the one that counts suspension.
    Suspend { node: u64, for_ms: u64 },
    /// The process ends cleanly and starts again.
    Restart { node: u64, down_ms: u64 },
    /// Each node in turn ends cleanly and starts again.
    RollingRestart { down_ms: u64, between_ms: u64 },
    /// Frames from `from` to `to` are lost.
    Cut { from: u64, to: u64, for_ms: u64 },
    /// Nobody reaches `node`, nor it anybody.
    Isolate { node: u64, for_ms: u64 },
    /// The nodes on one side reach nobody on the other.
    Split { side: Vec<u64>, for_ms: u64 },
    /// Each node reaches only its neighbours in a ring.
    Ring { for_ms: u64 },
    /// Two sides that meet only in `bridge`.
    Bridge { side: Vec<u64>, bridge: u64, for_ms: u64 },
    /// Frames from `from` to `to` come and go.
    Flap {
        from: u64,
        to: u64,
        period_ms: u64,
        for_ms: u64,
    },
    /// Frames from `from` to `to` take longer.
    Delay {
        from: u64,
        to: u64,
        by_ms: u64,
        for_ms: u64,
    },
    /// Everywhere: a share of frames (per mille) is lost, doubled, or overtaken.
    Weather {
        loss: u32,
        duplicate: u32,
        reorder: u32,
        for_ms: u64,
    },
    /// Every sync takes longer.
    SlowDisk { node: u64, by_ms: u64, for_ms: u64 },
    /// Syncs do not return.
    StallDisk { node: u64, for_ms: u64 },
    /// The next sync fails; the node must stop, and its machine is started again after `down_ms`.
    SyncError { node: u64, down_ms: u64 },
    /// Writes fail for want of space until the time has passed; the node is started again then.
    DiskFull { node: u64, for_ms: u64 },
    /// The monotonic clock runs at another rate, within what is allowed.
    Drift { node: u64, ppm: i64 },
    /// The node hears nothing from its peers, and they hear it; clients reach it, and it them.
    Deaf { node: u64, for_ms: u64 },
    /// Every other client reaches the node late.
    LateRequests { node: u64, by_ms: u64, for_ms: u64 },
    /// Every other client hears late from the node.
    LateReplies { node: u64, by_ms: u64, for_ms: u64 },
    /// The leader of a partition is cut off, and overthrown.
    Coup(Coup),
    /// Syncs write and do not return: what is durable is not known to be.
    StallSync { node: u64, for_ms: u64 },
    /// The node stops or dies, and while it is off some bits change of what was durable. Which ones, and how it ends, follows from `luck`.
    Rot { node: u64, down_ms: u64, luck: u64 },
    /// The node comes back on an empty disk. In a `blackout` the power of all others goes with it.
    Wipe { node: u64, down_ms: u64, blackout: bool },
    /// The node comes back on an older copy of its disk.
    RollBack(RollBack),
    /// The node comes back on a copy of the disk of `with`. The true one returns after `for_ms`.
    Swap { node: u64, with: u64, for_ms: u64 },
    /// The wall clock jumps, and stays there.
    WallStep { node: u64, by_ms: i64 },
    /// A new node joins, on the next spare machine. In an `ambush` it is cut off when it is about to get its vote, and whoever gave it is lost for good
    /// before it knows.
    Join { ambush: bool },
    /// A member is removed for good.
    Leave(Luck),
    /// A member's machine is lost for good; a new node joins, and the lost one is removed.
    Replace(Luck),
    /// A member moves to another address.
    Move(Luck),
    /// The power of all goes, and all come back at other addresses, which only their settings say.
    MoveAll { down_ms: u64 },
    /// The leader of a partition is told to hand over.
    Transfer { partition: u32 },
}

macro_rules! kinds {
    ($($kind:ident $name:literal),+ $(,)?) => {
        /// A kind of fault. In text it has the name that it has in a plan.
        #[expect(missing_docs, reason = "each is described at the fault of the same name")]
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
        #[serde(rename_all = "snake_case")]
        pub enum Kind { $($kind),+ }

        impl Kind {
            /// Every kind.
            pub const ALL: [Self; [$($name),+].len()] = [$(Self::$kind),+];

            /// Its name.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $(Self::$kind => $name),+ }
            }
        }

        impl Fault {
            /// Which kind it is of.
            #[must_use]
            pub const fn kind(&self) -> Kind {
                match self { $(Self::$kind { .. } => Kind::$kind),+ }
            }
        }
    };
}

kinds! {
    Crash "crash", CrashTwice "crash_twice", CrashAll "crash_all", Pause "pause", Suspend "suspend", Restart "restart",
    RollingRestart "rolling_restart", Cut "cut", Isolate "isolate", Split "split", Ring "ring", Bridge "bridge", Flap "flap",
    Delay "delay", Weather "weather", SlowDisk "slow_disk", StallDisk "stall_disk", SyncError "sync_error",
    DiskFull "disk_full", Drift "drift", Deaf "deaf", LateRequests "late_requests", LateReplies "late_replies",
    Coup "coup", StallSync "stall_sync", Rot "rot", Wipe "wipe", RollBack "roll_back", Swap "swap", WallStep "wall_step",
    Join "join", Leave "leave", Replace "replace", Move "move", MoveAll "move_all", Transfer "transfer",
}

impl Kind {
    /// Whether it makes sense only between nodes.
    #[must_use]
    pub const fn needs_peers(self) -> bool {
        matches!(
            self,
            Self::Cut
                | Self::Isolate
                | Self::Split
                | Self::Ring
                | Self::Bridge
                | Self::Flap
                | Self::Delay
                | Self::Deaf
                | Self::Coup
        ) || self.is_damage()
    }

    /// Whether it comes at a pace of its own, whatever else goes wrong.
    #[must_use]
    pub const fn has_own_pace(self) -> bool {
        matches!(self, Self::Coup) || self.is_of_members()
    }

    /// Whether it changes who belongs to the cluster or leads it, as its operator does.
    #[must_use]
    pub const fn is_of_members(self) -> bool {
        matches!(
            self,
            Self::Join | Self::Leave | Self::Replace | Self::Move | Self::MoveAll | Self::Transfer
        )
    }

    /// Whether it takes from a disk what was durable. In one run that befalls a minority of the disks at most, and each of them once.
    #[must_use]
    pub const fn is_damage(self) -> bool {
        matches!(self, Self::Rot | Self::Wipe | Self::RollBack | Self::Swap)
    }
}

impl Plan {
    /// The plan of a seed.
    #[must_use]
    pub fn draw(seed: u64) -> Self {
        let options = Options::draw(seed);
        let faults = draw::faults(&options);
        Self { options, faults }
    }

    /// Reads a plan.
    ///
    /// # Errors
    /// In words, when it is none, or names a node that does not exist.
    pub fn from_json(text: &str) -> Result<Self, String> {
        let plan: Self = serde_json::from_str(text).map_err(|error| error.to_string())?;
        let (nodes, partitions) = (plan.options.nodes, plan.options.partitions);
        if !(1..=9).contains(&nodes) || plan.options.spares > 9 || partitions == 0 {
            return Err(format!(
                "a cluster of {nodes} nodes, {} more and {partitions} partitions cannot be had",
                plan.options.spares
            ));
        }
        if let Some(planned) = plan.faults.iter().find(|planned| !planned.fault.is_of(&plan.options)) {
            return Err(format!("{:?} names what does not exist", planned.fault));
        }
        let damaged = plan.damaged();
        if damaged.len() as u64 > damaged_max(nodes) || damaged.iter().collect::<BTreeSet<_>>().len() < damaged.len() {
            return Err(format!(
                "the disks {damaged:?} of {nodes} are damaged; a minority may be, each once"
            ));
        }
        Ok(plan)
    }

    /// Whose disks it damages, in the order of time.
    fn damaged(&self) -> Vec<u64> {
        let damages = self.faults.iter().filter(|planned| planned.fault.kind().is_damage());
        damages.filter_map(|planned| planned.fault.nodes().next()).collect()
    }

    /// The plan as JSON.
    #[must_use]
    pub fn to_json(&self) -> String {
        serde_json::to_string_pretty(self).expect("a plan is plain data")
    }
}

impl Fault {
    /// Whether everything that it names exists.
    fn is_of(&self, options: &Options) -> bool {
        let partition_exists = match self {
            Self::Coup(Coup { partition, .. }) | Self::Transfer { partition } => *partition < options.partitions,
            _ => true,
        };
        partition_exists && self.nodes().all(|node| (1..=options.machines()).contains(&node))
    }

    /// Every node that it names.
    fn nodes(&self) -> impl Iterator<Item = u64> {
        let (some, side): (Vec<u64>, &[u64]) = match self {
            Self::Crash { node, .. }
            | Self::CrashTwice { node, .. }
            | Self::Pause { node, .. }
            | Self::Suspend { node, .. }
            | Self::Restart { node, .. }
            | Self::Isolate { node, .. }
            | Self::SlowDisk { node, .. }
            | Self::StallDisk { node, .. }
            | Self::SyncError { node, .. }
            | Self::DiskFull { node, .. }
            | Self::Drift { node, .. }
            | Self::Deaf { node, .. }
            | Self::LateRequests { node, .. }
            | Self::LateReplies { node, .. }
            | Self::StallSync { node, .. }
            | Self::Rot { node, .. }
            | Self::Wipe { node, .. }
            | Self::RollBack(RollBack { node, .. })
            | Self::WallStep { node, .. } => (vec![*node], &[]),
            Self::Swap { node, with, .. } => (vec![*node, *with], &[]),
            Self::Cut { from, to, .. } | Self::Flap { from, to, .. } | Self::Delay { from, to, .. } => {
                (vec![*from, *to], &[])
            }
            Self::Split { side, .. } => (Vec::new(), side),
            Self::Bridge { side, bridge, .. } => (vec![*bridge], side),
            Self::CrashAll { .. }
            | Self::RollingRestart { .. }
            | Self::Ring { .. }
            | Self::Weather { .. }
            | Self::Coup(_)
            | Self::Join { .. }
            | Self::Leave(_)
            | Self::Replace(_)
            | Self::Move(_)
            | Self::MoveAll { .. }
            | Self::Transfer { .. } => (Vec::new(), &[]),
        };
        some.into_iter().chain(side.iter().copied())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plan_survives_its_own_text() {
        for seed in 0..50 {
            let plan = Plan::draw(seed);
            assert_eq!(Plan::from_json(&plan.to_json()), Ok(plan));
        }
    }

    #[test]
    fn a_plan_for_what_is_not_there_is_refused() {
        let mut plan = Plan::draw(1);
        plan.options.nodes = 3;
        plan.faults = vec![Planned {
            at_ms: 1,
            fault: Fault::Crash { node: 4, down_ms: 1 },
        }];
        plan.options.spares = 0;
        assert!(Plan::from_json(&plan.to_json()).is_err());
        plan.faults[0].fault = Fault::Coup(Coup {
            partition: plan.options.partitions,
            company: 1,
            asleep: false,
            mute: false,
            stall_ms: None,
            slow_ms: 0,
            linger_ms: 1,
            fall: Fall::Stays,
            fall_ms: 1,
        });
        assert!(Plan::from_json(&plan.to_json()).is_err());
    }

    #[test]
    fn a_plan_that_damages_more_than_a_minority_of_disks_is_refused() {
        let mut plan = Plan::draw(1);
        plan.options.nodes = 5;
        let wipe = |node| Planned {
            at_ms: 1,
            fault: Fault::Wipe {
                node,
                down_ms: 1,
                blackout: false,
            },
        };
        for (nodes, is_fine) in [(vec![1, 2], true), (vec![1, 2, 3], false), (vec![2, 2], false)] {
            plan.faults = nodes.into_iter().map(wipe).collect();
            assert_eq!(Plan::from_json(&plan.to_json()).is_ok(), is_fine, "{:?}", plan.faults);
        }
    }

    #[test]
    fn kinds_have_the_names_of_plans() {
        for kind in Kind::ALL {
            assert_eq!(serde_json::to_value(kind).unwrap(), kind.name());
        }
        let fault = serde_json::to_value(Fault::Ring { for_ms: 1 }).unwrap();
        assert!(fault.get(Kind::Ring.name()).is_some());
    }

    #[test]
    fn every_kind_is_drawn_by_some_seed_and_in_the_order_of_time() {
        let mut seen = std::collections::BTreeSet::new();
        for seed in 0..300 {
            let plan = Plan::draw(seed);
            assert!(plan.faults.is_sorted_by_key(|planned| planned.at_ms));
            assert!(plan.faults.iter().all(|planned| planned.at_ms < plan.options.faulty_ms));
            for planned in &plan.faults {
                let kind = planned.fault.kind();
                let is_on = match kind {
                    Kind::Coup => plan.options.coup_every_ms.is_some(),
                    kind if kind.is_of_members() => plan.options.members_every_ms.is_some(),
                    kind => plan.options.faults.contains_key(&kind),
                };
                assert!(is_on, "{kind:?}");
                seen.insert(planned.fault.kind());
            }
        }
        assert_eq!(seen.len(), Kind::ALL.len(), "{seen:?}");
    }
}
