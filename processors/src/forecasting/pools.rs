//! What can be used up: the series that tell of one pool (a disk, a memory, connections) together say when it will be full.

use std::collections::HashMap;
use std::sync::Arc;

use analytics::capacity::ceilings::{Part, level, role};
use analytics::capacity::{CapacityForecaster, FULL_SHARE};
use analytics::forecast::{ForecastLedger, PublishedForecast, Statement};
use schemas::forecast::FULL_WITHIN_S;
use schemas::time::{HOUR, MINUTE, SECOND};
use schemas::{Labels, Micros, Outlook, Series, SeriesDirectory, TrainedOn};
use serde::{Deserialize, Serialize};

use super::ForecastingConfig;
use super::bounded::Bounded;
use super::event::{self, Kind, falls_due};
use crate::pending::Pending;

/// A pool is looked at this often, by the time of its samples. 5 min: an hour to full is seen in time, and a thousand pools cost nothing.
const LOOK_INTERVAL: Micros = 5 * MINUTE;
/// A part that was not told for so long is no part of the present. Twice the interval at which agents ask for a size at most.
const PART_KEPT: Micros = 10 * MINUTE;
/// A forecast of a pool is published at most so often, looks. Hourly: the shortest stretch that it speaks of is an hour.
const PUBLISH_LOOKS: u32 = 12;
/// A forecast holds for this share of the time until the pool may be full.
const HOLDS_SHARE: f64 = 0.25;
/// And at most for so long, so that nobody reads an old one: six hours, as forecasts of values hold.
const HOLDS_MAX: Micros = 6 * HOUR;
/// It holds no longer once the room changed by more than this share: by an eighth, what would be full in a day is told three hours into its rise.
const ROOM_SHARE: f64 = 0.125;
/// Parts of one pool that are looked at; further series of it are left out.
const PARTS_MAX: usize = 16;

/// Which pool a series tells of, and what.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Member {
    pool: u32,
    part: Part,
}

/// The pools of a partition: who belongs to which is told by names alone and never saved.
#[derive(Debug, Clone, Default)]
pub(crate) struct Pools {
    /// By series index.
    members: Vec<Option<Member>>,
    /// Whether a metric can tell of a pool, with the right labels: names are compared once per metric, not per series.
    tells: HashMap<Arc<str>, bool, foldhash::fast::RandomState>,
    /// By resource, name of the pool, and the labels that tell its place.
    index: HashMap<(u32, String, Labels), u32>,
    pub(super) states: Bounded<Pool>,
}

/// What is remembered of one pool: at most some 10 KB.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct Pool {
    /// The newest value of each part.
    parts: Vec<Told>,
    /// The series that its forecasts name: the one that says most plainly how much is used, when it was first known.
    named: Option<u32>,
    /// Time of the newest sample.
    last: Micros,
    /// Time of the first look, and how many there were.
    since: Micros,
    looks: u64,
    forecaster: CapacityForecaster,
    ledger: ForecastLedger,
    newest: Option<Newest>,
}

/// What makes the next forecast due: of the one published last.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
struct Newest {
    /// The time of the sample that made it due.
    published_at: Micros,
    /// For how long it holds.
    holds: Micros,
    /// What was free.
    room: f64,
}

impl Newest {
    /// Whether it still says what a new one would. Looks are as far apart as samples come, so one look more or less is the same time.
    fn holds(&self, now: Micros, room: f64) -> bool {
        now - self.published_at + LOOK_INTERVAL < self.holds
            && (room - self.room).abs() <= ROOM_SHARE * self.room
    }
}

/// The newest value of a series of a pool.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
struct Told {
    series: u32,
    time: Micros,
    value: f64,
}

impl Pools {
    /// Finds out what the series tell of that are new in the directory. `resource_of`: their resources, by index.
    pub(crate) fn grow(&mut self, directory: &SeriesDirectory, resource_of: impl Fn(u32) -> u32) {
        for index in self.members.len()..directory.len() {
            let series = &directory[index];
            let member = self.member(series, resource_of(index as u32));
            self.members.push(member);
        }
    }

    fn member(&mut self, series: &Series, resource: u32) -> Option<Member> {
        let tells = self.tells.get(&series.metric).copied();
        let tells = tells.unwrap_or_else(|| {
            let tells = role(&series.metric, |_| Some("used")).is_some();
            self.tells.insert(Arc::clone(&series.metric), tells);
            tells
        });
        if !tells {
            return None;
        }
        let role = role(&series.metric, |key| series.labels.get(key))?;
        let place = series
            .labels
            .iter()
            .filter(|(key, _)| !role.inner.contains(key));
        // A subset of a valid set is valid.
        let place = Labels::try_new(place).ok()?;
        let next = self.index.len() as u32;
        let pool = *self
            .index
            .entry((resource, role.pool, place))
            .or_insert(next);
        Some(Member {
            pool,
            part: role.part,
        })
    }

    /// Makes saved states usable again; `false` if they speak of other pools or series than there are.
    pub(super) fn restore(&mut self, series_count: usize) -> bool {
        let known = |series: &u32| (*series as usize) < series_count;
        let sound = self.states.iter().all(|(_, pool)| {
            pool.named.iter().all(known) && pool.parts.iter().all(|told| known(&told.series))
        });
        sound && self.states.restore(self.index.len())
    }

    /// Takes a sample. The pool is looked at with the first sample of the next five minutes: by the samples before it alone.
    #[inline]
    pub(crate) fn observe(
        &mut self,
        config: &ForecastingConfig,
        directory: &SeriesDirectory,
        series: u32,
        time: Micros,
        value: f64,
        told: &mut Pending,
    ) {
        let Some(Some(member)) = self.members.get(series as usize).copied() else {
            return;
        };
        let state = self.states.get(
            member.pool,
            time,
            config.pools_max,
            || Some(Pool::default()),
        );
        let Some(pool) = state else { return };
        if !pool.parts.is_empty()
            && time.div_euclid(LOOK_INTERVAL) > pool.last.div_euclid(LOOK_INTERVAL)
        {
            pool.look(directory, &self.members, time, told);
        }
        pool.take(series, time, value);
    }
}

impl Pool {
    pub(super) fn forget_waiting(&mut self) {
        self.ledger.forget_waiting();
    }

    fn take(&mut self, series: u32, time: Micros, value: f64) {
        self.last = self.last.max(time);
        match self.parts.iter_mut().find(|told| told.series == series) {
            Some(told) if told.time < time => (told.time, told.value) = (time, value),
            Some(_) => {}
            None => {
                let told = Told {
                    series,
                    time,
                    value,
                };
                if self.parts.len() < PARTS_MAX {
                    self.parts.push(told);
                }
            }
        }
    }

    /// Takes the pool as it was at its newest sample; `now`, the time of the next one, decides what is due.
    fn look(
        &mut self,
        directory: &SeriesDirectory,
        members: &[Option<Member>],
        now: Micros,
        told: &mut Pending,
    ) {
        let at = self.last;
        self.parts.retain(|told| told.time >= at - PART_KEPT);
        let part_of = |told: &Told| members[told.series as usize].map(|member| member.part);
        // In the order of the series' ids, so that a sum of parts does not depend on who came first.
        let mut parts: Vec<(Part, u32, f64)> = self
            .parts
            .iter()
            .filter_map(|told| Some((part_of(told)?, told.series, told.value)))
            .collect();
        parts.sort_by_key(|(part, series, _)| (plainness(*part), directory[*series as usize].id));
        let values: Vec<(Part, f64)> = parts
            .iter()
            .map(|(part, _, value)| (*part, *value))
            .collect();
        let Some((used, ceiling)) = level(at as f64 / SECOND as f64, &values) else {
            return;
        };
        if !self.forecaster.observe(at, used, ceiling) {
            return;
        }
        if self.looks == 0 {
            self.since = at;
        }
        self.looks += 1;
        let Some(named) = self.named.or(parts.first().map(|(_, series, _)| *series)) else {
            return;
        };
        self.named = Some(named);
        let series = &directory[named as usize];
        let full = used >= FULL_SHARE * ceiling;
        let scores = self.ledger.fullness_came(at, full, used);
        told.forecast_scores
            .extend(scores.iter().map(|scored| event::score(series, scored)));
        let room = ceiling - used;
        let holds = self.newest.is_some_and(|newest| newest.holds(now, room));
        if falls_due(series.id.0, PUBLISH_LOOKS, LOOK_INTERVAL, at, now) && !holds {
            self.publish(series, at, now, room, told);
        }
    }

    fn publish(&mut self, series: &Series, at: Micros, now: Micros, room: f64, told: &mut Pending) {
        let trained_on = TrainedOn {
            span_s: ((at - self.since) / SECOND).max(0) as u64,
            samples: self.looks,
        };
        let forecast = self.forecaster.forecast();
        let Some(event) = event::full_event(series, &forecast, trained_on) else {
            return;
        };
        let before = self.newest.map_or(at, |newest| newest.published_at);
        if let Outlook::TimeToFull { p_full, dates, .. } = &event.outlook {
            let away = dates.p10.map_or(HOLDS_MAX, |date| {
                (HOLDS_SHARE * (date - event.made_at) as f64) as Micros
            });
            self.newest = Some(Newest {
                published_at: now,
                holds: away.min(HOLDS_MAX),
                room,
            });
            for (number, within) in p_full.iter().enumerate() {
                // Of a long stretch, one forecast per quarter of it is scored: more would wait than a bounded ledger holds, and say the same.
                let quarter = FULL_WITHIN_S[number] as Micros * SECOND / 4 / LOOK_INTERVAL;
                let looks = (quarter as u32).max(PUBLISH_LOOKS);
                if falls_due(series.id.0, looks, LOOK_INTERVAL, before, now) {
                    let time = event.made_at + within.within_s as Micros * SECOND;
                    self.ledger.publish(PublishedForecast {
                        id: event::event_id(Kind::TimeToFull, series, event.made_at, time),
                        made_at: event.made_at,
                        time,
                        statement: Statement::FullWithin(within.probability),
                    });
                }
            }
        }
        told.forecasts.push(event);
    }
}

/// How plainly a part says how much is used: the smallest names the pool.
fn plainness(part: Part) -> u8 {
    match part {
        Part::Used => 0,
        Part::Ratio => 1,
        Part::Percent => 2,
        Part::Free => 3,
        Part::UsedToo => 4,
        Part::Until => 5,
        Part::Since => 6,
        Part::Ceiling => 7,
    }
}
