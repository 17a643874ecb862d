//! The detector `robust_z_score`: how many robust deviations a value is from a robust centre.
//!
//! Centre and scale are tracked by stochastic approximation (Robbins & Monro 1951; for quantiles Tierney 1983, "A space-efficient
//! recursive procedure for estimating a quantile of an unknown distribution"), so a sample costs O(1) and memory is two numbers:
//! - centre: `m += w · 1.306 · σ · ψ((x − m) / ½σ)` with ψ(r) = r cut to ±1 (Huber 1964). It lies between median and mean, close to
//!   the median; 1.306 = ½ / P(|Z| < ½) makes one step of weight w worth a share w of the way for normal data.
//! - scale: the median absolute deviation, `d += w · 1.166 · d · sign(|x − m| − d)`; σ = 1.4826·d (Rousseeuw & Croux 1993);
//!   1.166 = 1.4826 / (2 · 2φ(0.6745)) is the same unit gain.
//!
//! However far an outlier lies, it moves the centre by at most 1.306·w·σ and the scale by the factor 1 ± 1.166·w.

use std::cmp::Ordering;

use crate::detectors::{PLAIN_SAMPLES, Update};

/// Makes the median absolute deviation agree with σ for normal data.
const MAD_TO_SIGMA: f64 = 1.4826;
/// The median of |Z| over its mean: turns a mean absolute deviation into a median one for normal data (0.6745 / 0.7979).
const MEAN_TO_MEDIAN: f64 = 0.8453;

/// Centre and median absolute deviation.
#[derive(Debug, Clone, Copy)]
pub(crate) struct RobustZScore {
    pub(crate) centre: f64,
    /// Median absolute deviation, ≥ 0.
    pub(crate) deviation: f32,
}

impl RobustZScore {
    /// The usual deviation, ≥ 0; 0 for a constant series.
    pub(crate) fn sigma(&self) -> f64 {
        MAD_TO_SIGMA * f64::from(self.deviation)
    }

    pub(crate) fn learn(&mut self, value: f64, update: Update) {
        let residual = value - self.centre;
        let distance = residual.abs();
        if update.samples < PLAIN_SAMPLES {
            self.centre += update.weight * residual;
            let deviation = f64::from(self.deviation);
            self.deviation =
                (deviation + update.weight * (MEAN_TO_MEDIAN * distance - deviation)) as f32;
            return;
        }
        let sigma = self.sigma().max(update.sigma_min);
        // 1.306 · σ · ψ(r / ½σ), without the division.
        self.centre += update.weight * 2.612 * residual.clamp(-0.5 * sigma, 0.5 * sigma);
        // Kept from falling below the smallest σ that matters: a step is a share of the scale, so from 0 it could not rise again.
        let deviation = f64::from(self.deviation).max(update.sigma_min / MAD_TO_SIGMA);
        let step = (1.166 * update.weight).min(0.5);
        let factor = match distance.total_cmp(&deviation) {
            Ordering::Greater => 1.0 + step,
            Ordering::Less => 1.0 - step,
            Ordering::Equal => 1.0,
        };
        self.deviation = (deviation * factor) as f32;
    }
}
