//! The detectors' votes, and what they make of a sample together.

use schemas::{AnomalyKind, Direction};
use serde::{Deserialize, Serialize};

use super::season::Season;

/// The largest score given. A finite end, so that an event is valid JSON when a constant series moves.
pub const SCORE_MAX: f64 = 1e6;

/// The score of a finding that no votes make (a drift, a silence, a series unlike its siblings) and that is so many times as far as what is just told:
/// `1 + log10(times)`, at most 7. Votes count digits of improbability, and for a tail of Pareto's those grow with the logarithm of the distance; the
/// distance itself, beside them, would put each counter of errors that leaves zero before all else.
pub(crate) fn score_of_times(times: f64) -> f64 {
    1.0 + libm::log10(times.clamp(1.01, SCORE_MAX))
}

/// How many detectors vote.
pub const DETECTORS: usize = 8;

/// One of the detectors that vote on each sample.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Detector {
    /// Distance from a slow robust level.
    RobustZScore,
    /// Change since the sample before.
    Step,
    /// Smoothed distance from a fast exponentially weighted mean.
    Ewma,
    /// Distance of the fast level from the slow one.
    LevelShift,
    /// Distance from what the hour of the day or of the week usually brings.
    Seasonal,
    /// Mean residual of the last hour: small, but lasting.
    HourMean,
    /// Restlessness of the last hour against that of two days.
    Variance,
    /// A value out of the range of all that was seen.
    Range,
}

impl Detector {
    /// All of them, in the order of [`Observation::votes`].
    pub const ALL: [Detector; DETECTORS] = [
        Detector::RobustZScore,
        Detector::Step,
        Detector::Ewma,
        Detector::LevelShift,
        Detector::Seasonal,
        Detector::HourMean,
        Detector::Variance,
        Detector::Range,
    ];

    /// The name in events.
    pub fn name(self) -> &'static str {
        match self {
            Detector::RobustZScore => "robust_z_score",
            Detector::Step => "step",
            Detector::Ewma => "ewma",
            Detector::LevelShift => "level_shift",
            Detector::Seasonal => "seasonal",
            Detector::HourMean => "hour_mean",
            Detector::Variance => "variance",
            Detector::Range => "range",
        }
    }
}

/// What one detector thinks of a sample.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct DetectorVote {
    /// Which one.
    pub detector: Detector,
    /// What it adds to the ensemble's score, ≥ 0: above 1 it calls the sample abnormal by itself. 0 most of the time.
    pub score: f64,
    /// The value it expected.
    pub expected: f64,
    /// Lower edge of what it has seen 99 % of the time.
    pub lower: f64,
    /// Upper edge of that.
    pub upper: f64,
}

/// What the detectors together think of a sample, from what they had learned before it. Every number is finite.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Observation {
    /// For ranking samples of *one* series, in its unit, ≥ 0: smoothed distance from both the recent level and the seasonal expectation.
    /// Not divided by anything that adapts, which would rank a large anomaly behind a small one before it.
    pub raw_score: f64,
    /// 0–1 normal, above 1 anomalous, at most [`SCORE_MAX`]: the sum of the votes over what the rate of alarms allows. At most 1 where an
    /// alarm would be unwarranted: before the warm-up ends, while samples are missing, on a side that is not watched, in the first two days if it did
    /// not jump, in the rest after an alarm (unless this is worse), when the same has come at the same distance several times, and while the calendar
    /// says so.
    pub score: f64,
    /// Distance from the expectation in usual deviations, ≥ 0, at most [`SCORE_MAX`].
    pub sigmas: f64,
    /// The value that was expected.
    pub expected: f64,
    /// Lower edge of the band that holds 99 % of the samples of late.
    pub lower: f64,
    /// Upper edge of that band.
    pub upper: f64,
    /// Which side of the expectation the value is on.
    pub direction: Direction,
    /// What each detector thinks.
    pub votes: [DetectorVote; DETECTORS],
    /// In what way it is abnormal, if it is. Of a drift, `expected` is the level it came from.
    pub kind: AnomalyKind,
    /// Which season the expectation rests on.
    pub season: Season,
    /// Hours since Monday 0:00 in local time, 0–167.
    pub hour_of_week: u8,
    /// 0–1: how much of the warm-up has been seen.
    pub trust: f64,
    /// 0–1: the share of expected samples that arrived of late, from the series' own interval.
    pub completeness: f64,
    /// How long the story lasts so far, seconds: the value unchanged, or no sample at all. 0 for the other kinds.
    pub lasting_s: f64,
    /// Whether an event should be sent now. True exactly when `score` is above 1.
    pub announce: bool,
    /// Whether one would be sent now, did the calendar not say to skip it. Once per story.
    pub skipped: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_told_has_a_score_above_1_that_grows_with_the_distance_and_has_an_end() {
        for (times, score) in [
            (1.0, 1.004),
            (10.0, 2.0),
            (1e3, 4.0),
            (1e6, 7.0),
            (1e30, 7.0),
            (f64::INFINITY, 7.0),
        ] {
            let found = score_of_times(times);
            assert!(
                (found - score).abs() < 1e-3 && found > 1.0,
                "{times}: {found}"
            );
        }
    }
}
