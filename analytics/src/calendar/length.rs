//! How long an event lasts: by the clock on the wall, by the stopwatch, or first one and then the other.

use jiff::SignedDuration;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use schemas::Micros;
use schemas::time::SECOND;

use super::error::Complaint;
use super::zones;

/// The longest that an event may last, seconds: a year. Longer is not an event, and every question would look back as far.
pub(super) const LENGTH_S_MAX: i64 = 366 * 86_400;

/// The length of each occurrence of an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Length {
    /// Seconds on the clock on the wall: a day is from midnight to midnight, however long it is.
    pub(super) civil_s: i64,
    /// Seconds by the stopwatch, after those.
    pub(super) exact_s: i64,
}

impl Length {
    pub(super) const ONE_DAY: Length = Length {
        civil_s: 86_400,
        exact_s: 0,
    };

    /// The end of an occurrence that starts at a civil time, exclusive, microseconds.
    pub(super) fn end(self, zone: &TimeZone, start: DateTime) -> Option<Micros> {
        let civil = start
            .checked_add(SignedDuration::from_secs(self.civil_s))
            .ok()?;
        Some(zones::instant(zone, civil)? + self.exact_s * SECOND)
    }

    /// Checks that an event lasts for a while, and not for years.
    pub(super) fn check(self) -> Result<Self, Complaint> {
        let total = self.civil_s.saturating_add(self.exact_s);
        if total <= 0 {
            Err(Complaint::new(
                "an event that ends when it starts, or before",
                "an end after the start",
                "Give it an end or a duration.",
            ))
        } else if total > LENGTH_S_MAX {
            Err(Complaint::new(
                format!("an event that lasts {} days", total / 86_400),
                "at most 366",
                "Split it, or let it recur.",
            ))
        } else {
            Ok(self)
        }
    }

    /// Reads a duration of RFC 5545: `P1D`, `PT90M`, `P2W`, `P1DT12H`.
    pub(super) fn of_ical(text: &str) -> Option<Self> {
        let text = text.strip_prefix('+').unwrap_or(text);
        let mut rest = text.strip_prefix('P')?;
        let (mut length, mut in_time, mut parts) = (Length::default(), false, 0);
        while !rest.is_empty() {
            if let Some(after) = rest.strip_prefix('T') {
                if in_time {
                    return None;
                }
                (in_time, rest) = (true, after);
                continue;
            }
            let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
            let number: i64 = rest[..digits].parse().ok()?;
            let unit = *rest.as_bytes().get(digits)?;
            let (civil, seconds) = match (unit, in_time) {
                (b'W', false) => (true, 7 * 86_400),
                (b'D', false) => (true, 86_400),
                (b'H', true) => (false, 3600),
                (b'M', true) => (false, 60),
                (b'S', true) => (false, 1),
                _ => return None,
            };
            length.add(number, seconds, civil)?;
            // `unit` is ASCII, so the next byte starts a character.
            rest = &rest[digits + 1..];
            parts += 1;
        }
        (parts > 0).then_some(length)
    }

    /// Reads a duration as people write it: `90m`, `1d`, `1d 12h`, `2w`, `30s`.
    pub(super) fn of_words(text: &str) -> Option<Self> {
        let (mut length, mut rest) = (Length::default(), text.trim());
        if rest.is_empty() {
            return None;
        }
        while !rest.is_empty() {
            let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
            let number: i64 = rest[..digits].parse().ok()?;
            let (civil, seconds) = match rest.as_bytes().get(digits)? {
                b'w' => (true, 7 * 86_400),
                b'd' => (true, 86_400),
                b'h' => (false, 3600),
                b'm' => (false, 60),
                b's' => (false, 1),
                _ => return None,
            };
            length.add(number, seconds, civil)?;
            rest = rest[digits + 1..].trim_start();
        }
        Some(length)
    }

    fn add(&mut self, number: i64, unit_s: i64, civil: bool) -> Option<()> {
        let part = number.checked_mul(unit_s)?;
        let sum = if civil {
            &mut self.civil_s
        } else {
            &mut self.exact_s
        };
        *sum = sum.checked_add(part)?;
        Some(())
    }
}
