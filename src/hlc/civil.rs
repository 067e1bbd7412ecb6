//! A time of day in words: RFC 3339 in UTC, from milliseconds since the Unix epoch.
//!
//! Only for display, so it counts years and months one by one. It knows no leap seconds, as Unix time does not, and reads nothing back.

use std::fmt;

/// The calendar repeats itself after so many days: 400 years.
const CYCLE_DAYS: u64 = 146_097;
const CYCLE_YEARS: u64 = 400;

/// Writes `2026-11-26T10:00:00.123Z`.
pub(super) fn write_utc(to: &mut impl fmt::Write, millis: u64) -> fmt::Result {
    let (seconds, millis) = (millis / 1000, millis % 1000);
    let (minutes, second) = (seconds / 60, seconds % 60);
    let (hours, minute) = (minutes / 60, minutes % 60);
    let (days, hour) = (hours / 24, hours % 24);
    let (year, month, day) = date(days);
    write!(
        to,
        "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{millis:03}Z"
    )
}

/// The year, month and day, `days` after 1970-01-01.
pub(super) const fn date(days: u64) -> (u64, u64, u64) {
    let mut year = 1970 + days / CYCLE_DAYS * CYCLE_YEARS;
    let mut left = days % CYCLE_DAYS;
    while left >= days_of_year(year) {
        left -= days_of_year(year);
        year += 1;
    }
    let mut month = 1;
    while left >= days_of_month(year, month) {
        left -= days_of_month(year, month);
        month += 1;
    }
    (year, month, left + 1)
}

const fn is_leap(year: u64) -> bool {
    year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400))
}

const fn days_of_year(year: u64) -> u64 {
    if is_leap(year) { 366 } else { 365 }
}

const fn days_of_month(year: u64, month: u64) -> u64 {
    match month {
        2 if is_leap(year) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}
