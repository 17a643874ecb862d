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
//! Only sealed windows are seen (and minutes of the archive, where the past is learned: past/minutes.rs), and the rows of a minute in an order of their
//! own, so that everything here follows from the samples that came in time, not from how they were cut into records or when a checkpoint was taken.

use std::collections::BTreeMap;

use analytics::forest::{
    ClassScores, ForestError, ResourceFinding, ResourceScores, StreamingForest,
};
use analytics::peers::{Group, PeersConfig};
use analytics::{CounterRate, DetectorConfig};
use schemas::time::{HOUR, MINUTE};
use schemas::{Anomaly, Kind, Micros, Resolution};
use serde::{Deserialize, Serialize};

use crate::calendar::SeriesCalendar;
use crate::series_table::SeriesTable;
use crate::window::Glance;
use rows::{Mean, Row, place};

mod classes;
mod databases;
mod features;
mod rows;

/// How often a full reservoir's forest is grown anew. 1 h: a day's rows have changed by a twentieth.
const REFIT_EVERY: Micros = HOUR;
/// Rows stay in the reservoir for about so many minutes: a day, so that the hours of the day are all there.
const REMEMBERED_MINUTES: f64 = 1440.0;
/// Other resources of the class that must have spoken in the same minute. 3: with fewer there is no telling who is the odd one.
const SIBLINGS_MIN: usize = 3;
/// What `of_series` says of a series that was not in a sealed window yet, and of one that tells no feature. Less 2, any other number is its place.
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

/// The forests of a partition, and what they know of each resource. Bounded by the resources of the partition and a forest for each of a few
/// classes.
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
    /// Minutes that end at or before have been judged, as far as there were any; `None`: not one.
    watched_until: Option<Micros>,
}

/// How a minute is judged.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Judging<'a> {
    pub(crate) config: &'a DetectorConfig,
    pub(crate) table: &'a SeriesTable,
    /// Whether what is abnormal is told. In a past that is only learned it is taken as skipped: it is told if it goes on.
    pub(crate) announce: bool,
}

/// What a minute brings.
#[derive(Debug, Default)]
pub(crate) struct Found {
    pub(crate) events: Vec<Anomaly>,
    /// How many were skipped because the calendar says so.
    pub(crate) skipped: u64,
}

impl ResourceForests {
    /// Takes what a sealed stretch of a minute holds, by rising series index. Stretches come in the order of their time;
    /// [`ResourceForests::close_before`] first.
    pub(crate) fn fold(
        &mut self,
        start: Micros,
        seen: impl Iterator<Item = Glance>,
        table: &SeriesTable,
    ) {
        let minute = Resolution::Minute.window(start).start;
        self.minute = Some(minute);
        for glance in seen {
            let place = match self.of_series.get(glance.series as usize) {
                None | Some(&UNSEEN) => self.meet(glance.series, minute, table),
                Some(place) => *place,
            };
            let Some(told) = place.checked_sub(2) else {
                continue;
            };
            let told = &mut self.told[told as usize];
            let value = match table.kinds()[glance.series as usize] {
                Kind::Gauge => Some(glance.sum / glance.count as f64),
                Kind::Counter => told.rate.observe(glance.last_time, glance.last),
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
        judging: Judging<'_>,
        calendar: &mut SeriesCalendar,
    ) -> Found {
        let mut found = Found::default();
        let minute = Resolution::Minute.window(time).start;
        self.watched_until = self.watched_until.max(Some(minute));
        let Some(end) = self.minute.map(|minute| minute + MINUTE) else {
            return found;
        };
        if end > time {
            return found;
        }
        self.minute = None;
        for class in 0..self.classes.len() {
            // A forest's rows always have its features (see `choose`), so none is refused.
            let _ = self.close_class(class, end, judging, calendar, &mut found);
        }
        if self.classes.iter().any(|class| class.choice_at <= end) {
            self.choose(end, judging.table);
        }
        found
    }

    /// Minutes that end at or before have been judged; `None`: not one.
    pub(crate) fn watched_until(&self) -> Option<Micros> {
        self.watched_until
    }

    /// Forgets how far counters had counted: the next total of each begins anew.
    pub(crate) fn forget_totals(&mut self) {
        let told = self.told.iter_mut();
        told.for_each(|told| told.rate = CounterRate::default());
    }

    /// Whether there may be enough resources in a table for any to have siblings.
    pub(crate) fn are_in(table: &SeriesTable) -> bool {
        table.resources().len() > SIBLINGS_MIN
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

    /// Scores and learns the rows of a class.
    fn close_class(
        &mut self,
        index: usize,
        end: Micros,
        judging: Judging<'_>,
        calendar: &mut SeriesCalendar,
        found: &mut Found,
    ) -> Result<(), ForestError> {
        let Judging {
            config,
            table,
            announce,
        } = judging;
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
            let mut effects = calendar.effects_on_resource(table.resources(), resource, end);
            effects.skip_alarms |= !announce;
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
