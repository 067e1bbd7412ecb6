//! The parts of the simulation, in reading order: what is drawn, the world, what happens in it, what is seen, what must hold.

pub mod options;
pub mod plan;

pub mod trace;
#[cfg(madsim)]
pub mod world;

#[cfg(madsim)]
pub mod cluster;
#[cfg(madsim)]
pub mod nemesis;
#[cfg(madsim)]
pub mod record;

pub mod fenced;
#[cfg(madsim)]
pub mod front;
pub mod workload;

pub mod evidence;
pub mod history;

pub mod checkers;
