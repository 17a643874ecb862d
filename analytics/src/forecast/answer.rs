//! What a forecast says: a median and three bands for each step, and what they rest on.

use schemas::Micros;
use serde::{Deserialize, Serialize};

/// The share of outcomes that each of the bands promises to hold, narrowest first.
pub const COVERAGES: [f64; 3] = [0.50, 0.80, 0.95];

/// How a forecast was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Method {
    /// The streaming default: regressions on the last steps and on those a day and a week ago, weighed by their own past errors.
    SeasonalRegression,
    /// The value of a day ago (the last value, while there is no day): what every other method has to beat.
    SeasonalNaive,
    /// A decomposition into seasons, trend and rest (MSTL), its trend continued by exponential smoothing (ETS). For reports.
    MstlEts,
}

impl Method {
    /// The name in events and tables.
    pub fn name(self) -> &'static str {
        match self {
            Method::SeasonalRegression => "seasonal_regression",
            Method::SeasonalNaive => "seasonal_naive",
            Method::MstlEts => "mstl_ets",
        }
    }
}

/// An interval, both ends included; `lower ≤ upper`, both finite.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Band {
    /// Lower end.
    pub lower: f64,
    /// Upper end.
    pub upper: f64,
}

/// What is expected of one step.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct ForecastStep {
    /// Start of the step.
    pub time: Micros,
    /// As likely to be passed as not.
    pub median: f64,
    /// The bands of [`COVERAGES`], in that order; each holds the one before it and the median.
    pub bands: [Band; 3],
}

/// What a forecast was learned from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct TrainedOn {
    /// From the start of the first step to the end of the last, seconds.
    pub span_s: u64,
    /// Samples within it.
    pub samples: u64,
}

/// The forecast of a series: step by step, from the first step that is not known.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SeriesForecast {
    /// How it was made.
    pub method: Method,
    /// The end of the last step that it knows.
    pub made_at: Micros,
    /// Width of a step, seconds.
    pub step_s: u32,
    /// 0–1: how much of its warm-up the method has seen.
    pub trust: f64,
    /// What it was learned from.
    pub trained_on: TrainedOn,
    /// One after the other, the nearest first.
    pub steps: Vec<ForecastStep>,
}
