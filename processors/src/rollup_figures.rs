//! What is told of a window besides what it holds: how complete it is, and the rate of a counter.

use schemas::{Kind, Resolution, Rollup};

/// Samples found over samples expected in a window at a sampling interval (microseconds, 0 = unknown), 0–1.
pub(crate) fn completeness(count: u64, interval: u32, resolution: Resolution) -> f64 {
    if interval == 0 {
        return 1.0;
    }
    let expected = (resolution.micros() / i64::from(interval)).max(1);
    (count as f64 / expected as f64).min(1.0)
}

/// The rate of a rollup, if its series is a counter.
pub(crate) fn rate_of(kinds: &[Kind], series: u32, rollup: &Rollup) -> Option<f64> {
    match kinds[series as usize] {
        Kind::Gauge => None,
        Kind::Counter => rollup.rate(),
    }
}
