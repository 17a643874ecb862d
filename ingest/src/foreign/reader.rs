//! Reads the dead letters that a partition of their topic holds at one moment, from the oldest or from so many before the newest.

use std::time::Duration;

use bus::{Bus, BusError, PartitionReader};
use schemas::NextOffset;

use super::letter::Stored;

/// Bytes asked of the log at a time.
const READ_BYTES: usize = 1 << 20;
/// How long the log may be silent before what was read is all there is to say.
const SILENCE_MAX: Duration = Duration::from_secs(5);

/// A reader up to the end that the partition had when it was opened.
pub struct LetterReader {
    partition: u32,
    next: u64,
    end: u64,
    /// `None` where there is nothing to read.
    reader: Option<Box<dyn PartitionReader>>,
}

impl LetterReader {
    /// Opens a partition; `newest`: at most so many offsets before its end, or all.
    ///
    /// # Errors
    /// `BusError` of the log.
    pub async fn open(
        bus: &dyn Bus,
        topic: &str,
        partition: u32,
        newest: Option<u64>,
    ) -> Result<Self, BusError> {
        let held = bus.retained(topic, partition).await?;
        let (oldest, end) = (held.start.0, held.end.0);
        let next = newest.map_or(oldest, |newest| oldest.max(end.saturating_sub(newest)));
        let reader = match next < end {
            true => Some(bus.reader(topic, partition, NextOffset(next)).await?),
            false => None,
        };
        Ok(LetterReader {
            partition,
            next,
            end,
            reader,
        })
    }

    /// The next letters and notes; none at the end.
    ///
    /// # Errors
    /// `BusError` of the log.
    pub async fn next(&mut self) -> Result<Vec<Stored>, BusError> {
        let Some(reader) = self.reader.as_mut().filter(|_| self.next < self.end) else {
            return Ok(Vec::new());
        };
        // In Kafka the last offsets may belong to markers that no reader ever sees.
        let Ok(records) = tokio::time::timeout(SILENCE_MAX, reader.next(READ_BYTES)).await else {
            self.next = self.end;
            return Ok(Vec::new());
        };
        let mut stored = Vec::new();
        for record in records? {
            if record.offset.0 >= self.end {
                self.next = self.end;
                break;
            }
            self.next = record.offset.next().0;
            stored.push(Stored::read(self.partition, record));
        }
        Ok(stored)
    }
}
