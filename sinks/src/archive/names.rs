//! The names of things in the archive. Nothing that a sender chose ever becomes part of a path.

use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use schemas::time::{DAY, Micros};
use schemas::{NextOffset, Table};

use super::ArchiveError;

/// What names the files of one checkpoint, compaction or rewrite: `<table>/date=YYYY-MM-DD/p00003-<start>-<end>-e<epoch>-<part>.parquet`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileName {
    /// The partition.
    pub partition: u32,
    /// First offset covered (inclusive).
    pub start: NextOffset,
    /// End of what is covered (exclusive).
    pub end: NextOffset,
    /// The owner's epoch.
    pub epoch: u64,
    /// Makes several files of one range distinct: `s`, `l0`, `c3`; 1 to 32 letters or digits.
    pub part: String,
}

impl FileName {
    /// The path of a file; `attempt` above 0 names another one for the same rows.
    pub(crate) fn path(
        &self,
        table: Table,
        date: Date,
        attempt: u32,
    ) -> Result<String, ArchiveError> {
        if self.part.is_empty()
            || self.part.len() > 32
            || !self.part.bytes().all(|b| b.is_ascii_alphanumeric())
        {
            return Err(ArchiveError::Bug(format!(
                "file part `{}`: expected 1 to 32 letters or digits",
                self.part
            )));
        }
        let again = if attempt == 0 {
            String::new()
        } else {
            format!("-{attempt}")
        };
        let FileName {
            partition,
            start,
            end,
            epoch,
            part,
        } = self;
        let table = table.name();
        Ok(format!(
            "{table}/date={date}/p{partition:05}-{:020}-{:020}-e{epoch}-{part}{again}.parquet",
            start.0, end.0
        ))
    }
}

/// Partition and epoch of a name made by [`FileName`] or [`snapshot_path`]; `None` for any other file.
pub(crate) fn owner_of(file_name: &str) -> Option<(u32, u64)> {
    let mut parts = file_name.split('-');
    let partition = parts.next()?.strip_prefix('p')?.parse().ok()?;
    let epoch = parts.find_map(|part| part.split('.').next()?.strip_prefix('e')?.parse().ok())?;
    Some((partition, epoch))
}

/// The UTC date that holds a time.
pub(crate) fn date_of(time: Micros) -> Result<Date, ArchiveError> {
    let timestamp = Timestamp::from_microsecond(time).map_err(|_| {
        ArchiveError::Bug(format!(
            "time {time} µs has no date; the processors take 1970 to 2261"
        ))
    })?;
    Ok(TimeZone::UTC.to_datetime(timestamp).date())
}

/// The number of the UTC day that holds a time, 0 = 1970-01-01.
pub(crate) fn day_of(time: Micros) -> i64 {
    time.div_euclid(DAY)
}

/// The date in a path made by [`FileName`].
pub(crate) fn date_in(path: &str) -> Option<Date> {
    path.split('/')
        .find_map(|segment| segment.strip_prefix("date=")?.parse().ok())
}

/// The directory of a partition's snapshots.
pub(crate) fn snapshot_directory(topic: &str, partition: u32) -> Result<String, ArchiveError> {
    Ok(format!(
        "snapshots/{}/p{partition:05}",
        checked_topic(topic)?
    ))
}

/// The path of a snapshot.
pub(crate) fn snapshot_path(
    topic: &str,
    partition: u32,
    epoch: u64,
    next: NextOffset,
    attempt: u32,
) -> Result<String, ArchiveError> {
    let again = if attempt == 0 {
        String::new()
    } else {
        format!("-{attempt}")
    };
    Ok(format!(
        "{}/p{partition:05}-{:020}-e{epoch}{again}.snapshot",
        snapshot_directory(topic, partition)?,
        next.0
    ))
}

/// The directory of a partition's chain.
pub(crate) fn chain_directory(topic: &str, partition: u32) -> Result<String, ArchiveError> {
    Ok(format!("chain/{}/p{partition:05}", checked_topic(topic)?))
}

/// A topic's name, if it is one that Kafka would take and a path can hold.
pub(crate) fn checked_topic(topic: &str) -> Result<&str, ArchiveError> {
    let valid = (1..=249).contains(&topic.len())
        && topic != "."
        && topic != ".."
        && topic
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b));
    if valid {
        Ok(topic)
    } else {
        Err(ArchiveError::BadConfig(format!(
            "topic `{topic}`: expected 1 to 249 of letters, digits, `.`, `_`, `-`"
        )))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_back() {
        let name = FileName {
            partition: 3,
            start: NextOffset(10),
            end: NextOffset(20),
            epoch: 7,
            part: "e5".into(),
        };
        let path = name.path(Table::Samples, date_of(0).unwrap(), 2).unwrap();
        assert_eq!(
            path,
            "samples/date=1970-01-01/p00003-00000000000000000010-00000000000000000020-e7-e5-2.parquet"
        );
        assert_eq!(owner_of(path.rsplit('/').next().unwrap()), Some((3, 7)));
        assert_eq!(date_in(&path), Some(date_of(0).unwrap()));
        let snapshot = snapshot_path("t", 9, 4, NextOffset(1), 0).unwrap();
        assert_eq!(owner_of(snapshot.rsplit('/').next().unwrap()), Some((9, 4)));
        assert_eq!(owner_of("notes.txt"), None);
        assert_eq!(owner_of("p1-x.parquet"), None);
    }

    #[test]
    fn what_could_leave_the_directory_is_refused() {
        for topic in ["", ".", "..", "a/b", "a%2fb", "a b", "a\0"] {
            assert!(checked_topic(topic).is_err(), "{topic:?}");
        }
        let name = FileName {
            partition: 0,
            start: NextOffset(0),
            end: NextOffset(0),
            epoch: 0,
            part: "../x".into(),
        };
        assert!(name.path(Table::Samples, date_of(0).unwrap(), 0).is_err());
    }
}
