//! Reads topics that belong to others, as a member of a consumer group: the group says what to fetch, and how far we are is committed only when told.
//!
//! Blocking, for a thread of its own. Records are lent as librdkafka holds them: what a record costs is what decides how fast a topic of small ones is read.

use std::time::{Duration, Instant};

use bytes::Bytes;
use rdkafka::client::ClientContext;
use rdkafka::config::{FromClientConfigAndContext, RDKafkaLogLevel};
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer, ConsumerContext};
use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode};
use rdkafka::message::{BorrowedMessage, Message};
use rdkafka::{ClientConfig, Offset as KafkaOffset, TopicPartitionList};

use super::client;
use super::fault;
use super::options::KafkaOptions;
use crate::{BusError, HeaderName};

/// What stands before a pattern of topics.
const PATTERN: char = '^';
/// Fetched ahead of the thread that reads, KiB, over all partitions. 32 MiB: two batches of the largest kind.
const READ_AHEAD_KIB: u32 = 32 * 1024;

/// Where a group begins that has committed nothing yet, or whose place is gone from the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Start {
    /// With the oldest record there is.
    Earliest,
    /// With what comes next.
    Latest,
}

impl Start {
    /// As Kafka writes it.
    pub fn name(self) -> &'static str {
        match self {
            Start::Earliest => "earliest",
            Start::Latest => "latest",
        }
    }
}

/// Topics of others, and how they are read.
#[derive(Debug, Clone)]
pub struct ForeignOptions {
    /// The cluster.
    pub kafka: KafkaOptions,
    /// Names, and regular expressions that begin with `^` (POSIX extended, as librdkafka takes them).
    pub topics: Vec<String>,
    /// Topics that no expression matches: our own, or what is written because of a record would be read as one more.
    pub ignored: Vec<String>,
    /// The consumer group that shares the partitions and keeps the offsets.
    pub group: String,
    /// Where the group begins.
    pub start: Start,
}

impl ForeignOptions {
    fn config(&self) -> ClientConfig {
        let mut config = self.kafka.member(&self.group);
        let ignored: Vec<String> = self
            .ignored
            .iter()
            .map(|topic| format!("^{}$", topic.replace('.', "\\.")))
            .collect();
        config
            .set("auto.offset.reset", self.start.name())
            .set("topic.blacklist", ignored.join(","))
            .set("queued.max.messages.kbytes", READ_AHEAD_KIB.to_string())
            // How long a partition rests when its queue is full; the default of 1 s would starve a fast reader.
            .set("fetch.queue.backoff.ms", "20")
            .set("fetch.error.backoff.ms", "200");
        self.kafka.with_extra(config)
    }
}

/// How much [`ForeignReader::next`] takes at once.
#[derive(Debug, Clone, Copy)]
pub struct Portion {
    /// Records, ≥ 1.
    pub records_max: usize,
    /// Bytes of values and keys after which no further record is taken.
    pub bytes_max: usize,
    /// How long to wait for a first record.
    pub wait: Duration,
    /// How long after the first one to wait for company: each portion costs an append.
    pub linger: Duration,
}

/// A member of the group of those who read some topics. Dropping it leaves the group, and waits for that.
pub struct ForeignReader {
    consumer: BaseConsumer<ForeignContext>,
    topics: String,
    brokers: String,
}

impl ForeignReader {
    /// Joins the group. Brokers that are away are waited for, and so are topics that are not there yet.
    ///
    /// # Errors
    /// `Config` for settings that are refused; `NoTls`.
    pub fn join(options: &ForeignOptions) -> Result<Self, BusError> {
        options.kafka.check()?;
        options.kafka.security.check_files()?;
        let topics = options.topics.join(", ");
        let consumer = BaseConsumer::from_config_and_context(&options.config(), ForeignContext)
            .map_err(|error| fault::config(&error))?;
        let names: Vec<&str> = options.topics.iter().map(String::as_str).collect();
        consumer
            .subscribe(&names)
            .map_err(|error| fault::of("reading", &topics, &options.kafka.brokers, &error))?;
        Ok(ForeignReader {
            consumer,
            topics,
            brokers: options.kafka.brokers.clone(),
        })
    }

    /// The next records, none if none came in time. What was taken before must have been committed or given up: the group may take its partitions back in here.
    ///
    /// # Errors
    /// What ends the membership for good: drop it, and join again.
    pub fn next(&self, portion: Portion) -> Result<Vec<ForeignRecord<'_>>, BusError> {
        let (mut records, mut bytes) = (Vec::new(), 0);
        let mut deadline = Instant::now() + portion.wait;
        while records.len() < portion.records_max && bytes < portion.bytes_max {
            let left = deadline.saturating_duration_since(Instant::now());
            match self.consumer.poll(left) {
                None if left.is_zero() => break,
                // An event of the group, or nothing.
                None => {}
                Some(Ok(message)) => {
                    if records.is_empty() {
                        deadline = Instant::now() + portion.linger;
                    }
                    bytes += message.payload_len() + message.key_len();
                    records.push(ForeignRecord(message));
                }
                Some(Err(error)) => {
                    let is_fatal = matches!(error, KafkaError::MessageConsumptionFatal(_));
                    let error = fault::of("reading", &self.topics, &self.brokers, &error);
                    if is_fatal {
                        return Err(error);
                    }
                    let Some(kept_back) = client::due(&error.to_string()) else {
                        continue;
                    };
                    match &error {
                        // Not ours to make.
                        BusError::NoTopic { topic } => tracing::warn!(
                            topic,
                            brokers = self.brokers,
                            kept_back,
                            "a foreign topic does not exist; it is read as soon as it does"
                        ),
                        error => {
                            tracing::warn!(%error, kept_back, "foreign topics can't be read as they should; librdkafka tries again")
                        }
                    }
                }
            }
        }
        Ok(records)
    }

    /// Tells the group that everything noted is dealt with. It may be late or lost: then the group reads again from an earlier place.
    pub fn commit(&self, progress: &Progress, mode: CommitWait) {
        let mut list = TopicPartitionList::new();
        for (topic, partition, next) in &progress.places {
            if let Err(error) =
                list.add_partition_offset(topic, *partition, KafkaOffset::Offset(*next))
            {
                tracing::warn!(%error, topic, partition, "an offset could not be noted");
            }
        }
        if list.count() == 0 {
            return;
        }
        let mode = match mode {
            CommitWait::Never => CommitMode::Async,
            CommitWait::UntilAnswered => CommitMode::Sync,
        };
        if let Err(error) = self.consumer.commit(&list, mode) {
            tell_failed_commit(&error);
        }
    }
}

/// Whether a commit is waited for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CommitWait {
    /// It goes its way: the next one says more.
    Never,
    /// Until the broker has answered: the last one.
    UntilAnswered,
}

/// A record of a foreign topic, as long as its reader is not asked for more.
pub struct ForeignRecord<'a>(BorrowedMessage<'a>);

impl ForeignRecord<'_> {
    /// The topic it came from.
    pub fn topic(&self) -> &str {
        self.0.topic()
    }

    /// The partition it came from.
    pub fn partition(&self) -> i32 {
        self.0.partition()
    }

    /// Its offset there.
    pub fn offset(&self) -> i64 {
        self.0.offset()
    }

    /// The time that its producer or broker gave it, milliseconds since 1970.
    pub fn time_ms(&self) -> Option<i64> {
        self.0.timestamp().to_millis()
    }

    /// Its value; `None` for a tombstone.
    pub fn value(&self) -> Option<&[u8]> {
        self.0.payload()
    }

    /// Its key; empty if it has none.
    pub fn key(&self) -> Bytes {
        super::copied(self.0.key())
    }

    /// Its headers, in order; one without a value is empty.
    pub fn headers(&self) -> Vec<(HeaderName, Bytes)> {
        super::headers(&self.0)
    }
}

/// How far partitions are dealt with.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Progress {
    /// Topic, partition and next offset.
    places: Vec<(String, i32, i64)>,
    /// The entry noted last: records of a partition come in rows.
    last: usize,
}

impl Progress {
    /// Notes that a record, and all before it in its partition, is dealt with.
    pub fn note(&mut self, topic: &str, partition: i32, offset: i64) {
        let is_this = |place: &(String, i32, i64)| place.1 == partition && place.0 == topic;
        if !self.places.get(self.last).is_some_and(is_this) {
            self.last = match self.places.iter().position(is_this) {
                Some(index) => index,
                None => {
                    self.places.push((topic.to_owned(), partition, 0));
                    self.places.len() - 1
                }
            };
        }
        let place = &mut self.places[self.last];
        place.2 = place.2.max(offset.saturating_add(1));
    }

    /// Topic, partition and next offset of each partition noted.
    pub fn places(&self) -> &[(String, i32, i64)] {
        &self.places
    }
}

/// Whether a text is an expression for names of topics, and not a name.
pub fn is_pattern(topic: &str) -> bool {
    topic.starts_with(PATTERN)
}

struct ForeignContext;

impl ClientContext for ForeignContext {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        client::log(level, facility, message);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        client::log_error(&error, reason);
    }
}

impl ConsumerContext for ForeignContext {
    fn commit_callback(&self, result: KafkaResult<()>, _: &TopicPartitionList) {
        if let Err(error) = result {
            tell_failed_commit(&error);
        }
    }
}

fn tell_failed_commit(error: &KafkaError) {
    use RDKafkaErrorCode as Code;
    match error.rdkafka_error_code() {
        // Others have the partitions now, or there was nothing new to say.
        Some(
            Code::RebalanceInProgress
            | Code::UnknownMemberId
            | Code::IllegalGeneration
            | Code::NoOffset,
        ) => tracing::debug!(%error, "offsets of foreign topics were not committed"),
        _ => {
            tracing::warn!(%error, "offsets of foreign topics were not committed; what is read twice is dropped as duplicate")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn progress_is_the_next_offset_of_each_partition_and_never_falls() {
        let mut progress = Progress::default();
        for (topic, partition, offset) in [
            ("a", 0, 4),
            ("a", 0, 7),
            ("b", 0, 1),
            ("a", 1, 0),
            ("a", 0, 5),
        ] {
            progress.note(topic, partition, offset);
        }
        let place = |topic: &str, partition, next| (topic.to_owned(), partition, next);
        assert_eq!(
            progress.places(),
            [place("a", 0, 8), place("b", 0, 2), place("a", 1, 1)]
        );
    }

    #[test]
    fn our_own_topics_are_out_of_reach_and_the_start_is_the_groups() {
        let options = ForeignOptions {
            kafka: KafkaOptions::new("127.0.0.1:1"),
            topics: vec!["^metrics\\..*".into()],
            ignored: vec!["tidewatch.samples".into(), "tidewatch.dead-letters".into()],
            group: "g".into(),
            start: Start::Latest,
        };
        let config = options.config();
        for (name, value) in [
            (
                "topic.blacklist",
                "^tidewatch\\.samples$,^tidewatch\\.dead-letters$",
            ),
            ("auto.offset.reset", "latest"),
            ("group.id", "g"),
            ("enable.auto.commit", "false"),
            ("isolation.level", "read_committed"),
        ] {
            assert_eq!(config.get(name), Some(value), "{name}");
        }
        assert!(is_pattern("^a") && !is_pattern("a^"));
        ForeignReader::join(&options).unwrap();
    }
}
