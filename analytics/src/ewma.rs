//! The detector `ewma`: an exponentially weighted mean and variance, learned from winsorised residuals.
//!
//! `μ += w · r`, `σ² = (1 − w)(σ² + w · r²)` (West 1979; Finch 2009, "Incremental calculation of weighted mean and variance"), where r
//! is the residual x − μ cut to ±3σ, so that one outlier moves μ by at most 3·w·σ and σ by at most the factor √(1 + 9w).

use crate::detectors::{PLAIN_SAMPLES, Update};

/// Where residuals are cut, in σ. 3: cuts 0.3 % of normal residuals, which lowers σ by under 1 %.
const WINSOR_SIGMAS: f64 = 3.0;

/// Level and standard deviation.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Ewma {
    pub(crate) level: f64,
    /// Standard deviation, ≥ 0; kept instead of the variance, which a single would lose at values above 1e19 or below 1e-19.
    pub(crate) deviation: f32,
}

impl Ewma {
    /// The usual deviation, ≥ 0; 0 for a constant series.
    pub(crate) fn sigma(&self) -> f64 {
        f64::from(self.deviation)
    }

    pub(crate) fn learn(&mut self, value: f64, update: Update) {
        let residual = value - self.level;
        let weight = update.weight;
        let cut = if update.samples < PLAIN_SAMPLES {
            residual
        } else {
            let most = WINSOR_SIGMAS * self.sigma().max(update.sigma_min);
            residual.clamp(-most, most)
        };
        let variance = (1.0 - weight) * (self.sigma() * self.sigma() + weight * cut * cut);
        self.level += weight * cut;
        self.deviation = variance.sqrt() as f32;
    }
}
