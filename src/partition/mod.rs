//! A partition: one Raft group and the state machine that it replicates.
//!
//! [`Core`] decides: events in, [`Effects`] out, synchronous, no I/O. The [`actor`] around it is the only loop: it takes whatever waits in the
//! [`mailbox`], hands it to the core, then carries out the effects of the whole batch at once. Nothing here knows what the state machine does.
//!
//! # One proposal
//! `Event::Propose` joins the batch; [`Core::flush`] stamps the batch with log time and proposes it as one entry; Raft persists and sends it;
//! once it is committed and durable here it is applied, and every waiting caller gets the outcome of its command.
//!
//! # Snapshots
//! A follower that lacks what is compacted gets the saved rows instead: [`snapshots`].
//!
//! # What is left out
//! Deciding which partition a request belongs to (the node's router), and what to do when storage fails (the node stops).

pub mod actor;
pub mod core;
pub mod event;
pub mod log_clock;
pub mod mailbox;
pub mod observer;
pub mod pending;
pub mod snapshots;

pub use actor::{Actor, Outbound, Shared};
pub use core::{AppliedEntry, Core, Effects, Members};
pub use event::{AdminRefusal, AdminReply, Event, Refusal, Reply};
pub use log_clock::Now;
pub use mailbox::Mailbox;
pub use observer::{Applied, Observer};
