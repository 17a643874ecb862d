//! What can be set about processing, with the limits that bound its state.

use std::sync::Arc;

use analytics::DetectorConfig;
use analytics::calendar::{Calendar, Zone};
use analytics::peers::PeersConfig;
use schemas::Micros;
use schemas::time::{DAY, MINUTE};

use crate::ForecastingConfig;

/// Settings of the stream operators. All times are event time, microseconds.
#[derive(Debug, Clone, PartialEq)]
pub struct ProcessingConfig {
    /// How long a window stays open after its end, ≥ 0. Watermark = log clock − lateness.
    pub lateness: Micros,
    /// How far in the future of the log clock a sample may be, ≥ 0; later ones are counted as invalid.
    pub future_max: Micros,
    /// How old a late sample may be and still revise its windows; older ones are counted as late and left out.
    pub late_max: Micros,
    /// Take samples of any age, as late ones.
    pub backfill: bool,
    /// Series in one partition at most. A sample of one more series is counted as invalid; the known ones go on.
    pub series_max: usize,
    /// Detection; `None` turns it off.
    pub detection: Option<DetectorConfig>,
    /// Comparison of each series with its siblings; `None` turns it off. Off, too, where detection is.
    pub peers: Option<PeersConfig>,
    /// Whether siblings in several partitions are compared, too, each group in one of them. Needs [`crate::PartitionState::with_place`].
    pub siblings_across_partitions: bool,
    /// Forecasts; `None` turns them off.
    pub forecasting: Option<ForecastingConfig>,
    /// What is known beforehand of days and hours unlike others; for detection and forecasts alike.
    pub calendar: Option<Arc<Calendar>>,
    /// How far back detectors and forecasts that were off learn the past of their series when they are turned on, ≥ 0; 0: not at all.
    pub warm_start: Micros,
    /// Where the hours of the day and of the week are counted that detection compares.
    pub time_zone: Zone,
}

impl Default for ProcessingConfig {
    fn default() -> Self {
        ProcessingConfig {
            lateness: 2 * MINUTE,
            future_max: 10 * MINUTE,
            late_max: DAY,
            backfill: false,
            series_max: 2_000_000,
            detection: Some(DetectorConfig::default()),
            peers: Some(PeersConfig::default()),
            siblings_across_partitions: true,
            forecasting: Some(ForecastingConfig::default()),
            calendar: None,
            warm_start: 28 * DAY,
            time_zone: Zone::default(),
        }
    }
}
