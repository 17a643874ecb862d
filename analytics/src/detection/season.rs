//! The seasonal profile: what the hour of the day and the hour of the week add to a series' level.
//!
//! A bucket is an hour of local time. What it adds is the mean, over its last few visits, of how far the series was from its slow level.
//! Learned from the first day on, believed only after two full periods, and only while it lowers the error.

use schemas::Micros;
use schemas::time::{DAY, HOUR, SECOND};
use serde::{Deserialize, Serialize};

use hours::{DAY_HOURS, Hours, Near, WEEK_HOURS};

mod hours;

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

/// Both profiles of one series, and how well they do: 64 bytes with all that a sample needs. The hours stand elsewhere, and are looked up once an hour.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Option<Saved>", into = "Option<Saved>")]
pub(crate) struct Seasons {
    /// When learning began.
    since: Micros,
    /// `None` before it begins.
    profiles: Option<Box<Profiles>>,
    /// The hour being visited, as both profiles know it.
    day: Near,
    week: Near,
    /// Its mean offset so far, and the share of it that samples cover.
    mean: f32,
    covered: f32,
    /// Mean absolute residuals of late: without a profile, with the daily, with the weekly one.
    error: f32,
    error_day: f32,
    error_week: f32,
    /// Hours since Monday 0:00.
    visiting: u8,
    believed: Season,
    /// The best profile that was ever believed.
    believed_best: Season,
    /// Whether there is a weekly profile.
    has_week: bool,
}

#[derive(Debug, Clone, PartialEq)]
struct Profiles {
    day: Hours<DAY_HOURS>,
    /// Begun once a day was seen: most series that die early never need it.
    week: Option<Box<Hours<WEEK_HOURS>>>,
}

impl Profiles {
    /// What a sample in an hour sees of the day and of the week.
    fn near(&self, hour_of_week: usize) -> (Near, Near) {
        let week = self.week.as_ref();
        (
            self.day.near(hour_of_week),
            week.map_or(Near::NOTHING, |week| week.near(hour_of_week)),
        )
    }
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
    /// Learning has not begun.
    pub(crate) fn new() -> Self {
        Seasons {
            since: 0,
            profiles: None,
            day: Near::NOTHING,
            week: Near::NOTHING,
            mean: 0.0,
            covered: 0.0,
            error: 0.0,
            error_day: 0.0,
            error_week: 0.0,
            visiting: 0,
            believed: Season::None,
            believed_best: Season::None,
            has_week: false,
        }
    }

    /// Begins to learn.
    pub(crate) fn begin(&mut self, time: Micros) {
        self.since = time;
        self.profiles = Some(Box::new(Profiles {
            day: Hours::new(),
            week: None,
        }));
    }

    pub(crate) fn is_begun(&self) -> bool {
        self.profiles.is_some()
    }

    /// Whether a profile has come to be believed that never was before; true once for each.
    pub(crate) fn take_progress(&mut self) -> bool {
        let progress = self.believed > self.believed_best;
        self.believed_best = self.believed_best.max(self.believed);
        progress
    }

    /// How far samples of late are from what a profile expects, in the mean; `None` where none is asked for.
    pub(crate) fn error(&self, profile: Season) -> Option<f32> {
        match profile {
            Season::None => None,
            Season::Day => Some(self.error_day),
            Season::Week => Some(self.error_week),
        }
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
        let (day, week) = match &self.profiles {
            Some(profiles) if hour.of_week != usize::from(self.visiting) => {
                profiles.near(hour.of_week)
            }
            _ => (self.day, self.week),
        };
        let by_day = (age > DAY).then(|| day.residual(hour, offset)).flatten();
        let by_week = (age > 8 * DAY)
            .then(|| week.residual(hour, offset))
            .flatten();
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
        let hour_s = (HOUR / SECOND) as f32;
        let begins = !self.has_week && age > DAY;
        let leaves = usize::from(self.visiting) != hour.of_week;
        if (begins || leaves)
            && let Some(profiles) = &mut self.profiles
        {
            if begins {
                profiles.week = Some(Box::new(profiles.day.repeated()));
                self.has_week = true;
            }
            if leaves && self.covered >= COVERAGE_MIN {
                let visited = usize::from(self.visiting);
                profiles.day.learn(visited, self.mean);
                if let Some(week) = &mut profiles.week {
                    week.learn(visited, self.mean);
                }
            }
            if leaves {
                (self.visiting, self.mean, self.covered) = (hour.of_week as u8, 0.0, 0.0);
            }
            (self.day, self.week) = profiles.near(hour.of_week);
        }
        let covers = (elapsed_s / hour_s).clamp(1e-9, 1.0);
        self.covered += covers;
        self.mean += covers / self.covered * (offset - self.mean);
    }
}

/// What a snapshot holds of seasons that are begun.
#[derive(Serialize, Deserialize)]
struct Saved {
    since: Micros,
    day: Hours<DAY_HOURS>,
    week: Option<Box<Hours<WEEK_HOURS>>>,
    visiting: u8,
    mean: f32,
    covered: f32,
    error: f32,
    error_day: f32,
    error_week: f32,
    believed: Season,
    believed_best: Season,
}

impl From<Seasons> for Option<Saved> {
    fn from(seasons: Seasons) -> Self {
        let profiles = *seasons.profiles?;
        Some(Saved {
            since: seasons.since,
            day: profiles.day,
            week: profiles.week,
            visiting: seasons.visiting,
            mean: seasons.mean,
            covered: seasons.covered,
            error: seasons.error,
            error_day: seasons.error_day,
            error_week: seasons.error_week,
            believed: seasons.believed,
            believed_best: seasons.believed_best,
        })
    }
}

impl TryFrom<Option<Saved>> for Seasons {
    type Error = String;

    fn try_from(saved: Option<Saved>) -> Result<Self, String> {
        let Some(saved) = saved else {
            return Ok(Seasons::new());
        };
        if usize::from(saved.visiting) >= WEEK_HOURS {
            return Err(format!("hour {} of a week", saved.visiting));
        }
        let has_week = saved.week.is_some();
        let profiles = Profiles {
            day: saved.day,
            week: saved.week,
        };
        let (day, week) = profiles.near(usize::from(saved.visiting));
        Ok(Seasons {
            since: saved.since,
            profiles: Some(Box::new(profiles)),
            day,
            week,
            mean: saved.mean,
            covered: saved.covered,
            error: saved.error,
            error_day: saved.error_day,
            error_week: saved.error_week,
            visiting: saved.visiting,
            believed: saved.believed,
            believed_best: saved.believed_best,
            has_week,
        })
    }
}

/// Bytes beside the struct itself.
#[cfg(test)]
impl Seasons {
    pub(crate) fn heap_bytes(&self) -> usize {
        let profiles = self.profiles.as_ref();
        profiles.map_or(0, |profiles| {
            let week = profiles.week.as_ref();
            size_of::<Profiles>() + week.map_or(0, |week| size_of_val(&**week))
        })
    }
}
