//! One open 10 s window of a partition: its raw samples, so that a duplicate is found and a rollup is exact.

use std::collections::HashMap;

use schemas::{Micros, Rollup, SampleRows};

/// What became of a sample that was offered to a window.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Offered {
    /// A new (series, time).
    New,
    /// The same bits were there.
    Duplicate,
    /// Another value was there and has been replaced; the old one is not in the archive yet.
    Replaced,
    /// Another value was there and has been replaced; the old one is in the archive.
    ReplacedCommitted,
}

/// The sampling interval of a series that has had one sample. The largest number, so that the shortest of several is their minimum.
pub(crate) const INTERVAL_UNKNOWN: u32 = u32::MAX;

/// What a series has in a window that is sealed.
#[derive(Debug, Clone, Copy)]
pub(crate) struct SealedRollup {
    pub(crate) series: u32,
    /// `None` where late samples have taken away what there was.
    pub(crate) rollup: Option<Rollup>,
    /// The shortest sampling interval that the series had at its samples in the window, microseconds; [`INTERVAL_UNKNOWN`] if it had none
    /// yet. Not the one at the seal: how much more of the series is known by then depends on how the log clock moves.
    pub(crate) interval: u32,
}

/// What is seen of a series in a stretch of a minute by those who compare it with others.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Glance {
    pub(crate) series: u32,
    /// Samples, > 0.
    pub(crate) count: u64,
    /// Sum of their values; means nothing of a counter.
    pub(crate) sum: f64,
    /// The latest value, and when it was measured, microseconds.
    pub(crate) last: f64,
    pub(crate) last_time: Micros,
    /// As [`SealedRollup::interval`].
    pub(crate) interval: u32,
}

impl SealedRollup {
    /// What others see of it; `None` where there is nothing any more.
    pub(crate) fn glance(&self) -> Option<Glance> {
        let rollup = self.rollup.as_ref()?;
        Some(Glance {
            series: self.series,
            count: rollup.count,
            sum: rollup.sum,
            last: rollup.last,
            last_time: rollup.last_time,
            interval: self.interval,
        })
    }
}

/// The samples of one 10 s window in log order, of all series.
#[derive(Debug, Clone, Default)]
pub(crate) struct OpenWindow {
    rows: SampleRows,
    /// Per row: the sampling interval of its series when it came, as in [`SealedRollup::interval`].
    intervals: Vec<u32>,
    /// Position by (series, time); built when the first sample comes that is not newer than its series' latest.
    index: Option<HashMap<(u32, Micros), u32, foldhash::fast::RandomState>>,
    /// The first so many rows are covered by the last checkpoint.
    committed: usize,
}

impl OpenWindow {
    /// A window whose rows are all covered by a checkpoint; both have one entry per row.
    pub(crate) fn from_rows(rows: SampleRows, intervals: Vec<u32>) -> Self {
        OpenWindow {
            committed: rows.len(),
            rows,
            intervals,
            index: None,
        }
    }

    pub(crate) fn rows(&self) -> &SampleRows {
        &self.rows
    }

    pub(crate) fn intervals(&self) -> &[u32] {
        &self.intervals
    }

    /// Adds a sample that is newer than all of its series, with its series' sampling interval as known now.
    pub(crate) fn push(&mut self, series: u32, time: Micros, value: f64, interval: u32) {
        if let Some(index) = &mut self.index {
            index.insert((series, time), self.rows.len() as u32);
        }
        self.rows.push(series, time, value);
        self.intervals.push(interval);
    }

    /// Adds a sample that may be there already.
    pub(crate) fn offer(
        &mut self,
        series: u32,
        time: Micros,
        value: f64,
        interval: u32,
    ) -> Offered {
        let rows = &self.rows;
        let index = self.index.get_or_insert_with(|| {
            rows.series
                .iter()
                .zip(&rows.time)
                .enumerate()
                .map(|(position, (series, time))| ((*series, *time), position as u32))
                .collect()
        });
        let Some(position) = index
            .get(&(series, time))
            .map(|position| *position as usize)
        else {
            self.push(series, time, value, interval);
            return Offered::New;
        };
        let old = &mut self.rows.value[position];
        if old.to_bits() == value.to_bits() {
            return Offered::Duplicate;
        }
        *old = value;
        if position < self.committed {
            Offered::ReplacedCommitted
        } else {
            Offered::Replaced
        }
    }

    /// Marks all rows as covered by a checkpoint.
    pub(crate) fn set_committed(&mut self) {
        self.committed = self.rows.len();
    }

    /// The rows that no checkpoint covers yet.
    pub(crate) fn uncommitted(&self) -> impl Iterator<Item = (u32, Micros, f64)> + '_ {
        (self.committed..self.rows.len())
            .map(|i| (self.rows.series[i], self.rows.time[i], self.rows.value[i]))
    }

    pub(crate) fn uncommitted_len(&self) -> usize {
        self.rows.len() - self.committed
    }

    /// The rollup of each series that has a finite sample, by rising series index.
    pub(crate) fn fold(&self) -> Vec<SealedRollup> {
        let mut order: Vec<u32> = (0..self.rows.len() as u32).collect();
        let key = |position: &u32| {
            (
                self.rows.series[*position as usize],
                self.rows.time[*position as usize],
            )
        };
        // Senders repeat their series in one order, so this is mostly merging sorted runs; the sort is stable and adaptive.
        order.sort_by_key(key);
        let mut folded: Vec<SealedRollup> = Vec::new();
        for position in order {
            let (series, time) = key(&position);
            let (value, interval) = (
                self.rows.value[position as usize],
                self.intervals[position as usize],
            );
            if !value.is_finite() {
                continue;
            }
            match folded.last_mut() {
                Some(SealedRollup {
                    series: last,
                    rollup: Some(rollup),
                    interval: shortest,
                }) if *last == series => {
                    rollup.add(time, value);
                    *shortest = interval.min(*shortest);
                }
                _ => folded.push(SealedRollup {
                    series,
                    rollup: Some(Rollup::of(time, value)),
                    interval,
                }),
            }
        }
        folded
    }
}
