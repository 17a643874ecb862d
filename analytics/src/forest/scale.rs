//! Brings features to one scale on which `f32` is exact enough, fills holes, and knows how far a feature goes.

use ndarray::ArrayView1;
use serde::{Deserialize, Serialize};

/// Where a feature usually lies and how far it spreads. Cuts are made on (value − centre) / spread as `f32`: that is as fine as 1e-7 of the
/// spread near the centre and 1e-7 of the distance far from it, whatever the unit, so that bytes and shares are cut equally well.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub(super) struct Scale {
    /// The median.
    pub(super) centre: f64,
    /// 1 / mean distance from the median; 1 for a constant feature.
    factor: f64,
}

impl Scale {
    /// The scale of a column. Values that are not finite are left out; without any, the centre is 0.
    pub(super) fn of(column: ArrayView1<'_, f64>, buffer: &mut Vec<f64>) -> Self {
        buffer.clear();
        buffer.extend(column.iter().copied().filter(|value| value.is_finite()));
        let middle = buffer.len() / 2;
        if buffer.is_empty() {
            return Scale {
                centre: 0.0,
                factor: 1.0,
            };
        }
        let centre = *buffer.select_nth_unstable_by(middle, f64::total_cmp).1;
        let count = buffer.len() as f64;
        // Divided first: two values of 1e308 have an infinite sum.
        let spread: f64 = buffer
            .iter()
            .map(|value| (value / count - centre / count).abs())
            .sum();
        let factor = 1.0 / spread;
        let usable = factor.is_normal() && spread.is_normal();
        Scale {
            centre,
            factor: if usable { factor } else { 1.0 },
        }
    }

    /// The value as the trees know it: finite, 0 at the centre and for NaN.
    pub(super) fn apply(&self, value: f64) -> f32 {
        let scaled = (value - self.centre) * self.factor;
        if scaled.is_nan() {
            return 0.0;
        }
        (scaled as f32).clamp(f32::MIN, f32::MAX)
    }
}

/// How far samples go in a feature, on its scale.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub(super) struct Reach {
    low: f64,
    high: f64,
    /// Distance over which a cut may fall: at least a twentieth of the centre's size, so that what hardly ever moved is not torn off by a
    /// change that nobody cares about.
    width: f64,
}

impl Reach {
    /// The reach of values between two ends.
    pub(super) fn between(low: f64, high: f64, scale: &Scale) -> Self {
        let least = (0.05 * scale.centre * scale.factor).abs();
        Reach {
            low,
            high,
            width: (high - low).max(least),
        }
    }

    /// The chance that a random cut of this feature falls between a value and everything that was seen: 0 within the reach.
    pub(super) fn beyond(&self, value: f32) -> f64 {
        let value = f64::from(value);
        let excess = (self.low - value).max(value - self.high);
        if excess > 0.0 {
            excess / (excess + self.width)
        } else {
            0.0
        }
    }
}
