//! The table `dead_letters`: what the topic still holds, newest first where there is too much.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use arrow::array::{
    ArrayRef, BinaryArray, Int32Array, Int64Array, RecordBatch, StringArray,
    TimestampMicrosecondArray,
};
use arrow::error::ArrowError;
use bus::{Bus, BusError};
use ingest::foreign::{LetterId, LetterReader, Stored, StoredLetter};

/// Letters shown of one partition, the newest. 10,000: an answer that a person can still look through.
const LETTERS_MAX: u64 = 10_000;
/// Bytes of letters held for one answer; what is beyond is left out. 64 MiB: a quarter of what a query may hold.
const BYTES_MAX: usize = 64 << 20;

/// Letters as they were read, with the times at which some were replayed, milliseconds since 1970.
#[derive(Default)]
pub(super) struct Letters {
    letters: Vec<StoredLetter>,
    replayed: HashMap<LetterId, i64>,
    /// Where the letters came from: a record that was set aside twice, because a crash came between it and its offset, is shown once.
    origins: HashSet<Origin>,
}

/// Topic, partition, offset and time of a record.
type Origin = (String, i32, i64, Option<i64>);

/// Reads the newest letters of every partition.
pub(super) async fn read(bus: &Arc<dyn Bus>, topic: &str) -> Result<Letters, BusError> {
    let (mut letters, mut bytes) = (Letters::default(), 0);
    for partition in 0..bus.partitions(topic).await? {
        let mut reader = LetterReader::open(&**bus, topic, partition, Some(LETTERS_MAX)).await?;
        while bytes < BYTES_MAX {
            let stored = reader.next().await?;
            if stored.is_empty() {
                break;
            }
            for stored in stored {
                bytes += letters.add(stored);
            }
        }
    }
    Ok(letters)
}

impl Letters {
    /// Adds what was read; answers how many bytes that takes.
    fn add(&mut self, stored: Stored) -> usize {
        match stored {
            Stored::Replayed(ids, time_ms) => {
                self.replayed
                    .extend(ids.into_iter().map(|id| (id, time_ms)));
                0
            }
            Stored::Letter(letter) => {
                let origin = (|| {
                    let (topic, partition) = (letter.topic()?, letter.source_partition()?);
                    Some((
                        topic,
                        partition,
                        letter.source_offset()?,
                        letter.source_time_ms(),
                    ))
                })();
                if origin.is_some_and(|origin| !self.origins.insert(origin)) {
                    return 0;
                }
                let bytes = letter.record.value.len();
                self.letters.push(letter);
                bytes
            }
        }
    }

    /// The letters in the table's columns.
    pub(super) fn into_batches(self) -> Result<Vec<RecordBatch>, ArrowError> {
        let Letters {
            letters, replayed, ..
        } = &self;
        let text = |value: &dyn Fn(&StoredLetter) -> Option<String>| -> ArrayRef {
            Arc::new(letters.iter().map(value).collect::<StringArray>())
        };
        let time = |time_ms: &dyn Fn(&StoredLetter) -> Option<i64>| -> ArrayRef {
            let times = letters
                .iter()
                .map(|letter| Some(time_ms(letter)?.saturating_mul(1_000)));
            Arc::new(
                times
                    .collect::<TimestampMicrosecondArray>()
                    .with_timezone("UTC"),
            )
        };
        let bytes = |value: &dyn for<'a> Fn(&'a StoredLetter) -> &'a [u8]| -> ArrayRef {
            let values = letters.iter().map(|letter| Some(value(letter)));
            Arc::new(values.collect::<BinaryArray>())
        };
        let partitions: Int32Array = letters.iter().map(StoredLetter::source_partition).collect();
        let offsets: Int64Array = letters.iter().map(StoredLetter::source_offset).collect();
        let columns: Vec<ArrayRef> = vec![
            text(&|letter| Some(letter.id.to_string())),
            time(&|letter| Some(letter.record.append_time_ms)),
            text(&|letter| Some(letter.reason())),
            text(&StoredLetter::error_code),
            text(&StoredLetter::source),
            text(&StoredLetter::topic),
            Arc::new(partitions),
            Arc::new(offsets),
            time(&StoredLetter::source_time_ms),
            text(&StoredLetter::configured_format),
            text(&StoredLetter::guessed_format),
            time(&|letter| replayed.get(&letter.id).copied()),
            bytes(&|letter| &letter.record.key),
            text(&|letter| Some(headers(letter))),
            bytes(&|letter| &letter.record.value),
        ];
        let schema = query::dead_letters_schema();
        Ok(vec![RecordBatch::try_new(schema, columns)?])
    }
}

/// The headers of a record's sender, JSON `[["name","value"],…]`; what is not UTF-8 in them is replaced.
fn headers(letter: &StoredLetter) -> String {
    let pairs = letter.foreign_headers();
    let pairs: Vec<_> = pairs
        .map(|(name, value)| [(**name).into(), String::from_utf8_lossy(value)])
        .collect();
    serde_json::json!(pairs).to_string()
}

#[cfg(test)]
mod tests {
    use bus::LogRecord;
    use bytes::Bytes;
    use schemas::Offset;
    use schemas::topics::{
        HEADER_CONFIGURED_FORMAT, HEADER_REASON, HEADER_REPLAYED_AS, HEADER_SOURCE_OFFSET,
        HEADER_SOURCE_PARTITION, HEADER_SOURCE_TIME, HEADER_SOURCE_TOPIC,
    };

    use super::*;

    fn record(offset: u64, value: &'static [u8], headers: &[(&str, &str)]) -> Stored {
        let record = LogRecord {
            offset: Offset(offset),
            append_time_ms: 5,
            key: Bytes::from_static(b"k"),
            value: Bytes::from_static(value),
            headers: headers
                .iter()
                .map(|(name, value)| ((*name).to_owned().into(), Bytes::from((*value).to_owned())))
                .collect(),
        };
        Stored::read(2, record)
    }

    #[test]
    fn letters_keep_their_bytes_and_what_is_not_known_is_null() {
        let known = [
            (HEADER_REASON, "torn"),
            (HEADER_SOURCE_TOPIC, "t"),
            (HEADER_SOURCE_PARTITION, "3"),
            (HEADER_SOURCE_OFFSET, "12"),
            (HEADER_SOURCE_TIME, "1"),
            (HEADER_CONFIGURED_FORMAT, "influx"),
            ("a", "\"1\""),
        ];
        let mut letters = Letters::default();
        letters.add(record(0, b"\xff\x00", &known));
        letters.add(record(1, b"\xff\x00", &[]));
        // The same record of the source once more, and a note about the first letter.
        letters.add(record(2, b"\xff\x00", &known));
        letters.add(record(3, b"2-0\n", &[(HEADER_REPLAYED_AS, "json")]));
        let batches = letters.into_batches().unwrap();
        let mut shown = arrow::json::LineDelimitedWriter::new(Vec::new());
        shown.write(&batches[0]).unwrap();
        shown.finish().unwrap();
        let text = String::from_utf8(shown.into_inner()).unwrap();
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(
            lines,
            [
                r#"{"id":"2-0","time":"1970-01-01T00:00:00.005Z","reason":"torn","source_topic":"t","source_partition":3,"source_offset":12,"source_time":"1970-01-01T00:00:00.001Z","configured_format":"influx","replayed_at":"1970-01-01T00:00:00.005Z","key":"6b","headers":"[[\"a\",\"\\\"1\\\"\"]]","value":"ff00"}"#,
                r#"{"id":"2-1","time":"1970-01-01T00:00:00.005Z","reason":"","key":"6b","headers":"[]","value":"ff00"}"#,
            ]
        );
    }
}
