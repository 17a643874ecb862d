//! Forecasts: what a series will do next, with bands that hold what they promise. Pure, without a clock, O(1) per sample.
//!
//! Read in this order: [`ForecastConfig`] (the grid and how far ahead), [`Forecaster`] (what is remembered of a series),
//! [`SeriesForecast`] (its answer), [`ForecastLedger`] (whether such answers were right), [`forecast_by_mstl_ets`] (the slow method of reports).
//!
//! Logarithms and exponentials come from `libm`, so the stream's forecasts have the same bits on every machine; MSTL and ETS use the
//! platform's and may differ in the last digits.
//!
//! ```
//! use analytics::forecast::{ForecastConfig, Forecaster};
//! let config = ForecastConfig::default();
//! let mut forecaster = Forecaster::new(&config).unwrap();
//! let hour = 3_600_000_000;
//! for i in 0..24 * 15 {
//!     forecaster.observe(i * hour, if i % 24 < 12 { 10.0 } else { 50.0 });
//! }
//! let forecast = forecaster.forecast(24).unwrap();
//! assert!((forecast.steps[0].median - 10.0).abs() < 1.0);
//! assert!((forecast.steps[12].median - 50.0).abs() < 1.0);
//! ```

mod answer;
mod backtest;
mod bounds;
mod calibration;
mod config;
mod experts;
mod forecaster;
mod grid;
mod history;
mod ledger;
mod mstl_ets;
mod profiles;
mod regression;

pub use answer::{Band, COVERAGES, ForecastStep, Method, SeriesForecast, TrainedOn};
pub use bounds::Bounds;
pub use config::{ForecastConfig, ForecastConfigError, HORIZON_STEPS_MAX};
pub use forecaster::Forecaster;
pub use ledger::{
    ForecastLedger, ProbabilityRecord, PublishedForecast, STATEMENTS_MAX, ScoredForecast,
    Statement, StatementScore, TrackRecord, pinball_loss,
};
pub use mstl_ets::{MstlEtsError, forecast_by_mstl_ets};
pub use profiles::forecast_by_profiles;

#[cfg(test)]
mod tests;
