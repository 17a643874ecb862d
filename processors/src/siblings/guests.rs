//! Where siblings of several partitions meet: who visits whom, which guests are here, and for whom a minute waits.
//!
//! A group has a *home*, the partition that the hash of its shared labels points to. When a minute is sealed, a partition with too few members of the
//! group to compare tells the home their values: rows of a record `guests/1`, which goes through the log of samples like everything that a partition
//! knows. There they are members like those that live there.
//!
//! ```text
//! partition 2, minute sealed:  3 members of a group whose home is 5  ──▶ Guests(sender 2, minute)  ──▶ log of partition 5
//! partition 5, minute sealed:  its own 2 members wait  ──▶ all expected senders have told, or 5 min have passed  ──▶ 5 are compared
//! partition 5, a guest stands apart:  the event  ──▶ log of partition 2, which tells it as one of its own
//! ```
//! A guest's own partition tells of it, because it knows its other events and whether one more is an alarm.
//!
//! All follows from the home's own log, so a replay tells the same. A sender that steps over its log again tells the same again, and the home ignores it: of
//! a guest, and of the home, times only go forwards. What comes too late is ignored, too; then a minute is compared without it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use analytics::peers::{PeersConfig, meeting_hash};
use hashbrown::HashMap;
use schemas::time::{DAY, HOUR, MINUTE, SECOND};
use schemas::{
    Anomaly, GuestRow, Guests, GuestsBuilder, Kind, Labels, Micros, Series, SeriesId, partition_of,
};
use serde::{Deserialize, Serialize};

use super::{Comparing, Present};
use crate::series_table::SeriesTable;

/// Marks a member that is a guest; the other bits are its index. A partition has at most 2^31 series.
pub(super) const GUEST: u32 = 1 << 31;
/// So long a minute waits for a sender that has told of late, in log time. 5 min: a process that is killed is back, or replaced, within two. Longer,
/// and what follows a partition that lost its last series is told that much later for once.
const WAIT_MAX: Micros = 5 * MINUTE;
/// A partition with so many members more than can be compared keeps them for itself, until they can't be compared any more. 3: one that is off among eight
/// is told as well as among more, and a few that come and go don't send the others to and fro.
const ENOUGH_MORE: u32 = 3;
/// Rows that a partition tells others of one minute at most; groups beyond are compared where they are, as far as they are enough. 65,536: a few MB a minute.
const ROWS_SENT_MAX: usize = 65_536;
/// Guests that are known at a time; others are ignored. 262,144 of some 300 bytes: as many rows as four senders can tell.
const GUESTS_MAX: usize = 262_144;
/// An older verdict is not told, and a newer one is remembered so long: what is sent again comes within minutes, or when a process is back.
const VERDICT_AGE_MAX: Micros = DAY;
/// Groups of a partition beyond which guests bring no new ones: as many as it may have series.
pub(super) const GROUPS_MAX: usize = 2_000_000;

/// A partition among all of the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) partition: u32,
    pub(crate) partitions: u32,
}

impl Place {
    /// The home of the group that these labels belong to; `None` if they name no instance.
    pub(super) fn home(self, labels: &Labels) -> Option<u32> {
        Some(partition_of(meeting_hash(labels)?, self.partitions))
    }
}

/// Where the members of a group are compared in a minute.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Turn {
    /// Among themselves, now.
    Here,
    /// Here, with guests that may be on their way.
    Later,
    /// In another partition.
    Elsewhere(u32),
}

/// How a group stands among partitions.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
struct Side {
    /// Of the labels that its members share; `None` before the first were closed.
    hash: Option<u64>,
    /// Whether the members that live here are enough for each other.
    stays: bool,
    /// Start of the latest minute in which it had guests here.
    guests_at: Option<Micros>,
}

/// A series of another partition.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Guest {
    metric: String,
    labels: Labels,
    group: u32,
    /// Its partition.
    sender: u32,
    /// Start of the latest minute that it told a value of.
    last: Micros,
}

/// The part of meetings that a snapshot holds. Bounded by the groups (40 bytes each), the guests and the minutes that wait.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct SavedMeetings {
    /// By group index, as far as was asked.
    sides: Vec<Side>,
    /// `None`: forgotten, its place is free.
    guests: Vec<Option<Guest>>,
    /// By start of the minute.
    waiting: BTreeMap<Micros, Vec<Present>>,
    /// By partition: the latest minute that it told in full, and that it was told.
    senders: BTreeMap<u32, Micros>,
    receivers: BTreeMap<u32, Micros>,
    /// Start of the latest minute that was judged.
    judged: Option<Micros>,
    /// The hour in which guests were last forgotten.
    forgotten_in: i64,
    /// By series that live here: the time of the latest verdict on it.
    verdicts: BTreeMap<SeriesId, Micros>,
}

/// Who meets here.
#[derive(Debug, Clone, Default)]
pub(super) struct Meetings {
    saved: SavedMeetings,
    /// Rebuilt from the guests.
    index: HashMap<SeriesId, u32, foldhash::fast::RandomState>,
    /// Rebuilt likewise. The lowest is taken first, so that the same is taken after a restart.
    free: BTreeSet<u32>,
}

impl Meetings {
    /// Decides where the members of a group are compared that have a value in the minute. `is_compared`: whether those who live here have been, so far.
    pub(super) fn turn(
        &mut self,
        members: &[Present],
        is_compared: bool,
        comparing: Comparing<'_>,
        outgoing: &Outgoing,
    ) -> Turn {
        let Outgoing { place, minute, .. } = *outgoing;
        let config = comparing.config;
        let side = self.side(members[0].group);
        let hash = match side.hash {
            Some(hash) => hash,
            None => {
                // Whoever knows their places here goes on with what is known.
                side.stays = is_compared;
                let series = &comparing.table.directory()[members[0].member as usize];
                let hash = meeting_hash(&series.labels).unwrap_or_default();
                *side.hash.insert(hash)
            }
        };
        let home = partition_of(hash, place.partitions);
        if home == place.partition {
            // Twice as long as a minute waits: then none is waiting any more when the next is compared at once.
            let visited = side
                .guests_at
                .is_some_and(|at| minute.saturating_sub(at) <= 2 * WAIT_MAX);
            return if visited { Turn::Later } else { Turn::Here };
        }
        let present = members.len() as u32;
        if present >= config.members_min.saturating_add(ENOUGH_MORE) {
            side.stays = true;
        } else if present < config.members_min {
            side.stays = false;
        }
        if side.stays || outgoing.rows + members.len() > ROWS_SENT_MAX {
            Turn::Here
        } else {
            Turn::Elsewhere(home)
        }
    }

    /// Keeps members that live here until their guests have come.
    pub(super) fn wait(&mut self, minute: Micros, members: &[Present]) {
        self.saved
            .waiting
            .entry(minute)
            .or_default()
            .extend(members);
    }

    /// Ends what is told of a minute: whoever was told of late hears that there was no more, and waits for nothing.
    pub(super) fn send(&mut self, mut outgoing: Outgoing) -> Vec<(u32, Guests)> {
        let Outgoing { place, minute, .. } = outgoing;
        let receivers = &mut self.saved.receivers;
        receivers.retain(|_, last| minute.saturating_sub(*last) <= WAIT_MAX);
        for home in outgoing.told.keys() {
            receivers.insert(*home, minute);
        }
        for home in receivers.keys() {
            let empty = || GuestsBuilder::new(place.partition, minute);
            outgoing.told.entry(*home).or_insert_with(empty);
        }
        let records = outgoing.told.into_iter();
        records
            .flat_map(|(home, told)| told.finish().into_iter().map(move |record| (home, record)))
            .collect()
    }

    /// Whether what another partition tells is of a minute that may still be compared. `watermark`: of this one.
    pub(super) fn expects(&mut self, guests: &Guests, place: Place, watermark: Micros) -> bool {
        if guests.sender() >= place.partitions || guests.sender() == place.partition {
            return false;
        }
        let minute = guests.minute();
        // From a log clock far ahead: nothing here can be compared with it.
        if minute > watermark.saturating_add(WAIT_MAX) {
            return false;
        }
        let is_open = minute + MINUTE + WAIT_MAX > watermark
            && self.saved.judged.is_none_or(|judged| minute > judged);
        if !is_open {
            self.note_sender(guests);
        }
        is_open
    }

    /// The index of a guest that is known.
    pub(super) fn guest(&self, id: SeriesId) -> Option<u32> {
        self.index.get(&id).copied()
    }

    /// The index of a new guest; `None` if there are too many.
    pub(super) fn add(
        &mut self,
        id: SeriesId,
        metric: &str,
        labels: &Labels,
        group: u32,
    ) -> Option<u32> {
        let guests = &mut self.saved.guests;
        let guest = Some(Guest {
            metric: metric.to_owned(),
            labels: labels.clone(),
            group,
            sender: 0,
            last: Micros::MIN,
        });
        let index = match self.free.pop_first() {
            Some(free) => {
                guests[free as usize] = guest;
                free
            }
            None if guests.len() >= GUESTS_MAX => return None,
            None => {
                guests.push(guest);
                guests.len() as u32 - 1
            }
        };
        self.index.insert(id, index);
        Some(index)
    }

    /// Takes the value of a guest, unless it has told of this minute, or a later one, before.
    pub(super) fn seat(&mut self, index: u32, guests: &Guests, row: &GuestRow) {
        let minute = guests.minute();
        let Some(Some(guest)) = self.saved.guests.get_mut(index as usize) else {
            return;
        };
        if minute <= guest.last {
            return;
        }
        (guest.last, guest.sender) = (minute, guests.sender());
        let group = guest.group;
        let side = self.side(group);
        side.guests_at = side.guests_at.max(Some(minute));
        self.saved.waiting.entry(minute).or_default().push(Present {
            group,
            member: GUEST | index,
            value: f64::from(row.value),
            completeness: f64::from(row.completeness),
        });
    }

    /// Ends what a record tells, and forgets guests that have not come for long.
    pub(super) fn told(&mut self, guests: &Guests, config: &PeersConfig) {
        self.note_sender(guests);
        let hour = guests.minute().div_euclid(HOUR);
        if hour <= self.saved.forgotten_in {
            return;
        }
        self.saved.forgotten_in = hour;
        // An hour after the group has: it looks once an hour, and must not take a newcomer for the one whose index it gets.
        let kept = (config.forget_s * SECOND as f64) as Micros + 2 * HOUR;
        let since = guests.minute().saturating_sub(kept);
        for (index, place) in (0_u32..).zip(&mut self.saved.guests) {
            if place.as_ref().is_some_and(|guest| guest.last < since) {
                *place = None;
                self.free.insert(index);
            }
        }
        let known = &self.saved.guests;
        self.index
            .retain(|_, index| known[*index as usize].is_some());
    }

    /// Takes out the next minute that can be compared: all who have told of late have told of it, or it has waited long enough.
    pub(super) fn due(&mut self, watermark: Micros) -> Option<(Micros, Vec<Present>)> {
        let minute = *self.saved.waiting.first_key_value()?.0;
        let end = minute.saturating_add(MINUTE);
        let mut senders = self.saved.senders.values();
        let is_due = end <= watermark
            && (end.saturating_add(WAIT_MAX) <= watermark
                || senders.all(|last| *last >= minute || minute.saturating_sub(*last) > WAIT_MAX));
        if !is_due {
            return None;
        }
        self.saved.judged = self.saved.judged.max(Some(minute));
        self.saved.waiting.pop_first()
    }

    /// A guest as a series, and its partition, by its number as a member.
    pub(super) fn series(&self, member: u32) -> Option<(Series, u32)> {
        let guest = self
            .saved
            .guests
            .get((member & !GUEST) as usize)?
            .as_ref()?;
        let series = Series::new(&guest.metric, guest.labels.clone(), Kind::Gauge);
        Some((series, guest.sender))
    }

    /// Whether a verdict is news: after the one before on its series, and not long past. `now`: the log clock.
    pub(super) fn is_news(&mut self, verdict: &Anomaly, now: Micros) -> bool {
        let time: Option<jiff::Timestamp> = verdict.time.parse().ok();
        let since = now.saturating_sub(VERDICT_AGE_MAX);
        let verdicts = &mut self.saved.verdicts;
        verdicts.retain(|_, last| *last > since);
        let Some(time) = time.map(jiff::Timestamp::as_microsecond) else {
            return false;
        };
        let last = verdicts.get(&verdict.series_id).copied();
        let is_news = time > last.unwrap_or(since) && time <= now.saturating_add(DAY);
        if is_news {
            verdicts.insert(verdict.series_id, time);
        }
        is_news
    }

    /// What a snapshot holds; `None` while nobody has met.
    pub(super) fn saved(&self) -> Option<&SavedMeetings> {
        (self.saved != SavedMeetings::default()).then_some(&self.saved)
    }

    /// The meetings of a snapshot, if they hang together and speak of at most so many groups and series.
    pub(super) fn restored(
        saved: SavedMeetings,
        group_count: usize,
        series_count: usize,
    ) -> Option<Self> {
        let guest_of = |index: u32| saved.guests.get(index as usize)?.as_ref();
        let is_of = |present: &Present| match present.member & GUEST {
            0 => (present.member as usize) < series_count,
            _ => guest_of(present.member & !GUEST).is_some(),
        };
        let mut present = saved.waiting.values().flatten();
        let sound = saved.sides.len() <= group_count
            && saved.guests.len() <= GUESTS_MAX
            && (saved.guests.iter().flatten()).all(|guest| (guest.group as usize) < group_count)
            && present.all(|present| (present.group as usize) < group_count && is_of(present));
        let (mut index, mut free) = (HashMap::default(), BTreeSet::new());
        for (at, guest) in (0_u32..).zip(&saved.guests) {
            match guest {
                Some(guest) => {
                    index.insert(SeriesId::of(&guest.metric, &guest.labels), at);
                }
                None => {
                    free.insert(at);
                }
            }
        }
        sound.then_some(Meetings { saved, index, free })
    }

    fn note_sender(&mut self, guests: &Guests) {
        if guests.is_last() {
            let last = self.saved.senders.entry(guests.sender()).or_default();
            *last = guests.minute().max(*last);
        }
    }

    fn side(&mut self, group: u32) -> &mut Side {
        let (sides, at) = (&mut self.saved.sides, group as usize);
        if sides.len() <= at {
            sides.resize(at + 1, Side::default());
        }
        &mut sides[at]
    }
}

/// What a partition tells others of a minute.
#[derive(Debug)]
pub(super) struct Outgoing {
    place: Place,
    minute: Micros,
    /// By home.
    told: BTreeMap<u32, GuestsBuilder>,
    rows: usize,
}

impl Outgoing {
    pub(super) fn new(place: Place, minute: Micros) -> Self {
        Outgoing {
            place,
            minute,
            told: BTreeMap::new(),
            rows: 0,
        }
    }

    /// Adds members of a group to what its home is told.
    pub(super) fn tell(&mut self, home: u32, members: &[Present], table: &SeriesTable) {
        let (sender, minute) = (self.place.partition, self.minute);
        let told = (self.told.entry(home)).or_insert_with(|| GuestsBuilder::new(sender, minute));
        for present in members {
            let series: &Arc<Series> = &table.directory()[present.member as usize];
            told.push(series, present.value, present.completeness);
        }
        self.rows += members.len();
    }
}

#[cfg(test)]
mod tests {
    use super::super::SiblingGroups;
    use super::*;

    #[test]
    fn who_is_told_of_twice_sits_once_and_not_in_an_earlier_minute() {
        let series = |host: usize| {
            let name = format!("web-{host}");
            let labels = Labels::try_new([("host.name", name.as_str())]).unwrap();
            Arc::new(Series::new("load", labels, Kind::Gauge))
        };
        let partitions = 4;
        let at = |partition| Place {
            partition,
            partitions,
        };
        let home = at(0).home(&series(0).labels).unwrap();
        let (place, sender) = (at(home), (home + 1) % partitions);
        let of_minute = |minute: Micros| {
            let mut builder = GuestsBuilder::new(sender, minute);
            (0..3).for_each(|host| builder.push(&series(host), 1.0, 1.0));
            builder.finish().remove(0)
        };
        let mut groups = SiblingGroups::default();
        let (earlier, minute) = (10 * MINUTE, 11 * MINUTE);
        for told in [minute, minute, earlier] {
            let watermark = minute + MINUTE;
            groups.welcome(&of_minute(told), place, &PeersConfig::default(), watermark);
        }
        let waiting = groups.meetings.saved.waiting.iter();
        let waiting: Vec<(Micros, usize)> = waiting.map(|(at, rows)| (*at, rows.len())).collect();
        assert_eq!(waiting, [(minute, 3)]);
    }
}
