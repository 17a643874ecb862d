//! Rises and clean-ups: the turning points of a sawtooth, and where its peaks are going.
//!
//! What grows and is cleaned up fills when a *peak* reaches the ceiling, not when the present rise would: so the peaks are remembered, and
//! while they are regular they alone decide.

use std::collections::VecDeque;

use schemas::Micros;
use schemas::time::DAY;
use serde::{Deserialize, Serialize};

/// A rise or fall turns when it has gone back by this share of the level. 0.02: a smaller sawtooth decides nothing about fullness before the
/// last few per cent.
const TURN_SHARE: f64 = 0.02;
/// And by this share of the range in which the level was of late. 0.2: the wobble of a day on the way up is no clean-up.
const TURN_RANGE_SHARE: f64 = 0.2;
/// What the range was this long ago counts half, days.
const RANGE_HALF_LIFE_DAYS: f64 = 30.0;
/// Peaks that are kept.
const PEAKS: usize = 12;
/// Peaks from which cycles are believed: two rises that were both cleaned up.
pub(super) const PEAKS_MIN: usize = 2;
/// Clean-ups must give back at least this share of what the rises took. Half: below it growth outweighs cleaning, and the increments tell
/// more than the peaks.
const GIVEN_BACK_MIN: f64 = 0.5;
/// Where there are only two peaks, the clean-up between them must have given back nearly all: with so little seen, only what begins anew
/// each time is a cycle.
const GIVEN_BACK_OF_TWO_MIN: f64 = 0.9;
/// Peaks must scatter around their line by less than this share of a clean-up, and no cycle be longer than this many of the middle ones:
/// a rhythm is regular, and what is not is left to the increments.
const SCATTER_MAX: f64 = 0.5;
const LONGEST_CYCLES: f64 = 3.0;
/// After this many of the longest cycles without a new peak, the rhythm is over.
const OVERDUE_CYCLES: f64 = 2.0;

/// A turn from rise to fall.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
struct Peak {
    time: Micros,
    level: f32,
    /// The lowest level before it, since the peak before it.
    trough: f32,
}

/// The turning points so far.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub(crate) struct Cycles {
    /// Oldest first.
    peaks: VecDeque<Peak>,
    /// Whether it rises since the last turn.
    rising: bool,
    /// The highest (when rising) or lowest (when falling) level since the last turn, and when it was.
    extreme: f64,
    extreme_time: Micros,
    /// The level of the last trough.
    trough: f64,
    /// How far the range of late reaches above and below the level, and when that was so.
    above: f64,
    below: f64,
    /// The newest level and its time.
    level: f64,
    seen: Micros,
    started: bool,
}

/// What regular peaks say.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Rhythm {
    /// Line through the peaks: level now, per day, and the standard error of the latter.
    pub(crate) level: f64,
    pub(crate) slope: f64,
    pub(crate) slope_error: f64,
    /// Days since the middle of the peaks, around which the slope turns.
    pub(crate) middle_days: f64,
    /// How far each peak was from the line.
    pub(crate) residuals: Vec<f64>,
    /// Days from peak to peak, each.
    pub(crate) intervals: Vec<f64>,
    /// Days since the last peak.
    pub(crate) since_peak: f64,
    /// How far a clean-up goes down, in the middle.
    pub(crate) drop: f64,
}

impl Cycles {
    /// Takes a sample; `used` in units of the pool.
    pub(crate) fn observe(&mut self, time: Micros, used: f64) {
        if !self.started {
            *self = Cycles {
                rising: true,
                extreme: used,
                extreme_time: time,
                trough: used,
                level: used,
                seen: time,
                started: true,
                ..Cycles::default()
            };
            return;
        }
        let days = (time - self.seen) as f64 / DAY as f64;
        let fade = libm::exp2(-days / RANGE_HALF_LIFE_DAYS);
        let moved = used - self.level;
        self.above = (self.above * fade - moved).max(0.0);
        self.below = (self.below * fade + moved).max(0.0);
        (self.seen, self.level) = (time, used);
        let range = TURN_RANGE_SHARE * (self.above + self.below);
        let turn = range.max(TURN_SHARE * self.extreme.abs().max(used.abs()));
        if self.rising {
            if used >= self.extreme {
                (self.extreme, self.extreme_time) = (used, time);
            } else if self.extreme - used > turn {
                // What only fell since the first sample had no rise, so its beginning is no peak.
                if self.extreme - self.trough > turn {
                    if self.peaks.len() == PEAKS {
                        self.peaks.pop_front();
                    }
                    self.peaks.push_back(Peak {
                        time: self.extreme_time,
                        level: self.extreme as f32,
                        trough: self.trough as f32,
                    });
                }
                self.rising = false;
                (self.extreme, self.extreme_time) = (used, time);
            }
        } else if used <= self.extreme {
            (self.extreme, self.extreme_time) = (used, time);
        } else if used - self.extreme > turn {
            self.trough = self.extreme;
            self.rising = true;
            (self.extreme, self.extreme_time) = (used, time);
        }
    }

    /// How many clean-ups were seen, of those remembered.
    pub(crate) fn count(&self) -> usize {
        self.peaks.len()
    }

    /// What the peaks say, if they are regular and the present level does not stand out from them.
    pub(crate) fn rhythm(&self, now: Micros, used: f64) -> Option<Rhythm> {
        let n = self.peaks.len();
        if n < PEAKS_MIN {
            return None;
        }
        let days = |from: Micros, to: Micros| (to - from) as f64 / DAY as f64;
        let levels: Vec<f64> = self.peaks.iter().map(|peak| peak.level.into()).collect();
        let times: Vec<f64> = self.peaks.iter().map(|peak| days(now, peak.time)).collect();
        let intervals: Vec<f64> = times.windows(2).map(|pair| pair[1] - pair[0]).collect();
        let since_peak = -times[n - 1];
        let longest = intervals.iter().copied().fold(0.0, f64::max);
        if since_peak > OVERDUE_CYCLES * longest {
            return None;
        }
        // Of the cycles between the first and the last peak, what each rise took and each fall gave back.
        let (mut risen, mut fallen) = (0.0, 0.0);
        let mut drops = Vec::with_capacity(n);
        for (before, peak) in self.peaks.iter().zip(self.peaks.iter().skip(1)) {
            risen += f64::from(peak.level) - f64::from(peak.trough);
            fallen += f64::from(before.level) - f64::from(peak.trough);
            drops.push(f64::from(before.level) - f64::from(peak.trough));
        }
        let given_back_min = if n == 2 {
            GIVEN_BACK_OF_TWO_MIN
        } else {
            GIVEN_BACK_MIN
        };
        if fallen < given_back_min * risen {
            return None;
        }
        let mean = |values: &[f64]| values.iter().sum::<f64>() / values.len() as f64;
        let (middle, level_mean) = (mean(&times), mean(&levels));
        let spread: f64 = times.iter().map(|t| (t - middle) * (t - middle)).sum();
        let joint: f64 = times
            .iter()
            .zip(&levels)
            .map(|(t, level)| (t - middle) * (level - level_mean))
            .sum();
        // Two peaks tell no trend, only that they differ.
        let slope = if spread > 0.0 && n > 2 {
            joint / spread
        } else {
            0.0
        };
        let residuals: Vec<f64> = times
            .iter()
            .zip(&levels)
            .map(|(t, level)| level - level_mean - slope * (t - middle))
            .collect();
        let squares: f64 = residuals.iter().map(|r| r * r).sum();
        let sigma = libm::sqrt(squares / n.saturating_sub(2).max(1) as f64);
        let mut lengths = intervals.clone();
        lengths.sort_by(f64::total_cmp);
        if longest > LONGEST_CYCLES * lengths[(lengths.len() - 1) / 2] {
            return None;
        }
        let highest = residuals.iter().copied().fold(0.0, f64::max);
        let level = level_mean - slope * middle;
        drops.sort_by(f64::total_cmp);
        let drop = drops[drops.len() / 2];
        if sigma > SCATTER_MAX * drop {
            return None;
        }
        // Above all peaks by more than they scatter: this rise is of another kind.
        if used > level + highest + 2.0 * sigma + 0.1 * drop {
            return None;
        }
        Some(Rhythm {
            level,
            slope,
            slope_error: if spread > 0.0 && n > 2 {
                sigma / libm::sqrt(spread)
            } else {
                0.0
            },
            middle_days: middle,
            residuals,
            intervals,
            since_peak,
            drop,
        })
    }
}
