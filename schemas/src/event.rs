//! Events that leave on their own topics: anomalies and forecasts. JSON; the JSON Schemas stand in `schemas/json/`.

use serde::{Deserialize, Serialize};

use crate::{Labels, SeriesId};

/// Which side of the expectation a value is on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Direction {
    /// Above the expected band.
    High,
    /// Below the expected band.
    Low,
}

impl Direction {
    /// As it is written: `high` or `low`.
    pub fn name(self) -> &'static str {
        match self {
            Direction::High => "high",
            Direction::Low => "low",
        }
    }
}

/// What one detector thought of the sample.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Vote {
    /// The detector's name: `robust_z_score`, `ewma`.
    pub detector: String,
    /// Its score: 0–1 normal, above 1 anomalous.
    pub score: f64,
    /// What it expected.
    pub expected: f64,
    /// Lower edge of its band.
    pub lower: f64,
    /// Upper edge of its band.
    pub upper: f64,
}

/// A sample that is abnormal for its series, with all that a person needs to judge it.
///
/// `event_id` is a function of the rule, the series and the sample time: sent again after a crash, it has the same id.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Anomaly {
    /// 32 hexadecimal digits, the same each time this event is computed.
    pub event_id: String,
    /// The series.
    pub series_id: SeriesId,
    /// Its metric.
    pub metric: String,
    /// Its labels.
    pub labels: Labels,
    /// Start of the 10 s window that holds the sample, RFC 3339.
    pub window_start: String,
    /// End of that window, RFC 3339.
    pub window_end: String,
    /// Time of the sample, RFC 3339 with microseconds.
    pub time: String,
    /// The sample's value.
    pub observed: f64,
    /// The value that was expected.
    pub expected: f64,
    /// Lower edge of the expected band.
    pub lower: f64,
    /// Upper edge of the expected band.
    pub upper: f64,
    /// 0–1 normal, above 1 anomalous.
    pub score: f64,
    /// Above or below.
    pub direction: Direction,
    /// What each detector thought.
    pub votes: Vec<Vote>,
    /// 0–1: how much of its warm-up the series has seen.
    pub trust: f64,
    /// 0–1: the share of expected samples that arrived of late.
    pub completeness: f64,
    /// One sentence for a person.
    pub explanation: String,
}

/// What a series is expected to do next. (Its makers come with the forecasting work; the words are settled here.)
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Forecast {
    /// 32 hexadecimal digits, the same each time this event is computed.
    pub event_id: String,
    /// The series.
    pub series_id: SeriesId,
    /// Its metric.
    pub metric: String,
    /// Its labels.
    pub labels: Labels,
    /// When the forecast was made (log clock), RFC 3339.
    pub made_at: String,
    /// The time forecast for, RFC 3339.
    pub time: String,
    /// The expected value.
    pub expected: f64,
    /// Lower edge of the interval.
    pub lower: f64,
    /// Upper edge of the interval.
    pub upper: f64,
    /// 0–1: the share of outcomes that the interval should hold.
    pub coverage: f64,
    /// The model's name.
    pub model: String,
    /// One sentence for a person.
    pub explanation: String,
}
