//! kapu: a distributed lock service, and the library under it that embeds a multi-partition Raft node for any replicated state machine: [`node`].
//!
//! Modules in reading order; a module imports only modules of the floors below its own.

pub mod clock;
pub mod env;
pub mod mutants;
pub mod types;

pub mod config;
pub mod error;
pub mod hlc;
pub mod limits;
pub mod machine;

pub mod lock;
pub mod raft;

pub mod admin;
pub mod events;
pub mod status;
pub mod storage;
pub mod wire;

pub mod client;
pub mod network;

pub mod node;
pub mod partition;

pub mod api;
pub mod cli;
pub mod service;
