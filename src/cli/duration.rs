//! Durations as people write them: `500ms`, `30s`, `2m`, `1h`.
//!
//! A whole number and a unit, nothing else: a number without a unit means milliseconds to one reader and seconds to another. Every
//! message says the value and what to give.

use std::time::Duration;

use serde::{Deserialize, Deserializer, de};

use crate::limits::DURATION_MS_MAX;

/// A duration that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DurationError {
    /// No number, or no unit that we know.
    #[error("{0:?} is not a duration; give a whole number and a unit: 500ms, 30s, 2m or 1h")]
    Garbage(String),
    /// Less than nothing.
    #[error("{0:?} is negative; give at least 1ms")]
    Negative(String),
    /// Nothing.
    #[error("{0:?} is zero; give at least 1ms")]
    Zero(String),
    /// More than the limit.
    #[error("{0:?} is too long; give at most {hours}h", hours = DURATION_MS_MAX / 3_600_000)]
    Huge(String),
}

/// Reads a duration from 1 ms to 24 h.
///
/// # Errors
/// [`DurationError`] for anything else.
pub fn parse(text: &str) -> Result<Duration, DurationError> {
    match parse_or_zero(text)? {
        Duration::ZERO => Err(DurationError::Zero(text.to_owned())),
        duration => Ok(duration),
    }
}

/// Reads a duration from zero to 24 h; for waits, where zero means not to wait.
///
/// # Errors
/// [`DurationError`] for anything else.
pub fn parse_or_zero(text: &str) -> Result<Duration, DurationError> {
    let unsigned = text.trim();
    if let Some(positive) = unsigned.strip_prefix('-') {
        let negative = positive.starts_with(|c: char| c.is_ascii_digit());
        let error = if negative {
            DurationError::Negative
        } else {
            DurationError::Garbage
        };
        return Err(error(text.to_owned()));
    }
    let digits = unsigned.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = unsigned.split_at(digits);
    let unit_ms: u64 = match unit {
        _ if number.is_empty() => return Err(DurationError::Garbage(text.to_owned())),
        "ms" => 1,
        "s" => 1000,
        "m" => 60 * 1000,
        "h" => 60 * 60 * 1000,
        _ => return Err(DurationError::Garbage(text.to_owned())),
    };
    let ms = number
        .parse::<u64>()
        .ok()
        .and_then(|number| number.checked_mul(unit_ms));
    match ms {
        Some(ms) if ms <= DURATION_MS_MAX => Ok(Duration::from_millis(ms)),
        _ => Err(DurationError::Huge(text.to_owned())),
    }
}

/// Reads an optional duration of a settings file.
///
/// # Errors
/// As [`parse`], in the words of the file's format.
pub fn deserialize_option<'de, D: Deserializer<'de>>(source: D) -> Result<Option<Duration>, D::Error> {
    let text = String::deserialize(source)?;
    parse(&text).map(Some).map_err(de::Error::custom)
}

/// The whole milliseconds of a duration.
#[must_use]
pub fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_unit_is_read() {
        for (text, ms) in [
            ("1ms", 1),
            ("500ms", 500),
            ("30s", 30_000),
            ("2m", 120_000),
            ("1h", 3_600_000),
            (" 5s ", 5000),
        ] {
            assert_eq!(parse(text), Ok(Duration::from_millis(ms)), "{text}");
        }
    }

    #[test]
    fn the_longest_is_a_day_and_one_millisecond_more_is_refused() {
        assert_eq!(parse("24h"), Ok(Duration::from_millis(DURATION_MS_MAX)));
        assert_eq!(parse("86400001ms"), Err(DurationError::Huge("86400001ms".into())));
        for huge in ["25h", "18446744073709551615h", "99999999999999999999999s"] {
            assert_eq!(parse(huge), Err(DurationError::Huge(huge.into())));
        }
    }

    #[test]
    fn zero_is_refused_except_for_a_wait() {
        assert_eq!(parse("0s"), Err(DurationError::Zero("0s".into())));
        assert_eq!(parse_or_zero("0s"), Ok(Duration::ZERO));
    }

    #[test]
    fn negative_durations_are_called_negative() {
        assert_eq!(parse("-5s"), Err(DurationError::Negative("-5s".into())));
        assert_eq!(parse_or_zero("-1ms"), Err(DurationError::Negative("-1ms".into())));
    }

    #[test]
    fn garbage_is_refused_and_the_message_says_what_to_give() {
        for text in [
            "", "30", "s", "1.5s", "1h30m", "5 s", "5S", "--wait", "٣s", "1d", "+5s", "0x5s",
        ] {
            let message = parse(text).unwrap_err().to_string();
            assert!(
                message.contains("is not a duration") && message.contains("30s"),
                "{text}: {message}"
            );
        }
    }
}
