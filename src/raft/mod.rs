//! Raft: how the replicas of a partition agree on one log, by Diego Ongaro and John Ousterhout.
//!
//! One replica is a plain struct, [`Raft`]. Events go in, one method each: a tick, a message, a write that has become durable, a
//! proposal, a read. [`Raft::ready`] then says what to do: what to write, what to send, what to apply. The caller does it, in any order and in
//! parallel, and reports writes back. Nothing here waits, so every schedule can be tested.
//!
//! # The protocol
//! - **Terms and votes** (section 5.2): [`candidate`]. A campaign first asks whether it would win (pre-vote, thesis section 9.6), with
//!   the very function that decides votes. A replica that hears a leader votes for nobody (thesis section 4.2.3).
//! - **Replication** (section 5.3): [`leader`], [`progress`], [`follower`]. Every append is anchored at the entry before it. A follower truncates only at a
//!   real conflict, and acknowledges what is durable. The leader writes its own log at the same time and counts itself when that is durable.
//! - **Commitment** (section 5.4): [`quorum`]. Only an entry of the leader's own term commits by counting. A new leader appends a no-op at
//!   once and serves nothing before it is applied ([`Raft::may_serve`]).
//! - **Reads**: [`read`]. Read-index, a majority each, no leader lease.
//! - **Handing over**: [`transfer`] (thesis section 3.10).
//! - **Members** (section 6): [`membership`] says what a quorum is while voters change, [`reconfigure`] when they may.
//! - **Snapshots** (section 7): [`snapshot`]. A follower that lacks what was compacted is offered the state instead.
//! - **Check-quorum**: a leader that a majority does not answer, or whose own disk does not, steps down.
//! - Terms and votes leave a replica only when they are durable: [`Raft`] holds such messages back itself, and nothing it hands out to be
//!   sent depends on a write that is still under way.
//!
//! # What is left out
//! - The content of snapshots, and how it gets from one node to another: the shell's.
//! - Client requests, their timeouts and duplicates: payloads are opaque bytes here.
//!
//! It draws no entropy of its own and reads no clock: election times are counted in ticks, and drawn from a generator that is passed in.

pub mod candidate;
pub mod follower;
mod invariants;
pub mod leader;
pub mod log;
pub mod membership;
pub mod memberships;
pub mod message;
pub mod node;
pub mod progress;
pub mod quorum;
pub mod read;
pub mod ready;
pub mod reconfigure;
mod sizes;
pub mod snapshot;
pub mod transfer;

pub use log::{DurableLog, EntryReader};
pub use membership::{Change, ChangeError, Member, Membership, Standing, is_membership};
pub use message::{Body, Entry, HardState, Message, Position, SnapshotEnd, SnapshotRows};
pub use node::{Config, ProposeError, Raft};
pub use ready::{Persist, ReadState, Ready, Role, RoleChange};
pub use reconfigure::{FollowerStatus, ReconfigureError};
