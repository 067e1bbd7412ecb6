//! The client library: from the name of a lock to a guard that knows when it is lost.
//!
//! ```text
//!  Client::lock("name") ─▶ acquire: tries, pauses ─▶ guard: renewal, loss, release
//!                               │                        │ Extend, Unlock
//!                               ▼ TryLock                ▼
//!                      client: attempts until there is an outcome
//!                         │ which endpoint?    │ again, and when?   │ until when is it certain?
//!                         ▼                    ▼                    ▼
//!                      router (pure)        retry (pure)         lease (pure)
//!                         │ one attempt
//!                         ▼
//!                      Caller: grpc in production, anything in simulation
//! ```
//!
//! What it promises, and what each promise rests on:
//!
//! - **A retry is always of the same owner.** Commands are idempotent by owner, so a command whose reply was lost is simply sent again.
//! - **Definite and indefinite are never mixed.** Once an attempt of a command may have taken effect, only an outcome of a later attempt
//!   ends the doubt; else the operation ends as [`ClientError::Unknown`]. Nothing indefinite is tried again under another owner.
//! - **Nobody unknown holds a lock.** An acquisition that ends without a guard, or is dropped half-way, is undone in the background. An
//!   attempt that the network delivers after that can hold the lock until its lease ends, and no longer.
//! - **A guard is lost before its lease ends.** It counts from before the answered attempt was sent, less an allowance for drift, on a
//!   clock that goes on while the machine sleeps. A guard that was lost once is lost for good.
//! - **The time allowed is kept.** One attempt takes part of it, so a node that hangs costs seconds, not the operation.
//!
//! Left out on purpose: any queue of waiters (the server has none yet, so waiting is polling with jitter), any cache of who holds what,
//! and any promise that work stops when the lock is lost. Whoever writes to a resource that must be safe from a late holder sends the
//! fencing token along, and the resource compares.

mod acquire;
mod admin;
mod caller;
#[expect(
    clippy::module_inception,
    reason = "the module is named after the type that it is read for"
)]
mod client;
mod connect;
mod endpoint;
mod error;
mod grpc;
mod guard;
mod lease;
mod lookout;
mod retry;
mod router;

pub use acquire::LockBuilder;
pub use caller::{CallError, Caller};
pub use client::{Client, ClientEnv};
pub use error::ClientError;
pub use grpc::GrpcCaller;
pub use guard::LockGuard;
