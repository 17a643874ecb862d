//! Time zones out of the tz database compiled into the program, and civil times turned into instants.

use std::ops::Range;

use jiff::civil::DateTime;
use jiff::tz::{TimeZone, TimeZoneDatabase};
use jiff::{SignedDuration, Timestamp};
use schemas::Micros;

/// The zone of a name of the IANA database, whatever its case.
pub(super) fn find(name: &str) -> Option<TimeZone> {
    TimeZoneDatabase::bundled().get(name).ok()
}

/// A time zone: how people there count hours and days.
#[derive(Debug, Clone, PartialEq)]
pub struct Zone(TimeZone);

impl Zone {
    /// The zone of a name of the IANA database, whatever its case.
    pub fn named(name: &str) -> Option<Self> {
        if name.eq_ignore_ascii_case("UTC") {
            return Some(Zone::default());
        }
        find(name).map(Zone)
    }
}

impl Default for Zone {
    fn default() -> Self {
        Zone(TimeZone::UTC)
    }
}

/// A zone with a memory of its latest answer.
#[derive(Debug, Clone)]
pub struct ZoneClock {
    zone: TimeZone,
    offset_s: i32,
    /// When the answer holds.
    valid: Range<Micros>,
}

impl ZoneClock {
    /// A clock that has not been asked anything.
    pub fn new(zone: Zone) -> Self {
        ZoneClock {
            zone: zone.0,
            offset_s: 0,
            valid: 0..0,
        }
    }

    /// What local time is ahead of UTC at a time, seconds, daylight saving included.
    #[inline]
    pub fn utc_offset_s(&mut self, time: Micros) -> i32 {
        if !self.valid.contains(&time) {
            self.look_up(time);
        }
        self.offset_s
    }

    fn look_up(&mut self, time: Micros) {
        let at = timestamp(time);
        self.offset_s = self.zone.to_offset(at).seconds();
        // The one that began at this very time has begun.
        let now = at
            .saturating_add(SignedDuration::from_micros(1))
            .unwrap_or(at);
        let begun = self.zone.preceding(now).next();
        let ends = self.zone.following(at).next();
        self.valid = begun.map_or(Micros::MIN, |change| change.timestamp().as_microsecond())
            ..ends.map_or(Micros::MAX, |change| change.timestamp().as_microsecond());
    }
}

/// A time as jiff has it; those that it does not know are cut to those it does.
pub(super) fn timestamp(time: Micros) -> Timestamp {
    Timestamp::from_microsecond(time).unwrap_or(if time < 0 {
        Timestamp::MIN
    } else {
        Timestamp::MAX
    })
}

/// The zone that a TZID means: a name of the IANA database, or one behind the prefix of a program, as in
/// `/freeassociation.sourceforge.net/Europe/Berlin`.
pub(super) fn of_tzid(tzid: &str) -> Option<TimeZone> {
    let tzid = tzid.trim().trim_matches('"');
    find(tzid).or_else(|| {
        // The names of the database have at most three parts.
        let parts: Vec<&str> = tzid.split('/').collect();
        (1..=3_usize.min(parts.len().saturating_sub(1)))
            .rev()
            .find_map(|count| find(&parts[parts.len() - count..].join("/")))
    })
}

/// The instant of a civil time, microseconds. One that a switch to summer time skips is read with the offset before the gap, one that
/// comes twice is its first occurrence (RFC 5545, 3.3.5). `None` beyond the years that jiff knows.
pub(super) fn instant(zone: &TimeZone, civil: DateTime) -> Option<Micros> {
    let timestamp = zone.to_ambiguous_timestamp(civil).compatible().ok()?;
    Some(timestamp.as_microsecond())
}
