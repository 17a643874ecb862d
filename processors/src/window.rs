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

/// The samples of one 10 s window in log order, of all series.
#[derive(Debug, Clone, Default)]
pub(crate) struct OpenWindow {
    rows: SampleRows,
    /// Position by (series, time); built when the first sample comes that is not newer than its series' latest.
    index: Option<HashMap<(u32, Micros), u32, foldhash::fast::RandomState>>,
    /// The first so many rows are covered by the last checkpoint.
    committed: usize,
}

impl OpenWindow {
    pub(crate) fn from_rows(rows: SampleRows) -> Self {
        OpenWindow {
            committed: rows.len(),
            rows,
            index: None,
        }
    }

    pub(crate) fn rows(&self) -> &SampleRows {
        &self.rows
    }

    /// Adds a sample that is newer than all of its series.
    pub(crate) fn push(&mut self, series: u32, time: Micros, value: f64) {
        if let Some(index) = &mut self.index {
            index.insert((series, time), self.rows.len() as u32);
        }
        self.rows.push(series, time, value);
    }

    /// Adds a sample that may be there already.
    pub(crate) fn offer(&mut self, series: u32, time: Micros, value: f64) -> Offered {
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
            self.push(series, time, value);
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
    pub(crate) fn fold(&self) -> Vec<(u32, Rollup)> {
        let mut order: Vec<u32> = (0..self.rows.len() as u32).collect();
        let key = |position: &u32| {
            (
                self.rows.series[*position as usize],
                self.rows.time[*position as usize],
            )
        };
        // Senders repeat their series in one order, so this is mostly merging sorted runs; the sort is stable and adaptive.
        order.sort_by_key(key);
        let mut folded: Vec<(u32, Rollup)> = Vec::new();
        for position in order {
            let (series, time) = key(&position);
            let value = self.rows.value[position as usize];
            if !value.is_finite() {
                continue;
            }
            match folded.last_mut() {
                Some((last, rollup)) if *last == series => rollup.add(time, value),
                _ => folded.push((series, Rollup::of(time, value))),
            }
        }
        folded
    }
}
