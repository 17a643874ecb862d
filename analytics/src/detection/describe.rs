//! Puts into an [`Observation`] what the detectors know: the expectation and its band, what each detector expected and adds, the kind.

use schemas::{AnomalyKind, Direction};

use super::alarm::DIGITS_COUNTED_FROM;
use super::level::Levels;
use super::season::{Season, Seasonal};
use super::{
    Detector, DetectorConfig, DetectorVote, LANES, Observation, SCORE_MAX, SeriesDetectors,
    VALUE_MAX, hour_mean_floor,
};

impl SeriesDetectors {
    /// The expectation and its band, with a score of 0.
    pub(super) fn describe(
        &self,
        before: &Levels,
        value: f64,
        seasonal: &Seasonal,
        floor: f32,
    ) -> Observation {
        let (expected, detector) = if seasonal.believed == Season::None {
            (before.slow(), Detector::RobustZScore)
        } else {
            (value - f64::from(seasonal.residual), Detector::Seasonal)
        };
        let half_width = f64::from(self.tails.quantile(detector as usize, floor));
        // How far samples usually are from this expectation; times 1.2533, mean absolute deviations are the σ of a normal distribution.
        let usually = self
            .seasons
            .error(seasonal.believed)
            .unwrap_or(before.scale());
        let deviation = (1.2533 * f64::from(usually)).max(f64::from(floor));
        let (low, _) = before.range();
        // What has never been negative is not expected to become so.
        let least = if low >= 0.0 { 0.0 } else { -2.0 * VALUE_MAX };
        let vote = DetectorVote {
            detector: Detector::RobustZScore,
            score: 0.0,
            expected,
            lower: (expected - half_width).max(least),
            upper: expected + half_width,
        };
        Observation {
            raw_score: 0.0,
            score: 0.0,
            sigmas: ((value - expected).abs() / deviation).min(SCORE_MAX),
            expected,
            lower: vote.lower,
            upper: vote.upper,
            direction: if value < expected {
                Direction::Low
            } else {
                Direction::High
            },
            votes: Detector::ALL.map(|detector| DetectorVote { detector, ..vote }),
            kind: AnomalyKind::Point,
            season: seasonal.believed,
            hour_of_week: 0,
            trust: 0.0,
            completeness: f64::from(self.presence.completeness()),
            lasting_s: 0.0,
            announce: false,
            skipped: false,
        }
    }

    /// What is said of a sample that can't be judged: the first, a late one, one that is no number.
    pub(super) fn unjudged(&self, config: &DetectorConfig, value: f64) -> Observation {
        let seasonal = Seasonal {
            residual: (value - self.levels.slow()) as f32,
            believed: Season::None,
        };
        let floor = self.floor(config) as f32;
        let mut observation = self.describe(&self.levels, value, &seasonal, floor);
        observation.trust = self.trust(config);
        observation
    }

    /// Says of each detector what it expected and what it adds; the largest decides the kind.
    pub(super) fn fill_votes(
        &self,
        observation: &mut Observation,
        before: &Levels,
        digits: &[f32; LANES],
        novelty: f32,
        per_digit: f32,
        floor: f32,
    ) {
        let (low, high) = before.range();
        let mut largest = 0.0;
        for vote in &mut observation.votes {
            let index = vote.detector as usize;
            let counted = if vote.detector == Detector::Range {
                novelty
            } else {
                (digits[index] - DIGITS_COUNTED_FROM).max(0.0)
            };
            vote.score = f64::from(counted * per_digit);
            let expected = match vote.detector {
                Detector::RobustZScore | Detector::LevelShift => before.slow(),
                Detector::Step => before.last(),
                Detector::Ewma => before.fast(),
                Detector::Seasonal | Detector::HourMean => observation.expected,
                Detector::Variance => continue,
                Detector::Range => {
                    (vote.expected, vote.lower, vote.upper) = (0.5 * low + 0.5 * high, low, high);
                    continue;
                }
            };
            let least = match vote.detector {
                Detector::HourMean => hour_mean_floor(observation.season) * floor,
                _ => floor,
            };
            let half_width = f64::from(self.tails.quantile(index, least));
            (vote.expected, vote.lower, vote.upper) =
                (expected, expected - half_width, expected + half_width);
        }
        let steps = observation.votes[Detector::Step as usize].score > 0.0;
        for vote in &observation.votes {
            if vote.score > largest {
                largest = vote.score;
                observation.kind = match vote.detector {
                    // One jump makes a series restless, too, and is no change of habit.
                    Detector::Variance if steps => AnomalyKind::Point,
                    Detector::Variance => AnomalyKind::Variance,
                    Detector::LevelShift | Detector::HourMean => AnomalyKind::LevelShift,
                    _ => AnomalyKind::Point,
                };
            }
        }
        if observation.kind == AnomalyKind::Variance {
            observation.direction = if self.levels.is_more_restless() {
                Direction::High
            } else {
                Direction::Low
            };
        }
    }
}
