//! What clients saw: every operation with its call, its return and its outcome, in true simulated time.
//!
//! One JSON object a line when written to a file; `sim/README.md` documents the format for outside checkers. Nothing is judged here: an
//! outcome that contradicts another is written down like any other.

use std::io::{self, BufRead, Write};

use serde::{Deserialize, Serialize};

/// What was asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Op {
    /// Take a lock.
    TryLock,
    /// Prolong it.
    Extend,
    /// Free it.
    Unlock,
    /// Who holds it?
    Get,
}

/// What came back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Seen {
    /// The caller holds it: `token`, `lease_ms`.
    Locked,
    /// Somebody else holds it.
    Busy,
    /// Prolonged: `token`, `lease_ms`.
    Extended,
    /// Freed.
    Unlocked,
    /// Held by `holder`: `token`, `lease_ms`.
    Got,
    /// Nobody holds it.
    LockDoesNotExist,
    /// Somebody else holds what was to be extended or unlocked.
    InvalidOwner,
    /// Definite: nothing happened and nothing will.
    Refused,
    /// May or may not have taken effect, at any time after the call. Also of a client that vanished.
    Unknown,
}

/// One attempt of one client at one endpoint. A retry is another operation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Operation {
    /// Which client, counted from zero.
    pub client: u64,
    /// What was asked.
    pub op: Op,
    /// Of which lock.
    pub resource: String,
    /// For which owner; empty for `Get`.
    pub owner: String,
    /// The lease asked for; zero where none was.
    pub ttl_ms: u64,
    /// When it left the client, in true nanoseconds since the start.
    pub call_ns: u64,
    /// When the client knew the outcome or, with `Unknown`, when it gave up; none when it did neither. `Unknown` bounds nothing: such an
    /// operation may take effect after its return.
    pub return_ns: Option<u64>,
    /// What it knew then.
    pub outcome: Seen,
    /// The fencing token, where the outcome has one.
    pub token: Option<u64>,
    /// What was left of the lease, where the outcome says.
    pub lease_ms: Option<u64>,
    /// Who holds it, with `Got`.
    pub holder: Option<String>,
}

/// One write to the resource that a lock protects: it accepts no token lower than one that it has seen.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FencedWrite {
    /// Who wrote.
    pub client: u64,
    /// To what.
    pub resource: String,
    /// As which owner.
    pub owner: String,
    /// With which token.
    pub token: u64,
    /// When it arrived, in true nanoseconds.
    pub at_ns: u64,
    /// Whether the writer's guard said, at that true moment, that it holds the lock.
    pub believed_held: bool,
    /// Whether the resource took it.
    pub accepted: bool,
}

/// Why a history cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum HistoryError {
    /// The file.
    #[error("cannot read the history: {0}")]
    Io(#[from] io::Error),
    /// One of its lines.
    #[error("line {line} of the history is no operation: {reason}")]
    Line {
        /// Counted from one.
        line: usize,
        /// What is wrong with it.
        reason: serde_json::Error,
    },
}

/// Writes one JSON object a line.
///
/// # Errors
/// When `to` fails.
pub fn write_jsonl(mut to: impl Write, operations: &[Operation]) -> io::Result<()> {
    for operation in operations {
        serde_json::to_writer(&mut to, operation)?;
        to.write_all(b"\n")?;
    }
    to.flush()
}

/// Reads what [`write_jsonl`] wrote; empty lines are passed over.
///
/// # Errors
/// [`HistoryError`] with the first line that is not an operation.
pub fn read_jsonl(from: impl BufRead) -> Result<Vec<Operation>, HistoryError> {
    let mut operations = Vec::new();
    for (index, line) in from.lines().enumerate() {
        let line = line?;
        if line.trim().is_empty() {
            continue;
        }
        let operation = serde_json::from_str(&line);
        operations.push(operation.map_err(|reason| HistoryError::Line {
            line: index + 1,
            reason,
        })?);
    }
    Ok(operations)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn operation(outcome: Seen, return_ns: Option<u64>) -> Operation {
        Operation {
            client: 3,
            op: Op::TryLock,
            resource: "hot \"0\"\n".to_owned(),
            owner: "0a".to_owned(),
            ttl_ms: 250,
            call_ns: 1_000_000_007,
            return_ns,
            outcome,
            token: (outcome == Seen::Locked).then_some(u64::MAX),
            lease_ms: (outcome == Seen::Locked).then_some(250),
            holder: (outcome == Seen::Got).then(|| "somebody".to_owned()),
        }
    }

    #[test]
    fn what_was_written_is_read_again() {
        let all = [
            Seen::Locked,
            Seen::Busy,
            Seen::Extended,
            Seen::Unlocked,
            Seen::Got,
            Seen::LockDoesNotExist,
            Seen::InvalidOwner,
            Seen::Refused,
        ];
        let mut operations: Vec<_> = all.map(|outcome| operation(outcome, Some(2_000_000_009))).into();
        operations.push(operation(Seen::Unknown, None));
        let mut file = Vec::new();
        write_jsonl(&mut file, &operations).unwrap();
        assert_eq!(file.iter().filter(|byte| **byte == b'\n').count(), operations.len());
        assert_eq!(read_jsonl(&file[..]).unwrap(), operations);
    }

    #[test]
    fn a_line_has_the_fields_that_outside_checkers_were_promised() {
        let mut file = Vec::new();
        write_jsonl(&mut file, &[operation(Seen::Unknown, None)]).unwrap();
        let line = String::from_utf8(file).unwrap();
        let expected = concat!(
            r#"{"client":3,"op":"try_lock","resource":"hot \"0\"\n","owner":"0a","ttl_ms":250,"call_ns":1000000007,"#,
            r#""return_ns":null,"outcome":"unknown","token":null,"lease_ms":null,"holder":null}"#,
            "\n"
        );
        assert_eq!(line, expected);
    }

    #[test]
    fn a_line_that_is_no_operation_is_named() {
        let text = b"\n{\"client\":1}\n";
        let error = read_jsonl(&text[..]).unwrap_err().to_string();
        assert!(
            error.starts_with("line 2 of the history is no operation: missing field"),
            "{error}"
        );
    }
}
