//! Raft.
pub mod message;
pub mod ready;
pub use message::{Body, Entry, HardState, Message, Position};
pub use ready::{Persist, ReadState, Ready, Role, RoleChange};
