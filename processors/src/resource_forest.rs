//! Watches resources as a whole: one isolation forest per class of resource (host, container, database, …) over a row of features per
//! resource and minute. Finds what is unlike its siblings although each of its series alone may look usual.
//!
//! ```text
//! sealed 10 s windows ─▶ which feature? ─▶ mean per resource, feature, minute ─▶ row: levels and changes ─▶ forest of the class ─▶ score
//!                        (features.rs)                                                                        └▶ the resource's own history of
//!                                                                                                                scores ─▶ event
//! ```
//!
//! - **A row** has, for each feature, its level (the mean of the minute) and its change (level − what is usual for this resource, forgotten by
//!   half in an hour), both less their median over the siblings: what the hour of the day does to all of them makes none of them odd. A
//!   feature that is not known is a hole. Without 3 siblings in the partition there is no row.
//! - **The forest** is grown when 64 rows are there, again whenever they have doubled, then each hour, from a reservoir in which rows of a day stand.
//! - **The verdict** is that of the detectors of a series, on the series of the resource's scores, smoothed over some minutes: so a resource
//!   that is always unlike the others is announced once at most, rest and the allowed rate of alarms are those of every series, and what
//!   lasts is told from a wild minute. Besides, the smoothed score must be one that few rows of the class have. Nothing is told before the
//!   forest has as many rows as a tree sees.
//!
//! Only sealed windows are seen, and the rows of a minute in an order of their own, so that everything here follows from the samples that came
//! in time, not from how they were cut into records or when a checkpoint was taken.

use std::collections::BTreeMap;

use analytics::calendar::Effects;
use analytics::forest::{ForestError, ResourceFinding, StreamingConfig, StreamingForest};
use analytics::{CounterRate, DetectorConfig, SeriesDetectors, Watch};
use schemas::time::{DAY, HOUR, MINUTE};
use schemas::{Anomaly, Direction, Kind, Micros, Resolution};
use serde::{Deserialize, Serialize};

use crate::calendar::SeriesCalendar;
use crate::series_table::SeriesTable;
use crate::window::SealedRollup;
use rows::{Mean, Row, relate};

mod features;
mod rows;

/// Classes of resources in one partition at most; resources of further ones are not watched. 16: each holds a megabyte, and a fleet that names
/// more kinds of things than that names single things.
const CLASSES_MAX: usize = 16;
/// After this time, and each day, the features of a class are chosen from what its resources have. 10 min: every collector has spoken by then.
const CHOICE_AFTER: Micros = 10 * MINUTE;
/// How often a full reservoir's forest is grown anew. 1 h: a day's rows have changed by a twentieth.
const REFIT_EVERY: Micros = HOUR;
/// Rows stay in the reservoir for about so many minutes: a day, so that the hours of the day are all there.
const REMEMBERED_MINUTES: f64 = 1440.0;
/// Nothing is told of a resource whose smoothed score is not above what this share of its class's rows exceeds. 0.05: one wild minute in
/// twenty is usual somewhere, minute after minute of it is not.
const ODD_SHARE: f64 = 0.05;
/// The weight of a minute in a resource's smoothed score: a single wild minute moves it by a third, and three say it.
const SMOOTHING: f64 = 0.3;
/// Other resources of the class that must have spoken in the same minute. 3: with fewer there is no telling who is the odd one.
const SIBLINGS_MIN: usize = 3;
/// Scores closer than this to the expected one are never unusual: forests of other seeds differ by as much.
const SCORE_BAND: f64 = 0.03;

/// A series that has a feature: `of_series` − 2 is its place.
const UNSEEN: u32 = 0;
const WITHOUT_FEATURE: u32 = 1;

/// A series that tells a feature of its resource.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
struct Told {
    member: u32,
    feature: u16,
    /// Of a counter.
    rate: CounterRate,
}

/// A resource of a class.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Member {
    /// Its index among the resources of the partition.
    resource: u32,
    class: u16,
    /// By feature: the open minute; empty before features are chosen.
    open: Vec<Mean>,
    /// By feature: what is usual for this resource; NaN = not known yet.
    usual: Vec<f64>,
    /// Its score, smoothed; NaN before the first.
    score: f64,
    /// The history of that.
    scores: SeriesDetectors,
}

impl Member {
    /// Takes the score of a minute into the smoothed one, and returns that.
    fn smooth(&mut self, score: f64) -> f64 {
        if self.score.is_nan() {
            self.score = score;
        } else {
            self.score += SMOOTHING * (score - self.score);
        }
        self.score
    }
}

/// Resources that are the same kind of thing.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Class {
    name: String,
    /// When its features are chosen next.
    choice_at: Micros,
    /// The names of its features.
    features: Vec<String>,
    /// `None` before features are chosen.
    forest: Option<StreamingForest>,
    /// When the forest is grown next, at the latest.
    refit_at: Micros,
    /// Rows kept when it was last grown.
    grown_from: u32,
    /// Smoothed scores up to this are not odd.
    score_min: f64,
}

/// The forests of a partition, and what they know of each resource. Bounded by the resources of the partition and [`CLASSES_MAX`] forests.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct ResourceForests {
    /// By series index: [`UNSEEN`], [`WITHOUT_FEATURE`], or 2 + its place in `told`.
    of_series: Vec<u32>,
    told: Vec<Told>,
    classes: Vec<Class>,
    members: Vec<Member>,
    /// Resource index → place in `members`.
    member_of: BTreeMap<u32, u32>,
    /// Start of the open minute.
    minute: Option<Micros>,
}

/// What a minute brings.
#[derive(Debug, Default)]
pub(crate) struct Found {
    pub(crate) events: Vec<Anomaly>,
    /// How many were skipped because the calendar says so.
    pub(crate) skipped: u64,
}

impl ResourceForests {
    /// Takes the rollups of a sealed 10 s window. Windows come in the order of their time; [`ResourceForests::close_before`] first.
    pub(crate) fn fold(&mut self, start: Micros, folded: &[SealedRollup], table: &SeriesTable) {
        let minute = Resolution::Minute.window(start).start;
        self.minute = Some(minute);
        for sealed in folded {
            let Some(rollup) = &sealed.rollup else {
                continue;
            };
            let place = match self.of_series.get(sealed.series as usize) {
                None | Some(&UNSEEN) => self.meet(sealed.series, minute, table),
                Some(place) => *place,
            };
            let Some(told) = place.checked_sub(2) else {
                continue;
            };
            let told = &mut self.told[told as usize];
            let value = match table.kinds()[sealed.series as usize] {
                Kind::Gauge => Some(rollup.mean()),
                Kind::Counter => told.rate.observe(rollup.last_time, rollup.last),
            };
            if let Some(value) = value.filter(|value| value.is_finite()) {
                self.members[told.member as usize].open[usize::from(told.feature)].add(value);
            }
        }
    }

    /// Closes the open minute if it ends at or before a time: scores its rows, learns them, and hands out what is abnormal.
    pub(crate) fn close_before(
        &mut self,
        time: Micros,
        config: &DetectorConfig,
        table: &SeriesTable,
        calendar: &mut SeriesCalendar,
    ) -> Found {
        let mut found = Found::default();
        let Some(end) = self.minute.map(|minute| minute + MINUTE) else {
            return found;
        };
        if end > time {
            return found;
        }
        self.minute = None;
        for class in 0..self.classes.len() {
            // A forest's rows always have its features (see `choose`), so none is refused.
            let _ = self.close_class(class, end, config, table, calendar, &mut found);
        }
        if self.classes.iter().any(|class| class.choice_at <= end) {
            self.choose(end, table);
        }
        found
    }

    /// Whether it speaks of at most so many series and resources, and hangs together.
    pub(crate) fn fits(&self, series_count: usize, resource_count: usize) -> bool {
        let features = |member: &Member| {
            let class = self.classes.get(usize::from(member.class));
            class.map(|class| class.features.len())
        };
        self.of_series.len() <= series_count
            && self
                .of_series
                .iter()
                .all(|place| *place < self.told.len() as u32 + 2)
            && self.told.iter().all(|told| {
                let member = self.members.get(told.member as usize);
                member.is_some_and(|member| usize::from(told.feature) < member.open.len())
            })
            && self.members.iter().all(|member| {
                (member.resource as usize) < resource_count
                    && features(member) == Some(member.open.len())
                    && member.usual.len() == member.open.len()
            })
            && self
                .member_of
                .values()
                .all(|member| (*member as usize) < self.members.len())
            && self.classes.iter().all(|class| {
                class.forest.as_ref().is_none_or(|forest| {
                    forest.is_sound() && forest.features() == 2 * class.features.len()
                })
            })
    }

    /// Takes note of a series that is seen for the first time: whose it is, and whether it has a feature. Returns its place.
    fn meet(&mut self, series: u32, minute: Micros, table: &SeriesTable) -> u32 {
        let index = series as usize;
        if index >= self.of_series.len() {
            self.of_series.resize(index + 1, UNSEEN);
        }
        let place = self
            .member(table.resources().of(series), minute, table)
            .and_then(|member| self.tell(series, member, CounterRate::default(), table))
            .unwrap_or(WITHOUT_FEATURE);
        self.of_series[index] = place;
        place
    }

    /// The place of a resource among the members; `None` if its class is one too many, or it is not named.
    fn member(&mut self, resource: u32, minute: Micros, table: &SeriesTable) -> Option<u32> {
        if let Some(member) = self.member_of.get(&resource) {
            return Some(*member);
        }
        let name = features::class_of(table.resources().get(resource).labels())?;
        let known = self.classes.iter().position(|class| class.name == name);
        let class = match known {
            Some(class) => class,
            None if self.classes.len() == CLASSES_MAX => return None,
            None => {
                self.classes.push(Class {
                    name,
                    choice_at: minute + CHOICE_AFTER,
                    features: Vec::new(),
                    forest: None,
                    refit_at: Micros::MAX,
                    grown_from: 0,
                    score_min: 1.0,
                });
                self.classes.len() - 1
            }
        };
        let features = self.classes[class].features.len();
        let member = self.members.len() as u32;
        self.members.push(Member {
            resource,
            class: class as u16,
            open: vec![Mean::default(); features],
            usual: vec![f64::NAN; features],
            score: f64::NAN,
            scores: SeriesDetectors::default(),
        });
        self.member_of.insert(resource, member);
        Some(member)
    }

    /// Gives a series its feature, if its member's class has it. Returns its place.
    fn tell(
        &mut self,
        series: u32,
        member: u32,
        rate: CounterRate,
        table: &SeriesTable,
    ) -> Option<u32> {
        let class = &self.classes[usize::from(self.members[member as usize].class)];
        let name = features::name_of(&table.directory()[series as usize]);
        let feature = class.features.iter().position(|feature| *feature == name)?;
        self.told.push(Told {
            member,
            feature: feature as u16,
            rate,
        });
        Some(self.told.len() as u32 + 1)
    }

    /// Chooses the features of the classes that are due. A class whose features change starts anew.
    fn choose(&mut self, now: Micros, table: &SeriesTable) {
        let mut owners: Vec<BTreeMap<String, features::Owners>> =
            vec![BTreeMap::new(); self.classes.len()];
        let seen = self.of_series.iter().enumerate();
        for (series, _) in seen.filter(|(_, place)| **place != UNSEEN) {
            let resource = table.resources().of(series as u32);
            let Some(member) = self.member_of.get(&resource) else {
                continue;
            };
            let class = usize::from(self.members[*member as usize].class);
            if self.classes[class].choice_at <= now {
                let name = features::name_of(&table.directory()[series]);
                owners[class].entry(name).or_default().note(*member);
            }
        }
        let mut changed = false;
        for (index, owners) in owners.into_iter().enumerate() {
            let class = &mut self.classes[index];
            if class.choice_at > now {
                continue;
            }
            class.choice_at = now + DAY;
            let members = self.members.iter_mut();
            let members: Vec<&mut Member> = members
                .filter(|member| usize::from(member.class) == index)
                .collect();
            let features = features::choose(owners, members.len());
            if features == class.features {
                continue;
            }
            changed = true;
            for member in members {
                member.open = vec![Mean::default(); features.len()];
                member.usual = vec![f64::NAN; features.len()];
            }
            // The settings are constants within their ranges, and features are few.
            class.forest = StreamingForest::try_new(StreamingConfig::default(), 2 * features.len())
                .ok()
                .filter(|_| !features.is_empty());
            (class.refit_at, class.grown_from) = (Micros::MAX, 0);
            class.features = features;
        }
        if changed {
            self.tell_all(table);
        }
    }

    /// Gives every series its feature anew.
    fn tell_all(&mut self, table: &SeriesTable) {
        let before = std::mem::take(&mut self.told);
        for series in 0..self.of_series.len() {
            let place = self.of_series[series];
            if place == UNSEEN {
                continue;
            }
            let rate = place
                .checked_sub(2)
                .map_or_else(CounterRate::default, |told| before[told as usize].rate);
            let member = self.member_of.get(&table.resources().of(series as u32));
            self.of_series[series] = member
                .copied()
                .and_then(|member| self.tell(series as u32, member, rate, table))
                .unwrap_or(WITHOUT_FEATURE);
        }
    }

    /// Scores and learns the rows of a class.
    fn close_class(
        &mut self,
        index: usize,
        end: Micros,
        config: &DetectorConfig,
        table: &SeriesTable,
        calendar: &mut SeriesCalendar,
        found: &mut Found,
    ) -> Result<(), ForestError> {
        let class = &mut self.classes[index];
        let Some(forest) = &mut class.forest else {
            return Ok(());
        };
        let mut rows: Vec<Row<'_>> = self
            .members
            .iter_mut()
            .filter(|member| usize::from(member.class) == index)
            .filter_map(|member| Row::close(member, table))
            .collect();
        if rows.len() <= SIBLINGS_MIN {
            return Ok(());
        }
        // In an order that does not depend on who spoke first.
        rows.sort_unstable_by_key(|row| row.hash);
        let usual = relate(&mut rows);
        let config = DetectorConfig {
            watch: Watch::High,
            band_relative_min: 0.0,
            band_absolute_min: SCORE_BAND,
            ..config.clone()
        };
        let effects: Vec<Effects> = rows
            .iter()
            .map(|row| calendar.effects_on_resource(table.resources(), row.member.resource, end))
            .collect();
        if let Some(grown) = forest.forest() {
            let scores = rows.iter().map(|row| grown.score_row(&row.values));
            let scores: Vec<f64> = scores.collect::<Result<_, _>>()?;
            let siblings = rows.len() - 1;
            for ((row, score), effects) in rows.iter_mut().zip(scores).zip(&effects) {
                let score = row.member.smooth(score);
                let scores = &mut row.member.scores;
                let ahead_s = calendar.utc_offset_s(end);
                let observation = scores.observe_during(&config, end, ahead_s, effects, score);
                let odd = score > class.score_min && observation.direction == Direction::High;
                if !odd || forest.filled() < 1.0 {
                    continue;
                }
                found.skipped += u64::from(observation.skipped);
                if !observation.announce {
                    continue;
                }
                let contributions = grown.explain(&row.values)?.contributions;
                let finding = ResourceFinding {
                    labels: table.resources().get(row.member.resource).labels(),
                    class: &class.name,
                    siblings,
                    time: end,
                    score,
                    observation: &observation,
                    trust: observation.trust,
                    completeness: row.completeness(),
                    features: row.shares(&class.features, &contributions, &usual),
                };
                let mut event = finding.event();
                calendar.name_events(&mut event, end);
                found.events.push(event);
            }
        }
        let share =
            f64::from(forest.config().reservoir_rows) / (rows.len() as f64 * REMEMBERED_MINUTES);
        let learned = rows.iter_mut().zip(&effects);
        for (row, _) in learned.filter(|(_, effects)| effects.learn) {
            forest.keep(&row.values, share)?;
            row.learn();
        }
        let kept = forest.kept() as u32;
        let warm_up = forest.config().warm_up_rows;
        let grown_enough = kept >= warm_up && kept >= 2 * class.grown_from;
        if grown_enough || end >= class.refit_at {
            forest.refit()?;
            class.grown_from = kept;
            class.refit_at = end + REFIT_EVERY;
            class.score_min = forest.score_exceeded_by(ODD_SHARE)?.unwrap_or(1.0);
        }
        Ok(())
    }
}
