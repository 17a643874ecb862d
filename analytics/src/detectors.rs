//! What is remembered of a series, and what that makes of its next sample. 64 bytes, O(1) per sample, any interval from 1 s to 1 h.

use schemas::time::SECOND;
use schemas::{Direction, Micros};
use serde::{Deserialize, Serialize};

use crate::ewma::Ewma;
use crate::robust_z_score::RobustZScore;
use crate::{DetectorConfig, Watch};

/// The largest score given. A finite end, so that an event is valid JSON when a constant series moves.
pub const SCORE_MAX: f64 = 1e6;

/// The first samples are learned unweighted and uncut: before there is a scale, nothing can be called an outlier.
pub(crate) const PLAIN_SAMPLES: u16 = 8;

/// A new sample weighs at most this. 0.02 is a memory of 35 samples (half-life): fewer give a scale that is mostly noise.
const WEIGHT_MAX: f64 = 0.02;

/// Values are cut here before they are judged. 1e36: no metric is larger, and deviations of such values still fit a single.
const VALUE_MAX: f64 = 1e36;

/// Never divide by less: the smallest scale when the level is zero and no smallest band is set. The smallest normal single is 1.2e-38.
const SIGMA_TINY: f64 = 1e-36;

/// What each new story widens the bands by. 1.25: a dozen false alarms teach a series that its tails are heavy (see
/// [`DetectorConfig::alarms_per_day`]), one true one hardly dulls it.
const STRETCH_STEP: f32 = 1.25;

/// Bands are never widened further than this. 20: a hundred deviations hold all that is not a fault.
const STRETCH_MAX: f32 = 20.0;

/// One of the two detectors.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Detector {
    /// Robust centre and median absolute deviation.
    RobustZScore,
    /// Exponentially weighted mean and variance of winsorised residuals.
    Ewma,
}

impl Detector {
    /// The name in events.
    pub fn name(self) -> &'static str {
        match self {
            Detector::RobustZScore => "robust_z_score",
            Detector::Ewma => "ewma",
        }
    }
}

/// What one detector thinks of a sample.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct DetectorVote {
    /// Which one.
    pub detector: Detector,
    /// 0–1 normal, above 1 anomalous; at most [`SCORE_MAX`].
    pub score: f64,
    /// The value it expected.
    pub expected: f64,
    /// Lower edge of its band.
    pub lower: f64,
    /// Upper edge of its band.
    pub upper: f64,
}

impl DetectorVote {
    fn of(detector: Detector, expected: f64, half_width: f64, value: f64) -> Self {
        let score = ((value - expected).abs() / half_width).min(SCORE_MAX);
        DetectorVote {
            detector,
            score,
            expected,
            lower: expected - half_width,
            upper: expected + half_width,
        }
    }
}

/// What the detectors together think of a sample, from what they had learned before it. Every number is finite.
///
/// The band spans the bands of both detectors, so a value outside it is abnormal to each of them; the score is the distance from the
/// expectation in half-widths of the band.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Observation {
    /// 0–1 normal, above 1 anomalous; at most [`SCORE_MAX`]. At most 1 on a side that is not watched.
    pub score: f64,
    /// Distance from the expectation in usual deviations, ≥ 0.
    pub sigmas: f64,
    /// The value that was expected.
    pub expected: f64,
    /// Lower edge of the normal band.
    pub lower: f64,
    /// Upper edge of the normal band.
    pub upper: f64,
    /// Which side of the expectation the value is on.
    pub direction: Direction,
    /// What each detector thinks.
    pub votes: [DetectorVote; 2],
    /// 0–1: how much of the warm-up has been seen (since the start, or since the series last took a new level).
    pub trust: f64,
    /// 0–1: the share of expected samples that arrived of late, from the series' own interval.
    pub completeness: f64,
    /// Whether an event should be sent now: anomalous, warmed up, complete enough, and not part of a story already told.
    pub announce: bool,
}

/// One step of learning, as the detectors get it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Update {
    /// 0–1: what the sample weighs.
    pub(crate) weight: f64,
    /// Samples learned before.
    pub(crate) samples: u16,
    /// The smallest σ that matters, > 0.
    pub(crate) sigma_min: f64,
}

/// Both detectors of one series and the guards around them.
///
/// Save it in a binary format: not every JSON reader returns a decimal number to the last bit.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct SeriesDetectors {
    time: Micros,
    // The parts of `RobustZScore` and of `Ewma` lie side by side: nested, each would be padded to 16 bytes.
    centre: f64,
    level: f64,
    median_deviation: f32,
    standard_deviation: f32,
    /// Event time learned from since the start or the last shift, seconds.
    learned_s: f32,
    /// Silence left, seconds.
    rest_s: f32,
    /// How long the current stretch of unusual behaviour has lasted, seconds.
    unusual_s: f32,
    /// The series' own interval, seconds; 0 = not known yet.
    interval_s: f32,
    /// 0–1, see [`Observation::completeness`].
    completeness: f32,
    /// 1–20: what the bands are widened by, from the stories told of late.
    stretch: f32,
    /// Samples learned from since the start or the last shift; stays at its maximum.
    samples: u16,
    /// Samples outside the band less samples inside, 0–100; 0 ends the stretch of unusual behaviour.
    unusual: u8,
    /// Whether this stretch has been announced.
    announced: bool,
}

/// Nothing has been seen.
impl Default for SeriesDetectors {
    fn default() -> Self {
        SeriesDetectors {
            time: Micros::MIN,
            centre: 0.0,
            level: 0.0,
            median_deviation: 0.0,
            standard_deviation: 0.0,
            learned_s: 0.0,
            rest_s: 0.0,
            unusual_s: 0.0,
            interval_s: 0.0,
            completeness: 1.0,
            stretch: 1.0,
            samples: 0,
            unusual: 0,
            announced: false,
        }
    }
}

impl SeriesDetectors {
    /// Judges a sample by what was learned before it, then learns from it.
    ///
    /// A value that is not finite passes as the expected one; it, and a sample that is not after the last one, changes nothing.
    /// `config` has passed [`DetectorConfig::validate`].
    pub fn observe(&mut self, config: &DetectorConfig, time: Micros, value: f64) -> Observation {
        let usable = value.is_finite();
        let value = if usable {
            value.clamp(-VALUE_MAX, VALUE_MAX)
        } else {
            self.expected()
        };
        if self.samples == 0 {
            if usable {
                self.start(time, value);
            }
            return self.judge(config, value);
        }
        // Micros::MIN is a time too, so the difference may pass the end of i64.
        let elapsed_s = time.saturating_sub(self.time) as f64 / SECOND as f64;
        if !usable || elapsed_s <= 0.0 {
            return self.judge(config, value);
        }
        if elapsed_s > config.forget_s.max(20.0 * f64::from(self.interval_s)) {
            *self = SeriesDetectors::default();
            self.start(time, value);
            return self.judge(config, value);
        }
        self.keep_time(config, elapsed_s);
        let mut observation = self.judge(config, value);
        self.time = time;
        observation.announce = self.decide(config, &observation);
        self.follow(config, &observation, value, elapsed_s);
        observation
    }

    /// The value expected next; 0 before the first sample.
    fn expected(&self) -> f64 {
        0.5 * self.centre + 0.5 * self.level
    }

    fn robust_z_score(&self) -> RobustZScore {
        RobustZScore {
            centre: self.centre,
            deviation: self.median_deviation,
        }
    }

    fn ewma(&self) -> Ewma {
        Ewma {
            level: self.level,
            deviation: self.standard_deviation,
        }
    }

    fn start(&mut self, time: Micros, value: f64) {
        self.time = time;
        (self.centre, self.level, self.samples) = (value, value, 1);
    }

    /// The smallest σ that matters at the present level.
    fn sigma_min(&self, config: &DetectorConfig) -> f64 {
        let level = self.centre.abs().max(self.level.abs());
        let band = (config.band_relative_min * level).max(config.band_absolute_min);
        (band / config.threshold_sigmas).max(SIGMA_TINY)
    }

    fn trust(&self, config: &DetectorConfig) -> f64 {
        // The sample at hand is not learned yet: the share is of those before it.
        let enough_time = f64::from(self.learned_s) >= config.warm_up_s;
        if enough_time && self.samples >= config.warm_up_samples {
            return 1.0;
        }
        let samples = f64::from(self.samples) / f64::from(config.warm_up_samples.max(1));
        let time = if enough_time {
            1.0
        } else {
            f64::from(self.learned_s) / config.warm_up_s
        };
        samples.min(time).min(1.0)
    }

    /// What the state makes of a value. Changes nothing.
    fn judge(&self, config: &DetectorConfig, value: f64) -> Observation {
        let sigma_min = self.sigma_min(config);
        let vote = |detector, expected, sigma: f64| {
            // The smallest band is a wish about size, not about noise: it is not widened.
            let half_width =
                config.threshold_sigmas * (sigma * f64::from(self.stretch)).max(sigma_min);
            DetectorVote::of(detector, expected, half_width, value)
        };
        let votes = [
            vote(
                Detector::RobustZScore,
                self.centre,
                self.robust_z_score().sigma(),
            ),
            vote(Detector::Ewma, self.level, self.ewma().sigma()),
        ];
        let (expected, lower, upper) = (
            self.expected(),
            votes[0].lower.min(votes[1].lower),
            votes[0].upper.max(votes[1].upper),
        );
        let (direction, distance, half_width) = if value < expected {
            (Direction::Low, expected - value, expected - lower)
        } else {
            (Direction::High, value - expected, upper - expected)
        };
        // The band reaches at least SIGMA_TINY·threshold past the expectation, which rounding may swallow at a large level: a value at
        // the expectation is normal even then.
        let distance_in_bands = if distance > 0.0 {
            (distance / half_width).min(SCORE_MAX)
        } else {
            0.0
        };
        let watched = match config.watch {
            Watch::Both => true,
            Watch::High => direction == Direction::High,
            Watch::Low => direction == Direction::Low,
        };
        Observation {
            score: if watched {
                distance_in_bands
            } else {
                distance_in_bands.min(1.0)
            },
            sigmas: distance_in_bands * config.threshold_sigmas * f64::from(self.stretch),
            expected,
            lower,
            upper,
            direction,
            votes,
            trust: self.trust(config),
            completeness: f64::from(self.completeness),
            announce: false,
        }
    }

    /// Lets time pass: the rest runs out, bands narrow, interval and completeness follow.
    fn keep_time(&mut self, config: &DetectorConfig, elapsed_s: f64) {
        let elapsed = elapsed_s as f32;
        self.rest_s = (self.rest_s - elapsed).max(0.0);
        if self.stretch > 1.0 {
            // ln(1.25) per story allowed: at that rate of stories the bands stay as they are.
            let narrowing = (0.223 * config.alarms_per_day * elapsed_s / 86_400.0) as f32;
            self.stretch = (self.stretch * (1.0 - narrowing.min(0.5))).max(1.0);
        }
        if self.interval_s == 0.0 {
            self.interval_s = elapsed;
            return;
        }
        // A sample up to half an interval late is not missing; of the usual series nothing is, and nothing is to be computed.
        if elapsed > 1.5 * self.interval_s || self.completeness < 1.0 {
            // The share of this stretch that had its samples, weighed by its length: ten intervals ago weighs about a third.
            let share = (1.5 * self.interval_s / elapsed).min(1.0);
            let length = elapsed / (10.0 * self.interval_s);
            self.completeness += (share - self.completeness) * (length / (1.0 + length));
        }
        // One gap moves the interval by at most 5 %; a lasting change of interval is followed in some dozen samples.
        let (least, most) = (-0.05 * self.interval_s, 0.05 * self.interval_s);
        self.interval_s =
            (self.interval_s + (elapsed - self.interval_s).clamp(least, most)).max(1e-6);
    }

    /// Whether to tell of the sample now; remembers that it was told.
    fn decide(&mut self, config: &DetectorConfig, observation: &Observation) -> bool {
        let announce = observation.score > 1.0
            && observation.trust >= 1.0
            && observation.completeness >= config.completeness_min
            && self.rest_s <= 0.0
            && !self.announced;
        if announce {
            self.announced = true;
            self.rest_s = config.rest_s as f32;
        }
        announce
    }

    /// Learns from a sample: a little at a time while it behaves, quickly once unusual behaviour has lasted.
    fn follow(
        &mut self,
        config: &DetectorConfig,
        observation: &Observation,
        value: f64,
        elapsed_s: f64,
    ) {
        let elapsed = elapsed_s as f32;
        let outside = value < observation.lower || value > observation.upper;
        if observation.trust >= 1.0 {
            if outside {
                if self.unusual == 0 {
                    self.stretch = (self.stretch * STRETCH_STEP).min(STRETCH_MAX);
                }
                self.unusual = (self.unusual + 1).min(100);
            } else if self.unusual > 0 {
                self.unusual -= 1;
            }
            if self.unusual == 0 {
                (self.unusual_s, self.announced) = (0.0, false);
            } else {
                self.unusual_s += elapsed;
            }
            if outside
                && self.unusual >= config.shift_samples
                && f64::from(self.unusual_s) >= config.shift_s
            {
                self.relearn(value);
                return;
            }
        }
        let decay = (std::f64::consts::LN_2 * elapsed_s / config.half_life_s).min(WEIGHT_MAX);
        // 1 − e^(−decay) to 1e-9 for decay ≤ 0.02.
        let mut weight = decay * (1.0 - decay * (0.5 - decay / 6.0));
        let known = f64::from(self.samples) + 1.0;
        if weight * known < 1.0 {
            // While little is known, each sample weighs as much as each one before.
            weight = 1.0 / known;
        }
        let update = Update {
            weight,
            samples: self.samples,
            sigma_min: self.sigma_min(config),
        };
        let (mut robust_z_score, mut ewma) = (self.robust_z_score(), self.ewma());
        robust_z_score.learn(value, update);
        ewma.learn(value, update);
        (self.centre, self.median_deviation) = (robust_z_score.centre, robust_z_score.deviation);
        (self.level, self.standard_deviation) = (ewma.level, ewma.deviation);
        self.samples = self.samples.saturating_add(1);
        self.learned_s = (self.learned_s + elapsed).min(1e9);
    }

    /// The unusual has become the normal: starts from this value with the scale known so far, and warms up anew. The rest goes on.
    fn relearn(&mut self, value: f64) {
        (self.centre, self.level) = (value, value);
        (self.samples, self.learned_s) = (1, 0.0);
        (self.unusual, self.unusual_s, self.announced) = (0, 0.0, false);
    }
}

#[cfg(test)]
mod tests;
