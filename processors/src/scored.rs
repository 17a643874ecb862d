//! What the detectors made of one sample, for those who write it down.

use analytics::Observation;
use schemas::{Micros, SeriesId};

/// What the detectors made of one sample.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Scored {
    /// Its series.
    pub series: SeriesId,
    /// Its time, microseconds.
    pub time: Micros,
    /// What was judged: the value, or for a counter its increase per second since the sample before.
    pub value: f64,
    /// The value that was expected.
    pub expected: f64,
    /// Lower edge of the expected band.
    pub lower: f64,
    /// Upper edge of the expected band.
    pub upper: f64,
    /// For ranking samples of one series, in its unit, ≥ 0: distance from the expectation, not divided by anything that adapts.
    pub raw_score: f64,
    /// 0–1 normal, above 1 anomalous; also where nothing is announced, because the warm-up or a silence lasts.
    pub score: f64,
}

impl Scored {
    pub(crate) fn of(
        series: SeriesId,
        time: Micros,
        value: f64,
        observation: &Observation,
    ) -> Self {
        Scored {
            series,
            time,
            value,
            expected: observation.expected,
            lower: observation.lower,
            upper: observation.upper,
            raw_score: observation.raw_score,
            score: observation.score,
        }
    }
}
