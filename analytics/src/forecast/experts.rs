//! The experts whose opinions are weighed: naive repeats, and regressions on what was a moment, a day and a week ago.

use serde::{Deserialize, Serialize};

use super::ForecastConfig;
use super::history::History;
use super::regression::{COEFFICIENTS_MAX, Coefficients, Regression};

/// How many experts there are.
pub(crate) const EXPERTS: usize = 8;

/// The experts that repeat: the last value, that of a day and that of a week ago. The regressions follow them.
const REPEATS: usize = 3;

/// The expert that is the baseline where there is a day: the value of a day ago.
pub(crate) const DAY_REPEAT: usize = 1;

/// The expert that is the baseline where there is none: the last value.
pub(crate) const LAST_REPEAT: usize = 0;

/// What each regression looks at: the seasons beside the last steps, and whether it works on logarithms, where a season is a factor.
const REGRESSIONS: [(Seasons, bool); EXPERTS - REPEATS] = [
    (Seasons::None, false),
    (Seasons::Day, false),
    (Seasons::DayAndWeek, false),
    (Seasons::Day, true),
    (Seasons::DayAndWeek, true),
];

/// How much of a deviation is left a step later before data say otherwise. 0.8: gone after half a day of hours.
const PERSISTENCE: f64 = 0.8;

/// Rows a regression must have learned per coefficient before it is asked. 5: a usual rule is 5 to 10, and the prior helps.
const ROWS_PER_COEFFICIENT: f64 = 5.0;

/// Logarithms are taken of no less than this share of the level: a dip to a thousandth is a zero, not a season.
const LOG_FLOOR: f64 = 1e-3;

/// Steps of the level's memory where a day is not remembered. 288: as for 5-minute steps.
const DAY_STEPS_UNKNOWN: usize = 288;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Seasons {
    None,
    Day,
    DayAndWeek,
}

/// Regressors: lags, in steps, and with a week the mean of the same time on its seven days; the coefficients they are drawn to.
#[derive(Debug, Clone, Copy)]
struct Inputs {
    lags: [usize; LAGS_MAX],
    prior: [f64; COEFFICIENTS_MAX - 1],
    count: usize,
    /// Steps of a day if the mean over the days of a week is a regressor: one value of a week ago is noisy, seven are less so.
    mean_of_days: Option<usize>,
}

/// Three lags, and three for each of two seasons.
const LAGS_MAX: usize = 9;

/// Days of the mean.
const DAYS: usize = 7;

impl Inputs {
    /// The last three steps, and three around the same time a day and a week ago; `None` if that season is not remembered.
    ///
    /// The prior: the mean of the seasons, plus [`PERSISTENCE`] of the last step's deviation from that mean.
    fn of(seasons: Seasons, day: Option<usize>, week: Option<usize>) -> Option<Inputs> {
        let periods = match seasons {
            Seasons::None => [None, None],
            Seasons::Day => [Some(day?), None],
            Seasons::DayAndWeek => [Some(day?), Some(week?)],
        };
        let share = 1.0 / periods.iter().flatten().count().max(1) as f64;
        let mut inputs = Inputs {
            lags: [1, 2, 3, 0, 0, 0, 0, 0, 0],
            prior: [0.0; COEFFICIENTS_MAX - 1],
            count: 3,
            mean_of_days: day.filter(|_| seasons == Seasons::DayAndWeek),
        };
        inputs.prior[0] = PERSISTENCE;
        for period in periods.into_iter().flatten() {
            for (lag, prior) in [
                (period - 1, 0.0),
                (period, share),
                (period + 1, -PERSISTENCE * share),
            ] {
                inputs.lags[inputs.count] = lag;
                inputs.prior[inputs.count] = prior;
                inputs.count += 1;
            }
        }
        Some(inputs)
    }

    /// Lags, and the mean.
    fn len(&self) -> usize {
        self.count + usize::from(self.mean_of_days.is_some())
    }

    /// Puts the values of the regressors into `row`; `value` gives what is `lag` steps back. `None` if it has none.
    fn fill(&self, row: &mut [f64], mut value: impl FnMut(usize) -> Option<f64>) -> Option<()> {
        for (regressor, lag) in row.iter_mut().zip(&self.lags[..self.count]) {
            *regressor = value(*lag)?;
        }
        if let Some(day) = self.mean_of_days {
            let mut sum = 0.0;
            for days in 1..=DAYS {
                sum += value(days * day)?;
            }
            row[self.count] = sum / DAYS as f64;
        }
        Some(())
    }

    /// What a regression with these coefficients makes of a row.
    fn apply(&self, coefficients: &Coefficients, row: &[f64]) -> f64 {
        let count = self.len();
        let products = coefficients.iter().zip(&row[..count]);
        products.fold(coefficients[count], |sum, (coefficient, regressor)| {
            sum + coefficient * regressor
        })
    }

    fn longest(&self) -> usize {
        self.lags[self.count - 1]
    }

    /// The lag that a naive forecast repeats.
    fn naive(&self) -> usize {
        if self.count == 3 {
            1
        } else {
            self.lags[self.count - 2]
        }
    }
}

/// What the regressions of a series have learned.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Experts {
    day_steps: Option<u16>,
    week_steps: Option<u16>,
    /// Exponentially weighted mean of the steps, of a day's memory: what regressors and targets are counted from.
    level: f64,
    /// Steps in the level, at most a day's.
    level_steps: u16,
    /// What a row is multiplied by when the next comes.
    decay: f64,
    regressions: Vec<Regression>,
    /// Solved at the last [`Experts::solve`]; empty for one that has learned too little.
    coefficients: Vec<Option<Coefficients>>,
}

impl Experts {
    pub(crate) fn new(config: &ForecastConfig) -> Self {
        let (day, week) = (config.day_steps(), config.week_steps());
        // Half of what is known is from the last two weeks, two of the longest season; of the last 336 steps where steps are short
        // or long and a week is not remembered.
        let half_life_steps = week.map_or(336.0, |steps| 2.0 * steps as f64);
        Experts {
            day_steps: day.map(|steps| steps as u16),
            week_steps: week.map(|steps| steps as u16),
            level: 0.0,
            level_steps: 0,
            decay: libm::exp(-core::f64::consts::LN_2 / half_life_steps),
            regressions: REGRESSIONS
                .iter()
                .map(|(seasons, _)| {
                    Regression::new(
                        Inputs::of(*seasons, day, week).map_or(0, |inputs| inputs.len()),
                    )
                })
                .collect(),
            coefficients: vec![None; REGRESSIONS.len()],
        }
    }

    /// Steps of history that the experts look back.
    pub(crate) fn look_back(config: &ForecastConfig) -> usize {
        config.week_steps().or(config.day_steps()).unwrap_or(2) + 1
    }

    fn day(&self) -> Option<usize> {
        self.day_steps.map(usize::from)
    }

    fn week(&self) -> Option<usize> {
        self.week_steps.map(usize::from)
    }

    /// The level, 0 before the first step.
    pub(crate) fn level(&self) -> f64 {
        self.level
    }

    /// What the experts look at and expect of the step that follows `history`.
    pub(crate) fn next(&self, history: &History) -> NextStep {
        let mut next = NextStep::default();
        let periods = [Some(1), self.day(), self.week()];
        for (expected, period) in next.expected.iter_mut().zip(periods) {
            *expected = period.and_then(|period| history.lag(period));
        }
        let Some(range) = history.range() else {
            return next;
        };
        for (at, (seasons, logarithmic)) in REGRESSIONS.iter().enumerate() {
            let Some(inputs) = Inputs::of(*seasons, self.day(), self.week()) else {
                continue;
            };
            let scale = Scale::new(*logarithmic, self.level);
            let mut row = [0.0; COEFFICIENTS_MAX - 1];
            let known = |lag| history.lag(lag).and_then(|value| scale.to(value));
            if inputs.fill(&mut row, known).is_none() {
                continue;
            }
            next.rows[at] = Some(row);
            next.expected[REPEATS + at] = self.coefficients[at].and_then(|coefficients| {
                let limits = Limits::new(scale, range, history.len())?;
                let value = limits.hold(inputs.apply(&coefficients, &row), 0);
                Some(scale.from(value)).filter(|value| value.is_finite())
            });
        }
        next
    }

    /// Learns the step that follows `history`, of which `next` is known. `learnable`: whether it was seen; a hole moves the level only.
    pub(crate) fn learn(
        &mut self,
        history: &History,
        next: &NextStep,
        value: f64,
        learnable: bool,
    ) {
        if self.level_steps == 0 {
            self.level = value;
        }
        if learnable {
            for (at, (seasons, logarithmic)) in REGRESSIONS.iter().enumerate() {
                let inputs = Inputs::of(*seasons, self.day(), self.week());
                let scale = Scale::new(*logarithmic, self.level);
                let (Some(inputs), Some(row), Some(target)) =
                    (inputs, &next.rows[at], scale.to(value))
                else {
                    continue;
                };
                let naive = history.lag(inputs.naive());
                let naive = naive.and_then(|value| scale.to(value));
                let naive_error = naive.map_or(0.0, |naive| target - naive);
                self.regressions[at].learn(row, target, naive_error, self.decay);
            }
        }
        let memory = self.day().unwrap_or(DAY_STEPS_UNKNOWN) as u16;
        self.level_steps = (self.level_steps + 1).min(memory);
        self.level += (value - self.level) / f64::from(self.level_steps);
    }

    /// Fits the regressions to what they have learned.
    pub(crate) fn solve(&mut self) {
        for (at, (seasons, _)) in REGRESSIONS.iter().enumerate() {
            let regression = &self.regressions[at];
            self.coefficients[at] = Inputs::of(*seasons, self.day(), self.week())
                .filter(|inputs| {
                    regression.rows() >= ROWS_PER_COEFFICIENT * (inputs.len() as f64 + 1.0)
                })
                .map(|inputs| regression.solve(&inputs.prior));
        }
    }

    /// What each expert expects of the next `steps` steps; `None` for one that does not know enough.
    pub(crate) fn paths(&self, history: &History, steps: usize) -> [Option<Vec<f64>>; EXPERTS] {
        let mut paths: [Option<Vec<f64>>; EXPERTS] = Default::default();
        let periods = [Some(1), self.day(), self.week()];
        for (path, period) in paths.iter_mut().zip(periods) {
            *path = period
                .filter(|period| history.len() >= *period)
                .map(|period| {
                    (0..steps)
                        .filter_map(|ahead| history.lag(period - ahead % period))
                        .collect()
                });
        }
        let Some(range) = history.range() else {
            return paths;
        };
        for (at, (seasons, logarithmic)) in REGRESSIONS.iter().enumerate() {
            let inputs = Inputs::of(*seasons, self.day(), self.week());
            if let (Some(inputs), Some(coefficients)) = (inputs, &self.coefficients[at]) {
                paths[REPEATS + at] =
                    self.roll(&inputs, coefficients, *logarithmic, history, range, steps);
            }
        }
        paths
    }

    /// Applies a regression to its own answers, step by step. `range`: of the history.
    fn roll(
        &self,
        inputs: &Inputs,
        coefficients: &Coefficients,
        logarithmic: bool,
        history: &History,
        range: (f64, f64),
        steps: usize,
    ) -> Option<Vec<f64>> {
        let known = inputs.longest();
        let scale = Scale::new(logarithmic, self.level);
        let limits = Limits::new(scale, range, history.len())?;
        let mut values = vec![f64::NAN; known];
        values.reserve(steps);
        let memory = self.day().unwrap_or(DAY_STEPS_UNKNOWN) as f64;
        // Values are counted from the level as it is now; it moves on as the answers come.
        let mut level = 0.0;
        let mut row = [0.0; COEFFICIENTS_MAX - 1];
        for ahead in 0..steps {
            let at = known + ahead;
            inputs.fill(&mut row, |lag| {
                let place = at - lag;
                // Few of the known values are looked at, and a logarithm is dear.
                if values[place].is_nan() {
                    values[place] = scale.to(history.lag(known - place)?)?;
                }
                Some(values[place] - level)
            })?;
            let value = limits.hold(inputs.apply(coefficients, &row) + level, ahead);
            values.push(value);
            level += (value - level) / memory;
        }
        let path: Vec<f64> = values[known..]
            .iter()
            .map(|value| scale.from(*value))
            .collect();
        path.iter().all(|value| value.is_finite()).then_some(path)
    }
}

/// What each regression looks at, and what each expert expects, of one step.
#[derive(Debug, Default)]
pub(crate) struct NextStep {
    rows: [Option<[f64; COEFFICIENTS_MAX - 1]>; REGRESSIONS.len()],
    /// `None` for an expert that does not know enough.
    pub(crate) expected: [Option<f64>; EXPERTS],
}

/// How far an answer may leave what is known, counted as a [`Scale`] does.
#[derive(Debug, Clone, Copy)]
struct Limits {
    least: f64,
    most: f64,
    known: f64,
}

impl Limits {
    /// `range`: of the `known` values of the history. `None` if it has no place on the scale.
    fn new(scale: Scale, range: (f64, f64), known: usize) -> Option<Self> {
        // Monotone, so that the range on the scale is known from its ends.
        Some(Limits {
            least: scale.to(range.0)?,
            most: scale.to(range.1)?,
            known: known as f64,
        })
    }

    /// No series leaves its range by more than that range in as much time as is known of it: an unstable fit is stopped here.
    fn hold(self, value: f64, ahead: usize) -> f64 {
        let reach = (self.most - self.least) * (1.0 + ahead as f64 / self.known);
        value.clamp(self.least - reach, self.most + reach)
    }
}

/// How values are counted: from the level, as differences or as logarithms of ratios.
#[derive(Debug, Clone, Copy)]
struct Scale {
    logarithmic: bool,
    level: f64,
}

impl Scale {
    fn new(logarithmic: bool, level: f64) -> Self {
        Scale { logarithmic, level }
    }

    /// `None` for a value that has no logarithm, or no level to compare with.
    fn to(self, value: f64) -> Option<f64> {
        if !self.logarithmic {
            return Some(value - self.level);
        }
        (value > 0.0 && self.level > 0.0)
            .then(|| libm::log(value.max(LOG_FLOOR * self.level) / self.level))
    }

    fn from(self, value: f64) -> f64 {
        if self.logarithmic {
            self.level * libm::exp(value)
        } else {
            self.level + value
        }
    }
}
