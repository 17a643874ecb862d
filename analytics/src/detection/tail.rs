//! Re-expresses a score against the series' own history of such scores: how improbable is it to be this large?
//!
//! The body is one number, the 99 % quantile, tracked by stochastic approximation (Tierney 1983, "A space-efficient recursive procedure for
//! estimating a quantile of an unknown distribution"). Above it the tail is taken as Pareto's: `P(S > s) = 0.01 · (s / q)^(−1/e)`, where e is
//! the mean of ln(s / q) over the scores above q (Hill 1975), both with exponential forgetting. So a series whose scores have heavy tails
//! gets a large e by itself, and nobody sets a threshold.

use serde::{Deserialize, Serialize};

/// Scores above the tracked quantile: one in a hundred. Fewer make a tail of too few scores, more put the body into it.
pub(super) const TAIL_SHARE: f32 = 0.01;

/// −log10 of the tail's share.
pub(super) const TAIL_DIGITS: f32 = 2.0;

/// The first scores only set the scale.
pub(super) const SCALE_SCORES: u16 = 20;

/// Scores that must be known before one is called improbable. How many an alarm needs is the warm-up's to say; below this there is no scale.
const KNOWN_SCORES_MIN: u16 = 10;

/// The mean log-excess before any score was above: a tail like that of heavy noise.
const EXCESS_UNKNOWN: f32 = 0.3;

/// A score is never called less probable than 10^−12: no history of a series supports more.
const DIGITS_MAX: f32 = 12.0;

/// The smallest mean log-excess. 0.1: that of a normal distribution past its 99 % quantile is 0.12; much below, the estimate is chance.
const EXCESS_MIN: f32 = 0.1;

/// A score moves the tail like one at most so many mean log-excesses out, or one outlier would make all later ones look usual.
const EXCESS_CUT: f32 = 6.0;

/// log10(e).
const LOG10_E: f32 = std::f32::consts::LOG10_E;

/// How much one score weighs.
#[derive(Debug, Clone, Copy)]
pub(crate) struct TailWeight {
    /// In the quantile and the mean, 0–1.
    pub(crate) body: f32,
    /// In the tail, per score above the quantile, 0–1.
    pub(crate) tail: f32,
}

/// Where the tracked quantile begins, from the first scores.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Beginning {
    /// At twice their mean, or twice the floor: of a series that has only begun, little is known.
    Doubled,
    /// At the floor, if none of them was above it: for a score that begins when the series is known for days.
    AtFloor,
}

/// The distribution of one detector's scores on one series: 20 bytes.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
pub(super) struct Tail {
    /// The 99 % quantile, ≥ 0.
    pub(super) quantile: f32,
    /// The mean of ln(score / quantile) above it.
    pub(super) excess: f32,
    /// The mean score, ≥ 0.
    pub(super) mean: f32,
    /// Scores seen; stays at its maximum.
    pub(super) seen: u16,
    /// Scores seen above the quantile; stays at its maximum.
    pub(super) above: u16,
    /// How many of the last scores were above it without a break; stays at its maximum.
    pub(super) run: u16,
}

impl Tail {
    /// −log10 of the probability of a score of at least this size, 0–12; then learns from it. Scores up to `floor` (> 0) count as that.
    #[inline]
    pub(super) fn digits(
        &mut self,
        score: f32,
        floor: f32,
        weight: TailWeight,
        beginning: Beginning,
    ) -> f32 {
        let matters = score > floor;
        let score = score.max(floor);
        let quantile = self.quantile.max(floor);
        let log_excess = if score > quantile {
            libm::logf(score / quantile)
        } else {
            0.0
        };
        let mut digits = 0.0;
        if matters && self.seen >= KNOWN_SCORES_MIN {
            digits = if score > quantile {
                let excess = if self.above == 0 {
                    EXCESS_UNKNOWN
                } else {
                    self.excess.max(EXCESS_MIN)
                };
                TAIL_DIGITS + LOG10_E * log_excess / excess
            } else {
                TAIL_DIGITS * score / quantile
            };
        }
        self.learn(score, log_excess, floor, weight, beginning);
        digits.min(DIGITS_MAX)
    }

    #[inline]
    fn learn(
        &mut self,
        score: f32,
        log_excess: f32,
        floor: f32,
        weight: TailWeight,
        beginning: Beginning,
    ) {
        self.seen = self.seen.saturating_add(1);
        let known = 1.0 / f32::from(self.seen);
        let cut = if self.seen > SCALE_SCORES {
            score.min(8.0 * self.mean)
        } else {
            score
        };
        self.mean += weight.body.max(known) * (cut - self.mean);
        if self.seen <= SCALE_SCORES {
            let none_above = self.mean <= floor * (1.0 + 1e-4);
            self.quantile = if beginning == Beginning::AtFloor && none_above {
                floor
            } else {
                2.0 * self.mean
            };
            return;
        }
        // Steps up and down that balance when one score in a hundred is above.
        let step = 2.0 * weight.body.max(2.0 * known) * self.mean.max(0.2 * self.quantile);
        if score > self.quantile {
            self.quantile += step * (1.0 - TAIL_SHARE);
            self.above = self.above.saturating_add(1);
            if self.above == 1 {
                self.excess = EXCESS_UNKNOWN;
            }
            let excess = log_excess.min(EXCESS_CUT * self.excess.max(EXCESS_MIN));
            // What comes in a run is one story: its n-th score weighs an n-th, or a lasting anomaly would teach the tail that it is usual
            // before it was told (declustering, as in the estimation of extremes).
            self.run = self.run.saturating_add(1);
            let weight = weight.tail.max(1.0 / (f32::from(self.above) + 2.0)) / f32::from(self.run);
            self.excess += weight * (excess - self.excess);
        } else {
            self.quantile = (self.quantile - step * TAIL_SHARE).max(0.0);
            self.run = 0;
        }
    }
}
