//! Time as the whole system counts it: microseconds since 1970 UTC, half-open windows, five resolutions, one watermark.

use serde::{Deserialize, Serialize};

/// Microseconds since 1970-01-01T00:00:00Z. A plain number on the hot path; named here once.
pub type Micros = i64;

/// One second in microseconds.
pub const SECOND: Micros = 1_000_000;
/// One minute in microseconds.
pub const MINUTE: Micros = 60 * SECOND;
/// One hour in microseconds.
pub const HOUR: Micros = 60 * MINUTE;
/// One day in microseconds.
pub const DAY: Micros = 24 * HOUR;

/// The earliest sample time taken, inclusive: 1970-01-01. Earlier times are unset or broken clocks.
pub const TIME_MIN: Micros = 0;
/// The latest sample time that a column can carry, exclusive: 2262-01-01. Leaves room for window arithmetic and nanosecond readers.
pub const TIME_MAX: Micros = 9_214_646_400 * SECOND;

/// The width of a rollup window.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Resolution {
    /// 10 seconds: the width that samples are folded into; all others are merged from the one below.
    #[serde(rename = "10s")]
    TenSeconds,
    /// 1 minute.
    #[serde(rename = "1m")]
    Minute,
    /// 5 minutes.
    #[serde(rename = "5m")]
    FiveMinutes,
    /// 1 hour.
    #[serde(rename = "1h")]
    Hour,
    /// 1 day, UTC.
    #[serde(rename = "1d")]
    Day,
}

impl Resolution {
    /// All resolutions, finest first.
    pub const ALL: [Resolution; 5] = [
        Resolution::TenSeconds,
        Resolution::Minute,
        Resolution::FiveMinutes,
        Resolution::Hour,
        Resolution::Day,
    ];

    /// The width in microseconds.
    pub fn micros(self) -> Micros {
        match self {
            Resolution::TenSeconds => 10 * SECOND,
            Resolution::Minute => MINUTE,
            Resolution::FiveMinutes => 5 * MINUTE,
            Resolution::Hour => HOUR,
            Resolution::Day => DAY,
        }
    }

    /// `10s`, `1m`, `5m`, `1h`, `1d`: as in table names and file paths.
    pub fn name(self) -> &'static str {
        match self {
            Resolution::TenSeconds => "10s",
            Resolution::Minute => "1m",
            Resolution::FiveMinutes => "5m",
            Resolution::Hour => "1h",
            Resolution::Day => "1d",
        }
    }

    /// The window of this width that holds a time.
    pub fn window(self, time: Micros) -> Window {
        let width = self.micros();
        let start = time.div_euclid(width) * width;
        Window {
            start,
            end: start + width,
        }
    }
}

/// A half-open stretch of event time: from `start` (inclusive) to `end` (exclusive), microseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Window {
    /// First microsecond inside.
    pub start: Micros,
    /// First microsecond after.
    pub end: Micros,
}

impl Window {
    /// Whether a time is inside.
    pub fn contains(&self, time: Micros) -> bool {
        self.start <= time && time < self.end
    }
}

/// Event time up to which a partition is complete: windows that end at or before it are sealed. Never moves back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Watermark(pub Micros);

impl Watermark {
    /// Before all samples.
    pub const START: Watermark = Watermark(Micros::MIN);

    /// Whether a window is sealed.
    pub fn seals(self, window: Window) -> bool {
        window.end <= self.0
    }
}

/// A time as RFC 3339 in UTC with microseconds: `2026-11-21T07:31:56.000000Z`. Times outside the years 0–9999 are cut to them.
pub fn rfc3339(time: Micros) -> String {
    const SECONDS_MIN: i64 = -62_167_219_200;
    const SECONDS_MAX: i64 = 253_402_300_799;
    let (seconds, micros) = (
        time.div_euclid(1_000_000).clamp(SECONDS_MIN, SECONDS_MAX),
        time.rem_euclid(1_000_000),
    );
    let (days, second) = (seconds.div_euclid(86_400), seconds.rem_euclid(86_400));
    // Civil date from days (Hinnant 2013, "chrono-compatible low-level date algorithms"): years begin in March, eras have 400 years.
    let shifted = days + 719_468;
    let (era, day_of_era) = (shifted.div_euclid(146_097), shifted.rem_euclid(146_097));
    let year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 {
        month_from_march + 3
    } else {
        month_from_march - 9
    };
    let year = era * 400 + year_of_era + i64::from(month <= 2);
    let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{micros:06}Z")
}

/// Writes a time as [`rfc3339`] does, for serde's `serialize_with`.
///
/// # Errors
/// Those of the serializer.
pub fn serialize_rfc3339<S: serde::Serializer>(
    time: &Micros,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&rfc3339(*time))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_written_as_the_calendar_has_them() {
        // Reference: Python datetime.fromtimestamp(…, timezone.utc).
        assert_eq!(rfc3339(0), "1970-01-01T00:00:00.000000Z");
        assert_eq!(
            rfc3339(1_795_246_316_000_001),
            "2026-11-21T07:31:56.000001Z"
        );
        assert_eq!(rfc3339(951_782_400_000_000), "2000-02-29T00:00:00.000000Z");
        assert_eq!(rfc3339(-1), "1969-12-31T23:59:59.999999Z");
        assert_eq!(rfc3339(TIME_MAX - 1), "2261-12-31T23:59:59.999999Z");
        assert_eq!(rfc3339(i64::MAX)[..4], *"9999");
        assert_eq!(rfc3339(i64::MIN)[..4], *"0000");
    }

    #[test]
    fn windows_are_half_open_and_aligned_also_before_1970() {
        let w = Resolution::TenSeconds.window(25 * SECOND);
        assert_eq!(
            w,
            Window {
                start: 20 * SECOND,
                end: 30 * SECOND
            }
        );
        assert!(w.contains(20 * SECOND) && !w.contains(30 * SECOND));
        assert_eq!(
            Resolution::Minute.window(-1),
            Window {
                start: -MINUTE,
                end: 0
            }
        );
    }

    #[test]
    fn each_resolution_is_a_whole_number_of_the_one_below() {
        for pair in Resolution::ALL.windows(2) {
            assert_eq!(pair[1].micros() % pair[0].micros(), 0);
        }
    }
}
