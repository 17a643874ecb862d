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

#[cfg(test)]
mod tests {
    use super::*;

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
