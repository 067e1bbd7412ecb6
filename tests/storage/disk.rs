//! A simulated disk that loses power: what was not synced survives in any subset of 512-byte sectors, lengths apart from contents.
//!
//! Every write, change of length and sync counts as one operation; the disk can die at any of them, and then fails all others too, as a
//! process that is gone does nothing more. A handle belongs to one boot: after the next one it fails for ever.

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard};

use kapu::clock::BoxFuture;
use kapu::env::{Disk, DiskFile};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

const SECTOR: usize = 512;

#[derive(Debug)]
enum Pending {
    Write(u64, Vec<u8>),
    SetLen(u64),
}

#[derive(Debug, Default)]
struct FileState {
    durable: Vec<u8>,
    pending: Vec<Pending>,
    /// What a reader sees: durable and pending together.
    view: Vec<u8>,
}

#[derive(Debug, Default)]
struct World {
    files: BTreeMap<String, FileState>,
    boot: u64,
    operations: u64,
    /// The operation counts at which a sync began.
    syncs: Vec<u64>,
    dies_at: Option<u64>,
    dead: bool,
    /// The next sync fails, once; a retry would succeed.
    sync_fails: bool,
    /// The file whose sync failed, and how often a sync of it was tried again.
    failed: Option<(String, u64)>,
}

/// The platters, which survive a crash.
#[derive(Clone, Debug, Default)]
pub struct Platters(Arc<Mutex<World>>);

impl Platters {
    fn world(&self) -> MutexGuard<'_, World> {
        self.0.lock().expect("no test panics inside of the disk")
    }

    /// Starts the next boot. It dies at operation number `dies_at` of this boot, when one is given.
    pub fn boot(&self, dies_at: Option<u64>) -> SimDisk {
        let mut world = self.world();
        world.boot += 1;
        world.operations = 0;
        world.syncs.clear();
        world.dies_at = dies_at;
        world.dead = false;
        SimDisk {
            platters: self.clone(),
            boot: world.boot,
        }
    }

    /// Cuts the power: unsynced sectors survive at random.
    pub fn crash(&self, seed: u64) {
        let mut rng = StdRng::seed_from_u64(seed);
        let mut world = self.world();
        world.dead = true;
        let survives = [0.0, 0.5, 0.9, 1.0][rng.random_range(0..4)];
        for file in world.files.values_mut() {
            file.lose_power(survives, &mut rng);
        }
    }

    /// How many operations this boot has done, and at which of them a sync began.
    pub fn operations(&self) -> (u64, Vec<u64>) {
        let world = self.world();
        (world.operations, world.syncs.clone())
    }

    /// Makes the next sync fail, once.
    pub fn fail_next_sync(&self) {
        self.world().sync_fails = true;
    }

    /// The file whose sync failed, and how often a sync of it was tried again.
    pub fn failed(&self) -> Option<(String, u64)> {
        self.world().failed.clone()
    }
}

impl FileState {
    fn lose_power(&mut self, survives: f64, rng: &mut StdRng) {
        for pending in std::mem::take(&mut self.pending) {
            match pending {
                Pending::SetLen(len) if rng.random_bool(survives) => resize(&mut self.durable, len),
                Pending::SetLen(_) => {}
                Pending::Write(offset, data) => {
                    for (at, sector) in (offset..).step_by(SECTOR).zip(data.chunks(SECTOR)) {
                        if rng.random_bool(survives) {
                            write_at(&mut self.durable, at, sector);
                        }
                    }
                }
            }
        }
        self.view.clone_from(&self.durable);
    }

    fn sync(&mut self) {
        for pending in self.pending.drain(..) {
            match pending {
                Pending::SetLen(len) => resize(&mut self.durable, len),
                Pending::Write(offset, data) => write_at(&mut self.durable, offset, &data),
            }
        }
    }
}

fn place(offset: u64) -> usize {
    usize::try_from(offset).expect("simulated files are small")
}

fn resize(bytes: &mut Vec<u8>, len: u64) {
    bytes.resize(place(len), 0);
}

fn write_at(bytes: &mut Vec<u8>, offset: u64, data: &[u8]) {
    let start = place(offset);
    let end = start + data.len();
    if bytes.len() < end {
        bytes.resize(end, 0);
    }
    bytes[start..end].copy_from_slice(data);
}

/// One boot's way to the platters.
#[derive(Clone, Debug)]
pub struct SimDisk {
    platters: Platters,
    boot: u64,
}

impl SimDisk {
    /// Counts one operation, and fails when this boot is over.
    fn operate(&self) -> io::Result<MutexGuard<'_, World>> {
        let mut world = self.alive()?;
        if world.dies_at == Some(world.operations) {
            world.dead = true;
            return Err(io::Error::other("power failure"));
        }
        world.operations += 1;
        Ok(world)
    }

    fn alive(&self) -> io::Result<MutexGuard<'_, World>> {
        let world = self.platters.world();
        if world.dead || world.boot != self.boot {
            Err(io::Error::other("power failure"))
        } else {
            Ok(world)
        }
    }
}

impl SimDisk {
    /// Opens a file, for whoever wants to know the type.
    pub fn file(&self, name: &str) -> io::Result<SimFile> {
        self.operate()?.files.entry(name.to_owned()).or_default();
        Ok(SimFile {
            disk: self.clone(),
            name: name.to_owned(),
        })
    }
}

impl Disk for SimDisk {
    fn open(&self, name: &str) -> io::Result<Box<dyn DiskFile>> {
        Ok(Box::new(self.file(name)?))
    }

    fn pace(&self) -> BoxFuture<'_, ()> {
        // As in simulation: the commit may take time, in which more writes gather.
        Box::pin(tokio::task::yield_now())
    }

    fn location(&self) -> String {
        "sim".to_owned()
    }
}

/// One open file.
#[derive(Debug)]
pub struct SimFile {
    disk: SimDisk,
    name: String,
}

impl SimFile {
    fn with<T>(&self, world: &mut World, action: impl FnOnce(&mut FileState) -> T) -> T {
        action(world.files.get_mut(&self.name).expect("an open file exists"))
    }
}

impl DiskFile for SimFile {
    fn len(&self) -> io::Result<u64> {
        Ok(self.with(&mut *self.disk.alive()?, |file| file.view.len() as u64))
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.with(&mut *self.disk.alive()?, |file| {
            let bytes = file.view.get(place(offset)..place(offset) + out.len());
            out.copy_from_slice(bytes.ok_or(io::ErrorKind::UnexpectedEof)?);
            Ok(())
        })
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.with(&mut *self.disk.operate()?, |file| {
            resize(&mut file.view, len);
            file.pending.push(Pending::SetLen(len));
        });
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        let count = self.disk.alive()?.operations;
        self.disk.alive()?.syncs.push(count);
        let mut world = self.disk.operate()?;
        if let Some((_, tried)) = world.failed.as_mut().filter(|(name, _)| *name == self.name) {
            *tried += 1;
        }
        if std::mem::take(&mut world.sync_fails) {
            world.failed = Some((self.name.clone(), 0));
            return Err(io::Error::from_raw_os_error(5));
        }
        self.with(&mut world, FileState::sync);
        Ok(())
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.with(&mut *self.disk.operate()?, |file| {
            write_at(&mut file.view, offset, data);
            file.pending.push(Pending::Write(offset, data.to_vec()));
        });
        Ok(())
    }
}

#[test]
fn the_disk_loses_what_was_not_synced_and_keeps_what_was() {
    let platters = Platters::default();
    let file = platters.boot(None).open("f").unwrap();
    file.write(0, &[1; SECTOR]).unwrap();
    file.sync_data().unwrap();
    file.write(0, &[2; 4 * SECTOR]).unwrap();
    let mut lost = 0;
    let mut kept = 0;
    platters.crash(7);
    let mut sector = [0; SECTOR];
    let again = platters.boot(None).open("f").unwrap();
    assert!(file.sync_data().is_err(), "a handle of an earlier boot is dead");
    for at in 0..again.len().unwrap() / SECTOR as u64 {
        again.read(at * SECTOR as u64, &mut sector).unwrap();
        assert!(
            sector.iter().all(|byte| *byte == sector[0]),
            "no smaller unit than a sector is torn"
        );
        match sector[0] {
            2 => kept += 1,
            _ => lost += 1,
        }
    }
    assert!(kept + lost >= 1);
    again.read(0, &mut sector).unwrap();
    assert!(
        sector[0] == 1 || sector[0] == 2,
        "what was synced is there, or what replaced it"
    );
}
