//! Compares each series with its siblings in the partition: the same metric of other hosts, containers, replicas.
//!
//! All series of a resource share a partition, but its siblings may be in others: what is compared are those that are here. A fleet of
//! 100 hosts on 8 partitions has about 12 of each kind in every one, which is plenty; where fewer than `members_min` meet, nothing is said.
//!
//! Only sealed 10 s windows are seen, so that everything follows from the samples that came in time, not from how they were cut into records
//! or when a checkpoint was taken.

use analytics::CounterRate;
use analytics::peers::{Group, GroupKey, PeerEvent, PeersConfig, group_key};
use hashbrown::HashMap;
use schemas::time::MINUTE;
use schemas::{Anomaly, Kind, Micros, Resolution};
use serde::{Deserialize, Serialize};

use crate::calendar::SeriesCalendar;
use crate::rollup_figures::completeness;
use crate::series_table::SeriesTable;
use crate::window::{Glance, INTERVAL_UNKNOWN};

/// A series that names no instance: it has no siblings.
const ALONE: u32 = u32::MAX;

/// What a series has in the open minute, and its counter.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
struct Open {
    /// Of a counter.
    rate: CounterRate,
    /// Of values of a gauge, or of rates of a counter.
    sum: f64,
    values: u32,
    samples: u32,
    /// The sampling interval, microseconds; 0 = not known.
    interval: u32,
}

impl Open {
    /// Adds what a stretch of the minute holds.
    fn add(&mut self, glance: &Glance, kind: Kind) {
        // A minute holds at most some thousand samples.
        let count = u32::try_from(glance.count).unwrap_or(u32::MAX);
        self.samples = self.samples.saturating_add(count);
        if glance.interval != INTERVAL_UNKNOWN {
            self.interval = glance.interval;
        }
        match kind {
            Kind::Gauge => {
                self.sum += glance.sum;
                self.values = self.values.saturating_add(count);
            }
            Kind::Counter => {
                if let Some(rate) = self.rate.observe(glance.last_time, glance.last) {
                    self.sum += rate;
                    self.values += 1;
                }
            }
        }
    }

    /// The value of the minute and its completeness, if there is one; begins the next.
    fn close(&mut self) -> Option<(f64, f64)> {
        let Open {
            sum,
            values,
            samples,
            ..
        } = *self;
        (self.sum, self.values, self.samples) = (0.0, 0, 0);
        let mean = sum / f64::from(values);
        // No value, or a sum past the largest number.
        mean.is_finite().then(|| {
            let complete = completeness(u64::from(samples), self.interval, Resolution::Minute);
            (mean, complete)
        })
    }
}

/// Series that are siblings.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Siblings {
    key: GroupKey,
    /// How many series have been seen of it.
    count: u32,
    /// What is remembered of them, from the first minute in which they are enough.
    group: Option<Box<Group>>,
}

/// The groups of a partition. Bounded by its series: 36 bytes for each, and about 80 more for one with siblings.
#[derive(Debug, Clone, Default)]
pub(crate) struct SiblingGroups {
    saved: SavedGroups,
    /// Rebuilt from the groups.
    index: HashMap<GroupKey, u32, foldhash::fast::RandomState>,
}

/// The part that a snapshot holds.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct SavedGroups {
    /// By series index: the index of its group, or [`ALONE`].
    group_of: Vec<u32>,
    open: Vec<Open>,
    groups: Vec<Siblings>,
    /// Start of the open minute.
    minute: Option<Micros>,
    /// Minutes that end at or before have been compared, as far as there were any; `None`: not one.
    watched_until: Option<Micros>,
}

impl SiblingGroups {
    /// Takes what a sealed stretch of a minute holds, by rising series index. Stretches come in the order of their time;
    /// [`SiblingGroups::close_before`] first.
    pub(crate) fn fold(
        &mut self,
        start: Micros,
        seen: impl Iterator<Item = Glance>,
        table: &SeriesTable,
    ) {
        if self.saved.group_of.len() < table.directory().len() {
            self.meet(table);
        }
        self.saved.minute = Some(Resolution::Minute.window(start).start);
        let kinds = table.kinds();
        for glance in seen {
            let series = glance.series as usize;
            if self.saved.group_of[series] != ALONE {
                self.saved.open[series].add(&glance, kinds[series]);
            }
        }
    }

    /// Finds the groups of the series that are new.
    fn meet(&mut self, table: &SeriesTable) {
        let SavedGroups {
            group_of,
            open,
            groups,
            ..
        } = &mut self.saved;
        let directory = table.directory();
        for series in (group_of.len()..directory.len()).filter_map(|index| directory.get(index)) {
            let group = group_key(&series.metric, &series.labels).map_or(ALONE, |key| {
                let group = *self.index.entry(key).or_insert(groups.len() as u32);
                if group as usize == groups.len() {
                    groups.push(Siblings {
                        key,
                        count: 0,
                        group: None,
                    });
                }
                groups[group as usize].count += 1;
                group
            });
            group_of.push(group);
        }
        open.resize(group_of.len(), Open::default());
    }

    /// Closes the open minute if it ends at or before a time: compares the siblings, and hands out who stands apart; nobody where `announce` is false:
    /// that is told if it goes on.
    pub(crate) fn close_before(
        &mut self,
        time: Micros,
        config: &PeersConfig,
        table: &SeriesTable,
        calendar: &mut SeriesCalendar,
        announce: bool,
    ) -> Vec<Anomaly> {
        let saved = &mut self.saved;
        saved.watched_until = saved
            .watched_until
            .max(Some(Resolution::Minute.window(time).start));
        let Some(minute) = saved.minute.filter(|minute| minute + MINUTE <= time) else {
            return Vec::new();
        };
        saved.minute = None;
        let mut values: Vec<(u32, u32, f64, f64)> = Vec::new();
        for (series, open) in (0_u32..).zip(&mut saved.open) {
            if open.samples == 0 {
                continue;
            }
            let group = saved.group_of[series as usize];
            let enough = saved
                .groups
                .get(group as usize)
                .is_some_and(|siblings| siblings.count >= config.members_min);
            if let Some((value, complete)) = open.close().filter(|_| enough) {
                // Whom the calendar excuses is not compared, nor an example to others.
                let effects = calendar.effects(table.directory(), series, minute);
                if effects.skip_alarms || !effects.learn {
                    continue;
                }
                values.push((group, series, value, complete));
            }
        }
        values.sort_unstable_by_key(|(group, series, _, _)| (*group, *series));
        let mut apart = Vec::new();
        for members in values.chunk_by(|(a, ..), (b, ..)| a == b) {
            let group = saved.groups[members[0].0 as usize]
                .group
                .get_or_insert_default();
            let values: Vec<(u32, f64)> = members.iter().map(|(_, s, v, _)| (*s, *v)).collect();
            if announce {
                let events = group.observe_window(config, minute, &values);
                apart.extend(events.iter().map(|event| told(event, members, table)));
            } else {
                group.learn_window(config, minute, &values);
            }
        }
        apart
    }

    /// Minutes that end at or before have been compared; `None`: not one.
    pub(crate) fn watched_until(&self) -> Option<Micros> {
        self.saved.watched_until
    }

    /// Forgets how far counters had counted: the next total of each begins anew.
    pub(crate) fn forget_totals(&mut self) {
        let open = &mut self.saved.open;
        open.iter_mut()
            .for_each(|open| open.rate = CounterRate::default());
    }

    /// Whether any series of a table have enough siblings to be compared.
    pub(crate) fn are_in(table: &SeriesTable, config: &PeersConfig) -> bool {
        let mut counts: HashMap<GroupKey, u32, foldhash::fast::RandomState> = HashMap::default();
        let mut keys = table
            .directory()
            .iter()
            .filter_map(|series| group_key(&series.metric, &series.labels));
        keys.any(|key| {
            let count = counts.entry(key).or_default();
            *count += 1;
            *count >= config.members_min
        })
    }

    /// What a snapshot holds of it.
    pub(crate) fn saved(&self) -> &SavedGroups {
        &self.saved
    }

    /// The groups of a snapshot, if they hang together and speak of at most so many series.
    pub(crate) fn restored(saved: SavedGroups, series_count: usize) -> Option<Self> {
        let sound = saved.group_of.len() == saved.open.len()
            && saved.open.len() <= series_count
            && (saved.group_of.iter())
                .all(|group| *group == ALONE || (*group as usize) < saved.groups.len());
        let keys = (0_u32..).zip(&saved.groups);
        let index = keys.map(|(at, siblings)| (siblings.key, at)).collect();
        sound.then_some(SiblingGroups { saved, index })
    }
}

/// The event as it is published.
fn told(event: &PeerEvent, members: &[(u32, u32, f64, f64)], table: &SeriesTable) -> Anomaly {
    let at = members
        .iter()
        .find(|(_, series, ..)| *series == event.member);
    let completeness = at.map_or(1.0, |(.., completeness)| *completeness);
    let series = &table.directory()[event.member as usize];
    event.anomaly(series, completeness)
}
