//! Warm start: what the detectors and forecasts of a series would know had they been on before, learned from its past in the archive.
//!
//! **Series.** A series lacks a past when it has been seen and its detectors have not, or not for an hour: detection was off. Forecasts lack all of theirs when
//! there are none. The past is fed in two stretches, each in any order of series and in order of time within a series: rollups as far back as is
//! wanted, which tell levels and seasons, then the samples of the last days, which tell how noisy it is and how often it comes. Nothing of it is
//! announced, and no forecast of it is published; what is abnormal in the last days and goes on is announced when it is seen live.
//!
//! **Across series.** The forests of resources and the groups of siblings lack a past likewise: minutes.rs feeds it to them.

use std::collections::HashMap;

use analytics::CounterRate;
use schemas::time::{DAY, HOUR};
use schemas::{Kind, Micros, Resolution, SeriesId, Window};

use crate::forecasting::{self, Measure};
use crate::pending::Pending;
use crate::state::PartitionState;

pub use minutes::MinuteLearner;

mod minutes;

/// Detectors that are so far behind their series were off. An hour: more than any pause between a sample and the next that counts.
const BEHIND: Micros = HOUR;
/// The stretch before the newest sample that is learned from samples. Two days: the longest memory of how noisy and restless a series is.
const SAMPLES_REACH: Micros = 2 * DAY;

/// The past that a partition lacks.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Unlearned {
    /// By series: the time of the newest sample that its past ends with, inclusive, microseconds.
    pub until: HashMap<SeriesId, Micros>,
    /// Where the past begins that is to be learned, inclusive, microseconds.
    pub from: Micros,
    /// From then on it is learned from samples, before from rollups; a multiple of an hour.
    pub samples_from: Micros,
    /// What the forests of resources and the groups of siblings lack: whole minutes of all series together; `None` if nothing.
    pub minutes: Option<Window>,
}

/// A window of a series' past.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct PastWindow {
    /// Its start, microseconds.
    pub start: Micros,
    /// Samples, > 0.
    pub count: u64,
    /// The mean of its samples.
    pub mean: f64,
    /// Its latest value.
    pub last: f64,
    /// Increase per second, of a counter.
    pub rate: Option<f64>,
}

impl PartitionState {
    /// What past the detectors, the forecasts and those who compare series lack, as far back as the settings want; `None` if nothing.
    pub fn unlearned(&self) -> Option<Unlearned> {
        let reach = self.config.warm_start;
        let forecasts = self.lacks_forecasts();
        if reach <= 0 || (self.config.detection.is_none() && !forecasts) {
            return None;
        }
        let mut until = HashMap::new();
        for (slot, series) in self.directory().iter().enumerate() {
            let last = self.per_series.last_time[slot];
            let known = self.per_series.detectors[slot].last_time();
            let behind = self.config.detection.is_some() && last.saturating_sub(known) > BEHIND;
            if last != Micros::MIN && (behind || forecasts) {
                until.insert(series.id, last);
            }
        }
        let minutes = self.lacks_minutes(reach.min(minutes::REACH));
        if until.is_empty() && minutes.is_none() {
            return None;
        }
        // Without a series that lacks any, nothing is read from there.
        let newest = until.values().copied().max().unwrap_or_default();
        let hour = Resolution::Hour.window(newest.saturating_sub(SAMPLES_REACH));
        Some(Unlearned {
            from: newest.saturating_sub(reach),
            samples_from: hour.start,
            until,
            minutes,
        })
    }

    /// Whether forecasts were turned on just now.
    fn lacks_forecasts(&self) -> bool {
        let config = self.config.forecasting.as_ref();
        let wanted = config.is_some_and(|config| config.series_max.max(config.pools_max) > 0);
        wanted && self.forecasting.is_unborn()
    }
}

/// Learns the past of a partition. What it does not reach is as it was.
#[derive(Debug)]
pub struct PastLearner<'a> {
    state: &'a mut PartitionState,
    /// By series index: the counters of the past, beside those of the present.
    rates: Vec<CounterRate>,
    /// Whether forecasts learn, too.
    forecasts: bool,
    /// What is told of the past, which nobody hears.
    told: Pending,
    learned: u64,
}

impl<'a> PastLearner<'a> {
    /// A learner that has not learned anything.
    pub fn new(state: &'a mut PartitionState) -> Self {
        PastLearner {
            rates: vec![CounterRate::default(); state.directory().len()],
            forecasts: state.lacks_forecasts(),
            state,
            told: Pending::default(),
            learned: 0,
        }
    }

    /// Learns a window. One of a series that is not known, or that is not after what is learned, changes nothing.
    pub fn window(&mut self, series: SeriesId, past: PastWindow) {
        let Some(index) = self.state.series_index(series) else {
            return;
        };
        let measure = match self.state.table.kinds()[index as usize] {
            Kind::Gauge => Some(past.mean),
            Kind::Counter => past.rate,
        };
        self.learn(index, past.start, past.last, measure, false);
    }

    /// Learns a sample; likewise.
    pub fn sample(&mut self, series: SeriesId, time: Micros, value: f64) {
        let Some(index) = self.state.series_index(series) else {
            return;
        };
        let slot = index as usize;
        let measure = match self.state.table.kinds()[slot] {
            Kind::Gauge => Some(value),
            Kind::Counter => self.rates[slot].observe(time, value),
        };
        self.learn(index, time, value, measure, true);
    }

    /// `recent`: of the last days. What is abnormal there may go on, and then is news.
    fn learn(&mut self, series: u32, time: Micros, value: f64, measure: Option<f64>, recent: bool) {
        let state = &mut *self.state;
        let directory = state.table.directory();
        let measure = measure.filter(|measure| measure.is_finite());
        let mut effects = state.calendar.effects(directory, series, time);
        let mut learned = false;
        if let Some(config) = &state.config.forecasting
            && self.forecasts
            && value.is_finite()
        {
            learned = true;
            let sample = Measure {
                series,
                time,
                value,
                measure,
                lesson: effects.lesson(),
            };
            let mut view = forecasting::View {
                config,
                directory,
                calendar: &mut state.calendar,
                told: &mut self.told,
            };
            state.forecasting.observe(&mut view, sample);
            self.told.forecasts.clear();
            self.told.forecast_scores.clear();
        }
        if let (Some(config), Some(measure)) = (&state.config.detection, measure) {
            effects.skip_alarms |= recent;
            let detectors = &mut state.per_series.detectors[series as usize];
            let before = detectors.last_time();
            let ahead_s = state.calendar.utc_offset_s(time);
            detectors.observe_during(config, time, ahead_s, &effects, measure);
            learned |= detectors.last_time() > before;
        }
        self.learned += u64::from(learned);
    }

    /// Ends the past: what was forecast in it was never published, and is not scored. Returns how many values were learned.
    pub fn end(self) -> u64 {
        self.state.forecasting.forget_unpublished();
        self.learned
    }
}
