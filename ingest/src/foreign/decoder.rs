//! From records of foreign topics to records of our own: samples in batches, and dead letters for what could not be taken. Decides, and appends nothing.

use bus::HeaderName;
use bytes::Bytes;
use schemas::topics::HEADER_SOURCE_TOPIC;
use schemas::{HasCode, Micros};

use super::format::Reading;
use super::guess::guess;
use super::letter::{Origin, StoredLetter, Trouble};
use crate::admission::Sender;
use crate::door::{
    Batcher, PartitionRecord, Publisher, Reason, Rejection, Rejections, TooManySamples,
};
use crate::error_codes;

/// Samples after which what was decoded is appended before more is. 250,000: some 6 MB of columns, a dozen records.
const SAMPLES_PER_APPEND: usize = 250_000;

/// A record of a foreign topic.
pub(super) trait SourceRecord {
    fn topic(&self) -> &str;
    fn partition(&self) -> i32;
    fn offset(&self) -> i64;
    fn time_ms(&self) -> Option<i64>;
    /// `None` for a tombstone.
    fn value(&self) -> Option<&[u8]>;
    fn key(&self) -> Bytes;
    fn headers(&self) -> Vec<(HeaderName, Bytes)>;
}

impl SourceRecord for bus::kafka::ForeignRecord<'_> {
    fn topic(&self) -> &str {
        self.topic()
    }

    fn partition(&self) -> i32 {
        self.partition()
    }

    fn offset(&self) -> i64 {
        self.offset()
    }

    fn time_ms(&self) -> Option<i64> {
        self.time_ms()
    }

    fn value(&self) -> Option<&[u8]> {
        self.value()
    }

    fn key(&self) -> Bytes {
        self.key()
    }

    fn headers(&self) -> Vec<(HeaderName, Bytes)> {
        self.headers()
    }
}

/// A dead letter is decoded again as what it was in its topic.
impl SourceRecord for StoredLetter {
    fn topic(&self) -> &str {
        let topic = self.record.header(HEADER_SOURCE_TOPIC);
        topic.map_or("", |topic| std::str::from_utf8(topic).unwrap_or_default())
    }

    fn partition(&self) -> i32 {
        self.source_partition().unwrap_or_default()
    }

    fn offset(&self) -> i64 {
        self.source_offset().unwrap_or_default()
    }

    fn time_ms(&self) -> Option<i64> {
        self.source_time_ms().or(Some(self.record.append_time_ms))
    }

    fn value(&self) -> Option<&[u8]> {
        Some(&self.record.value)
    }

    fn key(&self) -> Bytes {
        self.record.key.clone()
    }

    fn headers(&self) -> Vec<(HeaderName, Bytes)> {
        self.foreign_headers().cloned().collect()
    }
}

/// What became of some records.
#[derive(Debug, Default)]
pub(super) struct Decoded {
    /// How many records, from the first, this is about.
    pub(super) taken: usize,
    /// Samples to append.
    pub(super) records: Vec<PartitionRecord>,
    /// Records that could not be taken, or not all of them, to append to the dead letters.
    pub(super) letters: Vec<Letter>,
    /// Samples and lines that were refused.
    pub(super) rejected: u64,
    /// Values left out because they are no numbers.
    pub(super) skipped: usize,
    /// Records without a value.
    pub(super) tombstones: usize,
    /// Bytes of values.
    pub(super) bytes: usize,
}

/// A record that is to be a dead letter.
#[derive(Debug)]
pub(super) struct Letter {
    /// Which of the records that were decoded it is.
    pub(super) index: usize,
    pub(super) trouble: Trouble,
}

impl Letter {
    /// The letter as it is appended; `records`: those that were decoded, of this source.
    pub(super) fn record<R: SourceRecord>(&self, source: &str, records: &[R]) -> bus::Record {
        let record = &records[self.index];
        let origin = Origin {
            source,
            topic: record.topic(),
            partition: record.partition(),
            offset: record.offset(),
            time_ms: record.time_ms(),
        };
        let value = record.value().unwrap_or_default();
        self.trouble
            .letter(&origin, record.key(), value, record.headers())
    }
}

/// Decodes the records of one source.
pub(super) struct Decoder {
    reading: Reading,
    samples_max: usize,
    sender: Sender,
    door: Batcher,
}

impl Decoder {
    /// A decoder for a source, to the partitions of a publisher; it remembers label sets in about `memo_bytes_max` bytes, and takes at most `samples_max` samples of a record.
    pub(super) fn new(
        source: &str,
        reading: Reading,
        publisher: &Publisher,
        memo_bytes_max: usize,
        samples_max: usize,
    ) -> Self {
        // What is there already leaves room for one record more.
        let room = samples_max.saturating_add(SAMPLES_PER_APPEND);
        Decoder {
            reading,
            samples_max,
            sender: Sender::new(match source {
                "" => "replayed dead letters".to_owned(),
                source => format!("source {source}"),
            }),
            door: publisher.batcher(memo_bytes_max, room),
        }
    }

    /// Decodes records, at least the first, up to what should be appended at once. `now`: the time of records that have none.
    ///
    /// # Errors
    /// `Err` only by a mistake of ours, as [`Batcher::finish`] has it.
    pub(super) fn take<R: SourceRecord>(
        &mut self,
        records: &[R],
        now: Micros,
    ) -> Result<Decoded, schemas::BatchError> {
        let mut decoded = Decoded::default();
        self.door.begin(&self.sender, now);
        // Records that broke off after some of their samples.
        let mut broken = Vec::new();
        for record in records {
            if self.door.samples() >= SAMPLES_PER_APPEND {
                break;
            }
            let Some(value) = record.value() else {
                decoded.tombstones += 1;
                decoded.taken += 1;
                continue;
            };
            let before = self.door.samples();
            let time = time_of(record, now);
            let outcome = self.reading.decode(value, time, &mut self.door);
            let rejections = self.door.take_rejections();
            let (samples, mut trouble) = (self.door.samples() - before, None);
            let outcome = match samples > self.samples_max {
                true => Err(TooManySamples(self.samples_max).into()),
                false => outcome,
            };
            match outcome {
                Ok(skipped) => {
                    decoded.skipped += skipped;
                    if !rejections.is_empty() {
                        trouble = Some(self.partly(value, time, samples, &rejections));
                    } else if samples + skipped == 0 && !value.is_empty() {
                        trouble = Some(self.empty(value, time));
                    }
                }
                Err(error) if samples == 0 => trouble = Some(self.whole(value, time, &error)),
                // Some of it stands among the samples of others: those are decoded once more, without it.
                Err(_) if before > 0 => {
                    self.decode_again(&records[..decoded.taken], &broken, now);
                    break;
                }
                Err(error) => {
                    self.door.discard();
                    broken.push(decoded.taken);
                    trouble = Some(self.whole(value, time, &error));
                }
            }
            decoded.rejected += rejections.samples();
            decoded.bytes += value.len();
            if let Some(trouble) = trouble {
                let index = decoded.taken;
                decoded.letters.push(Letter { index, trouble });
            }
            decoded.taken += 1;
        }
        (decoded.records, _) = self.door.finish()?;
        Ok(decoded)
    }

    /// Decodes records anew, but for those that are `broken`, by their index.
    fn decode_again<R: SourceRecord>(&mut self, records: &[R], broken: &[usize], now: Micros) {
        self.door.discard();
        for (index, record) in records.iter().enumerate() {
            if let Some(value) = record
                .value()
                .filter(|_| broken.binary_search(&index).is_err())
            {
                // What is wrong with them was told the first time.
                let _ = self
                    .reading
                    .decode(value, time_of(record, now), &mut self.door);
            }
        }
        let _ = self.door.take_rejections();
    }

    fn whole(&self, value: &[u8], now: Micros, error: &crate::http::Undecodable) -> Trouble {
        Trouble {
            code: error.code(),
            configured: self.reading.format,
            guess: Some(guess(value, self.reading.format, now)),
            message: error.to_string(),
        }
    }

    fn partly(
        &self,
        value: &[u8],
        now: Micros,
        samples: usize,
        rejections: &Rejections,
    ) -> Trouble {
        let first = rejections
            .first()
            .first()
            .map_or_else(String::new, ToString::to_string);
        let refused = rejections.samples();
        let is_limit = |refused: &Rejection| matches!(refused.reason, Reason::Limit(_));
        let is_readable = samples > 0 || rejections.first().iter().any(is_limit);
        Trouble {
            code: &error_codes::PARTIAL,
            configured: self.reading.format,
            // What was read in part, or refused for a limit, is of the format that was configured.
            guess: (!is_readable).then(|| guess(value, self.reading.format, now)),
            message: match samples {
                0 => format!("nothing could be taken: {first}"),
                _ => format!("{samples} samples were stored, {refused} rejected: {first}"),
            },
        }
    }

    fn empty(&self, value: &[u8], now: Micros) -> Trouble {
        Trouble {
            code: &error_codes::NOTHING_INSIDE,
            configured: self.reading.format,
            guess: Some(guess(value, self.reading.format, now)),
            message: "it holds no metrics".to_owned(),
        }
    }
}

fn time_of<R: SourceRecord>(record: &R, now: Micros) -> Micros {
    record
        .time_ms()
        .filter(|time_ms| *time_ms >= 0)
        .map_or(now, |time_ms| time_ms.saturating_mul(1000))
}
