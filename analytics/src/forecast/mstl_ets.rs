//! The forecast of reports: seasons, trend and rest taken apart by MSTL, the trend continued by exponential smoothing (ETS).

use augurs::ets::AutoETS;
use augurs::ets::trend::AutoETSTrendModel;
use augurs::mstl::{MSTLModel, stlrs};
use augurs::{Fit, Predict};
use schemas::time::SECOND;
use schemas::{ErrorCode, Fault, HasCode, HasFault, Micros, catch_panic};

use super::answer::{Band, COVERAGES, ForecastStep, Method, SeriesForecast, TrainedOn};
use super::config::{ForecastConfig, HORIZON_STEPS_MAX};

/// Values without which nothing is fitted. 16: exponential smoothing has up to four parameters.
const VALUES_MIN: usize = 16;

/// The most values fitted. 4,032: two weeks of 5-minute steps, half a year of hours; the cost grows faster than their number.
const VALUES_MAX: usize = 4_032;

/// Quantiles of the normal distribution at the upper ends of the bands of [`COVERAGES`].
const NORMAL_QUANTILES: [f64; 3] = [0.674_489_75, 1.281_551_57, 1.959_963_98];

/// A history that this method cannot forecast.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum MstlEtsError {
    /// Too few values.
    #[error("MSTL + ETS needs {VALUES_MIN} steps with a value, found {found}")]
    TooShort {
        /// Steps with a finite value.
        found: usize,
    },
    /// The fit did not come to an end.
    #[error("MSTL + ETS could not be fitted: {0}")]
    Failed(String),
}

impl HasFault for MstlEtsError {
    fn fault(&self) -> Fault {
        Fault::BadInput
    }
}

impl HasCode for MstlEtsError {
    fn code(&self) -> &'static ErrorCode {
        &crate::error_codes::FORECAST_HISTORY
    }
}

/// Forecasts `steps` steps (1 to [`HORIZON_STEPS_MAX`], cut to that) after `values`: one per step of `config`, oldest first, NaN = no
/// sample; the first one starts at `first`.
///
/// A day and a week are taken as seasons where two of them are known. Holes are bridged by straight lines. The bands are those of
/// exponential smoothing, widened by how far a forecast of the last known steps would have been off.
///
/// # Errors
/// BadInput: too few values, or a fit that fails on them.
pub fn forecast_by_mstl_ets(
    config: &ForecastConfig,
    first: Micros,
    values: &[f64],
    steps: u32,
) -> Result<SeriesForecast, MstlEtsError> {
    let steps = steps.clamp(1, HORIZON_STEPS_MAX) as usize;
    let skipped = values.len().saturating_sub(VALUES_MAX);
    let recent = &values[skipped..];
    let known: Vec<f64> = recent
        .iter()
        .copied()
        .filter(|value| value.is_finite())
        .collect();
    if known.len() < VALUES_MIN {
        return Err(MstlEtsError::TooShort { found: known.len() });
    }
    let (least, most) = range(&known);
    let (lower_limit, upper_limit) = config.bounds.limits(least, most);
    let step_us = i64::from(config.step_s) * SECOND;
    let made_at = first.saturating_add(step_us.saturating_mul(values.len() as i64));
    let expected = expect(config, &fill(recent), steps)?;
    let widening = widening(config, recent, steps);
    let steps = expected
        .into_iter()
        .enumerate()
        .map(|(ahead, (median, sigma))| {
            let clamp = |value: f64| value.clamp(lower_limit, upper_limit);
            ForecastStep {
                time: made_at.saturating_add(step_us.saturating_mul(ahead as i64)),
                median: clamp(median),
                bands: NORMAL_QUANTILES.map(|quantile| Band {
                    lower: clamp(median - quantile * widening * sigma),
                    upper: clamp(median + quantile * widening * sigma),
                }),
            }
        })
        .collect();
    Ok(SeriesForecast {
        method: Method::MstlEts,
        made_at,
        step_s: config.step_s,
        trust: trust(config, known.len()),
        trained_on: TrainedOn {
            span_s: recent.len() as u64 * u64::from(config.step_s),
            samples: known.len() as u64,
        },
        steps,
    })
}

/// 0–1: two weeks of values, or two days where a week is not remembered.
fn trust(config: &ForecastConfig, known: usize) -> f64 {
    let season = config
        .week_steps()
        .or(config.day_steps())
        .unwrap_or(VALUES_MIN);
    (known as f64 / (2.0 * season as f64)).min(1.0)
}

/// Median and standard deviation of the steps after `values`, which have no holes.
fn expect(
    config: &ForecastConfig,
    values: &[f64],
    steps: usize,
) -> Result<Vec<(f64, f64)>, MstlEtsError> {
    let (least, most) = range(values);
    // The decomposition works in singles: what is left of a value must fit one.
    let (centre, size) = (0.5 * least + 0.5 * most, 0.5 * most - 0.5 * least);
    if size <= f64::MIN_POSITIVE {
        return Ok(vec![(centre, 0.0); steps]);
    }
    let scaled: Vec<f64> = values.iter().map(|value| (value - centre) / size).collect();
    let periods: Vec<usize> = [config.day_steps(), config.week_steps()]
        .into_iter()
        .flatten()
        .filter(|period| 2 * period < scaled.len())
        .collect();
    let forecast = catch_panic(|| {
        // Additive errors only: their bands are formulas, those of the others are drawn at random.
        let ets = AutoETS::new(1, "AZN").map_err(|error| error.to_string())?;
        if periods.is_empty() {
            let fitted = ets.fit(&scaled).map_err(|error| error.to_string())?;
            return fitted
                .predict(steps, 0.95)
                .map_err(|error| error.to_string());
        }
        let mut mstl = MSTLModel::new(periods, AutoETSTrendModel::from(ets));
        let mut stl = stlrs::params();
        stl.seasonal_degree(0);
        let mut parameters = stlrs::MstlParams::new();
        parameters.stl_params(stl);
        mstl = mstl.mstl_params(parameters);
        let fitted = mstl.fit(&scaled).map_err(|error| error.to_string())?;
        fitted
            .predict(steps, 0.95)
            .map_err(|error| error.to_string())
    })
    .and_then(|result| result)
    .map_err(MstlEtsError::Failed)?;
    let upper = forecast
        .intervals
        .map(|intervals| intervals.upper)
        .unwrap_or_default();
    let expected: Vec<(f64, f64)> = forecast
        .point
        .iter()
        .zip(upper)
        .map(|(median, upper)| {
            let sigma = (upper - median) / NORMAL_QUANTILES[2];
            (centre + median * size, sigma.max(0.0) * size)
        })
        .collect();
    let finite = |(median, sigma): &(f64, f64)| median.is_finite() && sigma.is_finite();
    if expected.len() != steps || !expected.iter().all(finite) {
        return Err(MstlEtsError::Failed("the fit is not finite".to_owned()));
    }
    Ok(expected)
}

/// What the bands of a forecast of the last known steps would have had to be multiplied by to hold 95 % of them; at least 1.
fn widening(config: &ForecastConfig, values: &[f64], steps: usize) -> f64 {
    let held_out = steps.min(values.len() / 4);
    let before = values.len() - held_out;
    let known = values[..before]
        .iter()
        .filter(|value| value.is_finite())
        .count();
    if held_out == 0 || known < VALUES_MIN {
        return 1.0;
    }
    let Ok(expected) = expect(config, &fill(&values[..before]), held_out) else {
        return 1.0;
    };
    let mut misses: Vec<f64> = values[before..]
        .iter()
        .zip(expected)
        .filter(|(value, (_, sigma))| value.is_finite() && *sigma > 0.0)
        .map(|(value, (median, sigma))| (value - median).abs() / (NORMAL_QUANTILES[2] * sigma))
        .collect();
    misses.sort_by(f64::total_cmp);
    let rank = (COVERAGES[2] * misses.len() as f64).ceil() as usize;
    misses
        .get(rank.saturating_sub(1))
        .copied()
        .unwrap_or(1.0)
        .max(1.0)
}

/// Least and largest of some values.
fn range(values: &[f64]) -> (f64, f64) {
    values
        .iter()
        .fold((f64::MAX, f64::MIN), |(least, most), value| {
            (least.min(*value), most.max(*value))
        })
}

/// The values with straight lines for holes; before the first and after the last one, that one.
fn fill(values: &[f64]) -> Vec<f64> {
    let mut filled = values.to_vec();
    let mut before: Option<usize> = None;
    for at in 0..values.len() {
        if !values[at].is_finite() {
            continue;
        }
        let start = before.map_or(0, |before| before + 1);
        let left = before.map_or(values[at], |before| values[before]);
        let width = (at + 1 - start) as f64;
        for (place, hole) in filled[start..at].iter_mut().enumerate() {
            let share = (place + 1) as f64 / width;
            *hole = left * (1.0 - share) + values[at] * share;
        }
        before = Some(at);
    }
    if let Some(last) = before {
        filled[last + 1..].fill(values[last]);
    }
    filled
}
