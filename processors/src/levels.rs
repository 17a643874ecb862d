//! The coarser windows: each level merges the sealed windows of the one below. At most one window of a level is open at a time.

use schemas::{Micros, Resolution, Rollup};
use serde::{Deserialize, Serialize};

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
}

impl Level {
    pub(crate) fn new(resolution: Resolution) -> Self {
        Level {
            resolution,
            start: None,
            open: Vec::new(),
        }
    }

    /// The same level without empty places at the end, so that equal contents have equal bytes.
    pub(crate) fn trimmed(&self) -> Self {
        let len = self
            .open
            .iter()
            .rposition(Option::is_some)
            .map_or(0, |last| last + 1);
        Level {
            start: self.start.filter(|_| len > 0),
            open: self.open[..len].to_vec(),
            ..*self
        }
    }

    pub(crate) fn resolution(&self) -> Resolution {
        self.resolution
    }

    /// The end of the open window.
    pub(crate) fn end(&self) -> Option<Micros> {
        self.start.map(|start| start + self.resolution.micros())
    }

    /// Appends a sealed window of the level below. The open window must be the one that holds it, or none.
    pub(crate) fn merge(&mut self, start_below: Micros, series: u32, rollup: &Rollup) {
        let start = self.resolution.window(start_below).start;
        debug_assert!(
            self.start.is_none_or(|open| open == start),
            "INV-SEAL: a window of another time is still open"
        );
        self.start = Some(start);
        let series = series as usize;
        if series >= self.open.len() {
            self.open.resize(series + 1, None);
        }
        match &mut self.open[series] {
            Some(open) => open.merge(rollup),
            empty => *empty = Some(*rollup),
        }
    }

    /// Replaces what the open window holds of a series, if `start` is the open window; opens it if none is.
    pub(crate) fn replace(&mut self, start: Micros, series: u32, rollup: Option<Rollup>) {
        if self.start.is_none() && rollup.is_some() {
            self.start = Some(start);
        }
        if self.start == Some(start) {
            let series = series as usize;
            if series >= self.open.len() {
                self.open.resize(series + 1, None);
            }
            self.open[series] = rollup;
        }
    }

    /// Closes the open window and hands out what it held: its start, and the rollups by rising series index.
    pub(crate) fn seal(&mut self) -> Option<(Micros, Vec<(u32, Rollup)>)> {
        let start = self.start.take()?;
        let rollups = self
            .open
            .iter_mut()
            .enumerate()
            .filter_map(|(series, open)| open.take().map(|rollup| (series as u32, rollup)))
            .collect();
        Some((start, rollups))
    }
}
