//! Turns the totals of a counter into its rate, which is what a detector can judge.

use schemas::time::SECOND;
use schemas::{Micros, Rollup};
use serde::{Deserialize, Serialize};

/// The last total of a counter: 16 bytes per series.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct CounterRate {
    time: Micros,
    total: f64,
}

/// No counter has been seen.
impl Default for CounterRate {
    fn default() -> Self {
        CounterRate {
            time: Micros::MIN,
            total: 0.0,
        }
    }
}

impl CounterRate {
    /// The rate per second since the sample before; a fall is a reset and counts from zero, as in [`Rollup`].
    ///
    /// `None` for the first sample, for one that is not later than the last, and for totals that are not finite.
    pub fn observe(&mut self, time: Micros, total: f64) -> Option<f64> {
        if !total.is_finite() || time <= self.time {
            return None;
        }
        let before = std::mem::replace(self, CounterRate { time, total });
        if before.time == Micros::MIN {
            return None;
        }
        let mut pair = Rollup::of(before.time, before.total);
        pair.add(time, total);
        let seconds = time.saturating_sub(before.time) as f64 / SECOND as f64;
        let rate = pair.increase / seconds;
        rate.is_finite().then_some(rate)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gives_rates_across_resets_gaps_and_nonsense() {
        let mut rate = CounterRate::default();
        assert_eq!(rate.observe(0, 100.0), None);
        assert_eq!(rate.observe(10 * SECOND, 150.0), Some(5.0));
        assert_eq!(
            rate.observe(10 * SECOND, 999.0),
            None,
            "the same time again"
        );
        assert_eq!(rate.observe(5 * SECOND, 120.0), None, "late");
        assert_eq!(rate.observe(20 * SECOND, f64::NAN), None);
        assert_eq!(
            rate.observe(30 * SECOND, 20.0),
            Some(1.0),
            "a reset counts from zero"
        );
        assert_eq!(
            rate.observe(3630 * SECOND, 3620.0),
            Some(1.0),
            "a gap is averaged over"
        );
        assert_eq!(
            rate.observe(3630 * SECOND + 1, -f64::MAX),
            None,
            "an overflowing rate is no rate"
        );
        assert_eq!(rate.observe(3630 * SECOND + 2, f64::MAX), None);
    }
}
