//! Time to full of anything with a ceiling: a disk, memory, connections, the life of a certificate; called a pool here. Knows no names of metrics.
//!
//! [`CapacityForecaster`] is fed `(time, used, ceiling)` and answers with a [`CapacityForecast`]. It walks a few hundred random
//! continuations of the level (`paths`) and looks when they reach the ceiling. They are made of what the pool itself did before
//! (`steps`: a block bootstrap of increments at three scales of time), of its peaks if it is filled and cleaned up in a rhythm
//! (`cycles`), and of the present rise if there was never one like it (`burst`). What became of its earlier forecasts makes later
//! ones wider (`record`).
//!
//! ```
//! use analytics::capacity::{CapacityAnswer, CapacityForecaster};
//! let hour = 3_600_000_000;
//! let mut disk = CapacityForecaster::default();
//! for i in 0..200 {
//!     disk.observe(i * hour, 500.0 + i as f64, 1000.0);
//! }
//! let forecast = disk.forecast();
//! assert_eq!(forecast.answer, CapacityAnswer::FullIn);
//! let days = (forecast.median.unwrap() - 199 * hour) as f64 / (24 * hour) as f64;
//! assert!((days - 301.0 / 24.0).abs() < 0.5);
//! ```

mod answer;
mod burst;
pub mod ceilings;
mod cycles;
mod paths;
mod record;
mod steps;
#[cfg(test)]
mod tests;

pub use answer::{
    CapacityAnswer, CapacityForecast, CapacityRegime, DaysToFull, FullWithin, HORIZONS, LevelBand,
};

use schemas::Micros;
use schemas::time::{DAY, HOUR, TIME_MAX, TIME_MIN};
use serde::{Deserialize, Serialize};

use answer::quantile;
use burst::Burst;
use cycles::{Cycles, PEAKS_MIN, Rhythm};
use paths::{HORIZON_DAYS, Paths};
use record::{Promise, Record};
use steps::{Random, Scale};

/// Paths that are walked for a forecast. 400: a probability of 10 % is known to ±1.5 points, for about a millisecond.
const PATHS: usize = 400;
/// Paths that are walked to judge oneself.
const PATHS_TO_JUDGE: usize = 100;
/// Used above this share of the ceiling is full: file systems and pools refuse a little before the last byte.
pub const FULL_SHARE: f64 = 0.999;
/// What a pool does in its first hour is its birth and not its habit: packages are unpacked, caches are filled.
const BIRTH: Micros = HOUR;
/// Days of history after which trust has reached 63 %: two weeks, the first repetition of a week.
const TRUST_DAYS: f64 = 14.0;
/// Clean-ups from this share of the ceiling on are told as such.
const CYCLE_SHARE: f64 = 0.05;
/// What shrinks is lower after so many days.
const MONTH_DAYS: f64 = 30.0;
/// Changes of the ceiling below this share are rounding.
const RESIZE_SHARE: f64 = 0.001;

/// What is read off a path at a time.
#[derive(Debug, Clone, Copy)]
enum Reading {
    At,
    Highest,
}

/// What became of paths that were walked to a level, each list ascending.
struct Ways {
    /// Days until each reached the level; infinite where it did not in time. Never empty.
    days: Vec<f64>,
    /// The level of each after [`MONTH_DAYS`], in units of the pool; infinite where it had ended by then.
    in_a_month: Vec<f64>,
}

/// What is remembered of one pool: at most 4 kB.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CapacityForecaster {
    /// What levels are counted in, so that they fit a single; a power of two. 0 before the first sample.
    unit: f64,
    born: Micros,
    time: Micros,
    /// As observed.
    used: f64,
    ceiling: f64,
    /// When the ceiling changed last, and from what.
    resized: Option<(Micros, f64)>,
    minutes: Scale,
    hours: Scale,
    days: Scale,
    cycles: Cycles,
    record: Record,
}

impl Default for CapacityForecaster {
    fn default() -> Self {
        CapacityForecaster {
            unit: 0.0,
            born: 0,
            time: Micros::MIN,
            used: 0.0,
            ceiling: 0.0,
            resized: None,
            minutes: Scale::minutes(),
            hours: Scale::hours(),
            days: Scale::days(),
            cycles: Cycles::default(),
            record: Record::default(),
        }
    }
}

impl CapacityForecaster {
    /// Takes a sample: `used` of `ceiling` at `time`, both in any one unit. At any interval; samples that are not after the last one,
    /// not finite, or without a ceiling above 0 are passed over. Returns whether it was taken.
    pub fn observe(&mut self, time: Micros, used: f64, ceiling: f64) -> bool {
        let usable = used.is_finite() && ceiling.is_finite() && ceiling > 0.0;
        if !usable || time <= self.time || !(TIME_MIN..=TIME_MAX).contains(&time) {
            return false;
        }
        let used = used.max(0.0);
        if self.unit == 0.0 {
            self.unit = power_of_two(ceiling);
            self.born = time;
        } else if (ceiling - self.ceiling).abs() > RESIZE_SHARE * self.ceiling {
            self.resized = Some((time, self.ceiling));
        }
        (self.time, self.used, self.ceiling) = (time, used, ceiling);
        // A single ends at 3e38; what lies beyond 1e30 first ceilings is no level.
        let level = (used / self.unit).min(1e30);
        if time - self.born < BIRTH && self.born != time {
            return true;
        }
        self.record.judge(time, level);
        self.cycles.observe(time, level);
        self.minutes.observe(time, level);
        self.hours.observe(time, level);
        if self.days.observe(time, level) && self.record.wants(time) {
            self.promise(level);
        }
        true
    }

    /// When it will be full.
    pub fn forecast(&self) -> CapacityForecast {
        self.forecast_to(self.ceiling)
    }

    /// When the level would reach another ceiling. Without a sample, or with a ceiling that is none, there is not enough history.
    pub fn forecast_to(&self, ceiling: f64) -> CapacityForecast {
        let usable = self.unit > 0.0 && ceiling.is_finite() && ceiling > 0.0;
        let paths = self.paths();
        if usable && self.used >= FULL_SHARE * ceiling {
            return self.told(
                CapacityAnswer::AlreadyFull,
                ceiling,
                &paths,
                DaysToFull::now(),
            );
        }
        if !usable || !paths.known() {
            return self.told(
                CapacityAnswer::NotEnoughHistory,
                ceiling,
                &paths,
                DaysToFull::default(),
            );
        }
        let ways = self.walk_to(&paths, ceiling / self.unit, PATHS, HORIZON_DAYS);
        let days = DaysToFull {
            days: ways.days,
            widening: self.record.widening(),
        };
        let answer = if days.probability_within(HORIZON_DAYS) >= 0.5 {
            CapacityAnswer::FullIn
        } else if self.shrinks(&paths, &ways.in_a_month) {
            CapacityAnswer::Shrinking
        } else {
            CapacityAnswer::NoTrend
        };
        self.told(answer, ceiling, &paths, days)
    }

    /// When each of 400 continuations reaches `ceiling`: what [`Self::forecast_to`] tells from. Empty without enough history.
    pub fn days_to_full(&self, ceiling: f64) -> DaysToFull {
        let paths = self.paths();
        let known = self.unit > 0.0 && paths.known();
        DaysToFull {
            days: if known {
                self.walk_to(&paths, ceiling / self.unit, PATHS, HORIZON_DAYS)
                    .days
            } else {
                Vec::new()
            },
            widening: self.record.widening(),
        }
    }

    /// The probability of being full within a time, without all the rest (and a tenth of its cost for a time of a day). 0 without enough
    /// history.
    pub fn probability_within(&self, within: Micros) -> f64 {
        let paths = self.paths();
        if self.unit == 0.0 || !paths.known() {
            return 0.0;
        }
        if self.used >= FULL_SHARE * self.ceiling {
            return 1.0;
        }
        let limit = within as f64 / DAY as f64;
        let days = self
            .walk_to(&paths, self.ceiling / self.unit, PATHS, limit)
            .days;
        days.partition_point(|day| *day <= limit) as f64 / days.len() as f64
    }

    /// The level at each of `days` from now (ascending): the middle of the paths and the band of 80 % of them, in the unit observed.
    /// Empty without history. The level is not cut at the ceiling.
    pub fn levels(&self, days: &[f64]) -> Vec<LevelBand> {
        self.bands(days, Reading::At, PATHS)
    }

    /// As [`Self::levels`], of the highest level from now until each of `days`: what decides whether it was full on the way.
    pub fn highest(&self, days: &[f64]) -> Vec<LevelBand> {
        self.bands(days, Reading::Highest, PATHS)
    }

    fn bands(&self, days: &[f64], reading: Reading, count: usize) -> Vec<LevelBand> {
        let paths = self.paths();
        if !paths.known() {
            return Vec::new();
        }
        let mut levels: Vec<Vec<f64>> = vec![Vec::with_capacity(count); days.len()];
        let mut random = self.random();
        for _ in 0..count {
            let mut next = 0;
            let (mut time, mut level, mut highest) = (0.0, paths.used, paths.used);
            paths.walk(&mut random, |piece| {
                while next < days.len() && days[next] <= piece.until {
                    let share = if piece.until > time {
                        (days[next] - time) / (piece.until - time)
                    } else {
                        1.0
                    };
                    let (end, peak) = (piece.level, piece.peak);
                    levels[next].push(match reading {
                        Reading::At => level + share * (end - level),
                        Reading::Highest => highest.max(level + share * (peak - level)),
                    });
                    next += 1;
                }
                (time, level, highest) = (piece.until, piece.level, highest.max(piece.peak));
                next < days.len()
            });
            for rest in &mut levels[next..] {
                rest.push(match reading {
                    Reading::At => level,
                    Reading::Highest => highest,
                });
            }
        }
        levels
            .into_iter()
            .map(|mut levels| {
                levels.sort_by(f64::total_cmp);
                let at = |share: f64| (quantile(&levels, share).max(0.0)) * self.unit;
                LevelBand {
                    lower: at(0.1),
                    median: at(0.5),
                    upper: at(0.9),
                }
            })
            .collect()
    }

    fn paths(&self) -> Paths<'_> {
        let used = if self.unit > 0.0 {
            (self.used / self.unit).min(1e30)
        } else {
            0.0
        };
        let scales = [&self.minutes, &self.hours, &self.days];
        let rhythm = self.cycles.rhythm(self.time, used);
        let burst = if rhythm.is_some() {
            None
        } else {
            Burst::find(scales)
        };
        Paths {
            scales,
            burst,
            rhythm,
            used,
        }
    }

    /// The same state and time walk the same paths.
    fn random(&self) -> Random {
        Random::new((self.time as u64) ^ 0x7469_6465_7761_7463)
    }

    /// Walks paths until they reach `level`, or for `limit` days where they do not.
    fn walk_to(&self, paths: &Paths<'_>, level: f64, count: usize, limit: f64) -> Ways {
        let mut random = self.random();
        let mut ways = Ways {
            days: Vec::with_capacity(count),
            in_a_month: Vec::with_capacity(count),
        };
        for _ in 0..count {
            let mut reached = f64::INFINITY;
            let mut month = None;
            let (mut time, mut before) = (0.0, paths.used);
            paths.walk(&mut random, |piece| {
                if piece.peak >= level {
                    let rise = piece.peak - before;
                    let share = if rise > 0.0 {
                        ((level - before) / rise).clamp(0.0, 1.0)
                    } else {
                        0.0
                    };
                    reached = time + share * (piece.until - time);
                    return false;
                }
                if month.is_none() && piece.until >= MONTH_DAYS {
                    let share = (MONTH_DAYS - time) / (piece.until - time);
                    month = Some(before + share * (piece.level - before));
                }
                (time, before) = (piece.until, piece.level);
                time < limit
            });
            ways.days.push(reached);
            ways.in_a_month.push(month.unwrap_or(f64::INFINITY));
        }
        ways.days.sort_by(f64::total_cmp);
        ways.in_a_month.sort_by(f64::total_cmp);
        ways
    }

    /// Whether it is lower in a month by more than one per cent: by the middle path, by what most days took, and by what whole weeks did, beyond the error of that. Of a rhythm,
    /// whether its peaks are, beyond their error and by more than a clean-up takes.
    ///
    /// What rises day by day and is lower in a month only because a restart or a clean-up is among its steps is not shrinking: near the top of
    /// its first cycles every way leads down for a while. Nor is what has its daily peak now.
    fn shrinks(&self, paths: &Paths<'_>, in_a_month: &[f64]) -> bool {
        if let Some(rhythm) = &paths.rhythm {
            let month = MONTH_DAYS * (rhythm.slope + 2.0 * rhythm.slope_error);
            return month < -(0.01 * rhythm.level).max(rhythm.drop);
        }
        let falls = |scale: &Scale| {
            let (middle, error) = scale.middle_gain();
            let gain = middle.max(scale.whole_gain()) + 2.0 * error;
            MONTH_DAYS * gain < -0.01 * paths.used
        };
        paths.burst.is_none()
            && self.known_scale().is_some_and(falls)
            && quantile(in_a_month, 0.5) < 0.99 * paths.used
    }

    /// Remembers when the level would reach where its middle path is in a month, to judge oneself by.
    fn promise(&mut self, used: f64) {
        let paths = self.paths();
        if !paths.known() {
            return;
        }
        let month = self
            .bands(&[MONTH_DAYS], Reading::At, PATHS_TO_JUDGE)
            .first()
            .map_or(0.0, |band| band.median / self.unit);
        // At least one per cent above: a smaller rise is noise.
        let level = month.max(1.01 * used).max(f64::MIN_POSITIVE);
        let days = self
            .walk_to(&paths, level, PATHS_TO_JUDGE, HORIZON_DAYS)
            .days;
        let at = |share| quantile(&days, share) as f32;
        let promise = Promise {
            made_at: self.time,
            level: level as f32,
            days: [at(0.05), at(0.5), at(0.95)],
        };
        self.record.promise(promise);
    }

    fn told(
        &self,
        answer: CapacityAnswer,
        ceiling: f64,
        paths: &Paths<'_>,
        days: DaysToFull,
    ) -> CapacityForecast {
        // A rhythm below this share of the ceiling is noise to a person, though its peaks decide all the same.
        let cycles = |rhythm: &Rhythm| rhythm.drop * self.unit >= CYCLE_SHARE * ceiling;
        let regime = if paths.rhythm.as_ref().is_some_and(cycles) {
            CapacityRegime::Cycling
        } else if paths.burst.is_some() {
            CapacityRegime::Bursting
        } else if self.is_idle() {
            CapacityRegime::Idle
        } else {
            CapacityRegime::Steady
        };
        let span_days = (self.time.saturating_sub(self.born)).max(0) as f64 / DAY as f64;
        let (judged, inside) = self.record.account();
        let mut trust = 1.0 - libm::exp(-span_days / TRUST_DAYS);
        // A rhythm is believed after two cycles; until then half of it may be the way up to the first clean-up.
        if (1..PEAKS_MIN).contains(&self.cycles.count()) {
            trust *= 0.5;
        }
        // Laplace's rule, so that one miss does not end all trust; in full at what the interval promises.
        trust *= ((f64::from(inside) + 9.0) / (f64::from(judged) + 10.0) / 0.9).min(1.0);
        answer::tell(answer::Facts {
            answer,
            regime,
            made_at: self.time,
            used: self.used,
            ceiling,
            days,
            trust,
            judged,
            inside,
            growth_per_day: self.growth_per_day(paths),
            resized: self.resized.filter(|(time, _)| self.time - time < 7 * DAY),
        })
    }

    fn is_idle(&self) -> bool {
        [&self.minutes, &self.hours, &self.days]
            .iter()
            .all(|scale| {
                let deltas = scale.recent().iter();
                deltas.map(|step| step.rise()).sum::<f64>() <= f64::from(f32::EPSILON)
            })
    }

    /// The longest scale that has enough steps.
    fn known_scale(&self) -> Option<&Scale> {
        let mut scales = [&self.days, &self.hours, &self.minutes].into_iter();
        scales.find(|scale| scale.recent().len() >= paths::STEPS_MIN)
    }

    /// What is gained a day, in the unit observed: by the peaks in a rhythm, by the burst if there is one, else by the
    /// middle one of the newest thirty steps: one clean-up does not turn a rise into a fall.
    fn growth_per_day(&self, paths: &Paths<'_>) -> f64 {
        let per_day = if let Some(rhythm) = &paths.rhythm {
            rhythm.slope
        } else if let Some(burst) = paths.burst {
            burst.gain / burst.days
        } else {
            self.known_scale()
                .map_or(0.0, |scale| scale.middle_gain().0)
        };
        per_day * self.unit
    }
}

/// The power of two at or below a positive number, so that dividing by it rounds nothing.
fn power_of_two(number: f64) -> f64 {
    let (_, exponent) = libm::frexp(number);
    libm::ldexp(1.0, (exponent - 1).max(-1000))
}
