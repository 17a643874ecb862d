//! Reads foreign topics until told to stop: a portion of records, the samples and dead letters made of it, then, when both are durable, its offsets.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use bus::kafka::{CommitWait, ForeignOptions, ForeignReader, ForeignRecord, Portion, Progress};
use bus::{Bus, BusError};
use futures::future::try_join_all;
use schemas::HasCode;
use tokio::runtime::Handle;
use tokio_util::sync::CancellationToken;

use super::decoder::{Decoded, Decoder, Letter};
use super::format::Reading;
use super::letter::Trouble;
use crate::counters::{IngestCounters, Intake, add};
use crate::door::Publisher;
use crate::error_codes;

/// One portion: 16 MiB or 65,536 records, after at most 50 ms. A record of one line each is then some ten appends a second, and an idle topic's is seen at once.
const PORTION: Portion = Portion {
    records_max: 65_536,
    bytes_max: 16 * 1024 * 1024,
    wait: Duration::from_millis(200),
    linger: Duration::from_millis(50),
};
/// For the label sets of one source: about 100,000 series with ten labels.
const MEMO_BYTES_MAX: usize = 64 * 1024 * 1024;
/// Dead letters of one append.
const LETTERS_PER_APPEND: usize = 1_000;
/// Wait after the first failure; doubled at each further one, up to the longest.
const RETRY_WAIT_MIN: Duration = Duration::from_millis(250);
const RETRY_WAIT_MAX: Duration = Duration::from_secs(15);
/// How often the same trouble of the same topic is told.
const TOLD_INTERVAL: Duration = Duration::from_secs(3600);
/// Troubles that are remembered as told. Beyond, all are forgotten, and told once more.
const TOLD_MAX: usize = 1_000;

/// One source of the configuration.
#[derive(Debug, Clone)]
pub struct Source {
    /// Its name there.
    pub name: String,
    /// What its records are.
    pub reading: Reading,
    /// Samples that one record may hold.
    pub samples_max: usize,
    /// Which topics of which cluster, as which group.
    pub topics: ForeignOptions,
}

/// The totals of one source. All only grow.
#[derive(Debug, Default)]
pub struct SourceCounters {
    /// Records read.
    pub records: AtomicU64,
    /// Records without a value.
    pub tombstones: AtomicU64,
    /// Records that went to the dead letters.
    pub dead_letters: AtomicU64,
}

/// Where what is read goes.
#[derive(Clone)]
pub struct Sink {
    /// To the samples.
    pub publisher: Publisher,
    /// The log.
    pub bus: Arc<dyn Bus>,
    /// The topic of dead letters, which has as many partitions as that of the samples.
    pub dead_letters: String,
    /// What is counted of all that comes in.
    pub counters: Arc<IngestCounters>,
}

impl Source {
    /// Reads until cancelled. At least once: what was read and not committed is read again, and gives the same samples.
    pub async fn run(
        self,
        sink: Sink,
        counters: Arc<SourceCounters>,
        cancellation: CancellationToken,
    ) {
        let name = self.name.clone();
        let runtime = Handle::current();
        let reading = tokio::task::spawn_blocking(move || {
            let decoder = Decoder::new(
                &self.name,
                self.reading,
                &sink.publisher,
                MEMO_BYTES_MAX,
                self.samples_max,
            );
            let mut work = Work {
                decoder,
                source: self,
                sink,
                counters,
                cancellation,
                runtime,
                told: Told::default(),
            };
            work.run();
        });
        if let Err(error) = reading.await {
            tracing::error!(source = name, %error, "the reader of foreign topics failed; a restart reads on from what was committed");
        }
    }
}

struct Work {
    source: Source,
    decoder: Decoder,
    sink: Sink,
    counters: Arc<SourceCounters>,
    cancellation: CancellationToken,
    runtime: Handle,
    told: Told,
}

/// The end was asked for.
struct Cancelled;

impl Work {
    /// Joins the group again and again until cancelled.
    fn run(&mut self) {
        let mut wait = RETRY_WAIT_MIN;
        while !self.cancellation.is_cancelled() {
            let Err(error) = self.read() else {
                return;
            };
            let code = error_codes::SOURCE_AWAY.id;
            tracing::warn!(source = self.source.name, %error, code, wait_ms = wait.as_millis() as u64, "foreign topics can't be read; it is tried again");
            if self.pause(wait).is_err() {
                return;
            }
            wait = (wait * 2).min(RETRY_WAIT_MAX);
        }
    }

    /// Reads as one member of the group until cancelled, or until the membership ends.
    fn read(&mut self) -> Result<(), BusError> {
        let reader = ForeignReader::join(&self.source.topics)?;
        tracing::info!(
            source = self.source.name,
            topics = self.source.topics.topics.join(", "),
            format = self.source.reading.format.name(),
            "reading foreign topics"
        );
        let mut progress = Progress::default();
        while !self.cancellation.is_cancelled() {
            let records = reader.next(PORTION)?;
            if records.is_empty() {
                continue;
            }
            progress = Progress::default();
            if let Err(Cancelled) = self.take(&records, &mut progress) {
                // Not durable yet: whoever comes next reads it again.
                break;
            }
            bus::crash_point("foreign.after_append");
            reader.commit(&progress, CommitWait::Never);
        }
        reader.commit(&progress, CommitWait::UntilAnswered);
        Ok(())
    }

    /// Makes samples and dead letters of records durable, and notes which are dealt with.
    fn take(
        &mut self,
        records: &[ForeignRecord<'_>],
        progress: &mut Progress,
    ) -> Result<(), Cancelled> {
        let sink = self.sink.clone();
        let totals = sink.counters.of(Intake::ForeignTopics);
        add(&totals.requests, 1);
        let mut left = records;
        while !left.is_empty() {
            let now = jiff::Timestamp::now().as_microsecond();
            let decoded = match self.decoder.take(left, now) {
                Ok(decoded) => decoded,
                Err(error) => {
                    // The door checks what a batch checks. Were that wrong, the records must neither be lost nor be read for ever without a word.
                    tracing::error!(source = self.source.name, %error, "samples could not be encoded; they are tried again");
                    self.pause(RETRY_WAIT_MAX)?;
                    continue;
                }
            };
            let (taken, rest) = left.split_at(decoded.taken);
            self.tell(&decoded.letters, taken);
            self.append(&decoded, taken)?;
            for record in taken {
                progress.note(record.topic(), record.partition(), record.offset());
            }
            let samples: usize = decoded.records.iter().map(|record| record.samples).sum();
            add(&totals.accepted_samples, samples);
            add(&totals.rejected_samples, decoded.rejected as usize);
            add(&totals.skipped_fields, decoded.skipped);
            add(&totals.body_bytes, decoded.bytes);
            add(&self.counters.records, taken.len());
            add(&self.counters.tombstones, decoded.tombstones);
            add(&self.counters.dead_letters, decoded.letters.len());
            left = rest;
        }
        Ok(())
    }

    /// Appends until the log takes it all, the dead letters first: what is committed has both.
    fn append(&self, decoded: &Decoded, records: &[ForeignRecord<'_>]) -> Result<(), Cancelled> {
        bus::crash_point("foreign.before_append");
        self.until_durable(async || self.append_letters(&decoded.letters, records).await)?;
        bus::crash_point("foreign.after_letters");
        self.until_durable(async || {
            let records = decoded.records.clone();
            self.sink.publisher.publish(records).await.map(drop)
        })
    }

    /// Appends again and again until it succeeds. Some of it may be appended twice: the same samples are dropped as duplicates, a letter is shown once.
    fn until_durable(
        &self,
        append: impl AsyncFn() -> Result<(), BusError>,
    ) -> Result<(), Cancelled> {
        let mut wait = RETRY_WAIT_MIN;
        loop {
            let appended = self.runtime.block_on(async {
                tokio::select! {
                    () = self.cancellation.cancelled() => None,
                    appended = append() => Some(appended),
                }
            });
            match appended {
                None => return Err(Cancelled),
                Some(Ok(())) => return Ok(()),
                Some(Err(error)) => {
                    let totals = self.sink.counters.of(Intake::ForeignTopics);
                    totals.failures.fetch_add(1, Ordering::Relaxed);
                    tracing::warn!(source = self.source.name, %error, code = error.code().id, wait_ms = wait.as_millis() as u64, "samples of foreign topics wait for the log");
                    self.pause(wait)?;
                    wait = (wait * 2).min(RETRY_WAIT_MAX);
                }
            }
        }
    }

    /// Waits, unless the end is asked for.
    fn pause(&self, wait: Duration) -> Result<(), Cancelled> {
        self.runtime.block_on(async {
            tokio::select! {
                () = self.cancellation.cancelled() => Err(Cancelled),
                () = tokio::time::sleep(wait) => Ok(()),
            }
        })
    }

    /// Appends letters once. They are put together here and not kept: as records they are several times as large, and an append that fails is rare.
    async fn append_letters(
        &self,
        letters: &[Letter],
        records: &[ForeignRecord<'_>],
    ) -> Result<(), BusError> {
        let partitions = self.sink.publisher.partitions().max(1);
        let place = |letter: &Letter| records[letter.index].partition().unsigned_abs() % partitions;
        let mut by_partition: HashMap<u32, Vec<&Letter>> = HashMap::new();
        for letter in letters {
            by_partition.entry(place(letter)).or_default().push(letter);
        }
        // Side by side: the log makes what waits durable by one sync instead of one for each.
        let appends = by_partition.into_iter().map(async |(partition, letters)| {
            for letters in letters.chunks(LETTERS_PER_APPEND) {
                let made = letters
                    .iter()
                    .map(|letter| letter.record(&self.source.name, records));
                let (bus, topic) = (&self.sink.bus, &self.sink.dead_letters);
                bus.append(topic, partition, made.collect()).await?;
            }
            Ok(())
        });
        try_join_all(appends).await.map(drop)
    }

    fn tell(&mut self, letters: &[Letter], records: &[ForeignRecord<'_>]) {
        let now = Instant::now();
        for letter in letters {
            let topic = records[letter.index].topic();
            if let Some(before) = self.told.note(topic, &letter.trouble, now) {
                tracing::warn!(
                    source = self.source.name,
                    topic,
                    code = letter.trouble.code.id,
                    reason = %letter.trouble,
                    more_before = before,
                    "records go to the dead letters; look at them by `tidewatch dead-letters list`"
                );
            }
        }
    }
}

/// What was told of, by topic and reason: a topic of nothing but garbage fills no log.
#[derive(Debug, Default)]
struct Told {
    by_reason: HashMap<String, (Instant, u64)>,
    /// Reused: what is looked up.
    key: String,
}

impl Told {
    /// Notes one record. Answers how many were not told of before, if this one is to be told.
    fn note(&mut self, topic: &str, trouble: &Trouble, now: Instant) -> Option<u64> {
        let guess = trouble
            .guess
            .as_ref()
            .map_or("", |guess| kind_of(&guess.words));
        self.key.clear();
        for part in [topic, " ", trouble.code.id, " ", guess] {
            self.key.push_str(part);
        }
        match self.by_reason.get_mut(&self.key) {
            None => {
                if self.by_reason.len() >= TOLD_MAX {
                    self.by_reason.clear();
                }
                self.by_reason.insert(self.key.clone(), (now, 0));
                Some(0)
            }
            Some((told, more)) if now.saturating_duration_since(*told) >= TOLD_INTERVAL => {
                *told = now;
                Some(std::mem::take(more))
            }
            Some((_, more)) => {
                *more += 1;
                None
            }
        }
    }
}

/// The words of a guess without what differs from record to record: sizes and places.
fn kind_of(words: &str) -> &str {
    let end = words.find(|c: char| c.is_ascii_digit());
    &words[..end.unwrap_or(words.len())]
}

#[cfg(test)]
mod tests {
    use super::super::format::Format;
    use super::super::guess::Guess;
    use super::*;

    #[test]
    fn a_reason_is_told_once_an_hour_and_topic_with_how_often_it_was_not() {
        let trouble = |words: &str| Trouble {
            code: &error_codes::MALFORMED,
            configured: Format::OtlpProto,
            guess: Some(Guess {
                format: None,
                words: words.to_owned().into(),
            }),
            message: String::new(),
        };
        let (mut told, start) = (Told::default(), Instant::now());
        let cut = "protobuf, cut off: 12 bytes of at least 20";
        assert_eq!(told.note("a", &trouble(cut), start), Some(0));
        for bytes in 0..5 {
            let cut = format!("protobuf, cut off: {bytes} bytes of at least 20");
            assert_eq!(told.note("a", &trouble(&cut), start), None);
        }
        assert_eq!(told.note("b", &trouble(cut), start), Some(0));
        assert_eq!(told.note("a", &trouble("gzip"), start), Some(0));
        let later = start + TOLD_INTERVAL;
        assert_eq!(told.note("a", &trouble(cut), later), Some(5));
        assert_eq!(told.note("a", &trouble(cut), later), None);
        for topic in 0..3 * TOLD_MAX {
            told.note(&topic.to_string(), &trouble(cut), later);
        }
        assert!(told.by_reason.len() <= TOLD_MAX);
    }
}
