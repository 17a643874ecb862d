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

/// Series whose samples are found by themselves. 16: where a few have samples out of order, such as those that others are folded into, it is not all others
/// that pay for it; where many have, as when a request is sent again, one pass over the window for all costs less than one for each.
const SERIES_INDEXED_MAX: usize = 16;

/// The position of a sample in its window, by its time and by what else is needed.
type Positions<Key> = HashMap<Key, u32, foldhash::fast::RandomState>;

/// Where samples are, as far as it was asked: built when the first of a series comes that is not newer than its latest.
#[derive(Debug, Clone)]
enum Index {
    /// Those of some series.
    Few(Vec<(u32, Positions<Micros>)>),
    /// Those of all.
    All(Positions<(u32, Micros)>),
}

impl Default for Index {
    fn default() -> Self {
        Index::Few(Vec::new())
    }
}

impl Index {
    /// Takes note of a sample of a series, if those of the series are kept.
    fn note(&mut self, series: u32, time: Micros, position: u32) {
        match self {
            Index::Few(few) => {
                if let Some((_, positions)) = few.iter_mut().find(|(of, _)| *of == series) {
                    positions.insert(time, position);
                }
            }
            Index::All(all) => {
                all.insert((series, time), position);
            }
        }
    }

    /// The position of a sample among the rows that this is the index of.
    fn find(&mut self, rows: &SampleRows, series: u32, time: Micros) -> Option<u32> {
        let placed = || rows.series.iter().zip(&rows.time).zip(0..);
        if let Index::Few(few) = self {
            if let Some((_, positions)) = few.iter().find(|(of, _)| *of == series) {
                return positions.get(&time).copied();
            }
            if few.len() < SERIES_INDEXED_MAX {
                let own = placed().filter(|((of, _), _)| **of == series);
                let positions: Positions<Micros> =
                    own.map(|((_, time), position)| (*time, position)).collect();
                let found = positions.get(&time).copied();
                few.push((series, positions));
                return found;
            }
            let all = placed().map(|((series, time), position)| ((*series, *time), position));
            *self = Index::All(all.collect());
        }
        match self {
            Index::Few(_) => None,
            Index::All(all) => all.get(&(series, time)).copied(),
        }
    }
}

/// The samples of one 10 s window in log order, of all series.
#[derive(Debug, Clone, Default)]
pub(crate) struct OpenWindow {
    rows: SampleRows,
    /// Per row: the sampling interval of its series when it came, as in [`SealedRollup::interval`].
    intervals: Vec<u32>,
    index: Index,
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
            index: Index::default(),
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
        self.index.note(series, time, self.rows.len() as u32);
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
        let Some(position) = self.index.find(&self.rows, series, time) else {
            self.push(series, time, value, interval);
            return Offered::New;
        };
        let position = position as usize;
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

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    /// Samples of some series at times that come twice and in no order: what becomes of each is what a map of all of them says, however many series there are.
    #[test]
    fn samples_out_of_order_are_found_whether_few_series_have_them_or_many() {
        for disordered in [
            1,
            SERIES_INDEXED_MAX as u32,
            SERIES_INDEXED_MAX as u32 + 1,
            60,
        ] {
            let (mut window, mut model) = (OpenWindow::default(), BTreeMap::new());
            // One more, whose samples come in order, in between.
            for time in 0..40 {
                window.push(1_000, time, 0.0, 1);
                model.insert((1_000, time), 0.0);
                for series in 0..disordered {
                    let (time, value) = ((time * 17) % 23, (time / 30) as f64);
                    let expected = match model.insert((series, time), value) {
                        None => Offered::New,
                        Some(old) if old == value => Offered::Duplicate,
                        Some(_) => Offered::Replaced,
                    };
                    assert_eq!(window.offer(series, time, value, 1), expected);
                }
                let again = window.offer(1_000, time / 2, 0.0, 1);
                assert_eq!(again, Offered::Duplicate);
            }
            let rows = window.rows();
            let held =
                (0..rows.len()).map(|row| ((rows.series[row], rows.time[row]), rows.value[row]));
            assert_eq!(rows.len(), model.len());
            assert_eq!(
                held.collect::<BTreeMap<_, _>>(),
                model,
                "{disordered} series"
            );
        }
    }
}
