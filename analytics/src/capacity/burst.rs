//! A rise unlike all before: found by its size, believed for as long as it has lasted.

use super::steps::{Random, Scale};

/// A gain is unlike all before when it exceeds the largest before, over the same time, by this factor. 1.5: an ordinary maximum passes
/// its predecessor by less (with 96 steps and an exponential tail by a quarter on average).
const UNLIKE: f64 = 1.5;
/// Earlier time must be at least this many times as long as the rise that is compared with it.
const EARLIER_LEAST: usize = 3;

/// A rise that has no like in the pool's history.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Burst {
    /// Which of the scales shows it, and in how many of its newest steps.
    pub(crate) scale: usize,
    pub(crate) steps: usize,
    /// For how long it has lasted, days.
    pub(crate) days: f64,
    /// What it gained, in units of the pool.
    pub(crate) gain: f64,
}

impl Burst {
    /// The longest rise without a like, in minutes or hours. `scales` from the finest to the coarsest, minutes, hours and days. (A rise
    /// over days is for the half of the paths that live in the near past; believed as a burst it made the forecasts of disks worse.)
    pub(crate) fn find(scales: [&Scale; 3]) -> Option<Burst> {
        let mut found: Option<Burst> = None;
        for (index, scale) in scales.into_iter().take(2).enumerate() {
            let gains = sums(scale);
            let n = gains.len() - 1;
            let mut steps = 1;
            while steps * (1 + EARLIER_LEAST) <= n {
                let gain = gains[n] - gains[n - steps];
                let days = steps as f64 * scale.step_days();
                let half = gains[n] - gains[n - steps.div_ceil(2)];
                // It must still go on: its second half carries a fair part of it.
                let going_on = half > 0.25 * gain;
                if gain > 0.0
                    && going_on
                    && found.is_none_or(|burst| burst.days < days)
                    && scales
                        .into_iter()
                        .skip(index)
                        .all(|other| gain > UNLIKE * largest_before(other, days))
                {
                    found = Some(Burst {
                        scale: index,
                        steps,
                        days,
                        gain,
                    });
                }
                steps *= 2;
            }
        }
        found
    }

    /// How long it goes on, days: P(more than x) = D / (D + x) after it has lasted D (Gott 1993, "Implications of the Copernican
    /// principle for our future prospects"): nothing is known of it but its age.
    pub(crate) fn remaining(&self, random: &mut Random) -> f64 {
        let unit = random.unit();
        self.days * unit / (1.0 - unit)
    }
}

/// Running sums of the increments: `n` steps give `n + 1` sums.
fn sums(scale: &Scale) -> Vec<f64> {
    let mut sum = 0.0;
    let mut sums = Vec::with_capacity(scale.recent().len() + 1);
    sums.push(sum);
    for step in scale.recent() {
        sum += f64::from(step.delta);
        sums.push(sum);
    }
    sums
}

/// The largest gain over `days` (in whole steps of `scale`) before the newest such stretch, ≥ 0.
fn largest_before(scale: &Scale, days: f64) -> f64 {
    let sums = sums(scale);
    let length = (libm::ceil(days / scale.step_days() - 1e-9) as usize).max(1);
    // The newest stretch holds the rise itself; on a coarser scale it may have begun in the step before.
    let Some(end) = (sums.len() - 1).checked_sub(length) else {
        return 0.0;
    };
    (length..=end)
        .map(|at| sums[at] - sums[at - length])
        .fold(0.0, f64::max)
}
