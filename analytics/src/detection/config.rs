//! What the detectors are asked: the allowed rate of alarms and the guards, with the reason for each default.

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

/// How a series is judged. All times are in seconds of event time. There is no threshold: how unusual a sample must be follows from the
/// series' own history and from the alarms that are allowed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct DetectorConfig {
    /// How many alarms a series may raise in 30 days. Default 2: a person with a thousand series reads 70 a day as it is, and fewer than one a
    /// month would miss the second fault of a bad week. Here it is the rate in the long run: a series that is told of more often is judged more
    /// strictly by and by. Who tells the events says which of them are alarms.
    pub alarms_per_month: f64,
    /// Distances below this share of the level are never unusual. Default 0.05: nobody wakes up for a change of 5 %.
    pub band_relative_min: f64,
    /// Distances below this are never unusual, in the metric's unit. Default 1e-6: below it are rounding errors.
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
    /// After an announcement, silence for this long unless it gets clearly worse; 0 also tells what recurs at regular distances. Default 86,400: the same fault on the same series is the
    /// same story for a day.
    pub rest_s: f64,
    /// Silence of a series is told after this time at the earliest (and ten of its intervals, and twice its longest gap of late that was no silence).
    /// Default 300: a restart of a collector is shorter.
    pub silence_s: f64,
}

impl Default for DetectorConfig {
    fn default() -> Self {
        DetectorConfig {
            alarms_per_month: 2.0,
            band_relative_min: 0.05,
            band_absolute_min: 1e-6,
            watch: Watch::Both,
            warm_up_samples: 30,
            warm_up_s: 300.0,
            completeness_min: 0.5,
            rest_s: 86_400.0,
            silence_s: 300.0,
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
            ("alarms_per_month", self.alarms_per_month, 0.01, 1e7),
            ("band_relative_min", self.band_relative_min, 0.0, 10.0),
            ("band_absolute_min", self.band_absolute_min, 0.0, 1e30),
            (
                "warm_up_samples",
                f64::from(self.warm_up_samples),
                2.0,
                60_000.0,
            ),
            ("warm_up_s", self.warm_up_s, 0.0, year),
            ("completeness_min", self.completeness_min, 0.0, 1.0),
            ("rest_s", self.rest_s, 0.0, year),
            ("silence_s", self.silence_s, 0.0, year),
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
            rest_s: f64::NAN,
            ..DetectorConfig::default()
        };
        let error = config.validate().unwrap_err();
        assert_eq!((error.setting, error.fault()), ("rest_s", Fault::BadConfig));
        assert!(
            DetectorConfig {
                alarms_per_month: 0.0,
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
