//! Watches resources as a whole: one isolation forest per class of resource (host, container, database, …) over a row of features per
//! resource and minute. Finds what is unlike its siblings although each of its series alone may look usual.
//!
//! ```text
//! sealed 10 s windows ─▶ which feature? ─▶ mean per resource, feature, minute ─▶ row: σ from its usual place ─▶ forest of the class ─▶ score
//!                        (features.rs)                                           among its siblings (rows.rs)                          └▶ tail of the
//!                                                                                                                              class's scores ─▶ event
//! ```
//!
//! - **A row** has, for each feature, how far the mean of the minute is from where the resource usually is among its siblings, in σ of its own usual
//!   error (the places of [`analytics::peers`]): what the hour of the day does to all of them makes none of them odd, nor does a larger machine or one
//!   that is always restless. So all rows of a class are of one kind. A feature that is not known is a hole. Without 3 siblings in the partition
//!   there is no row.
//! - **The forest** sees each feature, and what is left of it once the others have told what they let expect. It is grown when 64 rows are there, again
//!   whenever they have doubled, then each hour, from a reservoir in which rows of a day stand.
//! - **The verdict** is how improbable a resource's score, smoothed over some minutes and less its own usual score, is among all scores of its class;
//!   rest and the allowed rate of alarms are those of a series. So a resource that is always unlike the others is not told, and what lasts is told from a
//!   wild minute. Nothing is told before the forest has as many rows as a tree sees.
//!
//! Only sealed windows are seen, and the rows of a minute in an order of their own, so that everything here follows from the samples that came
//! in time, not from how they were cut into records or when a checkpoint was taken.

use std::collections::BTreeMap;

use analytics::forest::{
    ClassScores, ForestError, ResourceFinding, ResourceScores, StreamingConfig, StreamingForest,
};
use analytics::peers::{Group, PeersConfig};
use analytics::{CounterRate, DetectorConfig};
use schemas::time::{DAY, HOUR, MINUTE};
use schemas::{Anomaly, Kind, Micros, Resolution};
use serde::{Deserialize, Serialize};

use crate::calendar::SeriesCalendar;
use crate::series_table::SeriesTable;
use crate::window::SealedRollup;
use rows::{Mean, Row, place};

mod databases;
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
/// Other resources of the class that must have spoken in the same minute. 3: with fewer there is no telling who is the odd one.
const SIBLINGS_MIN: usize = 3;
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
    scores: ResourceScores,
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
    /// By feature: where each member usually is among the others.
    places: Vec<Group>,
    scores: ClassScores,
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
            })
            && self
                .member_of
                .values()
                .all(|member| (*member as usize) < self.members.len())
            && self.classes.iter().all(|class| {
                class.places.len() == class.features.len()
                    && class.forest.as_ref().is_none_or(|forest| {
                        forest.is_sound() && forest.features() == class.features.len()
                    })
            })
    }

    /// Takes note of a series that is seen for the first time: whose it is, and whether it has a feature. Returns its place.
    fn meet(&mut self, series: u32, minute: Micros, table: &SeriesTable) -> u32 {
        let index = series as usize;
        if index >= self.of_series.len() {
            self.of_series.resize(index + 1, UNSEEN);
        }
        let member = self.member(table.resources().of(series), minute, table);
        if let Some(member) = member {
            self.recognise(series, member, minute, table);
        }
        let place = member
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
        let class = self.class(name, minute)?;
        let features = self.classes[class].features.len();
        let member = self.members.len() as u32;
        self.members.push(Member {
            resource,
            class: class as u16,
            open: vec![Mean::default(); features],
            scores: ResourceScores::default(),
        });
        self.member_of.insert(resource, member);
        Some(member)
    }

    /// The place of a class, which is made if it is new; `None` if it is one too many.
    fn class(&mut self, name: String, minute: Micros) -> Option<usize> {
        let known = self.classes.iter().position(|class| class.name == name);
        if known.is_some() || self.classes.len() == CLASSES_MAX {
            return known;
        }
        self.classes.push(Class {
            name,
            choice_at: minute + CHOICE_AFTER,
            features: Vec::new(),
            forest: None,
            refit_at: Micros::MAX,
            grown_from: 0,
            places: Vec::new(),
            scores: ClassScores::default(),
        });
        Some(self.classes.len() - 1)
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
                member.scores = ResourceScores::default();
            }
            // The settings are constants within their ranges, and features are few.
            let config = StreamingConfig {
                relations: true,
                ..StreamingConfig::default()
            };
            class.forest = StreamingForest::try_new(config, features.len())
                .ok()
                .filter(|_| !features.is_empty());
            (class.refit_at, class.grown_from) = (Micros::MAX, 0);
            class.places = vec![Group::default(); features.len()];
            class.scores = ClassScores::default();
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
        let mut rows: Vec<Row<'_>> = (0_u32..)
            .zip(&mut self.members)
            .filter(|(_, member)| usize::from(member.class) == index)
            .filter_map(|(at, member)| Row::close(at, member, table))
            .collect();
        if rows.len() <= SIBLINGS_MIN {
            return Ok(());
        }
        let peers = PeersConfig {
            members_min: SIBLINGS_MIN as u32 + 1,
            ..PeersConfig::default()
        };
        place(&mut rows, &mut class.places, &peers, end - MINUTE);
        rows.retain(Row::is_placed);
        // In an order that does not depend on who spoke first.
        rows.sort_unstable_by_key(|row| row.hash);
        let siblings = rows.len().saturating_sub(1);
        let mut apart = 0;
        let mut scored = Vec::with_capacity(rows.len());
        for row in &mut rows {
            let scores = forest.score_row(&row.sigmas)?;
            if let Some(scores) = scores {
                let digits = row.member.scores.take(&class.scores, scores);
                apart += usize::from(digits > ResourceScores::digits_needed(config));
            }
            scored.push(scores.is_some());
        }
        // Where too many are unlike the others, there are no others.
        let may_tell = apart <= ClassScores::apart_max(rows.len()) && forest.filled() >= 1.0;
        let share =
            f64::from(forest.config().reservoir_rows) / (rows.len() as f64 * REMEMBERED_MINUTES);
        for (row, scored) in rows.iter_mut().zip(scored) {
            let resource = row.member.resource;
            let effects = calendar.effects_on_resource(table.resources(), resource, end);
            if scored {
                let completeness = row.completeness();
                let may_alarm = may_tell && completeness >= config.completeness_min;
                let scores = &mut row.member.scores;
                let verdict =
                    scores.judge(&mut class.scores, config, &effects, siblings + 1, may_alarm);
                found.skipped += u64::from(verdict.skipped);
                let explained = if verdict.score > 1.0 {
                    forest.explain(&row.sigmas)?
                } else {
                    None
                };
                if let Some(explained) = explained {
                    let finding = ResourceFinding {
                        labels: table.resources().get(resource).labels(),
                        class: &class.name,
                        siblings,
                        time: end,
                        verdict,
                        completeness,
                        features: row.shares(&class.features, &explained),
                    };
                    let mut event = finding.event();
                    calendar.name_events(&mut event, end);
                    found.events.push(event);
                }
            }
            if effects.learn && row.member.scores.teaches() {
                forest.keep(&row.sigmas, share)?;
            }
        }
        let kept = forest.kept() as u32;
        let warm_up = forest.config().warm_up_rows;
        let grown_enough = kept >= warm_up && kept >= 2 * class.grown_from;
        if grown_enough || (end >= class.refit_at && kept > 0) {
            forest.refit()?;
            class.grown_from = kept;
            class.refit_at = end + REFIT_EVERY;
        }
        Ok(())
    }
}
