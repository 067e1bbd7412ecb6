//! Disks that have lost or changed what was durable on them, and what their nodes must do then: say so, end, and stay away.
//!
//! A node on a wiped disk, or on another image than its own, must be refused by its peers or refuse the disk itself; one whose disk has rotted
//! must notice it before it says anything. Its operator puts the right disk back where there is one. What was wiped or has rotted stays
//! away until it can be replaced, and the others go on without it.

use kapu::env::DiskFile as _;
use kapu::node::NodeHandle;
use kapu::types::NodeId;

use super::Cluster;
use super::life::Cause;
use crate::world::disk::{Image, Platters};

/// How a disk is damaged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Damage {
    /// Bits have changed.
    Rotten,
    /// It is empty.
    Wiped,
    /// It holds an older copy of itself.
    RolledBack,
    /// It holds a copy of another node's.
    Swapped,
}

/// A disk that is damaged.
pub(super) struct Damaged {
    damage: Damage,
    /// What its operator will put back.
    original: Option<Image>,
}

/// Whether a file holds what nobody wrote there, by redb's own word and not by that of the node.
fn is_corrupt(platters: &Platters) -> bool {
    let is_corrupt = |bytes: &[u8]| {
        let memory = redb::backends::InMemoryBackend::new();
        let filled = memory.set_len(bytes.len() as u64).and_then(|()| memory.write(0, bytes));
        filled.expect("memory takes everything");
        let mut builder = redb::Database::builder();
        let opened = builder.set_check_integrity_on_open(true).create_with_backend(memory);
        opened.is_err()
    };
    platters.image().files().any(is_corrupt)
}

/// How nodes met the damage of their disks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Met {
    /// Lives that ended because the disk is corrupt.
    pub corrupt: u64,
    /// Lives that ended because peers refused the disk.
    pub refused: u64,
    /// Lives that refused the disk of another node.
    pub mismatched: u64,
    /// Faults that were left out because they could not be borne at that time, or did not hit anything.
    pub spared: u64,
    /// Changes of members that came to their end.
    pub changes: u64,
    /// Newcomers that got their vote without knowing, and whose leader was lost then.
    pub ambushes: u64,
    /// Lives that ended because their node was removed.
    pub removed: u64,
}

impl Cluster {
    /// Kills a node with its power, and lets bits of its disk rot. The disk is lost when one of them was in use; else nobody need notice.
    pub fn rot(&self, node: u64, luck: u64) {
        self.crash(node);
        let platters = &self.machine(node).platters;
        platters.rot(luck);
        if is_corrupt(platters) {
            self.damage(node, Damage::Rotten, None);
        } else {
            self.spare();
        }
    }

    /// Kills a node with its power, and empties its disk.
    pub fn wipe(&self, node: u64) {
        self.crash(node);
        self.machine(node).platters.replace(Image::default());
        self.damage(node, Damage::Wiped, None);
    }

    /// Kills a node with its power, and puts another image in the place of its disk, until that is put back.
    pub fn put_strange(&self, node: u64, image: Image, damage: Damage) {
        self.crash(node);
        let platters = &self.machine(node).platters;
        let original = platters.image();
        platters.replace(image);
        self.damage(node, damage, Some(original));
    }

    /// Puts the disk of a node back that was taken from it, if one was. A node that still runs on the other one dies.
    pub fn put_back(&self, node: u64) {
        let machine = self.machine(node);
        let original = machine
            .lock_damage()
            .as_mut()
            .and_then(|damaged| damaged.original.take());
        if let Some(original) = original {
            self.crash(node);
            machine.platters.replace(original);
            *machine.lock_damage() = None;
        }
    }

    /// The nodes that are to be well in the end: all members but those whose disk or machine is lost.
    pub fn core(&self) -> impl Iterator<Item = u64> + use<> {
        let members = self.register(|register| register.members().clone());
        let lost: Vec<_> = self.nodes().filter(|node| self.is_lost(*node)).collect();
        members.into_iter().filter(move |node| !lost.contains(node))
    }

    /// Whether a node's disk or machine is lost for good, as far as is known.
    #[must_use]
    pub fn is_lost(&self, node: u64) -> bool {
        self.register(|register| register.is_lost(node))
    }

    /// Whether the cluster bears the loss of a node's disk at this time.
    #[must_use]
    pub fn can_lose(&self, node: u64) -> bool {
        self.register(|register| register.can_lose(node))
    }

    /// Whether a node has another disk than the one on which it made its promises.
    #[must_use]
    pub fn is_intruder(&self, node: u64) -> bool {
        let damaged = self.machine(node).lock_damage();
        damaged.as_ref().is_some_and(|damaged| damaged.damage != Damage::Rotten)
    }

    /// Whether every other member is alive, and its disk knows a life of `node` beyond its first `starts`: then a disk that knows of no more than
    /// those is refused by all, whatever happens to whom and when.
    #[must_use]
    pub fn is_outlived(&self, node: u64, starts: u64) -> bool {
        let knows = |peer| {
            let life = self.handle(peer).and_then(|handle| handle.peer_life(NodeId(node)));
            life.is_some_and(|life| life.incarnation.starts() > starts)
        };
        let members = self.register(|register| register.members().clone());
        members.into_iter().filter(|peer| *peer != node).all(knows)
    }

    /// How often a live node has started on its disk.
    #[must_use]
    pub fn starts(&self, node: u64) -> Option<u64> {
        self.handle(node).as_ref().map(NodeHandle::starts)
    }

    /// A planned damage did not happen.
    pub fn spare(&self) {
        self.note_met(|met| met.spared += 1);
    }

    /// An ambush came to its end as planned.
    pub fn note_ambush(&self) {
        self.note_met(|met| met.ambushes += 1);
    }

    /// How nodes met the damage of their disks.
    #[must_use]
    pub fn met(&self) -> Met {
        *self.0.met.lock().expect("nobody panics while holding it")
    }

    fn damage(&self, node: u64, damage: Damage, original: Option<Image>) {
        *self.machine(node).lock_damage() = Some(Damaged { damage, original });
        match damage {
            Damage::Rotten | Damage::Wiped => self.register(|register| register.lose(node)),
            Damage::RolledBack | Damage::Swapped => {}
        }
    }

    pub(super) fn note_met(&self, change: impl FnOnce(&mut Met)) {
        change(&mut self.0.met.lock().expect("nobody panics while holding it"));
    }

    /// Whether a life on this disk does right to end of this.
    pub(super) fn is_due(&self, node: u64, cause: Cause) -> bool {
        if cause == Cause::Removed && self.register(|register| register.is_out(node)) {
            self.note_met(|met| met.removed += 1);
            return true;
        }
        let damage = self.machine(node).lock_damage().as_ref().map(|damaged| damaged.damage);
        match (damage, cause) {
            (Some(Damage::Rotten), Cause::Corrupt) => {
                self.note_met(|met| met.corrupt += 1);
                true
            }
            (Some(Damage::Wiped | Damage::RolledBack), Cause::Refused | Cause::Mismatch) => {
                self.note_met(|met| met.refused += 1);
                true
            }
            (Some(Damage::Swapped), Cause::Mismatch) => {
                self.note_met(|met| met.mismatched += 1);
                true
            }
            _ => false,
        }
    }

    /// A life has opened its disk.
    pub(super) fn note_started(&self, node: u64) {
        let damage = self.machine(node).lock_damage().as_ref().map(|damaged| damaged.damage);
        let what = match damage {
            Some(Damage::Rotten) => "it started on a disk that is corrupt",
            Some(Damage::Swapped) => "it started on the disk of another node",
            _ => return,
        };
        self.accuse(node, what);
    }
}
