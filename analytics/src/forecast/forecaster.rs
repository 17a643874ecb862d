//! What is remembered of a series in order to forecast it. Takes samples in, gives forecasts out; never looks at a clock.

use schemas::Micros;
use schemas::time::SECOND;
use serde::{Deserialize, Serialize};

use super::answer::{ForecastStep, Method, SeriesForecast, TrainedOn};
use super::backtest::{Backtest, baseline};
use super::calibration::Calibration;
use super::config::{ForecastConfig, ForecastConfigError, HORIZON_STEPS_MAX};
use super::experts::Experts;
use super::grid::{OpenStep, VALUE_MAX};
use super::history::{History, Provenance};
use crate::calendar::Lesson;

/// Steps after which outliers are cut. 24: before that there is no usual error to speak of.
const PLAIN_STEPS: u32 = 24;

/// A step further than this from the expected one, in usual (mean absolute) errors, is cut to there. 6: not quite five deviations of
/// normal noise.
const OUTLIER_ERRORS: f64 = 6.0;

/// After this many outliers in a row on one side, the series is believed: it has a new level.
const OUTLIERS_MAX: u8 = 3;

/// Errors that make a record worth its full trust. 50: some three days of hours.
const TRUST_ERRORS: f64 = 50.0;

/// The streaming forecaster of one series: O(1) per sample, 8 KB for hourly steps, 35 KB at most.
///
/// Five regressions (on the last steps; on those and the ones a day ago; a day and a week ago; the latter two also on logarithms) and
/// three naive repeats are tried at every horizon in passing, and believed by the errors they had. The bands come from the errors of the
/// combination itself. A season is therefore believed only as far as it lowers the error.
///
/// Save it in a binary format: not every JSON reader returns a decimal number to the last bit.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Forecaster {
    config: ForecastConfig,
    open: Option<OpenStep>,
    history: History,
    experts: Experts,
    backtest: Backtest,
    /// Start of the first step over its width.
    first_step: i64,
    /// The last closed step.
    last_step: i64,
    /// Steps seen since the first.
    steps: u32,
    samples: u64,
    /// Least and largest step ever.
    least: f64,
    most: f64,
    /// Mean absolute error of what is expected one step ahead.
    usual_error: f64,
    /// Outliers in a row, negative for those below.
    outliers: i8,
}

impl Forecaster {
    /// A forecaster that has seen nothing.
    ///
    /// # Errors
    /// BadConfig: a setting is out of its range.
    pub fn new(config: &ForecastConfig) -> Result<Self, ForecastConfigError> {
        config.validate()?;
        Ok(Forecaster::empty(config.clone()))
    }

    fn empty(config: ForecastConfig) -> Self {
        Forecaster {
            open: None,
            history: History::new(Experts::look_back(&config)),
            experts: Experts::new(&config),
            backtest: Backtest::new(&config),
            first_step: 0,
            last_step: 0,
            steps: 0,
            samples: 0,
            least: f64::MAX,
            most: f64::MIN,
            usual_error: 0.0,
            outliers: 0,
            config,
        }
    }

    /// Learns a sample. One that is not finite, or not after the last one, changes nothing.
    ///
    /// Steps without a sample are holes: what was expected stands in for them, and nothing is learned from it. After a silence of two
    /// seasons the series is learned anew.
    pub fn observe(&mut self, time: Micros, value: f64) {
        self.observe_as(time, value, Lesson::Learn);
    }

    /// As [`Forecaster::observe`], for a sample of a day that may be no example of its kind. A step with one that is not to be learned is
    /// a hole.
    pub fn observe_as(&mut self, time: Micros, value: f64, lesson: Lesson) {
        if !value.is_finite() {
            return;
        }
        let value = value.clamp(-VALUE_MAX, VALUE_MAX);
        let index = time.div_euclid(self.step_us());
        let Some(mut open) = self.open else {
            (self.first_step, self.last_step) = (index, index.saturating_sub(1));
            self.open = Some(OpenStep::new(index, time, value, lesson));
            self.samples = 1;
            return;
        };
        if time <= open.last {
            return;
        }
        self.samples += 1;
        if index == open.index {
            open.add(time, value, lesson);
            self.open = Some(open);
            return;
        }
        let holes = index.saturating_sub(open.index) - 1;
        // What begins with a hole has not begun.
        let begun = self.history.len() > 0 || open.learned().is_some();
        if holes > self.holes_max() || !begun {
            *self = Forecaster::empty(self.config.clone());
            self.observe_as(time, value, lesson);
            return;
        }
        self.close(open.index, open.learned());
        for hole in 1..=holes {
            self.close(open.index + hole, None);
        }
        self.open = Some(open.next(index, time, value, lesson));
    }

    /// What the next `steps` steps (1 to [`HORIZON_STEPS_MAX`], cut to that) are expected to be; `None` before the first sample.
    ///
    /// The step under way counts as known once no other sample is due in it; else the forecast begins with it.
    pub fn forecast(&self, steps: u32) -> Option<SeriesForecast> {
        self.answer(Method::SeasonalRegression, steps)
    }

    /// The same by [`Method::SeasonalNaive`]: what the forecast has to beat.
    pub fn naive_forecast(&self, steps: u32) -> Option<SeriesForecast> {
        self.answer(Method::SeasonalNaive, steps)
    }

    /// The step under way: its start, and the mean of its samples so far; `None` before the first sample, and where one of them says nothing
    /// of how good forecasts are.
    pub fn open_step(&self) -> Option<(Micros, f64)> {
        let open = self.open.filter(|open| open.lesson < Lesson::Ignore)?;
        Some((open.index.saturating_mul(self.step_us()), open.mean()))
    }

    /// 0–1: how much of the warm-up has been seen: two days, and enough own errors to tell a band from.
    pub fn trust(&self) -> f64 {
        let days = 2.0 * self.config.day_steps().unwrap_or(PLAIN_STEPS as usize) as f64;
        let time = f64::from(self.steps) / days;
        let errors = f64::from(self.backtest.combined.seen()) / TRUST_ERRORS;
        time.min(errors).min(1.0)
    }

    fn step_us(&self) -> i64 {
        i64::from(self.config.step_s) * SECOND
    }

    /// Holes in a row that are filled. Two seasons: after that nothing of the history is left.
    fn holes_max(&self) -> i64 {
        2 * Experts::look_back(&self.config).max(60) as i64
    }

    /// 0 to 1: where in a day (UTC) a step begins.
    fn time_of_day(&self, step: i64) -> f64 {
        let steps = 86_400 / i64::from(self.config.step_s);
        step.rem_euclid(steps) as f64 / steps as f64
    }

    fn limits(&self) -> (f64, f64) {
        self.config.bounds.limits(self.least, self.most)
    }

    /// Learns a step; `None` is a hole.
    fn close(&mut self, step: i64, value: Option<f64>) {
        let next = self.experts.next(&self.history);
        let expected = (self.history.len() > 0).then(|| self.backtest.combine_next(&next.expected));
        let (kept, provenance) = match (value, expected) {
            (Some(value), Some(expected)) => self.tame(value, expected),
            (Some(value), None) => (value, Provenance::Seen),
            (None, expected) => {
                let (least, most) = self.limits();
                let expected = expected.unwrap_or(self.experts.level());
                (expected.clamp(least, most), Provenance::Filled)
            }
        };
        let time_of_day = self.time_of_day(step);
        self.backtest
            .arrived(step, value.map(|value| (value, kept)), time_of_day);
        self.experts
            .learn(&self.history, &next, kept, value.is_some());
        self.history.push(kept, provenance);
        self.last_step = step;
        let known = Some(self.history.len());
        if known == self.config.day_steps() || known == self.config.week_steps() {
            self.backtest.renew();
        }
        if let Some(value) = value {
            self.steps = self.steps.saturating_add(1);
            self.least = self.least.min(value);
            self.most = self.most.max(value);
            if let Some(expected) = expected {
                let memory = self.config.day_steps().unwrap_or(288) as u32;
                let count = f64::from((self.steps - 1).clamp(1, memory));
                self.usual_error += ((kept - expected).abs() - self.usual_error) / count;
            }
            if self.backtest.due() {
                self.experts.solve();
                let paths = self.experts.paths(&self.history, self.backtest.reach());
                self.backtest.launch(step, self.experts.level(), &paths);
            }
        }
    }

    /// Cuts an outlier, unless it has lasted or came at the same time a day or a week ago, too: then it is how the series is.
    fn tame(&mut self, value: f64, expected: f64) -> (f64, Provenance) {
        let most = OUTLIER_ERRORS * self.usual_error;
        let error = value - expected;
        if self.steps < PLAIN_STEPS || error.abs() <= most {
            self.outliers = 0;
            return (value, Provenance::Seen);
        }
        let (provenance, sign) = if error > 0.0 {
            (Provenance::CutFromAbove, 1)
        } else {
            (Provenance::CutFromBelow, -1)
        };
        let in_row = if self.outliers.signum() == sign {
            self.outliers.abs()
        } else {
            0
        };
        self.outliers = sign * (in_row + 1).min(OUTLIERS_MAX as i8 + 1);
        let recurs = [self.config.day_steps(), self.config.week_steps()]
            .into_iter()
            .flatten()
            .any(|period| {
                (period - 1..=period + 1)
                    .any(|lag| self.history.provenance(lag) == Some(provenance))
            });
        if recurs || in_row >= OUTLIERS_MAX as i8 {
            return (value, provenance);
        }
        (expected + error.clamp(-most, most), provenance)
    }

    fn answer(&self, method: Method, steps: u32) -> Option<SeriesForecast> {
        let open = self.open?;
        let begins = self.history.len() == 0;
        if begins && open.learned().is_none() {
            return None;
        }
        if open.is_full(self.step_us()) || begins {
            let mut closed = self.clone();
            closed.close(open.index, open.learned());
            return Some(closed.answer_from_history(method, steps));
        }
        Some(self.answer_from_history(method, steps))
    }

    fn answer_from_history(&self, method: Method, steps: u32) -> SeriesForecast {
        let count = steps.clamp(1, HORIZON_STEPS_MAX) as usize;
        let paths = self.experts.paths(&self.history, count);
        let (path, calibration): (Vec<f64>, &Calibration) = match method {
            Method::SeasonalNaive => (
                baseline(&paths).cloned().unwrap_or_default(),
                &self.backtest.baseline,
            ),
            _ => (
                self.backtest.combine(&paths, count),
                &self.backtest.combined,
            ),
        };
        let (least, most) = self.limits();
        let quantiles = calibration.quantiles();
        let steps = path
            .iter()
            .enumerate()
            .map(|(ahead, expected)| {
                let step = self.last_step + 1 + ahead as i64;
                let median = expected.clamp(least, most);
                let bands = calibration.bands(
                    &quantiles,
                    median,
                    self.backtest.distances(),
                    ahead as f64 + 1.0,
                    self.time_of_day(step),
                    self.usual_error,
                );
                ForecastStep {
                    time: step.saturating_mul(self.step_us()),
                    median,
                    bands: bands.map(|band| super::Band {
                        lower: band.lower.clamp(least, most),
                        upper: band.upper.clamp(least, most),
                    }),
                }
            })
            .collect();
        SeriesForecast {
            method,
            made_at: (self.last_step + 1).saturating_mul(self.step_us()),
            step_s: self.config.step_s,
            trust: self.trust(),
            trained_on: TrainedOn {
                span_s: (self.last_step - self.first_step + 1).max(0) as u64
                    * u64::from(self.config.step_s),
                samples: self.samples,
            },
            steps,
        }
    }
}
