//! Rows on their way from the processors to the stores: columns of numbers beside a directory of series. No I/O.

use crate::time::Micros;
use crate::{Resolution, Rollup};

/// Samples in columns of equal length; any order.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct SampleRows {
    /// Per row: index into the partition's [`crate::SeriesDirectory`].
    pub series: Vec<u32>,
    /// Per row: microseconds since 1970 UTC.
    pub time: Vec<Micros>,
    /// Per row: the value, bit for bit.
    pub value: Vec<f64>,
}

impl SampleRows {
    /// Adds a row.
    pub fn push(&mut self, series: u32, time: Micros, value: f64) {
        self.series.push(series);
        self.time.push(time);
        self.value.push(value);
    }

    /// How many rows there are.
    pub fn len(&self) -> usize {
        self.time.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.time.is_empty()
    }
}

/// One window of one series as it is stored.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct RollupRow {
    /// Index into the partition's [`crate::SeriesDirectory`].
    pub series: u32,
    /// Width of the window.
    pub resolution: Resolution,
    /// Start of the window, microseconds.
    pub start: Micros,
    /// Its summary.
    pub rollup: Rollup,
    /// Increase per second, of a counter with at least two samples in the window ([`Rollup::rate`]); else `None`.
    pub rate: Option<f64>,
    /// 0–1: samples found over samples expected at the series' own interval.
    pub completeness: f64,
    /// How many late samples changed the window after it was sealed.
    pub revision: u32,
}
