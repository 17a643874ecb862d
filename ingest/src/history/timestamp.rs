//! Times as people write them in files: RFC 3339, a date and time in UTC, or an epoch number whose size tells its unit.

use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use schemas::Micros;
use schemas::time::{TIME_MAX, TIME_MIN};

/// Epoch numbers below this are seconds (until the year 5138); from here to [`MILLIS_MAX`] milliseconds. A time in milliseconds before
/// March 1973 is therefore taken for seconds.
const SECONDS_MAX: i64 = 100_000_000_000;
/// Below this: milliseconds; from here to [`MICROS_MAX`]: microseconds.
const MILLIS_MAX: i64 = 100_000_000_000_000;
/// Below this: microseconds; from here on: nanoseconds.
const MICROS_MAX: i64 = 100_000_000_000_000_000;

/// What a time cell may hold, for messages.
const EXPECTED: &str = "a time such as `2026-03-01T12:00:00Z`, `2026-03-01 12:00:00` (UTC) or an epoch number in s, ms, µs or ns";

/// Reads a time.
///
/// # Errors
/// What is wrong with it, as the end of a sentence that names the column: `expected …, found …`.
pub fn parse_time(cell: &str) -> Result<Micros, String> {
    let text = cell.trim();
    let micros = if text.starts_with(|c: char| c.is_ascii_digit() || c == '-')
        && text[1..]
            .bytes()
            .all(|byte| byte.is_ascii_digit() || byte == b'.')
    {
        from_number(text)
    } else {
        from_date(text)
    };
    checked(micros.ok_or_else(|| unreadable(text))?, text)
}

/// Reads an epoch number: its size tells its unit.
///
/// # Errors
/// As [`parse_time`].
pub(super) fn from_epoch(number: i64) -> Result<Micros, String> {
    checked(scaled(number, 0), &number.to_string())
}

/// A time that a sample can have.
pub(super) fn checked(micros: Micros, found: &str) -> Result<Micros, String> {
    if (TIME_MIN..TIME_MAX).contains(&micros) {
        Ok(micros)
    } else {
        Err(format!(
            "expected a time from 1970 to 2261, found `{}`",
            shortened(found)
        ))
    }
}

/// A text for a message: its beginning, without line breaks.
pub(super) fn shortened(text: &str) -> String {
    const SHOWN_CHARS: usize = 60;
    let mut shown: String = text
        .chars()
        .take(SHOWN_CHARS)
        .map(|c| if c.is_control() { ' ' } else { c })
        .collect();
    if text.chars().nth(SHOWN_CHARS).is_some() {
        shown.push('…');
    }
    shown
}

fn unreadable(text: &str) -> String {
    if text.is_empty() {
        return format!("expected {EXPECTED}, found an empty cell");
    }
    if is_compact_date(text) {
        return format!(
            "expected {EXPECTED}, found `{text}`, which reads as a date and as seconds; write dates as `2026-03-01`"
        );
    }
    format!("expected {EXPECTED}, found `{}`", shortened(text))
}

/// `20260301`: as seconds it would be a day in 1970.
fn is_compact_date(text: &str) -> bool {
    let number = |range: std::ops::Range<usize>| text.get(range)?.parse::<u32>().ok();
    text.len() == 8
        && number(0..4).is_some_and(|year| (1900..2262).contains(&year))
        && number(4..6).is_some_and(|month| (1..=12).contains(&month))
        && number(6..8).is_some_and(|day| (1..=31).contains(&day))
}

fn from_number(text: &str) -> Option<Micros> {
    if is_compact_date(text) {
        return None;
    }
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    if !fraction.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    // Billionths of the unit; further digits are below what any clock tells.
    let digits = &fraction[..fraction.len().min(9)];
    let billionths: i64 = format!("{digits:0<9}").parse().ok()?;
    let sign = if whole.starts_with('-') { -1 } else { 1 };
    Some(scaled(whole.parse().ok()?, sign * billionths))
}

/// A number and billionths of one, in the unit that its size tells, as microseconds; towards the past.
fn scaled(number: i64, billionths: i64) -> Micros {
    let nanoseconds_per_unit: i128 = match number.saturating_abs() {
        ..SECONDS_MAX => 1_000_000_000,
        SECONDS_MAX..MILLIS_MAX => 1_000_000,
        MILLIS_MAX..MICROS_MAX => 1_000,
        _ => 1,
    };
    let nanoseconds = i128::from(number) * nanoseconds_per_unit
        + i128::from(billionths) * nanoseconds_per_unit / 1_000_000_000;
    // At most 10^11 s: fits 64 bits of microseconds.
    nanoseconds.div_euclid(1_000) as Micros
}

fn from_date(text: &str) -> Option<Micros> {
    if let Ok(instant) = text.parse::<Timestamp>() {
        return Some(instant.as_microsecond());
    }
    let civil: DateTime = text.parse().ok()?;
    let instant = civil.to_zoned(TimeZone::UTC).ok()?.timestamp();
    Some(instant.as_microsecond())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 2026-03-01T12:00:00Z in seconds.
    const NOON: i64 = 1_772_366_400;

    #[test]
    fn one_instant_in_all_its_forms() {
        for text in [
            "2026-03-01T12:00:00Z",
            "2026-03-01t12:00:00z",
            "2026-03-01 12:00:00",
            " 2026-03-01 12:00:00 ",
            "2026-03-01T12:00:00",
            "2026-03-01T14:00:00+02:00",
            "2026-03-01 12:00:00.000000",
            "1772366400",
            "1772366400.0",
            "1772366400.",
            "1772366400000",
            "1772366400000000",
            "1772366400000000000",
        ] {
            assert_eq!(parse_time(text), Ok(NOON * 1_000_000), "{text}");
        }
        assert_eq!(parse_time("2026-03-01"), Ok((NOON - 43_200) * 1_000_000));
    }

    #[test]
    fn fractions_are_kept_to_the_microsecond() {
        for (text, micros) in [
            ("1772366400.25", 250_000),
            ("1772366400.123456789", 123_456),
            ("1772366400123.5", 123_500),
            ("2026-03-01T12:00:00.000001Z", 1),
            ("1772366400000000999", 0),
        ] {
            assert_eq!(parse_time(text), Ok(NOON * 1_000_000 + micros), "{text}");
        }
        assert_eq!(parse_time("0"), Ok(0));
        assert_eq!(parse_time("17"), Ok(17_000_000));
    }

    #[test]
    fn what_is_no_time_is_refused_with_what_was_found() {
        for (text, said) in [
            ("", "found an empty cell"),
            ("yesterday", "found `yesterday`"),
            ("01/03/2026 12:00", "found `01/03/2026 12:00`"),
            ("1.7e9", "found `1.7e9`"),
            ("1772366400.2.5", "found `1772366400.2.5`"),
            ("20260301", "reads as a date and as seconds"),
            ("-5", "from 1970 to 2261, found `-5`"),
            ("-0.5", "from 1970 to 2261"),
            ("1969-12-31T23:59:59Z", "from 1970 to 2261"),
            ("9999999999", "from 1970 to 2261"),
            ("99999999999999999999", "found `99999999999999999999`"),
            ("2026-02-30 00:00:00", "found `2026-02-30 00:00:00`"),
            ("2026-03-01 25:00:00", "found `2026-03-01 25:00:00`"),
            ("é", "found `é`"),
        ] {
            let error = parse_time(text).unwrap_err();
            assert!(error.contains(said), "{text}: {error}");
        }
    }
}
