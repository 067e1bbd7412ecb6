//! What an exit code means: the contract that scripts rely on.
//!
//! The numbers follow `sysexits.h` where it has a word, and shells where a command was run. A failure that may or may not have taken effect
//! has a code of its own: it is never reported as a yes or a no.

use std::fmt;
use std::process::ExitCode;

use crate::client::ClientError;
use crate::config::ConfigError;

/// How `kapu` ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// 0: done; or yes.
    Yes,
    /// 1: no (busy, not held, another owner); or it could not start, with the reason on stderr.
    No,
    /// 2: the arguments or the settings cannot be used. Nothing was tried.
    Usage,
    /// 69: no node could be reached within `--timeout`. Nothing happened.
    Unreachable,
    /// 70: the request was sent, and whether it takes effect is not known.
    Unknown,
    /// 74: the node failed while it ran.
    NodeFailed,
    /// 75: the lock was not had in the time of `--wait`.
    NotHad,
    /// 76: the lock was lost while the command ran; the command was stopped.
    LockLost,
    /// 126: the command cannot be executed.
    NotExecutable,
    /// 127: the command was not found.
    NotFound,
    /// The command's own code.
    Command(u8),
    /// 128 and the signal's number: the command, or `kapu` itself, was ended by a signal.
    Signal(u8),
}

impl Exit {
    /// The number that the system is told.
    #[must_use]
    pub const fn code(self) -> u8 {
        match self {
            Self::Yes => 0,
            Self::No => 1,
            Self::Usage => 2,
            Self::Unreachable => 69,
            Self::Unknown => 70,
            Self::NodeFailed => 74,
            Self::NotHad => 75,
            Self::LockLost => 76,
            Self::NotExecutable => 126,
            Self::NotFound => 127,
            Self::Command(code) => code,
            Self::Signal(number) => 128 + (number & 0x7f),
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit.code())
    }
}

/// Why a command ended early: one line for people, one code for scripts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// The code.
    pub exit: Exit,
    /// The line, without the name of the program.
    pub message: String,
}

impl Failure {
    /// A failure in words.
    pub fn new(exit: Exit, message: impl fmt::Display) -> Self {
        Self {
            exit,
            message: message.to_string(),
        }
    }
}

impl From<ConfigError> for Failure {
    fn from(error: ConfigError) -> Self {
        Self::new(Exit::Usage, error)
    }
}

impl From<ClientError> for Failure {
    fn from(error: ClientError) -> Self {
        let exit = match error {
            ClientError::Unreachable { .. } => Exit::Unreachable,
            ClientError::Unknown { .. } => Exit::Unknown,
            // Everything else is wrong with what was asked for.
            _ => Exit::Usage,
        };
        Self::new(exit, error)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::types::InvalidInput;

    #[test]
    fn the_codes_are_the_ones_that_scripts_rely_on() {
        let codes = [
            (Exit::Yes, 0),
            (Exit::No, 1),
            (Exit::Usage, 2),
            (Exit::Unreachable, 69),
            (Exit::Unknown, 70),
            (Exit::NodeFailed, 74),
            (Exit::NotHad, 75),
            (Exit::LockLost, 76),
            (Exit::NotExecutable, 126),
            (Exit::NotFound, 127),
            (Exit::Command(7), 7),
            (Exit::Signal(9), 137),
            (Exit::Signal(15), 143),
        ];
        for (exit, code) in codes {
            assert_eq!(exit.code(), code, "{exit:?}");
        }
    }

    #[test]
    fn an_indefinite_failure_is_neither_a_yes_nor_a_no() {
        let failure = Failure::from(ClientError::Unknown {
            last: "the stream broke".into(),
        });
        assert_eq!(failure.exit, Exit::Unknown);
        assert!(failure.message.contains("unknown whether"));
    }

    #[test]
    fn definite_failures_keep_their_kind() {
        let unreachable = ClientError::Unreachable {
            endpoints: "127.0.0.1:1".into(),
            timeout: Duration::from_secs(1),
            last: "connection refused".into(),
        };
        assert_eq!(Failure::from(unreachable).exit, Exit::Unreachable);
        let invalid = ClientError::InvalidInput(InvalidInput::EmptyResource);
        assert_eq!(Failure::from(invalid).exit, Exit::Usage);
    }
}
