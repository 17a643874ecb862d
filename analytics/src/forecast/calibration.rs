//! Conformal bands: how far a method has been wrong, by horizon and by hour of the day, told as quantiles.

use serde::{Deserialize, Serialize};

use super::answer::{Band, COVERAGES};

/// Errors are counted in bins, 28 on each side. The k-th, from 0, ends at [`BIN_FIRST`] · [`BIN_RATIO`]^k usual errors, the last at 20;
/// what is larger counts in it.
const BINS: usize = 28;

/// End of the first bin, in usual errors. 0.05: a twentieth is as good as none.
const BIN_FIRST: f64 = 0.05;

/// Each bin ends this much further than the one before it. 1.25: a band is known to a tenth of its width.
const BIN_RATIO: f64 = 1.25;

/// Errors that the assumed distribution counts for at the start. 16: a day or two of own errors speak louder.
const ASSUMED_ERRORS: f64 = 16.0;

/// At this many errors all counts are halved. 1,000: a dozen or more beyond each end of the widest band, and a memory of some weeks.
const ERRORS_MAX: f64 = 1_000.0;

/// Parts of a day whose errors are told apart.
const DAY_PARTS: usize = 24;

/// Errors that "this part of the day is like any other" counts for. 12: a dozen days at one error a day.
const DAY_PART_ERRORS: f64 = 12.0;

/// The error of a horizon forgets over this many. 100: a month of hours, as one in some hours is taken.
const SCALE_ERRORS: f64 = 100.0;

/// Beyond this many usual errors, an error says nothing more about what is usual. 6: a rare, lasting change is followed, a spike is not.
const WINSOR_ERRORS: f64 = 6.0;

/// What all errors of a horizon count for once a method has learned a season. 1: the next few outweigh them.
const RENEWED_ERRORS: f32 = 1.0;

/// Usual errors of one horizon.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
struct HorizonErrors {
    /// Mean absolute error.
    scale: f64,
    /// Errors in it, at most [`SCALE_ERRORS`].
    errors: f32,
}

/// The own errors of a method on a series, bounded.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Calibration {
    horizons: Vec<HorizonErrors>,
    /// Sum and count of |error| in usual errors of its horizon, by part of the day of the time forecast for.
    day_parts: Vec<(f32, f32)>,
    /// Counts of errors below 0, by size in usual errors of horizon and part of the day.
    below: Vec<f32>,
    /// Counts of errors above 0.
    above: Vec<f32>,
    /// Own errors counted, halvings not considered.
    seen: u32,
}

impl Calibration {
    /// `horizons`: how many horizons are told apart.
    pub(crate) fn new(horizons: usize) -> Self {
        // Laplace's distribution with mean absolute error 1, P(|u| > x) = e^-x: tails between the normal one's and those of real metrics.
        let side: Vec<f32> = (0..BINS)
            .map(|bin| {
                let beyond = |edge: f64| libm::exp(-edge);
                let end = if bin + 1 == BINS {
                    0.0
                } else {
                    beyond(edge(bin + 1))
                };
                (0.5 * ASSUMED_ERRORS * (beyond(edge(bin)) - end)) as f32
            })
            .collect();
        Calibration {
            horizons: vec![HorizonErrors::default(); horizons],
            day_parts: vec![(0.0, 0.0); DAY_PARTS],
            below: side.clone(),
            above: side,
            seen: 0,
        }
    }

    /// Own errors learned.
    pub(crate) fn seen(&self) -> u32 {
        self.seen
    }

    /// Takes what was learned so far for a first guess only: the method now knows a season more, and errs otherwise.
    pub(crate) fn renew(&mut self) {
        for horizon in &mut self.horizons {
            horizon.errors = horizon.errors.min(RENEWED_ERRORS);
        }
        for (sum, count) in &mut self.day_parts {
            let share = RENEWED_ERRORS / count.max(RENEWED_ERRORS);
            *sum *= share;
            *count *= share;
        }
        let total: f32 = self.below.iter().chain(&self.above).sum();
        let share = (ASSUMED_ERRORS as f32 / total).min(1.0);
        for count in self.below.iter_mut().chain(&mut self.above) {
            *count *= share;
        }
    }

    /// Learns an error (what came less what was forecast) at a horizon, at a time of day from 0 to 1.
    pub(crate) fn learn(&mut self, horizon: usize, time_of_day: f64, error: f64) {
        let usual = self.horizons[horizon];
        if usual.errors >= 1.0 && usual.scale > 0.0 {
            let ratio = error / usual.scale;
            let part = day_part(time_of_day);
            let in_part = ratio / self.spread(part);
            self.count(in_part);
            let (sum, count) = &mut self.day_parts[part];
            *sum += ratio.abs().min(WINSOR_ERRORS) as f32;
            *count += 1.0;
            if *count > 2.0 * SCALE_ERRORS as f32 {
                *sum *= 0.5;
                *count *= 0.5;
            }
        }
        let usual = &mut self.horizons[horizon];
        usual.errors = (usual.errors + 1.0).min(SCALE_ERRORS as f32);
        let size = if usual.errors > 8.0 && usual.scale > 0.0 {
            error.abs().min(WINSOR_ERRORS * usual.scale)
        } else {
            error.abs()
        };
        usual.scale += (size - usual.scale) / f64::from(usual.errors);
        self.seen = self.seen.saturating_add(1);
    }

    fn count(&mut self, ratio: f64) {
        let size = ratio.abs();
        let bin = (0..BINS - 1)
            .find(|bin| size < edge(bin + 1))
            .unwrap_or(BINS - 1);
        let side = if ratio < 0.0 {
            &mut self.below
        } else {
            &mut self.above
        };
        side[bin] += 1.0;
        let total: f32 = self.below.iter().chain(&self.above).sum();
        if f64::from(total) > ERRORS_MAX {
            for count in self.below.iter_mut().chain(&mut self.above) {
                *count *= 0.5;
            }
        }
    }

    /// How wide the errors of a part of the day are beside those of the whole day.
    fn spread(&self, part: usize) -> f64 {
        let (sum, count) = self.day_parts[part];
        (DAY_PART_ERRORS + f64::from(sum)) / (DAY_PART_ERRORS + f64::from(count))
    }

    /// Mean absolute error at a horizon whose place among the known ones (`distances`, in steps, rising) is looked up; `assumed` where
    /// nothing is known of any.
    fn scale(&self, distances: &[u32], distance: f64, assumed: f64) -> f64 {
        let mut known: Option<(f64, f64)> = None;
        for (horizon, at) in self.horizons.iter().zip(distances) {
            if horizon.errors < 1.0 {
                continue;
            }
            let at = f64::from(*at);
            match known {
                Some((before, scale)) if distance <= at => {
                    let share = ((distance - before) / (at - before)).clamp(0.0, 1.0);
                    return scale + share * (horizon.scale - scale);
                }
                None if distance <= at => return horizon.scale,
                _ => known = Some((at, horizon.scale)),
            }
        }
        // Past what is known errors grow as those of a random walk: with the square root of the distance.
        known.map_or_else(
            || assumed * distance.sqrt(),
            |(at, scale)| scale * (distance / at).sqrt(),
        )
    }

    /// The bands around `median` for a step `distance` ahead.
    pub(crate) fn bands(
        &self,
        quantiles: &[f64; 6],
        median: f64,
        distances: &[u32],
        distance: f64,
        time_of_day: f64,
        assumed: f64,
    ) -> [Band; 3] {
        let width = self.scale(distances, distance, assumed) * self.spread(day_part(time_of_day));
        let at = |quantile: f64| median + width * quantile;
        [
            Band {
                lower: at(quantiles[2]),
                upper: at(quantiles[3]),
            },
            Band {
                lower: at(quantiles[1]),
                upper: at(quantiles[4]),
            },
            Band {
                lower: at(quantiles[0]),
                upper: at(quantiles[5]),
            },
        ]
    }

    /// The ends of the bands in usual errors: lower 95, 80, 50 %, upper 50, 80, 95 %.
    pub(crate) fn quantiles(&self) -> [f64; 6] {
        let [half, most, all] = COVERAGES.map(|coverage| 0.5 - 0.5 * coverage);
        [
            self.quantile(all).min(0.0),
            self.quantile(most).min(0.0),
            self.quantile(half).min(0.0),
            self.quantile(1.0 - half).max(0.0),
            self.quantile(1.0 - most).max(0.0),
            self.quantile(1.0 - all).max(0.0),
        ]
    }

    /// The size below which a share of all errors lies, linear within a bin.
    fn quantile(&self, share: f64) -> f64 {
        let sum = |side: &[f32]| side.iter().copied().map(f64::from).sum::<f64>();
        let (below, above) = (sum(&self.below), sum(&self.above));
        let rank = share * (below + above);
        // One more than there are: the error to come is one of them, and nothing says that it is not the largest (Vovk 2005).
        if rank < below {
            -size_at(&self.below, (below - rank) * (1.0 + 1.0 / (below + above)))
        } else {
            size_at(&self.above, (rank - below) * (1.0 + 1.0 / (below + above)))
        }
    }
}

/// Where the bin begins, in usual errors.
fn edge(bin: usize) -> f64 {
    if bin == 0 {
        return 0.0;
    }
    let mut edge = BIN_FIRST;
    for _ in 1..bin {
        edge *= BIN_RATIO;
    }
    edge
}

/// The size that `rank` of one side's errors stay below.
fn size_at(side: &[f32], rank: f64) -> f64 {
    let mut left = rank;
    for (bin, count) in side.iter().enumerate() {
        let count = f64::from(*count);
        if left <= count {
            let share = if count > 0.0 { left / count } else { 0.0 };
            return edge(bin) + share * (edge(bin + 1) - edge(bin));
        }
        left -= count;
    }
    edge(side.len())
}

fn day_part(time_of_day: f64) -> usize {
    ((time_of_day * DAY_PARTS as f64) as usize).min(DAY_PARTS - 1)
}
