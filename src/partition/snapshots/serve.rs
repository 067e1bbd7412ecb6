//! Reads the rows of an open snapshot, beside the partition: a read that waits for the disk holds up nobody.

use bytes::Bytes;
use tokio::sync::mpsc;

use crate::mutants::{self, Mutant};
use crate::partition::event::Event;
use crate::partition::mailbox::Mailbox;
use crate::raft::{SnapshotEnd, SnapshotRows};
use crate::storage::{StateSnapshot, StorageError};
use crate::types::NodeId;

/// Who wants the rows after which key.
pub type Wanted = (NodeId, Bytes);

/// Reads what is wanted, at most `bytes_max` bytes at a time, until nobody can want anything any more.
///
/// # Errors
/// [`StorageError`] when a row cannot be read.
pub async fn run(
    snapshot: Box<dyn StateSnapshot>,
    mut wanted: mpsc::Receiver<Wanted>,
    mailbox: Mailbox,
    bytes_max: usize,
) -> Result<(), StorageError> {
    while let Some((to, after)) = wanted.recv().await {
        let rows = read(&*snapshot, after, bytes_max)?;
        mailbox.push(Event::SnapshotRead { to, rows });
    }
    Ok(())
}

fn read(snapshot: &dyn StateSnapshot, after: Bytes, bytes_max: usize) -> Result<SnapshotRows, StorageError> {
    let mark = snapshot.mark();
    let from = Some(&after[..]).filter(|after| !after.is_empty());
    let mut rows = snapshot.rows(from, bytes_max)?;
    let is_last = match rows.last() {
        Some((key, _)) => snapshot.rows(Some(key), 1)?.is_empty(),
        None => true,
    };
    if mutants::on(Mutant::SnapshotRowLost) && rows.len() > 1 {
        rows.remove(0);
    }
    let end = is_last.then(|| SnapshotEnd {
        log_time: mutants::either(Mutant::SnapshotWithoutLogTime, Default::default(), mark.log_time),
        hlc: mark.hlc,
        membership: mark.membership.clone(),
    });
    let mut rows = SnapshotRows {
        at: mark.applied,
        after,
        rows,
        checksum: 0,
        end,
    };
    rows.checksum = rows.computed_checksum();
    Ok(rows)
}
