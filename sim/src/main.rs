//! The simulation of a whole kapu cluster: one seed, one run.
//!
//! Only the door exists so far. It refuses to pretend: it runs nothing, says so, and exits with a code that no script takes for a pass.

fn main() -> std::process::ExitCode {
    eprintln!("kapu-sim: the simulation is not built yet; nothing was run");
    std::process::ExitCode::from(69)
}
