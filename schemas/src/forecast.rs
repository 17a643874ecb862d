//! What a series is expected to do next, and how good that turned out to be. Forecasts leave as JSON: `schemas/json/forecast.schema.json`.

use serde::Serialize;

use crate::time::{Micros, SECOND, serialize_rfc3339};
use crate::{Labels, SeriesId};

/// The share of outcomes that each band of a forecast should hold, from the inner to the outer one.
pub const BAND_COVERAGES: [f64; 3] = [0.50, 0.80, 0.95];

/// For which stretches a forecast of the time to full says how probable it is that the ceiling is reached within them, seconds:
/// 1 h, 4 h, 24 h, 3 d, 14 d, 30 d. An hour is what is left to act at once, a month what is left to buy something.
pub const FULL_WITHIN_S: [u64; 6] = [3_600, 14_400, 86_400, 259_200, 1_209_600, 2_592_000];

/// A stretch of values that should hold a share of the outcomes.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Band {
    /// 0–1: the share of outcomes that it should hold; one of [`BAND_COVERAGES`].
    pub coverage: f64,
    /// Its lower edge.
    pub lower: f64,
    /// Its upper edge, ≥ `lower`.
    pub upper: f64,
}

/// What a forecaster has learned from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct TrainedOn {
    /// From the first to the last sample, seconds.
    pub span_s: u64,
    /// How many samples.
    pub samples: u64,
}

/// When something with a ceiling will be full, in a word.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum FullAnswer {
    /// It is full now.
    AlreadyFull,
    /// It empties.
    Shrinking,
    /// It neither fills nor empties.
    NoTrend,
    /// Too little of it is known.
    NotEnoughHistory,
    /// It fills: the dates say when it will be full.
    FullIn,
}

impl FullAnswer {
    /// As it is written: `already_full`, `shrinking`, `no_trend`, `not_enough_history`, `full_in`.
    pub fn name(self) -> &'static str {
        match self {
            FullAnswer::AlreadyFull => "already_full",
            FullAnswer::Shrinking => "shrinking",
            FullAnswer::NoTrend => "no_trend",
            FullAnswer::NotEnoughHistory => "not_enough_history",
            FullAnswer::FullIn => "full_in",
        }
    }
}

/// How probable it is that the ceiling is reached within a stretch.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct FullWithin {
    /// The stretch from `made_at` on, seconds; one of [`FULL_WITHIN_S`].
    pub within_s: u64,
    /// 0–1.
    pub probability: f64,
}

/// The dates before which the ceiling is reached with 10, 50 and 90 % probability; `None` where it is not that probable within any time looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct FullDates {
    /// Reached before this with 10 %.
    #[serde(serialize_with = "serialize_date")]
    pub p10: Option<Micros>,
    /// Reached before this with 50 %.
    #[serde(serialize_with = "serialize_date")]
    pub p50: Option<Micros>,
    /// Reached before this with 90 %.
    #[serde(serialize_with = "serialize_date")]
    pub p90: Option<Micros>,
}

fn serialize_date<S: serde::Serializer>(
    date: &Option<Micros>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    match date {
        Some(time) => serialize_rfc3339(time, serializer),
        None => serializer.serialize_none(),
    }
}

/// What is forecast: each kind has its own fields beside the common ones of [`Forecast`].
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Outlook {
    /// The value at `time`.
    Value {
        /// As probable to be passed as not.
        median: f64,
        /// One band per share of [`BAND_COVERAGES`], in that order; an outer one holds the inner ones.
        bands: [Band; 3],
    },
    /// When the ceiling is reached. `time` is the end of what is looked at: the last of [`FULL_WITHIN_S`].
    TimeToFull {
        /// In a word.
        answer: FullAnswer,
        /// How much is used, in the metric's unit.
        used: f64,
        /// How much there is, in the same unit.
        ceiling: f64,
        /// One per stretch of [`FULL_WITHIN_S`], in that order; never falling.
        p_full: [FullWithin; 6],
        /// When.
        dates: FullDates,
    },
}

impl Outlook {
    /// The kind as it is written: `value`, `time_to_full`.
    pub fn kind(&self) -> &'static str {
        match self {
            Outlook::Value { .. } => "value",
            Outlook::TimeToFull { .. } => "time_to_full",
        }
    }
}

/// What a series is expected to do.
///
/// `event_id` is a function of the rule, the kind, the series, `made_at` and `time`: sent again after a crash, it has the same id.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Forecast {
    /// 32 hexadecimal digits, the same each time this event is computed.
    pub event_id: String,
    /// The series; of a time to full, the one that says how much is used.
    pub series_id: SeriesId,
    /// Its metric.
    pub metric: String,
    /// Its labels.
    pub labels: Labels,
    /// The end of what it was made from, event time, microseconds; as JSON, RFC 3339.
    #[serde(serialize_with = "serialize_rfc3339")]
    pub made_at: Micros,
    /// The time forecast for, microseconds; as JSON, RFC 3339.
    #[serde(serialize_with = "serialize_rfc3339")]
    pub time: Micros,
    /// From `made_at` to `time`, seconds.
    pub horizon_s: u64,
    /// What is forecast.
    #[serde(flatten)]
    pub outlook: Outlook,
    /// The method's name.
    pub method: String,
    /// What it has learned from.
    pub trained_on: TrainedOn,
    /// 0–1: how much of what the method needs it has seen.
    pub trust: f64,
    /// One sentence for a person.
    pub explanation: String,
}

impl Forecast {
    /// Whole seconds from one time to a later one; 0 if it is not later.
    pub fn horizon_s(made_at: Micros, time: Micros) -> u64 {
        u64::try_from(time.saturating_sub(made_at) / SECOND).unwrap_or(0)
    }
}

/// What came of what was forecast.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Outcome {
    /// Of a forecast of the value.
    Value {
        /// The median that was forecast.
        median: f64,
        /// Mean pinball loss over the median and the edges of the bands (Koenker & Bassett 1978), in the metric's unit; 0 is perfect.
        pinball_loss: f64,
        /// Whether the value was inside each band, in the order of [`BAND_COVERAGES`].
        covered: [bool; 3],
    },
    /// Of a forecast of the time to full, one per stretch of [`FULL_WITHIN_S`].
    TimeToFull {
        /// The probability that was forecast.
        probability: f64,
        /// Whether the ceiling was reached.
        full: bool,
        /// (probability − full)² (Brier 1950): 0 is perfect, 0.25 what a coin is worth.
        brier: f64,
    },
}

impl Outcome {
    /// The kind of the forecast: `value`, `time_to_full`.
    pub fn kind(&self) -> &'static str {
        match self {
            Outcome::Value { .. } => "value",
            Outcome::TimeToFull { .. } => "time_to_full",
        }
    }
}

/// A forecast whose horizon has passed, beside what came: a row of the table `forecast_scores`.
#[derive(Debug, Clone, PartialEq)]
pub struct ForecastScore {
    /// The `event_id` of the forecast.
    pub forecast_id: String,
    /// Its series.
    pub series_id: SeriesId,
    /// Its metric.
    pub metric: String,
    /// Its labels.
    pub labels: Labels,
    /// When it was made, microseconds.
    pub made_at: Micros,
    /// The time that was forecast for (of a time to full: the end of the stretch), microseconds.
    pub time: Micros,
    /// From `made_at` to `time`, seconds.
    pub horizon_s: u64,
    /// The method's name.
    pub method: String,
    /// The value that came; of a time to full, how much was used at `time`, or the first value at or above the ceiling.
    pub observed: f64,
    /// How good it was.
    pub outcome: Outcome,
}
