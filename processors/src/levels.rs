//! The coarser windows: each level merges the sealed windows of the one below. At most one window of a level is open at a time.

use schemas::{Micros, Resolution, Rollup};
use serde::{Deserialize, Serialize};

use crate::window::SealedRollup;

/// The levels above 10 s, finest first.
pub(crate) const LEVELS: [Resolution; 4] = [
    Resolution::Minute,
    Resolution::FiveMinutes,
    Resolution::Hour,
    Resolution::Day,
];

/// The open window of one resolution, for all series of a partition.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Level {
    resolution: Resolution,
    /// Start of the open window; `None` before the first sample.
    start: Option<Micros>,
    /// By series index; `None` where the series has nothing in the open window.
    open: Vec<Option<Rollup>>,
    /// By series index: [`SealedRollup::interval`] of what was merged; 0 = nothing, also where late samples alone filled the open window.
    /// Late samples never change it, not even one that empties a window: it does not depend on when they are resolved.
    intervals: Vec<u32>,
}

/// A [`Level`] to be saved: the same bytes.
#[derive(Debug, Serialize)]
pub(crate) struct TrimmedLevel<'a> {
    resolution: Resolution,
    start: Option<Micros>,
    open: &'a [Option<Rollup>],
    intervals: &'a [u32],
}

impl Level {
    pub(crate) fn new(resolution: Resolution) -> Self {
        Level {
            resolution,
            start: None,
            open: Vec::new(),
            intervals: Vec::new(),
        }
    }

    /// The same level without empty places at the end, so that equal contents have equal bytes.
    pub(crate) fn trimmed(&self) -> TrimmedLevel<'_> {
        let len = self
            .open
            .iter()
            .zip(&self.intervals)
            .rposition(|(open, interval)| open.is_some() || *interval > 0)
            .map_or(0, |last| last + 1);
        TrimmedLevel {
            resolution: self.resolution,
            start: self.start.filter(|_| len > 0),
            open: &self.open[..len],
            intervals: &self.intervals[..len],
        }
    }

    pub(crate) fn resolution(&self) -> Resolution {
        self.resolution
    }

    /// Whether it speaks of at most so many series, in columns of one length.
    pub(crate) fn fits(&self, series_count: usize) -> bool {
        self.open.len() == self.intervals.len() && self.open.len() <= series_count
    }

    /// The end of the open window.
    pub(crate) fn end(&self) -> Option<Micros> {
        self.start.map(|start| start + self.resolution.micros())
    }

    /// Appends a sealed window of the level below. The open window must be the one that holds it, or none.
    pub(crate) fn merge(&mut self, start_below: Micros, below: &SealedRollup) {
        let start = self.resolution.window(start_below).start;
        debug_assert!(
            self.start.is_none_or(|open| open == start),
            "INV-SEAL: a window of another time is still open"
        );
        self.start = Some(start);
        let series = self.place(below.series);
        match (&mut self.open[series], &below.rollup) {
            (Some(open), Some(rollup)) => open.merge(rollup),
            (empty @ None, rollup) => *empty = *rollup,
            (Some(_), None) => {}
        }
        let interval = &mut self.intervals[series];
        *interval = match (*interval, below.interval) {
            (0, only) | (only, 0) => only,
            (a, b) => a.min(b),
        };
    }

    /// Makes room for a series.
    fn place(&mut self, series: u32) -> usize {
        let series = series as usize;
        if series >= self.open.len() {
            self.open.resize(series + 1, None);
            self.intervals.resize(series + 1, 0);
        }
        series
    }

    /// Replaces what the open window holds of a series, if `start` is the open window; opens it if none is.
    pub(crate) fn replace(&mut self, start: Micros, series: u32, rollup: Option<Rollup>) {
        if self.start.is_none() && rollup.is_some() {
            self.start = Some(start);
        }
        if self.start == Some(start) {
            let series = self.place(series);
            self.open[series] = rollup;
        }
    }

    /// Closes the open window and hands out what it held: its start, and the rollups by rising series index.
    pub(crate) fn seal(&mut self) -> Option<(Micros, Vec<SealedRollup>)> {
        let start = self.start.take()?;
        let rollups = self
            .open
            .iter_mut()
            .zip(&mut self.intervals)
            .enumerate()
            .map(|(series, (open, interval))| SealedRollup {
                series: series as u32,
                rollup: open.take(),
                interval: std::mem::take(interval),
            })
            .filter(|sealed| sealed.rollup.is_some() || sealed.interval > 0)
            .collect();
        Some((start, rollups))
    }
}
