//! A disk of one node, with everything that disks do to people.
//!
//! The [`Platters`] outlive the process; a [`SimDisk`] is one life's way to them. A handle of an earlier life fails for ever: madsim drops a
//! killed node's futures only after the kill, and redb would use that moment to shut down cleanly, so that no crash would ever be tested.
//! Time is charged in [`Disk::pace`], which storage awaits before each commit: a slow disk is slow there, a stalled one never returns.
//!
//! A sync that fails loses what it was to save: the node that goes on from there must be a machine that was started anew, because no system
//! says what a cache holds after that. What was durable is damaged only on purpose: bits rot, or another image takes its place.

mod file;

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use kapu::clock::BoxFuture;
use kapu::env::{Disk, DiskFile};
use rand::RngExt;
use rand::rngs::StdRng;

use self::file::{FileState, Lost, SimFile};
use super::{true_ns, true_sleep};
use crate::trace::Trace;

/// How long a sync takes, in microseconds, when nothing is wrong.
const SYNC_US: std::ops::RangeInclusive<u64> = 100..=300;
/// How often a stalled disk looks whether it moves again.
const STALL_LOOK: Duration = Duration::from_millis(20);
/// In a crash, this part of the sectors that were not synced survives: drawn once for each crash.
const SURVIVAL: [f64; 4] = [0.0, 0.5, 0.9, 1.0];

/// Of the sectors that hold anything, this part rots: drawn once for each rot. A file has a few hundred.
const ROT_SHARE: [f64; 4] = [0.003, 0.01, 0.03, 0.3];

/// What is wrong with a disk at the moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Ailment {
    /// Every sync takes this much longer.
    pub slow_by: Duration,
    /// Nothing moves.
    pub is_stalled: bool,
    /// Syncs write and do not return.
    pub lingers: bool,
    /// Writes fail for want of space.
    pub is_full: bool,
    /// The next sync fails.
    pub sync_fails: bool,
}

/// What a disk has done so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Done {
    /// Syncs that succeeded.
    pub syncs: u64,
    /// Syncs and writes that failed as planned.
    pub errors: u64,
    /// Crashes that lost or tore something that was not synced.
    pub crashes_with_loss: u64,
    /// Sectors that were lost in crashes.
    pub sectors_lost: u64,
}

/// What is durable on a disk, as a copy of it.
#[derive(Clone, Default)]
pub struct Image(BTreeMap<String, Vec<u8>>);

impl Image {
    /// What each file holds.
    pub fn files(&self) -> impl Iterator<Item = &[u8]> {
        self.0.values().map(Vec::as_slice)
    }
}

/// What outlives the process. Clones are the same platters.
#[derive(Clone)]
pub struct Platters(Arc<Mutex<State>>);

struct State {
    node: u64,
    trace: Trace,
    files: BTreeMap<String, FileState>,
    /// Grows by one with each life, and with each death.
    boot: u64,
    ailment: Ailment,
    done: Done,
    /// Draws how long syncs take.
    pace: StdRng,
    /// Draws what survives a crash.
    fate: StdRng,
}

impl Platters {
    /// An empty disk, whose luck is drawn from `seed`.
    #[must_use]
    pub fn new(node: u64, seed: u64, trace: Trace) -> Self {
        Self(Arc::new(Mutex::new(State {
            node,
            trace,
            files: BTreeMap::new(),
            boot: 0,
            ailment: Ailment::default(),
            done: Done::default(),
            pace: kapu::env::rng(seed, &format!("syncs of node {node}")),
            fate: kapu::env::rng(seed, &format!("crashes of node {node}")),
        })))
    }

    /// The disk as the next life sees it.
    #[must_use]
    pub fn boot(&self) -> SimDisk {
        let mut state = self.lock();
        state.boot += 1;
        let boot = state.boot;
        SimDisk {
            platters: self.clone(),
            boot,
        }
    }

    /// Cuts the power: what was not synced survives in any subset, and every handle is dead.
    pub fn crash(&self) {
        let mut state = self.lock();
        let State { files, fate, .. } = &mut *state;
        let survives = SURVIVAL[fate.random_range(0..SURVIVAL.len())];
        let lost: Lost = files.values_mut().map(|file| file.lose_power(survives, fate)).sum();
        state.boot += 1;
        state.done.crashes_with_loss += u64::from(lost.0 > 0);
        state.done.sectors_lost += lost.0;
        let (trace, node) = (state.trace.clone(), state.node);
        trace.note(true_ns(), "power lost", node, &lost.0.to_le_bytes());
    }

    /// Changes what is wrong with it.
    pub fn ail(&self, change: impl FnOnce(&mut Ailment)) {
        change(&mut self.lock().ailment);
    }

    /// Nothing is wrong any more.
    pub fn heal(&self) {
        self.lock().ailment = Ailment::default();
    }

    /// What it has done so far.
    #[must_use]
    pub fn done(&self) -> Done {
        self.lock().done
    }

    /// A copy of what is durable.
    #[must_use]
    pub fn image(&self) -> Image {
        let state = self.lock();
        let durable = |(name, file): (&String, &FileState)| (name.clone(), file.durable().to_vec());
        Image(state.files.iter().map(durable).collect())
    }

    /// Puts another image in the place of all that is there. Every handle is dead.
    pub fn replace(&self, image: Image) {
        let mut state = self.lock();
        state.boot += 1;
        state.files = image.0.into_iter().map(|(name, bytes)| (name, bytes.into())).collect();
        let (trace, node) = (state.trace.clone(), state.node);
        trace.note(true_ns(), "replaced", node, b"");
    }

    /// Changes some bits of what is durable, and returns in how many sectors. Call it while the power is off.
    pub fn rot(&self, luck: u64) -> u64 {
        let mut state = self.lock();
        let mut rng = kapu::env::rng(luck, "rot");
        let share = ROT_SHARE[rng.random_range(0..ROT_SHARE.len())];
        let rotten = state.files.values_mut().map(|file| file.rot(share, &mut rng)).sum();
        let (trace, node) = (state.trace.clone(), state.node);
        trace.note(true_ns(), "rot", node, &u64::to_le_bytes(rotten));
        rotten
    }

    /// A healthy copy that holds what is durable here and nothing else, for the inspection at the end of a run.
    #[must_use]
    pub fn durable_copy(&self, trace: Trace) -> Self {
        let state = self.lock();
        let copy = Self::new(state.node, 0, trace);
        let files = state
            .files
            .iter()
            .map(|(name, file)| (name.clone(), file.durable_copy()));
        copy.lock().files = files.collect();
        copy
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().expect("nobody panics while holding it")
    }
}

/// One life's way to the platters.
#[derive(Clone)]
pub struct SimDisk {
    platters: Platters,
    boot: u64,
}

impl std::fmt::Debug for SimDisk {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "SimDisk(boot {})", self.boot)
    }
}

impl SimDisk {
    /// The platters, as long as this life lasts.
    fn alive(&self) -> io::Result<MutexGuard<'_, State>> {
        let state = self.platters.lock();
        if state.boot == self.boot {
            Ok(state)
        } else {
            Err(io::Error::other("the machine is off"))
        }
    }

    /// As [`SimDisk::alive`], for what needs space.
    fn with_space(&self) -> io::Result<MutexGuard<'_, State>> {
        let mut state = self.alive()?;
        if state.ailment.is_full {
            state.done.errors += 1;
            return Err(io::ErrorKind::StorageFull.into());
        }
        Ok(state)
    }

    /// How long the next sync takes; none while the disk stalls.
    fn draw_pace(&self) -> Option<Duration> {
        let mut state = self.platters.lock();
        let took = Duration::from_micros(state.pace.random_range(SYNC_US)) + state.ailment.slow_by;
        (!state.ailment.is_stalled || state.boot != self.boot).then_some(took)
    }
}

impl Disk for SimDisk {
    fn open(&self, name: &str) -> io::Result<Box<dyn DiskFile>> {
        self.alive()?.files.entry(name.to_owned()).or_default();
        Ok(Box::new(SimFile::new(self.clone(), name)))
    }

    fn pace(&self) -> BoxFuture<'_, ()> {
        Box::pin(async move {
            loop {
                if let Some(took) = self.draw_pace() {
                    return true_sleep(took).await;
                }
                true_sleep(STALL_LOOK).await;
            }
        })
    }

    fn linger(&self) -> BoxFuture<'_, ()> {
        Box::pin(async move {
            while self.alive().is_ok_and(|state| state.ailment.lingers) {
                true_sleep(STALL_LOOK).await;
            }
        })
    }

    fn location(&self) -> String {
        format!("disk {}", self.platters.lock().node)
    }
}

#[cfg(test)]
mod tests;
