//! The table `dead_letters`: what the topic still holds, newest first where there is too much.

use std::sync::Arc;
use std::time::Duration;

use arrow::array::{
    BinaryArray, Int32Array, Int64Array, RecordBatch, StringArray, TimestampMicrosecondArray,
};
use arrow::error::ArrowError;
use bus::{Bus, BusError, LogRecord};
use schemas::NextOffset;
use schemas::topics::{
    HEADER_REASON, HEADER_SOURCE_OFFSET, HEADER_SOURCE_PARTITION, HEADER_SOURCE_TOPIC,
};

/// Letters shown of one partition, the newest. 10,000: an answer that a person can still look through.
const LETTERS_MAX: u64 = 10_000;
/// Bytes of letters held for one answer; what is beyond is left out. 64 MiB: a quarter of what a query may hold.
const BYTES_MAX: usize = 64 << 20;
/// Bytes asked of the log at a time.
const READ_BYTES: usize = 1 << 20;
/// How long the log may be silent before what was read is all there is to say.
const SILENCE_MAX: Duration = Duration::from_secs(5);

/// Letters as they were read.
pub(super) struct Letters(Vec<LogRecord>);

/// Reads the newest letters of every partition.
pub(super) async fn read(bus: &Arc<dyn Bus>, topic: &str) -> Result<Letters, BusError> {
    let (mut letters, mut bytes) = (Vec::new(), 0);
    for partition in 0..bus.partitions(topic).await? {
        let held = bus.retained(topic, partition).await?;
        let mut next = held.start.0.max(held.end.0.saturating_sub(LETTERS_MAX));
        if next >= held.end.0 {
            continue;
        }
        let mut reader = bus.reader(topic, partition, NextOffset(next)).await?;
        while next < held.end.0 && bytes < BYTES_MAX {
            // In Kafka the last offsets may belong to markers that no reader ever sees.
            let Ok(records) = tokio::time::timeout(SILENCE_MAX, reader.next(READ_BYTES)).await
            else {
                break;
            };
            for record in records? {
                next = record.offset.next().0;
                bytes += record.value.len();
                letters.push(record);
            }
        }
    }
    Ok(Letters(letters))
}

impl Letters {
    /// The letters in the table's columns.
    pub(super) fn into_batches(self) -> Result<Vec<RecordBatch>, ArrowError> {
        let Letters(records) = self;
        let text = |record: &LogRecord, name: &str| {
            record
                .header(name)
                .map(|value| String::from_utf8_lossy(value).into_owned())
        };
        let times = records
            .iter()
            .map(|record| Some(record.append_time_ms.saturating_mul(1_000)));
        let columns: Vec<arrow::array::ArrayRef> = vec![
            Arc::new(
                times
                    .collect::<TimestampMicrosecondArray>()
                    .with_timezone("UTC"),
            ),
            Arc::new(
                records
                    .iter()
                    .map(|record| Some(text(record, HEADER_REASON).unwrap_or_default()))
                    .collect::<StringArray>(),
            ),
            Arc::new(
                records
                    .iter()
                    .map(|record| text(record, HEADER_SOURCE_TOPIC))
                    .collect::<StringArray>(),
            ),
            Arc::new(
                records
                    .iter()
                    .map(|record| text(record, HEADER_SOURCE_PARTITION)?.parse().ok())
                    .collect::<Int32Array>(),
            ),
            Arc::new(
                records
                    .iter()
                    .map(|record| text(record, HEADER_SOURCE_OFFSET)?.parse().ok())
                    .collect::<Int64Array>(),
            ),
            Arc::new(
                records
                    .iter()
                    .map(|record| Some(record.key.as_ref()))
                    .collect::<BinaryArray>(),
            ),
            Arc::new(
                records
                    .iter()
                    .map(|record| Some(record.value.as_ref()))
                    .collect::<BinaryArray>(),
            ),
        ];
        Ok(vec![RecordBatch::try_new(
            query::dead_letters_schema(),
            columns,
        )?])
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use schemas::Offset;

    use super::*;

    #[test]
    fn letters_keep_their_bytes_and_a_missing_source_is_null() {
        let letter = |offset, headers: &[(&str, &str)]| LogRecord {
            offset: Offset(offset),
            append_time_ms: 5,
            key: Bytes::from_static(b"k"),
            value: Bytes::from_static(b"\xff\x00"),
            headers: headers
                .iter()
                .map(|(name, value)| ((*name).to_owned(), Bytes::from((*value).to_owned())))
                .collect(),
        };
        let known = [
            (HEADER_REASON, "torn"),
            (HEADER_SOURCE_TOPIC, "t"),
            (HEADER_SOURCE_PARTITION, "3"),
            (HEADER_SOURCE_OFFSET, "12"),
        ];
        let batches = Letters(vec![letter(0, &known), letter(1, &[])])
            .into_batches()
            .unwrap();
        let shown = arrow::json::LineDelimitedWriter::new(Vec::new());
        let mut shown = shown;
        shown.write(&batches[0]).unwrap();
        shown.finish().unwrap();
        let text = String::from_utf8(shown.into_inner()).unwrap();
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(
            lines[0],
            r#"{"time":"1970-01-01T00:00:00.005Z","reason":"torn","source_topic":"t","source_partition":3,"source_offset":12,"key":"6b","value":"ff00"}"#
        );
        assert_eq!(
            lines[1],
            r#"{"time":"1970-01-01T00:00:00.005Z","reason":"","key":"6b","value":"ff00"}"#
        );
    }
}
