//! What is remembered of a series' level and of how it moves: a fast and a slow mean, how far samples usually are from them, the range seen.
//!
//! All memories are times, so that a series sampled every second and one sampled every hour forget alike; but each is at least some number of
//! samples, or a rare series would have no memory at all.

use serde::{Deserialize, Serialize};

/// How long something is remembered: an exponential memory of `time_s`, but of at least `1 / weight_max` samples.
#[derive(Debug, Clone, Copy)]
struct Memory {
    time_s: f64,
    weight_max: f64,
}

/// The recent level: a quarter of an hour, at least 16 samples.
const FAST: Memory = Memory {
    time_s: 960.0,
    weight_max: 0.06,
};
/// The usual level: 40 hours, so that a day weighs neither too much nor too little; at least 500 samples.
const SLOW: Memory = Memory {
    time_s: 144_000.0,
    weight_max: 0.002,
};
/// How far samples usually are from the slow level: half its memory.
const SCALE: Memory = Memory {
    time_s: 72_000.0,
    weight_max: 0.004,
};
/// The smoothed distance from the fast level.
const SMOOTH: Memory = Memory {
    time_s: 1200.0,
    weight_max: 0.048,
};
/// An hour, at least ten samples: whether a residual lasts, and how restless the series is now.
const HOUR: Memory = Memory {
    time_s: 3600.0,
    weight_max: 0.1,
};
/// How restless it usually is: two days, at least 100 samples.
const TWO_DAYS: Memory = Memory {
    time_s: 172_800.0,
    weight_max: 0.01,
};
/// The ranking score: eight minutes, at least eight samples. Longer ranks lasting anomalies better and sees them later.
const RANKING: Memory = Memory {
    time_s: 480.0,
    weight_max: 0.125,
};

/// What the sample itself adds to the smoothed ranking.
const RANKING_NOW: f64 = 0.3;

/// Samples after which outliers are cut: before, there is no scale to cut at.
const PLAIN_SAMPLES: u32 = 20;

/// Where residuals are cut for the slow level, in mean absolute deviations: 3 is 2.4 σ of a normal distribution.
const LEVEL_CUT: f64 = 3.0;
/// Where they are cut for scales: above the former, or a scale could not grow.
pub(crate) const SCALE_CUT: f64 = 4.0;

/// A value counts as new when it leaves the range seen by this share of it. 5 %: a record by a hair is no news.
const RANGE_MARGIN: f64 = 0.05;
/// Samples that make a range.
const RANGE_SAMPLES_MIN: u32 = 10;

/// A tenth more or less restless is no news.
pub(crate) const VARIANCE_FLOOR: f32 = 0.1;
/// Ratios whose logarithm is below that, whatever the rounding: of most samples none is taken. ln 0.905 = −0.0998, ln 1.105 = 0.0998.
const UNREMARKABLE: std::ops::Range<f64> = 0.905..1.105;

impl Memory {
    /// The weight of a sample that came `elapsed_s` after the one before, as the `count`-th: plain means while little is known.
    #[inline]
    fn weight(self, elapsed_s: f64, plain: f64) -> f64 {
        (elapsed_s / self.time_s).min(self.weight_max).max(plain)
    }
}

/// The state: 72 bytes.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub(crate) struct Levels {
    last: f64,
    fast: f64,
    slow: f64,
    low: f64,
    high: f64,
    /// Mean absolute distance from the slow level.
    scale: f32,
    /// Smoothed absolute distance from the fast level.
    smooth: f32,
    /// Mean absolute change from sample to sample, of the hour and of two days.
    restless: f32,
    restless_usually: f32,
    /// Mean residual of the hour, with sign.
    hour: f32,
    /// Smoothed departure for the ranking.
    ranking: f32,
    samples: u32,
}

/// How far a sample is from what was known before it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Distances {
    /// From the recent level, signed.
    pub(crate) fast: f64,
    /// From the usual level, signed.
    pub(crate) slow: f64,
    /// From the sample before.
    pub(crate) change: f64,
    /// Of the recent level from the usual one.
    pub(crate) shift: f64,
    /// The smoothed distance from the recent level, this sample included.
    pub(crate) smooth: f64,
    /// How much more, or less, restless the series is than usual: |ln(now / usually)|, or 0 below [`VARIANCE_FLOOR`].
    pub(crate) variance: f64,
    /// log10 of the samples seen, if the value is out of the range of them all.
    pub(crate) novelty: f32,
}

impl Levels {
    pub(crate) fn new(value: f64) -> Self {
        Levels {
            last: value,
            fast: value,
            slow: value,
            low: value,
            high: value,
            scale: 0.0,
            smooth: 0.0,
            restless: 0.0,
            restless_usually: 0.0,
            hour: 0.0,
            ranking: 0.0,
            samples: 1,
        }
    }

    pub(crate) fn last(&self) -> f64 {
        self.last
    }

    pub(crate) fn fast(&self) -> f64 {
        self.fast
    }

    pub(crate) fn slow(&self) -> f64 {
        self.slow
    }

    pub(crate) fn range(&self) -> (f64, f64) {
        (self.low, self.high)
    }

    /// The smoothed absolute distance from the recent level: the present noise.
    pub(crate) fn smooth(&self) -> f32 {
        self.smooth
    }

    pub(crate) fn scale(&self) -> f32 {
        self.scale
    }

    /// Mean residual of the hour, with sign.
    pub(crate) fn hour(&self) -> f32 {
        self.hour
    }

    /// Mean absolute change from sample to sample within the last hour or so.
    pub(crate) fn restless(&self) -> f32 {
        self.restless
    }

    /// Whether the series varies more this hour than it did for two days.
    pub(crate) fn is_more_restless(&self) -> bool {
        self.restless > self.restless_usually
    }

    /// Samples seen; stays at its maximum.
    pub(crate) fn samples(&self) -> u32 {
        self.samples
    }

    /// Where an offset from the slow level stops to count.
    pub(crate) fn cut(&self, floor: f64) -> f64 {
        if self.samples > PLAIN_SAMPLES {
            SCALE_CUT * f64::from(self.scale).max(floor)
        } else {
            f64::MAX
        }
    }

    /// Measures a sample against the past, then learns from it. `floor`: the smallest distance that matters, > 0.
    #[inline]
    pub(crate) fn observe(&mut self, value: f64, elapsed_s: f64, floor: f64) -> Distances {
        let plain = 1.0 / (f64::from(self.samples) + 1.0);
        let settled = self.samples > PLAIN_SAMPLES;
        let (fast, slow, change) = (
            value - self.fast,
            value - self.slow,
            (value - self.last).abs(),
        );
        follow(
            &mut self.smooth,
            fast.abs(),
            SMOOTH.weight(elapsed_s, plain),
        );
        // Restlessness: changes cut at eight times the usual, so that one jump is no change of habit.
        let usually = f64::from(self.restless_usually);
        let cut = if settled {
            change.min(8.0 * usually.max(floor))
        } else {
            change
        };
        follow(&mut self.restless, cut, HOUR.weight(elapsed_s, plain));
        let (now, before) = (
            f64::from(self.restless) + 0.2 * floor,
            usually + 0.2 * floor,
        );
        let ratio = now / before;
        let variance = if UNREMARKABLE.contains(&ratio) {
            0.0
        } else {
            libm::log(ratio).abs()
        };
        follow(
            &mut self.restless_usually,
            cut,
            TWO_DAYS.weight(elapsed_s, plain),
        );
        let margin = (RANGE_MARGIN * (self.high - self.low)).max(floor);
        let novelty = if self.samples >= RANGE_SAMPLES_MIN
            && (value > self.high + margin || value < self.low - margin)
        {
            libm::log10f(self.samples.min(10_000) as f32)
        } else {
            0.0
        };
        let distances = Distances {
            fast,
            slow,
            change,
            shift: (self.fast - self.slow).abs(),
            smooth: f64::from(self.smooth),
            variance,
            novelty,
        };
        self.low = self.low.min(value);
        self.high = self.high.max(value);
        self.fast += FAST.weight(elapsed_s, plain) * fast;
        let scale = f64::from(self.scale).max(floor);
        let (for_level, for_scale) = if settled {
            (
                slow.clamp(-LEVEL_CUT * scale, LEVEL_CUT * scale),
                slow.abs().min(SCALE_CUT * scale),
            )
        } else {
            (slow, slow.abs())
        };
        self.slow += SLOW.weight(elapsed_s, plain) * for_level;
        follow(&mut self.scale, for_scale, SCALE.weight(elapsed_s, plain));
        self.last = value;
        self.samples = self.samples.saturating_add(1);
        distances
    }

    /// Takes in what is left of a sample once the season is taken off, and returns the score for ranking, in the metric's unit.
    ///
    /// What is far from the recent level *and* from the seasonal expectation departs from both; it ranks by that, smoothed
    /// (anomalies last), with some of the sample itself, so that the ranking does not come too late.
    #[inline]
    pub(crate) fn rank(&mut self, fast: f64, residual: f64, elapsed_s: f64) -> f64 {
        let plain = 1.0 / f64::from(self.samples);
        follow(&mut self.hour, residual, HOUR.weight(elapsed_s, plain));
        let departure = fast.abs().min(residual.abs());
        follow(
            &mut self.ranking,
            departure,
            RANKING.weight(elapsed_s, plain),
        );
        (f64::from(self.ranking) + RANKING_NOW * departure) / (1.0 + RANKING_NOW)
    }

    /// Takes a level that has lasted as the usual one.
    pub(crate) fn move_to(&mut self, level: f64) {
        self.slow = level;
        self.hour = 0.0;
    }
}

#[inline]
fn follow(mean: &mut f32, value: f64, weight: f64) {
    *mean += (weight * (value - f64::from(*mean))) as f32;
}
