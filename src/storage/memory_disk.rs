//! A disk inside of one process: for tests, and for nodes that need not outlive it.
//!
//! What is written stays for as long as somebody has the disk, so that a node can be stopped and started again on it. Nothing is ever slow, full or
//! lost: simulation has another one, which is.

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::env::{BoxFuture, Disk, DiskFile};

/// Files in memory. Clones are the same disk.
#[derive(Clone, Debug, Default)]
pub struct MemoryDisk(Arc<Mutex<BTreeMap<String, Content>>>);

#[derive(Clone, Debug, Default)]
struct Content {
    bytes: Arc<Mutex<Vec<u8>>>,
    /// What an open file holds, for as long as it is open.
    opened: Arc<()>,
}

impl Disk for MemoryDisk {
    fn open(&self, name: &str) -> io::Result<Box<dyn DiskFile>> {
        let mut files = lock(&self.0);
        let content = files.entry(name.to_owned()).or_default();
        if Arc::strong_count(&content.opened) > 1 {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        Ok(Box::new(MemoryFile(content.clone())))
    }

    fn pace(&self) -> BoxFuture<'_, ()> {
        Box::pin(std::future::ready(()))
    }

    fn location(&self) -> String {
        "memory".to_owned()
    }
}

#[derive(Debug)]
struct MemoryFile(Content);

impl MemoryFile {
    fn bytes(&self) -> MutexGuard<'_, Vec<u8>> {
        lock(&self.0.bytes)
    }
}

impl DiskFile for MemoryFile {
    fn len(&self) -> io::Result<u64> {
        Ok(self.bytes().len() as u64)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let (start, bytes) = (place(offset)?, self.bytes());
        let wanted = start.checked_add(out.len()).and_then(|end| bytes.get(start..end));
        out.copy_from_slice(wanted.ok_or(io::ErrorKind::UnexpectedEof)?);
        Ok(())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.bytes().resize(place(len)?, 0);
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        Ok(())
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        let start = place(offset)?;
        let end = start.checked_add(data.len()).ok_or(io::ErrorKind::FileTooLarge)?;
        let mut bytes = self.bytes();
        if bytes.len() < end {
            bytes.resize(end, 0);
        }
        bytes[start..end].copy_from_slice(data);
        Ok(())
    }
}

fn place(offset: u64) -> io::Result<usize> {
    usize::try_from(offset).map_err(io::Error::other)
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_there_for_the_next_opener_and_for_one_at_a_time() {
        let disk = MemoryDisk::default();
        let file = disk.open("f").unwrap();
        file.write(3, b"abc").unwrap();
        file.write(4, b"x").unwrap();
        assert_eq!(disk.open("f").unwrap_err().kind(), io::ErrorKind::WouldBlock);
        assert_eq!(disk.open("g").unwrap().len().unwrap(), 0);
        drop(file);
        let file = disk.clone().open("f").unwrap();
        let mut read = [1; 6];
        file.read(0, &mut read).unwrap();
        assert_eq!(&read, b"\0\0\0axc");
        assert!(file.read(1, &mut read).is_err(), "behind the end");
        file.set_len(4).unwrap();
        file.set_len(5).unwrap();
        file.read(3, &mut read[..2]).unwrap();
        assert_eq!(&read[..2], b"a\0", "what was cut off is gone");
    }
}
