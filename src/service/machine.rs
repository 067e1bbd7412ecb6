//! The lock table as a state machine: bytes in, bytes out.
//!
//! A command that cannot be read was written by a newer version: replicas of this version would diverge from it, so the machine stops the
//! partition by panicking rather than skipping it. Nothing from a client gets here without having been read once.

use bytes::Bytes;

use crate::lock::Table;
use crate::machine::{RestoreError, Row, StateMachine};
use crate::types::LogTime;
use crate::wire::lock;

/// The state machine of a lock partition.
#[derive(Default)]
pub struct LockMachine {
    table: Table,
}

impl StateMachine for LockMachine {
    fn advance(&mut self, now: LogTime) {
        self.table.advance(now);
    }

    fn apply(&mut self, now: LogTime, command: &[u8]) -> Bytes {
        let command = lock::decode_command(command).expect("every command was read by the node that proposed it");
        lock::encode_outcome(&self.table.apply(now, &command))
    }

    fn query(&self, now: LogTime, query: &[u8]) -> Bytes {
        let query = lock::decode_query(query).expect("a question comes from this very node");
        lock::encode_outcome(&self.table.query(now, &query))
    }

    fn next_deadline(&self) -> Option<LogTime> {
        self.table.next_deadline()
    }

    fn changes(&self) -> usize {
        self.table.changes()
    }

    fn take_changes(&mut self) -> Vec<Row> {
        self.table.take_changes()
    }

    fn restore(&mut self, key: &[u8], value: &[u8]) -> Result<(), RestoreError> {
        self.table.restore(key, value)
    }

    fn digest(&self) -> u64 {
        self.table.digest()
    }
}
