//! The detectors on planted shapes, and the laws they keep on any input.

mod calendar;
mod first_days;
mod laws;
mod shapes;

use schemas::{AnomalyKind, Micros};

use super::*;

/// Seeded noise: splitmix64 and Box–Muller, no dependency and the same everywhere.
struct Noise(u64);

impl Noise {
    fn uniform(&mut self) -> f64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        ((z ^ (z >> 31)) >> 11) as f64 / (1u64 << 53) as f64
    }

    fn normal(&mut self) -> f64 {
        let (u, v) = (self.uniform().max(1e-300), self.uniform());
        (-2.0 * u.ln()).sqrt() * (std::f64::consts::TAU * v).cos()
    }

    /// Student's t with 3 degrees of freedom: tails as heavy as latencies have.
    fn heavy_tailed(&mut self) -> f64 {
        let chi_squared: f64 = (0..3).map(|_| self.normal().powi(2)).sum();
        self.normal() / (chi_squared / 3.0).sqrt()
    }
}

/// A Monday at 0:00 UTC, so that days and weeks of a test begin with it.
const MONDAY: Micros = 1_790_553_600_000_000;

/// Feeds values at a fixed interval and returns what was thought of each.
fn run(
    config: &DetectorConfig,
    interval: Micros,
    values: impl IntoIterator<Item = f64>,
) -> Vec<Observation> {
    let mut detectors = SeriesDetectors::default();
    values
        .into_iter()
        .enumerate()
        .map(|(i, value)| detectors.observe(config, MONDAY + i as Micros * interval, value))
        .collect()
}

/// Index and kind of each announcement.
fn announced(observations: &[Observation]) -> Vec<(usize, AnomalyKind)> {
    observations
        .iter()
        .enumerate()
        .filter(|(_, observation)| observation.announce)
        .map(|(index, observation)| (index, observation.kind))
        .collect()
}
