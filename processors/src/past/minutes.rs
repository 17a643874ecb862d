//! The past across series: what the forests of resources and the groups of siblings would know had they seen the minutes that the archive holds.
//!
//! They compare series minute by minute, and the archive has its rows by series. So the past is cut into stretches; the rows of a stretch come in any
//! order of series and are added up to a cell per series and minute; then its minutes take the way of live ones, one after the other. Memory is that of
//! one stretch, and what is learned depends neither on how the past was cut nor on how its rows came.
//!
//! Nothing of it is told. What is abnormal is taken as skipped, as the calendar would have it: it teaches nothing while it is a story, and is told if it
//! goes on when it is seen live.

use schemas::time::{DAY, MINUTE};
use schemas::{Kind, Micros, Resolution, SeriesId, Window};

use super::{BEHIND, PastWindow};
use crate::resource_forest::{Judging, ResourceForests};
use crate::siblings::{Comparing, SiblingGroups};
use crate::state::PartitionState;
use crate::window::{Glance, INTERVAL_UNKNOWN};

/// The stretch before the newest sample that is learned at most. Two days: places, usual scores, tails and the rows that a forest is grown from are all
/// remembered for about a day, so what is older weighs a quarter or less.
pub(super) const REACH: Micros = 2 * DAY;
/// Rows of a resource and a minute that are learned at most. 3 million: two days of 1,000 resources. Each takes about 10 µs, and where so many
/// live together a class knows its tails within the hour.
const ROWS_MAX: usize = 3_000_000;

/// What a series told in a minute: 16 bytes, since a stretch has millions of them.
#[derive(Debug, Clone, Copy, Default)]
struct Cell {
    /// The sum of the values of a gauge, the latest total of a counter.
    value: f64,
    /// Samples; 0 = nothing came.
    count: u32,
    /// Of the latest sample, or of the window that holds it: microseconds after the start of the minute.
    at: u32,
}

impl PartitionState {
    /// The minutes that the forests or the siblings have not seen although their windows are sealed, at most `reach` back from the newest sample; `None` if
    /// nobody lacks any, or nobody here can be compared.
    pub(super) fn lacks_minutes(&self, reach: Micros) -> Option<Window> {
        let end = self.minutes_end()?;
        let seen = [
            self.forests_lack(end).then(|| self.forests.watched_until()),
            self.siblings_lack(end)
                .then(|| self.siblings.watched_until()),
        ];
        let resources = self.table.resources().len().max(1);
        let reach = reach.min((ROWS_MAX / resources) as Micros * MINUTE);
        // Who has seen nothing lacks all.
        let seen = seen.into_iter().flatten().min()?;
        let start = end.saturating_sub(reach).max(seen.unwrap_or(Micros::MIN));
        let start = Resolution::Minute.window(start).start;
        (start < end).then_some(Window { start, end })
    }

    /// Where the minutes end that are sealed and have samples.
    fn minutes_end(&self) -> Option<Micros> {
        let times = self.per_series.last_time.iter().copied();
        let newest = times.max().filter(|newest| *newest != Micros::MIN)?;
        let heard = Resolution::Minute.window(newest).end;
        let sealed = Resolution::Minute.window(self.watermark().0).start;
        Some(heard.min(sealed))
    }

    fn forests_lack(&self, end: Micros) -> bool {
        let seen = self.forests.watched_until().unwrap_or(Micros::MIN);
        self.config.detection.is_some()
            && end.saturating_sub(seen) > BEHIND
            && ResourceForests::are_in(&self.table)
    }

    fn siblings_lack(&self, end: Micros) -> bool {
        let seen = self.siblings.watched_until().unwrap_or(Micros::MIN);
        let config = self.config.peers.as_ref();
        self.config.detection.is_some()
            && end.saturating_sub(seen) > BEHIND
            && config.is_some_and(|config| SiblingGroups::are_in(&self.table, config))
    }

    /// Samples that come in a minute, by the usual distance of each series' samples.
    pub fn samples_per_minute(&self) -> u64 {
        let per_minute = self.per_series.interval.iter().map(|interval| {
            let samples = (MINUTE as u64).checked_div(u64::from(*interval));
            samples.unwrap_or(1).max(1)
        });
        per_minute.sum()
    }
}

/// Teaches the forests and the groups of siblings of a partition what they have not seen, a stretch of minutes after the other, oldest first.
#[derive(Debug)]
pub struct MinuteLearner<'a> {
    state: &'a mut PartitionState,
    forests: bool,
    siblings: bool,
    /// Whole minutes.
    stretch: Window,
    /// Minutes × series of the stretch, oldest first.
    cells: Vec<Cell>,
    /// Minutes of the stretch that are learned.
    done: usize,
    learned: u64,
}

impl<'a> MinuteLearner<'a> {
    /// Series × minutes that a stretch should have at most. 4 Mi: they take 64 MiB; fewer, and the files of a day are read more often.
    pub const CELLS_MAX: usize = 4 << 20;

    /// A learner of what lacks now.
    pub fn new(state: &'a mut PartitionState) -> Self {
        let end = state.minutes_end();
        MinuteLearner {
            forests: end.is_some_and(|end| state.forests_lack(end)),
            siblings: end.is_some_and(|end| state.siblings_lack(end)),
            state,
            stretch: Window { start: 0, end: 0 },
            cells: Vec::new(),
            done: 0,
            learned: 0,
        }
    }

    /// Begins a stretch: whole minutes, after those of the one before.
    pub fn begin(&mut self, stretch: Window) {
        let minutes = (stretch.end.saturating_sub(stretch.start) / MINUTE).max(0) as usize;
        self.cells.clear();
        self.cells
            .resize(minutes * self.series_count(), Cell::default());
        (self.stretch, self.done) = (stretch, 0);
    }

    /// Takes a window of the stretch, at most a minute long. One of a series that is not known, or of another time, changes nothing. Windows of one series and
    /// minute come in the order of their time, for the last bit of their sum.
    pub fn window(&mut self, series: SeriesId, past: PastWindow) {
        let sum = past.mean * past.count as f64;
        self.add(series, past.start, past.count, sum, past.last);
    }

    /// Takes a sample of the stretch; likewise.
    pub fn sample(&mut self, series: SeriesId, time: Micros, value: f64) {
        self.add(series, time, 1, value, value);
    }

    fn add(&mut self, series: SeriesId, time: Micros, count: u64, sum: f64, last: f64) {
        let Some(series) = self.state.series_index(series) else {
            return;
        };
        let value = match self.state.table.kinds()[series as usize] {
            Kind::Gauge => sum,
            Kind::Counter => last,
        };
        if !self.stretch.contains(time) || !value.is_finite() {
            return;
        }
        let minute = Resolution::Minute.window(time).start;
        let row = ((minute - self.stretch.start) / MINUTE) as usize;
        let place = row * self.series_count() + series as usize;
        let Some(cell) = self.cells.get_mut(place) else {
            return;
        };
        let at = (time - minute) as u32;
        match self.state.table.kinds()[series as usize] {
            Kind::Gauge => cell.value += value,
            Kind::Counter if cell.count == 0 || at >= cell.at => cell.value = value,
            Kind::Counter => {}
        }
        cell.at = cell.at.max(at);
        cell.count = cell
            .count
            .saturating_add(u32::try_from(count).unwrap_or(u32::MAX));
    }

    /// Learns the next minute of the stretch; false if there is none.
    pub fn learn_minute(&mut self) -> bool {
        let start = self.stretch.start + self.done as Micros * MINUTE;
        if start >= self.stretch.end {
            return false;
        }
        let intervals = &self.state.per_series.interval;
        let cells = self.cells.iter().skip(self.done * self.series_count());
        let seen: Vec<Glance> = (0_u32..)
            .zip(cells.take(self.series_count()))
            .filter(|(_, cell)| cell.count > 0)
            .map(|(series, cell)| Glance {
                series,
                count: u64::from(cell.count),
                sum: cell.value,
                last: cell.value,
                last_time: start + Micros::from(cell.at),
                interval: match intervals[series as usize] {
                    0 => INTERVAL_UNKNOWN,
                    known => known,
                },
            })
            .collect();
        self.done += 1;
        if seen.is_empty() {
            return true;
        }
        self.close_before(start);
        self.learned += seen.len() as u64;
        let state = &mut *self.state;
        let lacks = |seen: Option<Micros>| seen.is_none_or(|seen| seen <= start);
        if self.forests && lacks(state.forests.watched_until()) {
            state
                .forests
                .fold(start, seen.iter().copied(), &state.table);
        }
        if self.siblings && lacks(state.siblings.watched_until()) {
            state
                .siblings
                .fold(start, seen.iter().copied(), &state.table);
        }
        true
    }

    /// Ends the past: all that is sealed has been seen. Returns how many minutes of series were learned.
    pub fn end(mut self) -> u64 {
        let Some(end) = self.state.minutes_end() else {
            return self.learned;
        };
        self.close_before(end);
        // When the last total of the past was counted is known to the minute: a rate from it to the next one would be wrong.
        if self.forests {
            self.state.forests.forget_totals();
        }
        if self.siblings {
            self.state.siblings.forget_totals();
        }
        self.learned
    }

    fn close_before(&mut self, time: Micros) {
        let state = &mut *self.state;
        let (table, calendar) = (&state.table, &mut state.calendar);
        if let Some(config) = &state.config.detection
            && self.forests
        {
            let judging = Judging {
                config,
                table,
                announce: false,
            };
            state.forests.close_before(time, judging, calendar);
        }
        if let Some(config) = &state.config.peers
            && self.siblings
        {
            let comparing = Comparing {
                config,
                table,
                place: None,
                announce: false,
            };
            state.siblings.close_before(time, comparing, calendar);
        }
    }

    fn series_count(&self) -> usize {
        self.state.table.directory().len()
    }
}

#[cfg(test)]
mod tests {
    use schemas::{BatchBuilder, Labels, Offset};

    use super::*;
    use crate::ProcessingConfig;

    /// A full hour.
    const START: Micros = 500_016 * 60 * MINUTE;

    /// Whether the forests know a total that they could forget, and whether the siblings do.
    fn known(state: &PartitionState) -> [bool; 2] {
        let (mut forests, mut siblings) = (state.forests.clone(), state.siblings.clone());
        forests.forget_totals();
        siblings.forget_totals();
        let bytes = |forests| postcard::to_stdvec(forests).unwrap();
        [
            bytes(&forests) != bytes(&state.forests),
            siblings.saved() != state.siblings.saved(),
        ]
    }

    /// What an archive tells of the last total is when its window began: a rate from then to the next total would be too small, by up to a whole minute.
    #[test]
    fn at_the_end_of_a_past_no_total_is_known() {
        let mut samples = Vec::new();
        let mut state = PartitionState::new(ProcessingConfig {
            detection: None,
            ..ProcessingConfig::default()
        });
        for minute in 0..100 {
            let mut builder = BatchBuilder::default();
            let sent = builder.metric("sent");
            let time = START + minute * MINUTE;
            for host in 0..6 {
                let labels = Labels::try_new([("host.name", format!("web-{host}"))]).unwrap();
                let total = (100 * minute + host) as f64;
                samples.push((SeriesId::of("sent", &labels), time, total));
                let labels = builder.label_set(&labels);
                builder.push(sent, labels, Kind::Counter, time, total);
            }
            state.step(Offset(minute as u64), time, &builder.finish().unwrap());
        }
        let config = ProcessingConfig::default();
        let mut state = PartitionState::decode(&state.encode(), config).unwrap();
        let lacks = state.unlearned().unwrap().minutes.unwrap();
        let mut learner = MinuteLearner::new(&mut state);
        learner.begin(lacks);
        for (series, time, total) in samples {
            learner.sample(series, time, total);
        }
        while learner.learn_minute() {}
        assert_eq!(known(learner.state), [true, true]);
        assert!(learner.end() > 0);
        assert_eq!(known(&state), [false, false]);
    }
}
