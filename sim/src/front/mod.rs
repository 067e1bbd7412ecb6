//! The client's way to a node and back, in simulation: the bytes of the public pipeline, over datagrams.
//!
//! ```text
//!  SimCaller ── hello ─────────────▶ serve          a connection to one life of a node
//!            ◀───────────── welcome ──
//!            ── request (pb bytes) ─▶ serve ─▶ LockHandle::submit
//!            ◀─────────── reply (pb) ──
//!            ◀───────────────── reset ── of a life that the request was not for
//! ```
//!
//! Production has gRPC over TCP here, which delivers a request at most once, and never to another process than the one that it was sent
//! to. Datagrams may be doubled and may come late; an answer that was given twice would be nobody's bug. So a request is sent to one life
//! of a node, known by its session, and a node takes each once. What TCP also does, sending again what was lost, is not done: the
//! attempt is lost, and the client must bear it.

#[cfg(madsim)]
mod caller;
pub mod frame;
#[cfg(madsim)]
mod machine;
#[cfg(madsim)]
mod serve;
pub mod taken;

#[cfg(madsim)]
pub use caller::SimCaller;
#[cfg(madsim)]
pub use machine::{SimOutfitter, client_address};
#[cfg(madsim)]
pub use serve::serve;
