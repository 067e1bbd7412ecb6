//! Logs: tracing events to stderr, quiet unless asked.
//!
//! `RUST_LOG` says how much, `--log-format` in which shape. stdout is never touched: it belongs to results.

use std::io::{self, IsTerminal};

use tracing_subscriber::EnvFilter;

use crate::cli::exit::{Exit, Failure};

/// What is logged when `RUST_LOG` is not set.
const FILTER_DEFAULT: &str = "warn";

/// The shape of logs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum LogFormat {
    /// Lines for people, coloured on a terminal.
    #[default]
    Text,
    /// One JSON object a line.
    Json,
}

/// Starts to log. To be called once, before anything else.
///
/// # Errors
/// [`Failure`] when `RUST_LOG` cannot be read.
pub fn start(format: LogFormat) -> Result<(), Failure> {
    let filter = filter(std::env::var("RUST_LOG").ok().as_deref())?;
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(io::stderr);
    let started = match format {
        LogFormat::Text => builder.with_ansi(io::stderr().is_terminal()).try_init(),
        LogFormat::Json => builder.json().try_init(),
    };
    started.map_err(|error| Failure::new(Exit::No, format_args!("cannot start to log: {error}")))
}

fn filter(directives: Option<&str>) -> Result<EnvFilter, Failure> {
    let directives = directives.filter(|text| !text.is_empty()).unwrap_or(FILTER_DEFAULT);
    EnvFilter::try_new(directives).map_err(|error| {
        let hint = "give a level (error, warn, info, debug, trace) or target=level";
        Failure::new(
            Exit::Usage,
            format_args!("RUST_LOG={directives:?} cannot be read: {error}; {hint}"),
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn logs_are_quiet_unless_asked() {
        for unset in [None, Some("")] {
            assert_eq!(filter(unset).unwrap().to_string(), "warn");
        }
        assert_eq!(filter(Some("kapu=debug")).unwrap().to_string(), "kapu=debug");
    }

    #[test]
    fn a_filter_that_cannot_be_read_is_a_usage_error_with_its_value() {
        let failure = filter(Some("kapu=loud")).unwrap_err();
        assert_eq!(failure.exit, Exit::Usage);
        assert!(failure.message.contains("kapu=loud"), "{}", failure.message);
    }
}
