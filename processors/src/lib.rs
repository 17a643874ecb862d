//! The stream operators of one partition: deduplicate, fold into windows, seal, merge upward, detect. Pure and synchronous: no clock, no I/O, no async.
//!
//! ```text
//! record ──▶ SeriesTable ──▶ classify ─┬─ on time ──▶ OpenWindow (10 s) ──seal──▶ Level 1m ▶ 5m ▶ 1h ▶ 1d ──▶ rollup rows
//!            (who is it?)   (by the     │                  ├──▶ detectors ──▶ correlation ──▶ alarm budget ──▶ anomalies
//!                            log clock) │                  └──▶ forecasting ──▶ forecasts, forecast scores
//!                                       └─ late ──▶ kept until the checkpoint, which resolves it against the archive (`late`)
//! ```
//!
//! [`PartitionState`] is the whole of it: the same records give the same state, byte for byte, whatever the batch boundaries.

mod alarm_budget;
mod calendar;
mod config;
mod correlation;
pub mod error_codes;
mod forecasting;
pub mod late;
mod levels;
mod past;
mod pending;
mod per_series;
mod refold;
mod resource_forest;
mod resources;
mod rollup_figures;
mod scored;
mod series_table;
mod service;
mod siblings;
mod silence;
mod snapshot;
mod state;
mod window;

pub use config::ProcessingConfig;
pub use forecasting::{ForecastingConfig, HORIZON_H_MAX};
pub use past::{MinuteLearner, PastLearner, PastWindow, Unlearned};
pub use pending::Pending;
pub use refold::Refold;
pub use scored::Scored;
pub use snapshot::SnapshotError;
pub use state::PartitionState;
