//! What a window remembers of its samples, and the laws by which two neighbours merge.

use serde::{Deserialize, Serialize};

use crate::time::{Micros, SECOND};

/// The summary of the finite samples of one series in one window.
///
/// Definition, so that anyone can recompute it: order the samples by time; NaN and infinities are kept in the archive and left out
/// here. A 10 s rollup adds its samples one by one in that order; each coarser one merges the rollups of the resolution below in
/// time order. That fixes the rounding, so a recomputation agrees to the last bit.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Rollup {
    /// Samples, > 0.
    pub count: u64,
    /// Sum of values.
    pub sum: f64,
    /// Smallest value.
    pub min: f64,
    /// Largest value.
    pub max: f64,
    /// Earliest value.
    pub first: f64,
    /// Latest value.
    pub last: f64,
    /// Sum of squared values.
    pub sum_squares: f64,
    /// Sum of the increases from sample to sample, as of a counter: a fall is a reset, and counts from zero.
    pub increase: f64,
    /// Time of the earliest sample, microseconds.
    pub first_time: Micros,
    /// Time of the latest sample, microseconds.
    pub last_time: Micros,
}

/// The increase of a counter between two neighbouring samples.
fn counter_increase(before: f64, after: f64) -> f64 {
    if after >= before {
        after - before
    } else {
        after
    }
}

impl Rollup {
    /// The rollup of one finite sample.
    pub fn of(time: Micros, value: f64) -> Self {
        Rollup {
            count: 1,
            sum: value,
            min: value,
            max: value,
            first: value,
            last: value,
            sum_squares: value * value,
            increase: 0.0,
            first_time: time,
            last_time: time,
        }
    }

    /// Adds a later finite sample.
    pub fn add(&mut self, time: Micros, value: f64) {
        self.count += 1;
        self.sum += value;
        self.min = self.min.min(value);
        self.max = self.max.max(value);
        self.sum_squares += value * value;
        self.increase += counter_increase(self.last, value);
        self.last = value;
        self.last_time = time;
    }

    /// Appends a rollup whose samples are all later than ours.
    pub fn merge(&mut self, later: &Rollup) {
        self.count += later.count;
        self.sum += later.sum;
        self.min = self.min.min(later.min);
        self.max = self.max.max(later.max);
        self.sum_squares += later.sum_squares;
        self.increase += counter_increase(self.last, later.first) + later.increase;
        self.last = later.last;
        self.last_time = later.last_time;
    }

    /// The rollup of samples in time order; `None` if none is finite.
    pub fn fold(samples: impl IntoIterator<Item = (Micros, f64)>) -> Option<Self> {
        let mut samples = samples.into_iter().filter(|(_, value)| value.is_finite());
        let (time, value) = samples.next()?;
        let mut rollup = Rollup::of(time, value);
        samples.for_each(|(time, value)| rollup.add(time, value));
        Some(rollup)
    }

    /// The arithmetic mean.
    pub fn mean(&self) -> f64 {
        self.sum / self.count as f64
    }

    /// The increase per second between the first and the last sample; `None` with fewer than two samples. Meant for counters.
    pub fn rate(&self) -> Option<f64> {
        let seconds = (self.last_time - self.first_time) as f64 / SECOND as f64;
        (seconds > 0.0).then(|| self.increase / seconds)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn close(a: f64, b: f64) -> bool {
        (a - b).abs() <= 1e-9 * a.abs().max(b.abs()).max(1.0)
    }

    proptest! {
        /// Cutting a window anywhere and merging the parts gives the same summary.
        #[test]
        fn merging_in_any_grouping_agrees(values in prop::collection::vec(-1e6..1e6f64, 3..40), a in 0usize..40, b in 0usize..40) {
            let samples: Vec<(i64, f64)> = values.iter().enumerate().map(|(i, v)| (i as i64 * SECOND, *v)).collect();
            let (a, b) = (1 + a % (samples.len() - 1), 1 + b % (samples.len() - 1));
            let (a, b) = (a.min(b), a.max(b));
            let whole = Rollup::fold(samples.iter().copied()).unwrap();
            let mut merged = Rollup::fold(samples[..a].iter().copied()).unwrap();
            for part in [&samples[a..b], &samples[b..]] {
                if let Some(part) = Rollup::fold(part.iter().copied()) { merged.merge(&part); }
            }
            prop_assert_eq!((whole.count, whole.min, whole.max, whole.first, whole.last), (merged.count, merged.min, merged.max, merged.first, merged.last));
            prop_assert_eq!((whole.first_time, whole.last_time), (merged.first_time, merged.last_time));
            prop_assert!(close(whole.sum, merged.sum) && close(whole.sum_squares, merged.sum_squares) && close(whole.increase, merged.increase));
        }
    }

    #[test]
    fn a_counter_reset_counts_from_zero() {
        let r = Rollup::fold([
            (0, 10.0),
            (SECOND, 15.0),
            (2 * SECOND, 3.0),
            (3 * SECOND, 4.0),
        ])
        .unwrap();
        assert_eq!(r.increase, 5.0 + 3.0 + 1.0);
        assert_eq!(r.rate(), Some(3.0));
    }

    #[test]
    fn what_is_not_finite_is_left_out() {
        assert_eq!(Rollup::fold([(0, f64::NAN), (1, f64::INFINITY)]), None);
        assert_eq!(
            Rollup::fold([(0, f64::NAN), (1, 2.0)]),
            Some(Rollup::of(1, 2.0))
        );
    }
}
