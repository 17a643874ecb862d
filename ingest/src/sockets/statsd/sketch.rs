//! The distribution of many values in few numbers: buckets that are 2 % wide, so that a quantile is known to 1 % of its value.

use std::collections::BTreeMap;

/// Ratio of the bounds of a bucket: (1 + a) / (1 − a) with a = 1 % (Masson, Rim and Lee, DDSketch, 2019).
const GAMMA: f64 = 1.01 / 0.99;
/// Buckets kept; beyond, the two lowest become one. 1024 reach over nine decades: 1 µs to a quarter of an hour in milliseconds.
const BUCKETS_MAX: usize = 1024;
/// More than any double's exponent in buckets, so that the keys of negative and positive values lie to both sides of zero.
const KEY_OFFSET: i32 = 100_000;

/// Values and how often each came. Two sketches of the same values are equal, whatever their order, while no bucket was merged.
#[derive(Debug, Clone, PartialEq, Default)]
pub(super) struct Sketch {
    pub(super) count: f64,
    pub(super) sum: f64,
    pub(super) min: f64,
    pub(super) max: f64,
    /// By rising value.
    buckets: BTreeMap<i32, f64>,
}

impl Sketch {
    /// Adds a finite value that stands for `weight` events.
    pub(super) fn add(&mut self, value: f64, weight: f64) {
        let is_first = self.buckets.is_empty();
        self.min = if is_first { value } else { self.min.min(value) };
        self.max = if is_first { value } else { self.max.max(value) };
        self.count += weight;
        self.sum += value * weight;
        *self.buckets.entry(key(value)).or_default() += weight;
        if self.buckets.len() > BUCKETS_MAX
            && let Some((_, merged)) = self.buckets.pop_first()
            && let Some(mut lowest) = self.buckets.first_entry()
        {
            *lowest.get_mut() += merged;
        }
    }

    /// The value below which a share of the events lies, 0 to 1.
    pub(super) fn quantile(&self, share: f64) -> f64 {
        let (rank, mut seen) = (share * self.count, 0.0);
        for (key, weight) in &self.buckets {
            seen += weight;
            if seen >= rank {
                return middle(*key).clamp(self.min, self.max);
            }
        }
        self.max
    }
}

fn key(value: f64) -> i32 {
    if value == 0.0 {
        return 0;
    }
    // Between −75,000 and 71,000.
    let index = (libm::log(value.abs()) / libm::log(GAMMA)).ceil() as i32 + KEY_OFFSET;
    if value < 0.0 { -index } else { index }
}

/// The value that is at most 1 % away from every value of a bucket.
fn middle(key: i32) -> f64 {
    if key == 0 {
        return 0.0;
    }
    let upper = libm::exp(f64::from(key.abs() - KEY_OFFSET) * libm::log(GAMMA));
    let middle = upper * (2.0 / (1.0 + GAMMA));
    if key < 0 { -middle } else { middle }
}
