//! Compares each series with its siblings: the same metric of other hosts, containers, replicas.
//!
//! All series of a resource share a partition, but its siblings may be in others. A partition with enough members of a group compares those among
//! themselves: a fleet of 100 hosts on 8 partitions has about 12 of each kind in every one. Where too few are together, they meet in one
//! partition: siblings/guests.rs.
//!
//! Only sealed 10 s windows are seen, so that everything follows from the samples that came in time, not from how they were cut into records
//! or when a checkpoint was taken.

use analytics::CounterRate;
use analytics::peers::{Group, GroupKey, PeerEvent, PeersConfig, group_key};
use hashbrown::HashMap;
use schemas::time::MINUTE;
use schemas::{Anomaly, Guests, Kind, Labels, Micros, Resolution, SeriesId};
use serde::{Deserialize, Serialize};

use crate::calendar::SeriesCalendar;
use crate::rollup_figures::completeness;
use crate::series_table::SeriesTable;
use crate::window::{Glance, INTERVAL_UNKNOWN};

use guests::{GUEST, Meetings, Outgoing, Turn};
pub(crate) use guests::{Place, SavedMeetings};

mod guests;

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
    /// How many series have been seen of it in this partition.
    count: u32,
    /// What is remembered of them, from the first minute in which they are enough.
    group: Option<Box<Group>>,
}

/// What a member of a group had in a minute.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
struct Present {
    /// Index of the group.
    group: u32,
    /// Index of the series, or [`GUEST`] and that of the guest.
    member: u32,
    value: f64,
    completeness: f64,
}

/// The groups of a partition. Bounded by its series: 36 bytes for each, and about 80 more for one with siblings; and by its guests.
#[derive(Debug, Clone, Default)]
pub(crate) struct SiblingGroups {
    saved: SavedGroups,
    /// Rebuilt from the groups.
    index: HashMap<GroupKey, u32, foldhash::fast::RandomState>,
    meetings: Meetings,
}

/// The part that a snapshot holds, beside [`SavedMeetings`].
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

/// How siblings are compared.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Comparing<'a> {
    pub(crate) config: &'a PeersConfig,
    pub(crate) table: &'a SeriesTable,
    /// This partition among all, where siblings meet across them.
    pub(crate) place: Option<Place>,
    /// Whether who stands apart is told. In a past that is only learned, nobody is, nor does anybody visit: that is told if it goes on.
    pub(crate) announce: bool,
}

/// What a closed minute brings.
#[derive(Debug, Default)]
pub(crate) struct Compared {
    /// Who stands apart.
    pub(crate) events: Vec<Anomaly>,
    /// What other partitions are told, by partition.
    pub(crate) guests: Vec<(u32, Guests)>,
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
        let directory = table.directory();
        let from = self.saved.group_of.len();
        for series in (from..directory.len()).filter_map(|index| directory.get(index)) {
            let group = group_key(&series.metric, &series.labels).map_or(ALONE, |key| {
                let group = self.group(key);
                self.saved.groups[group as usize].count += 1;
                group
            });
            self.saved.group_of.push(group);
        }
        let count = self.saved.group_of.len();
        self.saved.open.resize(count, Open::default());
    }

    /// The index of a group, which is new if it was not known.
    fn group(&mut self, key: GroupKey) -> u32 {
        let groups = &mut self.saved.groups;
        let group = *self.index.entry(key).or_insert(groups.len() as u32);
        if group as usize == groups.len() {
            groups.push(Siblings {
                key,
                count: 0,
                group: None,
            });
        }
        group
    }

    /// Closes the open minute if it ends at or before a time: compares the siblings that are enough here, and hands out who stands apart; keeps or hands out
    /// the values of those who meet with others.
    pub(crate) fn close_before(
        &mut self,
        time: Micros,
        comparing: Comparing<'_>,
        calendar: &mut SeriesCalendar,
    ) -> Compared {
        let saved = &mut self.saved;
        saved.watched_until = saved
            .watched_until
            .max(Some(Resolution::Minute.window(time).start));
        let Some(minute) = saved.minute.filter(|minute| minute + MINUTE <= time) else {
            return Compared::default();
        };
        saved.minute = None;
        let (config, table) = (comparing.config, comparing.table);
        let place = comparing.place.filter(|_| comparing.announce);
        let is_enough = |siblings: &Siblings| siblings.count >= config.members_min;
        let mut values: Vec<Present> = Vec::new();
        for (series, open) in (0_u32..).zip(&mut saved.open) {
            if open.samples == 0 {
                continue;
            }
            let group = saved.group_of[series as usize];
            let siblings = saved.groups.get(group as usize);
            let is_compared = siblings.is_some_and(|group| place.is_some() || is_enough(group));
            if let Some((value, completeness)) = open.close().filter(|_| is_compared) {
                // Whom the calendar excuses is not compared, nor an example to others.
                let effects = calendar.effects(table.directory(), series, minute);
                if effects.skip_alarms || !effects.learn {
                    continue;
                }
                values.push(Present {
                    group,
                    member: series,
                    value,
                    completeness,
                });
            }
        }
        values.sort_unstable_by_key(|present| (present.group, present.member));
        let mut events = Vec::new();
        let mut outgoing = place.map(|place| Outgoing::new(place, minute));
        for members in values.chunk_by(|a, b| a.group == b.group) {
            if let Some(outgoing) = &mut outgoing {
                let is_compared = saved.groups[members[0].group as usize].group.is_some();
                let meetings = &mut self.meetings;
                match meetings.turn(members, is_compared, comparing, outgoing) {
                    Turn::Here => {}
                    Turn::Later => {
                        self.meetings.wait(minute, members);
                        continue;
                    }
                    Turn::Elsewhere(home) => {
                        outgoing.tell(home, members, table);
                        continue;
                    }
                }
            }
            let siblings = &mut saved.groups[members[0].group as usize];
            if is_enough(siblings) {
                let found = compare(siblings, members, minute, comparing, &self.meetings);
                events.extend(found.into_iter().map(|(_, event)| event));
            }
        }
        let guests = outgoing.map(|outgoing| self.meetings.send(outgoing));
        Compared {
            events,
            guests: guests.unwrap_or_default(),
        }
    }

    /// Takes what another partition tells of a minute. `watermark`: of this one.
    pub(crate) fn welcome(
        &mut self,
        guests: &Guests,
        place: Place,
        config: &PeersConfig,
        watermark: Micros,
    ) {
        if !self.meetings.expects(guests, place, watermark) {
            return;
        }
        let of_metrics = guests.metrics().iter();
        let of_metrics: Vec<u128> = of_metrics.map(|name| SeriesId::metric_hash(name)).collect();
        let of_labels: Vec<u128> = guests
            .label_sets()
            .iter()
            .map(|set| set.hash128())
            .collect();
        for row in guests.rows() {
            let (metric, labels) = (row.metric as usize, row.labels as usize);
            let id = SeriesId::of_hashes(of_metrics[metric], of_labels[labels]);
            let (metric, labels) = (&guests.metrics()[metric], &guests.label_sets()[labels]);
            let known = self.meetings.guest(id).or_else(|| {
                let group = self.group_of_guest(metric, labels, place)?;
                self.meetings.add(id, metric, labels, group)
            });
            if let Some(guest) = known {
                self.meetings.seat(guest, guests, row);
            }
        }
        self.meetings.told(guests, config);
    }

    /// The group that a new guest belongs to, if that is compared here.
    fn group_of_guest(&mut self, metric: &str, labels: &Labels, place: Place) -> Option<u32> {
        let key = group_key(metric, labels)?;
        if place.home(labels)? != place.partition {
            return None;
        }
        match self.index.get(&key) {
            Some(group) => Some(*group),
            None if self.saved.groups.len() >= guests::GROUPS_MAX => None,
            None => Some(self.group(key)),
        }
    }

    /// Compares those who meet here in the minutes whose values are all there, or are waited for no longer; hands out who stands apart.
    pub(crate) fn judge_meetings(&mut self, watermark: Micros, comparing: Comparing<'_>) -> Judged {
        let mut judged = Judged::default();
        while let Some((minute, mut present)) = self.meetings.due(watermark) {
            present.sort_unstable_by_key(|present| (present.group, present.member));
            for members in present.chunk_by(|a, b| a.group == b.group) {
                let siblings = &mut self.saved.groups[members[0].group as usize];
                let are_enough = members.len() >= comparing.config.members_min as usize;
                if siblings.group.is_none() && !are_enough {
                    continue;
                }
                for (sender, event) in compare(siblings, members, minute, comparing, &self.meetings)
                {
                    match sender {
                        None => judged.events.push(event),
                        Some(sender) => judged.verdicts.push((sender, minute + MINUTE, event)),
                    }
                }
            }
        }
        judged
    }

    /// Whether another partition's verdict on a series that lives here is news; then it is told as said of that series. `now`: the log clock.
    pub(crate) fn accept(
        &mut self,
        verdict: &mut Anomaly,
        table: &SeriesTable,
        now: Micros,
    ) -> bool {
        let Some(series) = table.get(verdict.series_id) else {
            return false;
        };
        let series = &table.directory()[series as usize];
        verdict.metric = series.metric.to_string();
        verdict.labels = series.labels.clone();
        self.meetings.is_news(verdict, now)
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

    /// Forgets who visits whom: nobody does any more.
    pub(crate) fn forget_meetings(&mut self) {
        self.meetings = Meetings::default();
    }

    /// What a snapshot holds of it.
    pub(crate) fn saved(&self) -> &SavedGroups {
        &self.saved
    }

    /// What a snapshot holds of meetings; `None` while there were none.
    pub(crate) fn saved_meetings(&self) -> Option<&SavedMeetings> {
        self.meetings.saved()
    }

    /// The groups of a snapshot, if they hang together and speak of at most so many series.
    pub(crate) fn restored(
        saved: SavedGroups,
        meetings: SavedMeetings,
        series_count: usize,
    ) -> Option<Self> {
        let sound = saved.group_of.len() == saved.open.len()
            && saved.open.len() <= series_count
            && (saved.group_of.iter())
                .all(|group| *group == ALONE || (*group as usize) < saved.groups.len());
        let keys = (0_u32..).zip(&saved.groups);
        let index = keys.map(|(at, siblings)| (siblings.key, at)).collect();
        let meetings = Meetings::restored(meetings, saved.groups.len(), series_count)?;
        sound.then_some(SiblingGroups {
            saved,
            index,
            meetings,
        })
    }
}

/// What comes of those who meet here.
#[derive(Debug, Default)]
pub(crate) struct Judged {
    /// Who stands apart of those that live here.
    pub(crate) events: Vec<Anomaly>,
    /// And of guests: their partitions, which tell it, and the end of the minute.
    pub(crate) verdicts: Vec<(u32, Micros, Anomaly)>,
}

/// Compares the members of a group in a minute, and hands out who stands apart; of a guest, with its partition.
fn compare(
    siblings: &mut Siblings,
    members: &[Present],
    minute: Micros,
    comparing: Comparing<'_>,
    meetings: &Meetings,
) -> Vec<(Option<u32>, Anomaly)> {
    let group = siblings.group.get_or_insert_default();
    let values: Vec<(u32, f64)> = members.iter().map(|p| (p.member, p.value)).collect();
    if !comparing.announce {
        group.learn_window(comparing.config, minute, &values);
        return Vec::new();
    }
    let events = group.observe_window(comparing.config, minute, &values);
    let tell = |event: &PeerEvent| {
        let at = members.iter().find(|p| p.member == event.member);
        let completeness = at.map_or(1.0, |present| present.completeness);
        if event.member & GUEST == 0 {
            let series = &comparing.table.directory()[event.member as usize];
            Some((None, event.anomaly(series, completeness)))
        } else {
            let (series, sender) = meetings.series(event.member)?;
            Some((Some(sender), event.anomaly(&series, completeness)))
        }
    };
    events.iter().filter_map(tell).collect()
}
