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

#[cfg(madsim)]
pub mod scenario;

pub mod fenced;
pub mod front;
pub mod workload;

pub mod report;
pub mod verdict;

pub mod evidence;
pub mod history;

pub mod checkers;

pub mod hashes;

pub mod determinism;
#[cfg(madsim)]
pub mod run;
pub mod watchdog;

pub mod mutants;
pub mod process;
pub mod regressions;
pub mod say;
pub mod shrink;
pub mod swarm;
