//! Forecasts made in passing and compared with what came: whom of the experts to believe at which horizon, and how far off they were.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

use super::ForecastConfig;
use super::calibration::Calibration;
use super::experts::{DAY_REPEAT, EXPERTS, LAST_REPEAT};

/// The most horizons at which a method is compared with what came. 14: the powers of two up to 4,096 and the end.
const HORIZONS_MAX: usize = 14;

/// Forecasts under way. 8: an error at the furthest horizon eight times in as much time; more of them are hardly independent.
const LAUNCHES_MAX: u32 = 8;

/// A mean error forgets over this many. 100: a month of hours, as one in some hours is taken; with fewer a bad week changes the verdict.
const MEMORY_ERRORS: f64 = 100.0;

/// A forecast under way.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Launch {
    /// The last step it knew.
    step: i64,
    /// What the values below are counted from.
    level: f64,
    /// Experts × horizons, then the combination and the baseline × horizons; NaN = no opinion.
    expected: Vec<f32>,
}

/// Mean absolute error of an expert at a horizon.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
struct MeanError {
    mean: f64,
    errors: f32,
}

/// What each expert has been worth.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Backtest {
    /// In steps, rising: 1, 2, 4 … and the end.
    distances: Vec<u32>,
    /// Steps between two launches.
    stride: u32,
    /// Steps until the next one.
    until_launch: u32,
    launches: VecDeque<Launch>,
    /// Experts × horizons.
    errors: Vec<MeanError>,
    /// Errors of the combination.
    pub(crate) combined: Calibration,
    /// Errors of the baseline.
    pub(crate) baseline: Calibration,
}

impl Backtest {
    pub(crate) fn new(config: &ForecastConfig) -> Self {
        let mut distances: Vec<u32> = (0..HORIZONS_MAX as u32)
            .map(|power| 1 << power)
            .take_while(|distance| *distance < config.horizon_steps)
            .take(HORIZONS_MAX - 1)
            .collect();
        distances.push(config.horizon_steps);
        let mut stride = config.horizon_steps.div_ceil(LAUNCHES_MAX - 1);
        if let Some(day) = config.day_steps() {
            // Without a common divisor with the day, every hour of it is met.
            while greatest_common_divisor(stride, day as u32) != 1 {
                stride += 1;
            }
        }
        Backtest {
            errors: vec![MeanError::default(); EXPERTS * distances.len()],
            combined: Calibration::new(distances.len()),
            baseline: Calibration::new(distances.len()),
            distances,
            stride,
            until_launch: 0,
            launches: VecDeque::new(),
        }
    }

    pub(crate) fn distances(&self) -> &[u32] {
        &self.distances
    }

    /// Forgets most of how far off the methods were: a season has just become known.
    pub(crate) fn renew(&mut self) {
        self.combined.renew();
        self.baseline.renew();
    }

    /// Lets a step pass; says whether a forecast is to be launched from it.
    pub(crate) fn due(&mut self) -> bool {
        if self.until_launch == 0 {
            self.until_launch = self.stride - 1;
            return true;
        }
        self.until_launch -= 1;
        false
    }

    /// Steps that a launch has to know.
    pub(crate) fn reach(&self) -> usize {
        self.distances.last().copied().unwrap_or(1) as usize
    }

    /// Starts a forecast that knows the steps up to `step`.
    pub(crate) fn launch(&mut self, step: i64, level: f64, paths: &[Option<Vec<f64>>; EXPERTS]) {
        let mut expected = Vec::with_capacity((EXPERTS + 2) * self.distances.len());
        let at = |path: Option<&Vec<f64>>, distance: u32| {
            path.and_then(|path| path.get(distance as usize - 1))
                .map_or(f32::NAN, |value| (value - level) as f32)
        };
        for path in paths {
            expected.extend(
                self.distances
                    .iter()
                    .map(|distance| at(path.as_ref(), *distance)),
            );
        }
        let combined = self.combine(paths, self.reach());
        expected.extend(
            self.distances
                .iter()
                .map(|distance| at(Some(&combined), *distance)),
        );
        let baseline = baseline(paths);
        expected.extend(
            self.distances
                .iter()
                .map(|distance| at(baseline, *distance)),
        );
        self.launches.push_back(Launch {
            step,
            level,
            expected,
        });
    }

    /// Compares what was forecast of `step` with what came: `value`, and `tamed`, what an outlier was cut to. A hole passes `None`.
    pub(crate) fn arrived(&mut self, step: i64, seen: Option<(f64, f64)>, time_of_day: f64) {
        let horizons = self.distances.len();
        if let Some((value, tamed)) = seen {
            for launch in &self.launches {
                let Some(horizon) = self
                    .distances
                    .iter()
                    .position(|distance| launch.step + i64::from(*distance) == step)
                else {
                    continue;
                };
                let expected = |row: usize| {
                    let value = f64::from(launch.expected[row * horizons + horizon]);
                    value.is_finite().then_some(launch.level + value)
                };
                for expert in 0..EXPERTS {
                    let Some(expected) = expected(expert) else {
                        continue;
                    };
                    let error = &mut self.errors[expert * horizons + horizon];
                    error.errors = (error.errors + 1.0).min(MEMORY_ERRORS as f32);
                    error.mean += ((tamed - expected).abs() - error.mean) / f64::from(error.errors);
                }
                if let Some(expected) = expected(EXPERTS) {
                    self.combined.learn(horizon, time_of_day, value - expected);
                }
                if let Some(expected) = expected(EXPERTS + 1) {
                    self.baseline.learn(horizon, time_of_day, value - expected);
                }
            }
        }
        let reach = self.reach() as i64;
        while self
            .launches
            .front()
            .is_some_and(|launch| launch.step + reach <= step)
        {
            self.launches.pop_front();
        }
    }

    /// The weights of the experts at a horizon, of those who have an opinion; they sum to 1 unless nobody has.
    fn weights(&self, horizon: usize, present: [bool; EXPERTS]) -> [f64; EXPERTS] {
        let horizons = self.distances.len();
        let mut weights = [0.0; EXPERTS];
        let proven = |expert: usize| {
            let error = self.errors[expert * horizons + horizon];
            (present[expert] && error.errors >= 3.0).then_some(error.mean)
        };
        let best = (0..EXPERTS).filter_map(proven).fold(f64::MAX, f64::min);
        if best == f64::MAX {
            // Nobody is proven: the baseline.
            let first = if present[DAY_REPEAT] {
                DAY_REPEAT
            } else {
                LAST_REPEAT
            };
            weights[first] = 1.0;
            return weights;
        }
        for (expert, weight) in weights.iter_mut().enumerate() {
            if let Some(mean) = proven(expert) {
                // 0 by 0 is a tie of the faultless.
                let ratio = if mean <= best { 1.0 } else { best / mean };
                // One over the fourth power of the error: one that is wrong twice as far counts a sixteenth, two alike the same. With
                // a lower power the bad ones are heard, with a higher one chance decides between the good.
                let square = ratio * ratio;
                *weight = square * square;
            }
        }
        let sum: f64 = weights.iter().sum();
        weights.map(|weight| weight / sum)
    }

    /// The mean of what the experts expect of the next step.
    pub(crate) fn combine_next(&self, expected: &[Option<f64>; EXPERTS]) -> f64 {
        mean(
            expected,
            &self.weights(0, expected.map(|expected| expected.is_some())),
        )
    }

    /// The mean of the experts by their weights, which change linearly from horizon to horizon.
    pub(crate) fn combine(&self, paths: &[Option<Vec<f64>>; EXPERTS], steps: usize) -> Vec<f64> {
        let mut combined = Vec::with_capacity(steps);
        let present = std::array::from_fn(|expert| paths[expert].is_some());
        let mut right = 0;
        let (mut left_weights, mut right_weights) =
            (self.weights(0, present), self.weights(0, present));
        for ahead in 0..steps {
            let distance = ahead as u32 + 1;
            while right + 1 < self.distances.len() && distance > self.distances[right] {
                right += 1;
                left_weights = right_weights;
                right_weights = self.weights(right, present);
            }
            let end = self.distances[right];
            let start = if right == 0 {
                end
            } else {
                self.distances[right - 1]
            };
            let share = if distance >= end || end == start {
                1.0
            } else {
                f64::from(distance - start) / f64::from(end - start)
            };
            let weights = std::array::from_fn(|expert| {
                left_weights[expert] + share * (right_weights[expert] - left_weights[expert])
            });
            let expected = std::array::from_fn(|expert| {
                paths[expert]
                    .as_ref()
                    .and_then(|path| path.get(ahead))
                    .copied()
            });
            combined.push(mean(&expected, &weights));
        }
        combined
    }
}

/// The weighted mean of those who have an opinion; counted from one of them, so that what all agree on is not rounded.
fn mean(expected: &[Option<f64>; EXPERTS], weights: &[f64; EXPERTS]) -> f64 {
    let first = expected[LAST_REPEAT].unwrap_or(0.0);
    let mut mean = first;
    for (expected, weight) in expected.iter().zip(weights) {
        if let Some(expected) = expected {
            mean += weight * (expected - first);
        }
    }
    mean
}

/// The baseline's path: a day ago, or the last value.
pub(crate) fn baseline(paths: &[Option<Vec<f64>>; EXPERTS]) -> Option<&Vec<f64>> {
    paths[DAY_REPEAT].as_ref().or(paths[LAST_REPEAT].as_ref())
}

fn greatest_common_divisor(mut a: u32, mut b: u32) -> u32 {
    while b != 0 {
        (a, b) = (b, a % b);
    }
    a
}
