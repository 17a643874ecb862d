//! Time zones out of the tz database compiled into the program, and civil times turned into instants.

use jiff::civil::DateTime;
use jiff::tz::{TimeZone, TimeZoneDatabase};
use schemas::Micros;

/// The zone of a name of the IANA database, whatever its case.
pub(super) fn find(name: &str) -> Option<TimeZone> {
    TimeZoneDatabase::bundled().get(name).ok()
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
