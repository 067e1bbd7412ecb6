//! The lock table: the state machine that every replica of a partition runs.
//!
//! A lock is a name, an owner, a fencing token and a lease. Commands come out of the log, already committed and in one order;
//! [`Table::apply`] turns each into an [`Outcome`] and nothing else decides anything. It is a pure function of the log, so replicas that
//! applied the same entries hold the same locks and would have given the same answers.
//!
//! # What is promised
//!
//! - **At most one owner.** A name has one hold or none. It changes hands only after a release by the holder or the end of the lease.
//! - **Fencing tokens.** Each new ownership takes the next number of the partition's grant counter. The counter is part of the replicated
//!   state, never derived from the locks that happen to exist, so no token is given twice or goes back over release, expiry, restart or
//!   restore. Acquiring again as the holder keeps the token. A fenced resource that refuses tokens below the greatest one it has seen is
//!   safe from any holder that was paused past its lease (Kleppmann, "How to do distributed locking").
//! - **Leases in log time.** A lease ends at an instant of [`LogTime`](crate::types::LogTime), which comes with each entry. Everything whose
//!   lease ends at or before that stamp is gone before the entry's commands are looked at: a lease of 10 ms granted at 5 covers 5 to 14, and
//!   somebody else may have the lock at 15. No wall clock has a part in it, and a change of leader neither refills nor ends a lease.
//! - **Retries are harmless.** An owner names one acquisition. Its `TryLock` sent twice is granted once, with one token. Its `Unlock` sent
//!   twice finds nothing the second time, or somebody else's hold, which it cannot touch.
//! - **An extend never creates.** What has ended or was released stays so; the holder has to acquire again, and gets another token.
//!
//! # What is not here
//!
//! Waiting lines, shared locks, several locks at once, watches: not yet. Raft, clocks, tasks, bytes on the wire: never. Sizes and ttls are
//! checked where requests enter; the table itself is total and gives every command an outcome.

pub mod command;
pub mod outcome;
pub mod table;

mod holds;
mod snapshot;

#[cfg(test)]
mod model;
#[cfg(test)]
mod referee;

pub use command::{Command, Query, Request};
pub use outcome::Outcome;
pub use table::Table;
