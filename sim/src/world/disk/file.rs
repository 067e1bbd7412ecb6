//! One simulated file: what is durable, and what was written since, in order.
//!
//! Writes are kept apart until a sync. When the power goes, each 512-byte sector of each of them survives or not, and each change of the
//! length, independently. No unit smaller than a sector is torn, as disks promise.

use std::io;

use kapu::env::DiskFile;
use rand::RngExt;
use rand::rngs::StdRng;
use xxhash_rust::xxh3::Xxh3;

use super::{SimDisk, State};
use crate::world::true_ns;

const SECTOR: usize = 512;

#[derive(Default)]
pub(super) struct FileState {
    durable: Vec<u8>,
    pending: Vec<Pending>,
    /// What a reader sees: durable and pending together.
    view: Vec<u8>,
    /// Everything since the last sync, for the trace.
    written: Xxh3,
    /// Where each of the last two syncs wrote: offset and length.
    fresh: [Vec<(usize, usize)>; 2],
}

impl From<Vec<u8>> for FileState {
    fn from(durable: Vec<u8>) -> Self {
        Self {
            view: durable.clone(),
            durable,
            ..Self::default()
        }
    }
}

enum Pending {
    Write(usize, Vec<u8>),
    SetLen(usize),
}

/// How many sectors, or changes of length, were lost.
pub(super) struct Lost(pub u64);

impl std::iter::Sum for Lost {
    fn sum<I: Iterator<Item = Self>>(parts: I) -> Self {
        Self(parts.map(|part| part.0).sum())
    }
}

impl FileState {
    /// Forgets what was not synced, but for what survives by chance.
    pub fn lose_power(&mut self, survives: f64, rng: &mut StdRng) -> Lost {
        let mut lost = 0;
        for pending in std::mem::take(&mut self.pending) {
            match pending {
                Pending::SetLen(len) if rng.random_bool(survives) => self.durable.resize(len, 0),
                Pending::SetLen(_) => lost += 1,
                Pending::Write(offset, data) => {
                    for (at, sector) in (offset..).step_by(SECTOR).zip(data.chunks(SECTOR)) {
                        if rng.random_bool(survives) {
                            write_at(&mut self.durable, at, sector);
                        } else {
                            lost += 1;
                        }
                    }
                }
            }
        }
        self.view.clone_from(&self.durable);
        Lost(lost)
    }

    /// What is durable.
    pub fn durable(&self) -> &[u8] {
        &self.durable
    }

    /// A file that holds what is durable in this one.
    pub fn durable_copy(&self) -> Self {
        self.durable.clone().into()
    }

    /// Flips a bit in each of about this part of the sectors that hold anything; returns in how many. What was written last is spared: nobody
    /// could tell its rot from a write that the power cut short.
    pub fn rot(&mut self, share: f64, rng: &mut StdRng) -> u64 {
        let mut rotten = 0;
        for (at, sector) in (0..).step_by(SECTOR).zip(self.durable.chunks_mut(SECTOR)) {
            let is_fresh = |(from, length): &(usize, usize)| *from < at + SECTOR && at < from + length;
            let is_spared = sector.iter().all(|byte| *byte == 0) || self.fresh.iter().flatten().any(is_fresh);
            if !is_spared && rng.random_bool(share) {
                let byte = rng.random_range(0..sector.len());
                sector[byte] ^= 1 << rng.random_range(0..u8::BITS);
                rotten += 1;
            }
        }
        self.view.clone_from(&self.durable);
        rotten
    }

    fn sync(&mut self) -> u64 {
        self.fresh.swap(0, 1);
        self.fresh[1].clear();
        for pending in self.pending.drain(..) {
            match pending {
                Pending::SetLen(len) => self.durable.resize(len, 0),
                Pending::Write(offset, data) => {
                    self.fresh[1].push((offset, data.len()));
                    write_at(&mut self.durable, offset, &data);
                }
            }
        }
        let written = self.written.digest();
        self.written.reset();
        written
    }

    fn write(&mut self, offset: usize, data: &[u8]) {
        self.written.update(&offset.to_le_bytes());
        self.written.update(data);
        write_at(&mut self.view, offset, data);
        self.pending.push(Pending::Write(offset, data.to_vec()));
    }

    fn set_len(&mut self, len: usize) {
        self.written.update(&len.to_le_bytes());
        self.view.resize(len, 0);
        self.pending.push(Pending::SetLen(len));
    }
}

fn write_at(bytes: &mut Vec<u8>, offset: usize, data: &[u8]) {
    let end = offset + data.len();
    if bytes.len() < end {
        bytes.resize(end, 0);
    }
    bytes[offset..end].copy_from_slice(data);
}

fn place(offset: u64) -> usize {
    usize::try_from(offset).expect("simulated files are small")
}

/// A handle on one file, of one life.
#[derive(Debug)]
pub(super) struct SimFile {
    disk: SimDisk,
    name: String,
}

impl SimFile {
    pub fn new(disk: SimDisk, name: &str) -> Self {
        let name = name.to_owned();
        Self { disk, name }
    }

    fn of<'s>(&self, state: &'s mut State) -> &'s mut FileState {
        state.files.get_mut(&self.name).expect("an open file exists")
    }
}

impl DiskFile for SimFile {
    fn len(&self) -> io::Result<u64> {
        Ok(self.of(&mut *self.disk.alive()?).view.len() as u64)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let mut state = self.disk.alive()?;
        let bytes = self.of(&mut state).view.get(place(offset)..place(offset) + out.len());
        out.copy_from_slice(bytes.ok_or(io::ErrorKind::UnexpectedEof)?);
        Ok(())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.of(&mut *self.disk.with_space()?).set_len(place(len));
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        let mut state = self.disk.alive()?;
        if std::mem::take(&mut state.ailment.sync_fails) {
            state.done.errors += 1;
            return Err(io::Error::from_raw_os_error(5));
        }
        let written = self.of(&mut state).sync();
        state.done.syncs += 1;
        state.trace.note(true_ns(), "sync", state.node, &written.to_le_bytes());
        Ok(())
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.of(&mut *self.disk.with_space()?).write(place(offset), data);
        Ok(())
    }
}
