//! The two signals that ask `kapu` to end: SIGINT and SIGTERM.
//!
//! SIGHUP is left alone, so that `nohup kapu lock ..` does what it says.

use tokio::signal::unix::{Signal as Stream, SignalKind, signal};

use crate::cli::exit::{Exit, Failure};

/// Which of the two came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stop {
    /// SIGINT: Ctrl-C.
    Interrupt,
    /// SIGTERM.
    Terminate,
}

impl Stop {
    /// The signal, to be passed on.
    #[must_use]
    pub const fn signal(self) -> rustix::process::Signal {
        match self {
            Self::Interrupt => rustix::process::Signal::INT,
            Self::Terminate => rustix::process::Signal::TERM,
        }
    }

    /// How a program ends that was asked in this way: 130 or 143.
    #[must_use]
    pub fn exit(self) -> Exit {
        Exit::Signal(
            self.signal()
                .as_raw()
                .unsigned_abs()
                .try_into()
                .expect("a signal has a small number"),
        )
    }
}

/// Both signals, caught from the moment this exists.
pub struct Signals {
    interrupt: Stream,
    terminate: Stream,
}

impl Signals {
    /// Starts to catch them. Needs a running tokio runtime.
    ///
    /// # Errors
    /// [`Failure`] when the system refuses.
    pub fn catch() -> Result<Self, Failure> {
        let catch =
            |kind| signal(kind).map_err(|error| Failure::new(Exit::No, format_args!("cannot catch signals: {error}")));
        Ok(Self {
            interrupt: catch(SignalKind::interrupt())?,
            terminate: catch(SignalKind::terminate())?,
        })
    }

    /// Waits for the next one. Dropping the future loses none.
    pub async fn next(&mut self) -> Stop {
        tokio::select! {
            biased;
            _ = self.terminate.recv() => Stop::Terminate,
            _ = self.interrupt.recv() => Stop::Interrupt,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_exit_codes_are_those_of_a_shell() {
        assert_eq!(Stop::Interrupt.exit().code(), 130);
        assert_eq!(Stop::Terminate.exit().code(), 143);
    }
}
