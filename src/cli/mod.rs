//! The command line.

/// Parses the arguments, runs the command, and returns the exit code.
#[must_use]
pub fn main() -> std::process::ExitCode {
    std::process::ExitCode::SUCCESS
}
