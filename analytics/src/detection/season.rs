//! The seasonal profile: what the hour of the day and the hour of the week add to a series' level.
//!
//! A bucket is an hour of local time. What it adds is the mean, over its last few visits, of how far the series was from its slow level.
//! Learned from the first day on, believed only after two full periods, and only while it lowers the error.

use schemas::Micros;
use schemas::time::{DAY, HOUR, SECOND};
use serde::{Deserialize, Serialize};

/// Hours of a day.
const DAY_HOURS: usize = 24;
/// Hours of a week.
const WEEK_HOURS: usize = 168;

/// A visit weighs at least this. 0.35: half of the memory is the last two visits, so a changed habit is learned in a week.
const VISIT_WEIGHT_MIN: f32 = 0.35;

/// A bucket learns from a visit only if samples cover this share of the hour.
const COVERAGE_MIN: f32 = 0.25;

/// The daily profile is believed while the error with it is below this share of the error without, and doubted above [`DAY_DOUBT`]. 0.85: what
/// helps less is mostly chance, since 24 free numbers always find something in two days.
const DAY_BELIEF: f32 = 0.85;
const DAY_DOUBT: f32 = 0.95;
/// The weekly profile must beat the daily one as well, by this.
const WEEK_BELIEF: f32 = 0.9;
const WEEK_DOUBT: f32 = 0.95;

/// How long errors are remembered, in seconds: two days, so that a weekend doesn't decide alone.
const ERROR_MEMORY_S: f32 = 172_800.0;

/// Which profile is believed, the better one being the larger.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Serialize, Deserialize)]
pub enum Season {
    /// None: too little was seen, or it does not help.
    #[default]
    None,
    /// The hour of the day.
    Day,
    /// The hour of the week.
    Week,
}

/// Hours that repeat: what each adds to the level, and how often it was visited.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Hours {
    added: Vec<f32>,
    visits: Vec<u8>,
}

impl Hours {
    fn new(hours: usize) -> Box<Self> {
        Box::new(Hours {
            added: vec![0.0; hours],
            visits: vec![0; hours],
        })
    }

    /// The same hours over a longer period: until a weekday has shown that it differs, it is taken to be like the day before it was begun.
    fn repeated(&self, hours: usize) -> Box<Self> {
        let repeat = |bucket: usize| bucket % self.added.len();
        Box::new(Hours {
            added: (0..hours).map(|hour| self.added[repeat(hour)]).collect(),
            visits: (0..hours)
                .map(|hour| self.visits[repeat(hour)].min(1))
                .collect(),
        })
    }

    fn learn(&mut self, bucket: usize, mean: f32) {
        self.visits[bucket] = self.visits[bucket].saturating_add(1);
        let weight = (1.0 / f32::from(self.visits[bucket])).max(VISIT_WEIGHT_MIN);
        self.added[bucket] += weight * (mean - self.added[bucket]);
    }

    /// What is left of an offset from the level: by the bucket alone or in between it and its neighbour, whichever explains more. A season
    /// may have edges or slopes, and neither is to be called abnormal.
    fn residual(&self, hour: Hour, offset: f32) -> Option<f32> {
        let buckets = self.added.len();
        let bucket = hour.of_week % buckets;
        if self.visits[bucket] == 0 {
            return None;
        }
        let alone = offset - self.added[bucket];
        let (neighbour, share) = if hour.past >= 0.5 {
            ((bucket + 1) % buckets, hour.past - 0.5)
        } else {
            ((bucket + buckets - 1) % buckets, 0.5 - hour.past)
        };
        if self.visits[neighbour] == 0 {
            return Some(alone);
        }
        let between = alone - share * (self.added[neighbour] - self.added[bucket]);
        Some(if between.abs() < alone.abs() {
            between
        } else {
            alone
        })
    }
}

/// An hour of local time.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Hour {
    /// Hours since Monday 0:00, 0–167.
    pub(crate) of_week: usize,
    /// Share of the hour that has passed, 0–1.
    past: f32,
}

impl Hour {
    /// `local`: microseconds since 1970, local time.
    pub(crate) fn of(local: Micros) -> Self {
        // 1970 began on a Thursday: Monday was three days before.
        let shifted = local.saturating_add(3 * DAY);
        Hour {
            of_week: shifted.rem_euclid(7 * DAY).div_euclid(HOUR) as usize,
            past: shifted.rem_euclid(HOUR) as f32 / HOUR as f32,
        }
    }
}

/// Both profiles of one series, and how well they do.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Seasons {
    /// When learning began.
    since: Micros,
    day: Box<Hours>,
    /// Begun once a day was seen: most series that die early never need it.
    week: Option<Box<Hours>>,
    /// The hour being visited, its mean offset so far, the share of it that samples cover.
    visiting: u8,
    mean: f32,
    covered: f32,
    /// Mean absolute residuals of late: without a profile, with the daily, with the weekly one.
    error: f32,
    error_day: f32,
    error_week: f32,
    believed: Season,
    /// The best profile that was ever believed.
    believed_best: Season,
}

/// What the season makes of a sample.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Seasonal {
    /// How far the sample is from what was expected.
    pub(crate) residual: f32,
    /// Which profile said so.
    pub(crate) believed: Season,
}

impl Seasons {
    pub(crate) fn new(time: Micros) -> Self {
        Seasons {
            since: time,
            day: Hours::new(DAY_HOURS),
            week: None,
            visiting: 0,
            mean: 0.0,
            covered: 0.0,
            error: 0.0,
            error_day: 0.0,
            error_week: 0.0,
            believed: Season::None,
            believed_best: Season::None,
        }
    }

    /// Whether a profile has come to be believed that never was before; true once for each.
    pub(crate) fn take_progress(&mut self) -> bool {
        let progress = self.believed > self.believed_best;
        self.believed_best = self.believed_best.max(self.believed);
        progress
    }

    /// Judges an offset from the slow level, then learns from it. `cut`: where offsets end to count, so that one outlier can't make a season.
    pub(crate) fn observe(
        &mut self,
        time: Micros,
        local: Micros,
        elapsed_s: f32,
        offset: f32,
        cut: f32,
    ) -> Seasonal {
        let hour = Hour::of(local);
        let age = time.saturating_sub(self.since);
        let by_day = (age > DAY)
            .then(|| self.day.residual(hour, offset))
            .flatten();
        let by_week = self
            .week
            .as_ref()
            .filter(|_| age > 8 * DAY)
            .and_then(|week| week.residual(hour, offset));
        self.follow_errors(age, elapsed_s, offset, by_day, by_week, cut);
        let residual = match self.believed {
            Season::None => None,
            Season::Day => by_day,
            Season::Week => by_week.or(by_day),
        };
        self.learn(hour, age, elapsed_s, offset.clamp(-1.5 * cut, 1.5 * cut));
        match residual {
            Some(residual) => Seasonal {
                residual,
                believed: self.believed,
            },
            None => Seasonal {
                residual: offset,
                believed: Season::None,
            },
        }
    }

    fn follow_errors(
        &mut self,
        age: Micros,
        elapsed_s: f32,
        offset: f32,
        by_day: Option<f32>,
        by_week: Option<f32>,
        cut: f32,
    ) {
        if age > 2 * DAY {
            self.believed = match self.believed {
                Season::None if self.error_day < DAY_BELIEF * self.error => Season::Day,
                Season::Day if self.error_day > DAY_DOUBT * self.error => Season::None,
                Season::Week if self.error_week > WEEK_DOUBT * self.error_day.min(self.error) => {
                    Season::Day
                }
                believed => believed,
            };
            if age > 15 * DAY && self.error_week < WEEK_BELIEF * self.error_day.min(self.error) {
                self.believed = Season::Week;
            }
        }
        let weight = (elapsed_s / ERROR_MEMORY_S).min(0.05);
        let follow = |error: &mut f32, residual: f32| {
            *error += weight * (residual.abs().min(cut) - *error);
        };
        follow(&mut self.error, offset);
        match by_day {
            Some(residual) => follow(&mut self.error_day, residual),
            None if age <= DAY => self.error_day = self.error,
            None => {}
        }
        match by_week {
            Some(residual) => follow(&mut self.error_week, residual),
            None if age <= 8 * DAY => self.error_week = self.error_day,
            None => {}
        }
    }

    fn learn(&mut self, hour: Hour, age: Micros, elapsed_s: f32, offset: f32) {
        if self.week.is_none() && age > DAY {
            self.week = Some(self.day.repeated(WEEK_HOURS));
        }
        let hour_s = (HOUR / SECOND) as f32;
        if usize::from(self.visiting) != hour.of_week {
            if self.covered >= COVERAGE_MIN {
                let visited = usize::from(self.visiting);
                self.day.learn(visited % DAY_HOURS, self.mean);
                if let Some(week) = &mut self.week {
                    week.learn(visited, self.mean);
                }
            }
            (self.visiting, self.mean, self.covered) = (hour.of_week as u8, 0.0, 0.0);
        }
        let covers = (elapsed_s / hour_s).clamp(1e-9, 1.0);
        self.covered += covers;
        self.mean += covers / self.covered * (offset - self.mean);
    }
}

/// Bytes beside the struct itself.
#[cfg(test)]
impl Seasons {
    pub(crate) fn heap_bytes(&self) -> usize {
        let hours = |hours: &Hours| {
            size_of::<Hours>() + hours.added.capacity() * 4 + hours.visits.capacity()
        };
        hours(&self.day) + self.week.as_ref().map_or(0, |week| hours(week))
    }
}
