//! What a forecaster is asked: its grid of steps, and how far ahead it keeps its record.

use schemas::{ErrorCode, Fault, HasCode, HasFault};
use serde::{Deserialize, Serialize};

use super::Bounds;

/// The furthest step that can be asked for. 8,784: the hours of a leap year.
pub const HORIZON_STEPS_MAX: u32 = 8_784;

/// Seconds of a day.
const DAY_S: u32 = 86_400;

/// A season longer than this many steps is not remembered. 2,016: a week of 5-minute steps, 16 KB of history.
const SEASON_STEPS_MAX: u32 = 2_016;

/// The grid of a forecaster and its horizon.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ForecastConfig {
    /// Width of a step, seconds: samples are averaged within it, and forecasts are per step. Divides a day. Default 3600: a week is
    /// 168 steps, 8 KB of state. From 43 s on a day is remembered, from 300 s on a week.
    pub step_s: u32,
    /// How far ahead the forecaster compares itself with what came, steps. Default 48. Further steps can be asked for; their bands
    /// grow by the square root of time from there.
    pub horizon_steps: u32,
    /// Limits of the values.
    pub bounds: Bounds,
}

impl Default for ForecastConfig {
    fn default() -> Self {
        ForecastConfig {
            step_s: 3_600,
            horizon_steps: 48,
            bounds: Bounds::Seen,
        }
    }
}

impl ForecastConfig {
    /// The grid for a series with a sample every `interval_s` seconds of which `horizon_s` seconds are to be forecast: the narrowest
    /// usual step that is no narrower than the interval, remembers a week and needs at most 576 steps (two days of 5 minutes).
    pub fn for_interval(interval_s: f64, horizon_s: f64) -> Self {
        const STEPS_S: [u32; 8] = [300, 600, 900, 1_800, 3_600, 7_200, 21_600, 86_400];
        let step_s = STEPS_S
            .into_iter()
            .find(|step| f64::from(*step) >= interval_s && horizon_s <= 576.0 * f64::from(*step))
            .unwrap_or(DAY_S);
        let steps = (horizon_s / f64::from(step_s)).ceil();
        ForecastConfig {
            step_s,
            horizon_steps: (steps.max(1.0) as u32).min(HORIZON_STEPS_MAX),
            bounds: Bounds::Seen,
        }
    }

    /// Checks every setting.
    ///
    /// # Errors
    /// BadConfig: the first setting that is out of its range.
    pub fn validate(&self) -> Result<(), ForecastConfigError> {
        if self.step_s == 0 || !DAY_S.is_multiple_of(self.step_s) {
            return Err(ForecastConfigError::Step(self.step_s));
        }
        if !(1..=HORIZON_STEPS_MAX).contains(&self.horizon_steps) {
            return Err(ForecastConfigError::Horizon(self.horizon_steps));
        }
        Ok(())
    }

    /// Steps of a day, if it is remembered: more than three of them, so that yesterday's neighbours are not today's, and not too many.
    pub(crate) fn day_steps(&self) -> Option<usize> {
        let steps = DAY_S / self.step_s;
        (steps > 3 && steps <= SEASON_STEPS_MAX).then_some(steps as usize)
    }

    /// Steps of a week, if it is remembered.
    pub(crate) fn week_steps(&self) -> Option<usize> {
        let steps = 7 * (DAY_S / self.step_s);
        (steps <= SEASON_STEPS_MAX).then_some(steps as usize)
    }
}

/// A setting that no forecaster can work with.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ForecastConfigError {
    /// A step that does not divide a day.
    #[error(
        "forecast setting `step_s` is {0}; expected seconds that divide a day, such as 300 or 3600"
    )]
    Step(u32),
    /// A horizon out of range.
    #[error("forecast setting `horizon_steps` is {0}; expected 1 to {HORIZON_STEPS_MAX}")]
    Horizon(u32),
}

impl HasFault for ForecastConfigError {
    fn fault(&self) -> Fault {
        Fault::BadConfig
    }
}

impl HasCode for ForecastConfigError {
    fn code(&self) -> &'static ErrorCode {
        &crate::error_codes::FORECAST_SETTING
    }
}
