//! Siblings that live in several partitions of a real log: the odd one is told once whatever dies meanwhile, and no sample is lost or stands twice.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use analytics::peers::meeting_hash;
use bus::embedded::{EmbeddedBus, EmbeddedOptions};
use bus::kafka::{KafkaBus, KafkaOptions};
use bus::{Bus, Record, TopicSpec};
use bytes::Bytes;
use pipeline::{CheckpointPolicy, Pipeline, PipelineOptions};
use processors::ProcessingConfig;
use schemas::time::{MINUTE, Micros, SECOND};
use schemas::{
    BatchBuilder, Counts, Guests, Kind, Labels, NextOffset, Resolution, Table, Topics,
    partition_of, topics,
};
use sinks::Archive;
use sinks::aggregates::{AggregateStore, Retention};
use tests::process::{Launch, Tidewatch};
use tokio::time::{Instant, timeout};

/// 2026-09-28T00:00:00Z, microseconds: times are the records' own.
const START: Micros = 1_790_553_600 * SECOND;
const PARTITIONS: u32 = 4;
/// Three in each partition: too few to be compared there.
const HOSTS: i64 = 12;
const MINUTES: i64 = 58;
/// From this minute on, one host does twice as much as its siblings.
const OFF: i64 = 40;
const ODD: i64 = 5;
/// Before these minutes everything that runs is killed: while places are learned, while the odd one is watched, and after it was told.
const KILLS: [i64; 3] = [20, 43, 52];
/// A window is sealed so many minutes after its end: `processing.lateness`.
const SEALED_AFTER: i64 = 2;
/// How long anything may take.
const PATIENCE: Duration = Duration::from_secs(60);

/// Two samples a minute of each host of a partition.
fn batch(partition: u32, minute: i64) -> Vec<u8> {
    let mut builder = BatchBuilder::default();
    let load = builder.metric("load");
    for host in (0..HOSTS).filter(|host| host % i64::from(PARTITIONS) == i64::from(partition)) {
        let labels = builder.label_set(&labels(host));
        for part in 0..2 {
            let time = START + minute * MINUTE + part * 30 * SECOND;
            let usual = 40.0 + ((minute * 7 + host * 3 + part) % 5) as f64;
            let is_off = host == ODD && minute >= OFF;
            let value = if is_off { 2.0 * usual } else { usual };
            builder.push(load, labels, Kind::Gauge, time, value);
        }
    }
    builder.finish().unwrap().encode().unwrap()
}

fn labels(host: i64) -> Labels {
    Labels::try_new([("host.name", format!("web-{host}"))]).unwrap()
}

/// A log, what reads it, and where it goes.
struct Stage {
    bus: Arc<dyn Bus>,
    topics: Topics,
    archive: Archive,
    /// The partition that all siblings meet in.
    home: u32,
    /// Where the home's log is read on, and the last minute that each sender has told.
    heard: (NextOffset, BTreeMap<u32, Micros>),
}

impl Stage {
    async fn new(bus: Arc<dyn Bus>, prefix: &str, archive: &Path) -> Self {
        let topics = Topics::new(prefix);
        let specs = topics.all().map(|name| TopicSpec {
            name,
            partitions: PARTITIONS,
            retention_ms: -1,
            log_append_time: false,
        });
        bus.create_topics(&specs).await.unwrap();
        let url = format!("file://{}", archive.display());
        Stage {
            bus,
            topics,
            archive: Archive::open(&url, &BTreeMap::new()).unwrap(),
            home: partition_of(meeting_hash(&labels(0)).unwrap(), PARTITIONS),
            heard: (NextOffset(0), BTreeMap::new()),
        }
    }

    /// Appends what the hosts say in a minute.
    async fn feed(&self, minute: i64) {
        for partition in 0..PARTITIONS {
            let format = Bytes::from_static(topics::FORMAT_BATCH);
            let record = Record {
                value: batch(partition, minute).into(),
                headers: vec![(topics::HEADER_FORMAT.into(), format)],
                append_time_ms: Some((START + (minute + 1) * MINUTE) / 1000),
                ..Record::default()
            };
            let topic = self.topics.samples();
            self.bus
                .append(&topic, partition, vec![record])
                .await
                .unwrap();
        }
    }

    /// Waits until all other partitions have told the home of a minute, if it is one that there was.
    async fn wait_told(&mut self, minute: i64) {
        if minute < 0 {
            return;
        }
        let topic = self.topics.samples();
        let (from, heard) = &mut self.heard;
        let mut reader = self.bus.reader(&topic, self.home, *from).await.unwrap();
        let deadline = Instant::now() + PATIENCE;
        let is_told = |heard: &BTreeMap<u32, Micros>| {
            heard
                .values()
                .filter(|at| **at >= START + minute * MINUTE)
                .count()
                == 3
        };
        while !is_told(heard) {
            let left = deadline.saturating_duration_since(Instant::now());
            let records = timeout(left, reader.next(1 << 20)).await;
            let records = records.unwrap_or_else(|_| panic!("minute {minute}: heard {heard:?}"));
            for record in records.unwrap() {
                *from = record.offset.next();
                if record.header(topics::HEADER_FORMAT).unwrap() == topics::FORMAT_GUESTS {
                    let guests = Guests::decode(&record.value).unwrap();
                    assert_eq!(guests.rows().len(), 3);
                    heard.insert(guests.sender(), guests.minute());
                }
            }
        }
    }

    /// The events by their ids. One that was sent again must be the same, and from the same partition, that of its host.
    async fn published(&self) -> BTreeMap<Bytes, serde_json::Value> {
        let (topic, mut events) = (self.topics.anomalies(), BTreeMap::new());
        for partition in 0..PARTITIONS {
            let held = self.bus.retained(&topic, partition).await.unwrap();
            let mut next = held.start;
            let mut reader = self.bus.reader(&topic, partition, next).await.unwrap();
            while next < held.end {
                for record in reader.next(1 << 20).await.unwrap() {
                    next = record.offset.next();
                    let event: serde_json::Value = serde_json::from_slice(&record.value).unwrap();
                    let id = record.header("ce_id").unwrap().clone();
                    if event["kind"] == "peer" {
                        assert_eq!(event["labels"]["host.name"], format!("web-{ODD}"));
                        assert_eq!(i64::from(partition), ODD % i64::from(PARTITIONS));
                        assert_ne!(partition, self.home, "a verdict has to come back");
                    }
                    let before = events.insert(id, event.clone());
                    assert!(before.is_none_or(|before| before == event), "{event}");
                }
            }
        }
        events
    }

    /// Checks what is left when all has ended.
    async fn check(&self) {
        let events = self.published().await;
        let peers: Vec<&serde_json::Value> = (events.values())
            .filter(|event| event["kind"] == "peer")
            .collect();
        let sentences: Vec<&str> = peers
            .iter()
            .map(|event| event["explanation"].as_str().unwrap())
            .collect();
        assert_eq!(peers.len(), 1, "{sentences:#?}");
        assert!(
            sentences[0].starts_with(&format!("load on web-{ODD} is at "))
                && sentences[0].contains(", its 11 siblings are at "),
            "{sentences:#?}"
        );
        let (mut counts, mut rows) = (Counts::default(), BTreeMap::<Table, u64>::new());
        for partition in 0..PARTITIONS {
            let topic = self.topics.samples();
            let chain = sinks::load_chain(&self.archive, &topic, partition);
            let chain = chain.await.unwrap().unwrap();
            for file in chain.files.iter() {
                *rows.entry(file.table).or_default() += file.rows;
            }
            let links = sinks::read_links(&self.archive, &topic, partition, 0..u64::MAX);
            for link in links.await.unwrap() {
                counts.add(&link.counts);
            }
        }
        let expected = (HOSTS * MINUTES * 2) as u64;
        assert_eq!(
            (
                counts.read,
                counts.accepted,
                counts.duplicate,
                counts.dead_letters
            ),
            (expected, expected, 0, 0)
        );
        assert_eq!(rows[&Table::Samples], expected, "guests are no samples");
        assert_eq!(rows[&Table::Anomalies], events.len() as u64);
    }
}

/// A pipeline over an embedded log.
async fn start(stage: &Stage, directory: &Path, incarnation: i64) -> Pipeline {
    let aggregates = directory.join(format!("aggregates-{incarnation}"));
    let options = PipelineOptions {
        bus: Arc::clone(&stage.bus),
        topics: stage.topics.clone(),
        group: "siblings".to_owned(),
        owner: format!("incarnation {incarnation}"),
        archive: stage.archive.clone(),
        aggregates: Arc::new(AggregateStore::open(&aggregates, Retention::default()).unwrap()),
        archived_rollups: Resolution::ALL.to_vec(),
        processing: ProcessingConfig::default(),
        checkpoint: CheckpointPolicy {
            samples_max: 30,
            snapshot_interval: Duration::ZERO,
            ..CheckpointPolicy::default()
        },
        compaction: Default::default(),
        rebuild_damaged_states: false,
        tick_interval: Duration::from_secs(3600),
    };
    Pipeline::start(options).await.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn c2_siblings_meet_across_partitions_of_the_embedded_log() {
    let directory = tempfile::tempdir().unwrap();
    let log = directory.path().join("log");
    let bus: Arc<dyn Bus> = EmbeddedBus::open(&log, EmbeddedOptions::default()).unwrap();
    let archive = directory.path().join("archive");
    let mut stage = Stage::new(bus, "siblings", &archive).await;
    let mut running = start(&stage, directory.path(), 0).await;
    for minute in 0..MINUTES {
        if KILLS.contains(&minute) {
            // As a crash would end it.
            drop(running);
            running = start(&stage, directory.path(), minute).await;
        }
        stage.feed(minute).await;
        stage.wait_told(minute - SEALED_AFTER).await;
    }
    running.shutdown().await;
    stage.check().await;
}

/// The real program over a real Kafka.
struct Program {
    launch: Launch,
    archive: PathBuf,
    prefix: String,
}

impl Program {
    fn prepare(brokers: &str, directory: &Path) -> Self {
        let since = SystemTime::UNIX_EPOCH;
        let unique = SystemTime::now().duration_since(since).unwrap().as_nanos();
        let (prefix, archive) = (format!("siblings-{unique}"), directory.join("archive"));
        // Its ticks would bring the machine's time.
        let config = format!(
            r#"[bus]
kind = "kafka"
brokers = "{brokers}"
group = "{prefix}"
topic_prefix = "{prefix}"
partitions = {PARTITIONS}
session_timeout = "6s"
[archive]
url = "file://{}"
[collectors.host]
enabled = false
[processing]
checkpoint_interval = "300ms"
snapshot_interval = "600ms"
tick_interval = "1d"
"#,
            archive.display()
        );
        Program {
            launch: Launch::new(directory).config(config),
            archive,
            prefix,
        }
    }

    fn start(&self) -> Tidewatch {
        let mut process = self.launch.start_ready();
        process.wait_for_partitions(PARTITIONS as usize);
        process
    }
}

#[test]
fn c2_siblings_meet_across_partitions_of_kafka_and_kills() {
    let Some(brokers) = tests::kafka::kafka_for_tests() else {
        return;
    };
    let directory = tempfile::tempdir().unwrap();
    let program = Program::prepare(&brokers, directory.path());
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let bus: Arc<dyn Bus> = runtime
        .block_on(async { KafkaBus::connect(KafkaOptions::new(&brokers)) })
        .unwrap();
    let stage = Stage::new(bus, &program.prefix, &program.archive);
    let mut stage = runtime.block_on(stage);
    let mut process = program.start();
    for minute in 0..MINUTES {
        // Not the first: each takes as long as the group needs to find out.
        if KILLS[1..].contains(&minute) {
            process.kill_nine();
            process = program.start();
        }
        runtime.block_on(async {
            stage.feed(minute).await;
            stage.wait_told(minute - SEALED_AFTER).await;
        });
    }
    process.stop_cleanly();
    runtime.block_on(stage.check());
}
