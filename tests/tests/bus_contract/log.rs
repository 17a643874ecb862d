//! The logs under test, and what the tests do with them again and again.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU32, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bus::embedded::{EmbeddedBus, EmbeddedOptions};
use bus::kafka::{KafkaBus, KafkaOptions};
use bus::{Bus, BusError, LogRecord, PartitionReader, Record, TopicSpec};
use bytes::Bytes;
use schemas::NextOffset;
use tests::kafka::kafka_for_tests;

/// Far above what anything here takes: reaching it means that something never happened.
pub(crate) const PATIENCE: Duration = Duration::from_secs(90);
pub(crate) const HOUR_MS: i64 = 3_600_000;

/// Which log.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Kind {
    Embedded,
    Kafka,
}

/// A log to test, and where it lies, so that another process can open it too.
pub(crate) struct Log {
    pub(crate) kind: Kind,
    pub(crate) place: String,
    pub(crate) bus: Option<Arc<dyn Bus>>,
    pub(crate) _dir: Option<tempfile::TempDir>,
}

impl Log {
    /// `None` (said loudly) where there is no Kafka.
    pub(crate) fn open(kind: Kind) -> Option<Log> {
        let (place, dir) = match kind {
            Kind::Embedded => {
                let dir = tempfile::tempdir().unwrap();
                (dir.path().to_str().unwrap().to_owned(), Some(dir))
            }
            Kind::Kafka => (kafka_for_tests()?, None),
        };
        Some(Log {
            kind,
            bus: Some(open(kind, &place)),
            place,
            _dir: dir,
        })
    }

    pub(crate) fn bus(&self) -> &dyn Bus {
        self.bus.as_deref().unwrap()
    }

    pub(crate) async fn topic(&self, partitions: u32) -> String {
        let spec = TopicSpec {
            partitions,
            ..spec()
        };
        self.bus()
            .create_topics(std::slice::from_ref(&spec))
            .await
            .unwrap();
        spec.name
    }
}

pub(crate) fn open(kind: Kind, place: &str) -> Arc<dyn Bus> {
    match kind {
        Kind::Embedded => EmbeddedBus::open(Path::new(place), EmbeddedOptions::default()).unwrap(),
        Kind::Kafka => KafkaBus::connect(KafkaOptions {
            session_timeout_ms: 10_000,
            handover_ms_max: 3_000,
            ..KafkaOptions::new(place)
        })
        .unwrap(),
    }
}

/// A topic under a name of its own: a broker is shared by many tests, and outlives a run.
pub(crate) fn spec() -> TopicSpec {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let name = format!(
        "contract-{}-{}-{}",
        now_ms(),
        std::process::id(),
        NEXT.fetch_add(1, Ordering::Relaxed)
    );
    TopicSpec {
        name,
        partitions: 1,
        retention_ms: 24 * HOUR_MS,
        log_append_time: true,
    }
}

pub(crate) fn now_ms() -> i64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap()
        .as_millis()
        .try_into()
        .unwrap()
}

pub(crate) fn record(value: impl Into<Bytes>) -> Record {
    Record {
        value: value.into(),
        ..Record::default()
    }
}

/// Bytes that no compressor makes smaller, the same for the same seed.
pub(crate) fn noise(seed: u64, bytes: usize) -> Bytes {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut step = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state as u8
    };
    (0..bytes).map(|_| step()).collect()
}

pub(crate) async fn within<T>(what: &str, wait: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, wait)
        .await
        .unwrap_or_else(|_| panic!("{what} did not happen"))
}

/// Reads until `count` records are there, or an error comes.
pub(crate) async fn read(
    reader: &mut dyn PartitionReader,
    count: usize,
) -> Result<Vec<LogRecord>, BusError> {
    let mut records = Vec::new();
    while records.len() < count {
        records.extend(within("a record", reader.next(64 * 1024)).await?);
    }
    Ok(records)
}

pub(crate) async fn read_from(
    bus: &dyn Bus,
    topic: &str,
    partition: u32,
    from: u64,
    count: usize,
) -> Vec<LogRecord> {
    let mut reader = bus
        .reader(topic, partition, NextOffset(from))
        .await
        .unwrap();
    read(reader.as_mut(), count).await.unwrap()
}

pub(crate) fn texts(records: &[LogRecord]) -> Vec<String> {
    records
        .iter()
        .map(|record| String::from_utf8(record.value.to_vec()).unwrap())
        .collect()
}

pub(crate) fn with_clock(clock: &Arc<AtomicI64>) -> EmbeddedOptions {
    let clock = clock.clone();
    EmbeddedOptions {
        clock: Arc::new(move || clock.load(Ordering::SeqCst)),
        ..EmbeddedOptions::default()
    }
}

pub(crate) fn embedded_with(options: EmbeddedOptions) -> (Log, Arc<EmbeddedBus>) {
    let dir = tempfile::tempdir().unwrap();
    let bus = EmbeddedBus::open(dir.path(), options).unwrap();
    (
        Log {
            kind: Kind::Embedded,
            place: dir.path().to_str().unwrap().to_owned(),
            bus: Some(bus.clone()),
            _dir: Some(dir),
        },
        bus,
    )
}

pub(crate) async fn append_each(bus: &dyn Bus, topic: &str, values: std::ops::Range<u32>) {
    for i in values {
        bus.append(topic, 0, vec![record(i.to_string())])
            .await
            .unwrap();
    }
}
