//! What goes to stdout. A reader that has gone away (`cargo sim run | head -1`) is no error: whoever wants only the exit code still gets that.

use std::fmt::Display;
use std::io::{self, ErrorKind, Write as _};

/// Writes one line of results to stdout, at once.
pub fn say(line: impl Display) {
    let mut stdout = io::stdout().lock();
    let written = writeln!(stdout, "{line}").and_then(|()| stdout.flush());
    if let Err(error) = written.as_ref()
        && error.kind() != ErrorKind::BrokenPipe
    {
        // Where that cannot be said either, nobody is left to hear it.
        let _ = writeln!(io::stderr(), "kapu-sim: cannot write to stdout: {error}");
    }
}
