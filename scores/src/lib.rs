//! How good detection and forecasts are: benchmarks on public data, with the scorers that others use. Feeds `analytics` as the stream does.
//!
//! A benchmark reads a data folder, runs the defaults and fills a [`Report`]. It never tunes anything.

use std::path::Path;

mod disk;
mod error;
pub mod error_codes;
pub mod forecast;
mod forest;
mod nab;
mod read;
mod report;
#[cfg(test)]
mod test_data;
mod wsd;

pub use error::ScoreError;
pub use report::{Report, SeriesScore};

/// A benchmark: its name, and what runs it on a data folder that holds a folder of that name.
pub type Benchmark = (&'static str, fn(&Path) -> Result<Report, ScoreError>);

/// All benchmarks.
pub const BENCHMARKS: &[Benchmark] = &[
    ("nab", nab::run),
    ("wsd", wsd::run),
    ("forest", forest::run),
    ("forecast", forecast::run),
    ("disk", disk::run),
];
