//! What the detectors are asked: thresholds, guards and memory, with the reason for each default.

use schemas::{ErrorCode, Fault, HasCode, HasFault};
use serde::{Deserialize, Serialize};

/// Which side of the expectation can be abnormal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Watch {
    /// Both sides.
    #[default]
    Both,
    /// Only values above the band.
    High,
    /// Only values below the band.
    Low,
}

/// How a series is judged. All times are in seconds of event time.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct DetectorConfig {
    /// Half-width of the normal band in usual deviations: a sample at its edge has score 1. Default 5: normal noise passes it once in
    /// two million samples; real metrics have heavier tails, and 3 would announce each of them daily.
    pub threshold_sigmas: f64,
    /// The band is at least this share of the level to each side. Default 0.05: nobody wakes up for a change of 5 %.
    pub band_relative_min: f64,
    /// The band is at least this wide to each side, in the metric's unit. Default 1e-6: below it are rounding errors.
    pub band_absolute_min: f64,
    /// Which side can be abnormal. Default both.
    pub watch: Watch,
    /// Samples that must be seen before anything is announced. Default 30: fewer do not tell a deviation.
    pub warm_up_samples: u16,
    /// Time that must be seen before anything is announced. Default 300: thirty samples of a 1 s series are only a moment.
    pub warm_up_s: f64,
    /// Nothing is announced while the share of expected samples that arrived is below this. Default 0.5: an average of what half
    /// the samples say is not the series.
    pub completeness_min: f64,
    /// After an announcement, silence for this long. Default 900: one story is told once.
    pub rest_s: f64,
    /// How often a series may cry wolf in the long run, times a day. A series with heavier tails than the threshold allows for has its
    /// bands widened, 25 % per story, until it does so about this often; without stories they narrow again. Default 1.
    pub alarms_per_day: f64,
    /// What was learned this long ago weighs half. Default 3600. A series sampled so rarely that this is under 35 samples remembers
    /// 35 samples instead.
    pub half_life_s: f64,
    /// Samples outside the band, more than inside, after which the new behaviour is taken as normal. Default 6. At most 100.
    pub shift_samples: u8,
    /// Time for which a new behaviour must last before it is taken as normal. Default 300.
    pub shift_s: f64,
    /// After this silence (and twenty of its usual intervals) a series is learned anew. Default 86,400.
    pub forget_s: f64,
}

impl Default for DetectorConfig {
    fn default() -> Self {
        DetectorConfig {
            threshold_sigmas: 5.0,
            band_relative_min: 0.05,
            band_absolute_min: 1e-6,
            watch: Watch::Both,
            warm_up_samples: 30,
            warm_up_s: 300.0,
            completeness_min: 0.5,
            rest_s: 900.0,
            alarms_per_day: 1.0,
            half_life_s: 3600.0,
            shift_samples: 6,
            shift_s: 300.0,
            forget_s: 86_400.0,
        }
    }
}

/// A setting that no detector can work with.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[error("detector setting `{setting}` is {found}; expected a number from {least} to {most}")]
pub struct DetectorConfigError {
    /// The field's name.
    pub setting: &'static str,
    /// Its value.
    pub found: f64,
    /// The smallest value taken.
    pub least: f64,
    /// The largest value taken.
    pub most: f64,
}

impl HasFault for DetectorConfigError {
    fn fault(&self) -> Fault {
        Fault::BadConfig
    }
}

impl HasCode for DetectorConfigError {
    fn code(&self) -> &'static ErrorCode {
        &crate::error_codes::DETECTOR_SETTING
    }
}

impl DetectorConfig {
    /// Checks every number once, at the door.
    ///
    /// # Errors
    /// `DetectorConfigError` (refuse to start) names the setting that is out of range.
    pub fn validate(&self) -> Result<(), DetectorConfigError> {
        let year = 366.0 * 86_400.0;
        let checks = [
            ("threshold_sigmas", self.threshold_sigmas, 0.1, 1e3),
            ("band_relative_min", self.band_relative_min, 0.0, 10.0),
            ("band_absolute_min", self.band_absolute_min, 0.0, 1e100),
            (
                "warm_up_samples",
                f64::from(self.warm_up_samples),
                2.0,
                60_000.0,
            ),
            ("warm_up_s", self.warm_up_s, 0.0, year),
            ("completeness_min", self.completeness_min, 0.0, 1.0),
            ("rest_s", self.rest_s, 0.0, year),
            ("alarms_per_day", self.alarms_per_day, 0.0, 1e5),
            ("half_life_s", self.half_life_s, 1.0, year),
            ("shift_samples", f64::from(self.shift_samples), 2.0, 100.0),
            ("shift_s", self.shift_s, 0.0, year),
            ("forget_s", self.forget_s, 1.0, 10.0 * year),
        ];
        for (setting, found, least, most) in checks {
            // `contains` is false for NaN.
            if !(least..=most).contains(&found) {
                return Err(DetectorConfigError {
                    setting,
                    found,
                    least,
                    most,
                });
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn defaults_are_valid_and_nonsense_is_named() {
        assert_eq!(DetectorConfig::default().validate(), Ok(()));
        let config = DetectorConfig {
            half_life_s: f64::NAN,
            ..DetectorConfig::default()
        };
        let error = config.validate().unwrap_err();
        assert_eq!(
            (error.setting, error.fault()),
            ("half_life_s", Fault::BadConfig)
        );
        assert!(
            DetectorConfig {
                threshold_sigmas: 0.0,
                ..DetectorConfig::default()
            }
            .validate()
            .is_err()
        );
    }

    #[test]
    fn settings_are_read_by_name_and_unknown_ones_refused() {
        let config: DetectorConfig =
            serde_json::from_str(r#"{"watch":"high","rest_s":60}"#).unwrap();
        assert_eq!(
            config,
            DetectorConfig {
                watch: Watch::High,
                rest_s: 60.0,
                ..DetectorConfig::default()
            }
        );
        assert!(serde_json::from_str::<DetectorConfig>(r#"{"rest":60}"#).is_err());
    }
}
