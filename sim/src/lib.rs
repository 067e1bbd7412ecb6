//! The parts of the simulation, in reading order: what is drawn, the world, what happens in it, what is seen, what must hold.

pub mod plan;

pub mod fenced;
pub mod workload;

pub mod evidence;
pub mod history;

pub mod checkers;
