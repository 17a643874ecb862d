//! The log: topics, partitions, offsets, durable append, read from an offset, and membership in a group of owners.
//!
//! Two members keep one contract (`tests/bus_contract.rs` in the tests room runs it over both): [`embedded`] for one process, [`kafka`] for many.
//! Everything that a broker tells by callback arrives here as a value.

use std::borrow::Cow;
use std::fmt;

use async_trait::async_trait;
use bytes::Bytes;
use schemas::{ErrorCode, Fault, HasCode, HasFault, NextOffset, Offset};

mod crash_point;
pub mod embedded;
pub mod error_codes;
pub mod kafka;
mod packing;
mod whole;

pub use crash_point::{CRASH_POINTS, crash_point};
pub use packing::{pack, unpack};
pub use whole::{lacks_a_part, make_whole};

/// The largest record value, bytes, before compression. 4 MiB: two full sample batches; Kafka's own default limit for compressed batches is 1 MiB,
/// so `topics create` raises `max.message.bytes` to this.
pub const RECORD_BYTES_MAX: usize = 4 * 1024 * 1024;

/// The largest key and headers of a record together, bytes. Far above what we write; it keeps a value of [`RECORD_BYTES_MAX`] within every limit set for Kafka.
pub const ENVELOPE_BYTES_MAX: usize = 64 * 1024;

/// Refuses records that no log takes, before any is sent.
pub(crate) fn check_sizes(topic: &str, records: &[Record]) -> Result<(), BusError> {
    for record in records {
        let envelope: usize = record.key.len()
            + record
                .headers
                .iter()
                .map(|(name, value)| name.len() + value.len())
                .sum::<usize>();
        let (bytes, limit) = if envelope > ENVELOPE_BYTES_MAX {
            (envelope, ENVELOPE_BYTES_MAX)
        } else {
            (record.value.len(), RECORD_BYTES_MAX)
        };
        if bytes > limit {
            return Err(BusError::TooLarge {
                topic: topic.to_owned(),
                bytes,
                limit,
            });
        }
    }
    Ok(())
}

/// The name of a header: mostly one of ours, which costs no memory.
pub type HeaderName = Cow<'static, str>;

/// A record to append.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Record {
    /// Key; for `samples` the resource hash, 8 bytes big-endian.
    pub key: Bytes,
    /// Value, at most [`RECORD_BYTES_MAX`] bytes.
    pub value: Bytes,
    /// Headers, in order.
    pub headers: Vec<(HeaderName, Bytes)>,
    /// Append time to record, milliseconds since 1970; `None` (the rule): the log's own clock. A topic whose times are the
    /// broker's (`LogAppendTime`) ignores it. For replay and tests, where the log clock is supplied.
    pub append_time_ms: Option<i64>,
}

/// A record as read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogRecord {
    /// Its place in the partition.
    pub offset: Offset,
    /// When it was appended, by the log's clock, milliseconds since 1970. It goes back where that clock is set back; times that the appender gave never do.
    pub append_time_ms: i64,
    /// Key.
    pub key: Bytes,
    /// Value.
    pub value: Bytes,
    /// Headers, in order.
    pub headers: Vec<(HeaderName, Bytes)>,
}

impl LogRecord {
    /// The value of the first header of a name.
    pub fn header(&self, name: &str) -> Option<&Bytes> {
        self.headers
            .iter()
            .find(|(key, _)| key == name)
            .map(|(_, value)| value)
    }
}

/// What the log still holds of a partition: offsets from `start` (inclusive) to `end` (exclusive).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Retained {
    /// The oldest offset that can still be read.
    pub start: NextOffset,
    /// The offset that the next append gets.
    pub end: NextOffset,
}

/// A topic to create.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TopicSpec {
    /// Its name.
    pub name: String,
    /// Its number of partitions, ≥ 1.
    pub partitions: u32,
    /// How long records are kept, milliseconds; negative: for ever (as Kafka has it).
    pub retention_ms: i64,
    /// Whether append times are the log's own (the rule) or the appender's (replay and tests).
    pub log_append_time: bool,
}

/// What went wrong, by what the caller should do.
#[derive(Debug, thiserror::Error)]
pub enum BusError {
    /// The topic does not exist (bad configuration).
    #[error("topic `{topic}` does not exist; create it with `tidewatch topics create`")]
    NoTopic {
        /// Its name.
        topic: String,
    },
    /// The topic has another number of partitions than configured (bad configuration).
    #[error(
        "topic `{topic}` has {found} partitions, expected {expected}; set `bus.partitions = {found}`, or make a topic with another prefix by `tidewatch topics create`"
    )]
    PartitionCount {
        /// Its name.
        topic: String,
        /// As configured.
        expected: u32,
        /// As found.
        found: u32,
    },
    /// A record is larger than the log takes (bad input).
    #[error(
        "a record of {bytes} bytes for topic `{topic}`; at most {limit} are taken, split the request"
    )]
    TooLarge {
        /// Where it was to go.
        topic: String,
        /// Its size.
        bytes: usize,
        /// The limit.
        limit: usize,
    },
    /// The offset asked for is no longer, or not yet, in the log (bad configuration: data is gone, a person must decide).
    #[error(
        "partition {partition} of `{topic}`: offset {asked} is outside what the log holds, [{start}, {end}); records were removed before they were processed, or the log was rebuilt, restored from an older copy, or lost its end"
    )]
    OutOfRange {
        /// The topic.
        topic: String,
        /// The partition.
        partition: u32,
        /// The offset asked for.
        asked: u64,
        /// The oldest offset held.
        start: u64,
        /// The end of the log.
        end: u64,
    },
    /// Stored bytes are damaged (corruption).
    #[error(
        "partition {partition} of `{topic}`, offset {offset}: {detail}; the damaged record was left in place"
    )]
    Damaged {
        /// The topic.
        topic: String,
        /// The partition.
        partition: u32,
        /// The damaged record.
        offset: u64,
        /// What is wrong.
        detail: String,
    },
    /// The log's files as a whole do not hold together (corruption): it was not opened, and nothing was changed.
    #[error(
        "the log in {path} is damaged: {detail}; nothing was removed: restore the directory, or move it aside to begin an empty log and a new archive"
    )]
    DamagedLog {
        /// Its directory.
        path: String,
        /// What is wrong.
        detail: String,
    },
    /// The broker or the disk is away or full (outage: retry with backoff).
    #[error("{action}: {detail}")]
    Unavailable {
        /// What was being done, with the broker or path.
        action: String,
        /// What was answered.
        detail: String,
    },
    /// The log takes no appends until the process is started again (outage: only a restart ends it; reading goes on).
    #[error(
        "{action}: it takes no more records since an error: {detail}; mend the disk, then restart the process"
    )]
    Broken {
        /// What was being done, with the path.
        action: String,
        /// The error that it began with.
        detail: String,
    },
    /// The settings are refused (bad configuration).
    #[error("{0}")]
    Config(String),
    /// The settings ask for TLS or SASL/SCRAM, and this program was built without them (bad configuration).
    #[error(
        "{setting} needs a program that was built with the feature `kafka-tls`, and this one was not; take the container image, or build it with `cargo build --release --features kafka-tls`"
    )]
    NoTls {
        /// What asks for it, as in the configuration.
        setting: String,
    },
}

impl HasFault for BusError {
    fn fault(&self) -> Fault {
        match self {
            BusError::TooLarge { .. } => Fault::BadInput,
            BusError::Unavailable { .. } | BusError::Broken { .. } => Fault::Outage,
            BusError::Damaged { .. } | BusError::DamagedLog { .. } => Fault::Corruption,
            BusError::NoTopic { .. }
            | BusError::PartitionCount { .. }
            | BusError::OutOfRange { .. }
            | BusError::Config(_)
            | BusError::NoTls { .. } => Fault::BadConfig,
        }
    }
}

impl HasCode for BusError {
    fn code(&self) -> &'static ErrorCode {
        match self {
            BusError::NoTopic { .. } => &error_codes::NO_TOPIC,
            BusError::PartitionCount { .. } => &error_codes::PARTITION_COUNT,
            BusError::TooLarge { .. } => &error_codes::RECORD_TOO_LARGE,
            BusError::OutOfRange { .. } => &error_codes::OFFSET_OUT_OF_RANGE,
            BusError::Damaged { .. } => &error_codes::RECORD_DAMAGED,
            BusError::DamagedLog { .. } => &error_codes::LOG_DAMAGED,
            BusError::Unavailable { .. } => &error_codes::LOG_UNAVAILABLE,
            BusError::Broken { .. } => &error_codes::LOG_BROKEN,
            BusError::Config(_) => &error_codes::LOG_SETTINGS,
            BusError::NoTls { .. } => &error_codes::NO_TLS,
        }
    }
}

/// What a group tells a member, in order.
pub enum GroupEvent {
    /// The member owns these partitions from now on, besides those it had. (Ownership is advisory: the checkpoint chain fences.)
    Assigned(Vec<u32>),
    /// The group takes these partitions back. It waits (bounded by the session) until the handover is dropped, so that the owner can checkpoint first.
    Revoked(Vec<u32>, Handover),
    /// These partitions were already given to others: stop at once, a checkpoint may no longer succeed.
    Lost(Vec<u32>),
    /// The group reports an error that it will retry by itself.
    Error(BusError),
}

impl fmt::Debug for GroupEvent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            GroupEvent::Assigned(partitions) => write!(f, "Assigned({partitions:?})"),
            GroupEvent::Revoked(partitions, _) => write!(f, "Revoked({partitions:?})"),
            GroupEvent::Lost(partitions) => write!(f, "Lost({partitions:?})"),
            GroupEvent::Error(error) => write!(f, "Error({error})"),
        }
    }
}

/// Held while the former owner finishes; dropping it lets the group go on.
#[derive(Debug, Default)]
pub struct Handover(Option<tokio::sync::oneshot::Sender<()>>);

impl Handover {
    /// A handover whose end is told to `sender`'s receiver (by the sender being dropped).
    pub fn new(sender: tokio::sync::oneshot::Sender<()>) -> Self {
        Handover(Some(sender))
    }

    /// Whether anyone still waits for it.
    pub fn is_waited_for(&self) -> bool {
        self.0.as_ref().is_some_and(|sender| !sender.is_closed())
    }
}

/// A log. Cheap to share behind an `Arc`.
#[async_trait]
pub trait Bus: Send + Sync + 'static {
    /// Names this log so that a rebuilt one is not taken for it (`kafka:CLUSTER-ID/TOPIC-ID`, `embedded:UUID/TOPIC`).
    async fn log_id(&self, topic: &str) -> Result<String, BusError>;

    /// How many partitions a topic has.
    ///
    /// # Errors
    /// `NoTopic` if there is no such topic; `Unavailable` if the broker can't be asked.
    async fn partitions(&self, topic: &str) -> Result<u32, BusError>;

    /// Whether the log would take appends to a topic now: asked anew each time, answered within seconds.
    ///
    /// # Errors
    /// `Unavailable` while the broker is away or the disk is full; `Broken` if only a restart helps; `NoTopic`.
    async fn health(&self, topic: &str) -> Result<(), BusError>;

    /// Creates the topics that are missing; an existing one is left as it is.
    ///
    /// # Errors
    /// `PartitionCount` if an existing one has another number of partitions.
    async fn create_topics(&self, topics: &[TopicSpec]) -> Result<(), BusError>;

    /// Appends records to one partition, in order, and answers when all are durable (fsynced; Kafka: `acks=all`).
    /// Many callers may wait at once and share the cost.
    ///
    /// # Errors
    /// `TooLarge` before anything is sent. `Unavailable`: some may have been appended; the caller repeats all (duplicates are dropped downstream).
    async fn append(
        &self,
        topic: &str,
        partition: u32,
        records: Vec<Record>,
    ) -> Result<Vec<Offset>, BusError>;

    /// What the log still holds of a partition.
    async fn retained(&self, topic: &str, partition: u32) -> Result<Retained, BusError>;

    /// A reader of one partition that starts at an offset.
    ///
    /// # Errors
    /// `OutOfRange`, here or from the first read, if the offset is not in the retained range (its end is: the reader waits there).
    async fn reader(
        &self,
        topic: &str,
        partition: u32,
        from: NextOffset,
    ) -> Result<Box<dyn PartitionReader>, BusError>;

    /// Joins the group of those who share a topic's partitions.
    async fn join(&self, topic: &str, group: &str) -> Result<Box<dyn Membership>, BusError>;

    /// Tells the embedded log which offset a partition may be trimmed to: records below are covered by the archive.
    /// A log that keeps its own retention ignores it.
    async fn allow_trim(
        &self,
        topic: &str,
        partition: u32,
        below: NextOffset,
    ) -> Result<(), BusError>;
}

/// Reads one partition in order.
#[async_trait]
pub trait PartitionReader: Send {
    /// The next records, at least one and at most about `bytes_max` bytes; waits until there is one. Cancel-safe: a dropped call loses nothing.
    ///
    /// # Errors
    /// `OutOfRange`, `Damaged`: the same again at each call. `Unavailable`: call again later.
    async fn next(&mut self, bytes_max: usize) -> Result<Vec<LogRecord>, BusError>;
}

/// Membership in a group. Dropping it leaves the group, some time later and only if the process lives on so long: at its end, [`Membership::leave`].
#[async_trait]
pub trait Membership: Send + Sync {
    /// The next event; waits. Cancel-safe.
    async fn next(&mut self) -> GroupEvent;

    /// Tells the group how far a partition was processed, for lag tools only.
    async fn report_progress(&self, partition: u32, next: NextOffset);

    /// Leaves the group, and waits until it knows, so that others need not wait for the end of the session. A broker that is away is not waited for.
    async fn leave(self: Box<Self>) {}
}
