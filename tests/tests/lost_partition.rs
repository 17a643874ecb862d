//! What the pipeline does when its group takes a partition back or gives it away: the real log, archive and chain, and a group that a test plays.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use bus::embedded::{EmbeddedBus, EmbeddedOptions};
use bus::{
    Bus, BusError, GroupEvent, Handover, Membership, PartitionReader, Record, Retained, TopicSpec,
};
use pipeline::{CheckpointPolicy, Phase, Pipeline, PipelineOptions};
use processors::ProcessingConfig;
use schemas::{BatchBuilder, Kind, Labels, LinkKind, NextOffset, Offset, Resolution, Topics};
use sinks::Archive;
use sinks::aggregates::{AggregateStore, Retention};
use tokio::sync::{mpsc, oneshot};

/// A bound for what hangs, not a measure of speed.
const PATIENCE: Duration = Duration::from_secs(60);
/// Samples in each partition.
const SAMPLES: usize = 5;

/// The embedded log with a group whose events the test sends.
struct Played {
    log: Arc<EmbeddedBus>,
    events: Mutex<Option<mpsc::UnboundedReceiver<GroupEvent>>>,
}

struct PlayedMember(mpsc::UnboundedReceiver<GroupEvent>);

#[async_trait]
impl Membership for PlayedMember {
    async fn next(&mut self) -> GroupEvent {
        match self.0.recv().await {
            Some(event) => event,
            None => std::future::pending().await,
        }
    }

    async fn report_progress(&self, _partition: u32, _next: NextOffset) {}
}

#[async_trait]
impl Bus for Played {
    async fn join(&self, _topic: &str, _group: &str) -> Result<Box<dyn Membership>, BusError> {
        // There is one member.
        let events = self.events.lock().unwrap().take().unwrap();
        Ok(Box::new(PlayedMember(events)))
    }

    async fn log_id(&self, topic: &str) -> Result<String, BusError> {
        self.log.log_id(topic).await
    }

    async fn partitions(&self, topic: &str) -> Result<u32, BusError> {
        self.log.partitions(topic).await
    }

    async fn health(&self, topic: &str) -> Result<(), BusError> {
        self.log.health(topic).await
    }

    async fn create_topics(&self, topics: &[TopicSpec]) -> Result<(), BusError> {
        self.log.create_topics(topics).await
    }

    async fn append(
        &self,
        topic: &str,
        partition: u32,
        records: Vec<Record>,
    ) -> Result<Vec<Offset>, BusError> {
        self.log.append(topic, partition, records).await
    }

    async fn retained(&self, topic: &str, partition: u32) -> Result<Retained, BusError> {
        self.log.retained(topic, partition).await
    }

    async fn reader(
        &self,
        topic: &str,
        partition: u32,
        from: NextOffset,
    ) -> Result<Box<dyn PartitionReader>, BusError> {
        self.log.reader(topic, partition, from).await
    }

    async fn allow_trim(
        &self,
        topic: &str,
        partition: u32,
        below: NextOffset,
    ) -> Result<(), BusError> {
        self.log.allow_trim(topic, partition, below).await
    }
}

struct Stage {
    pipeline: Pipeline,
    archive: Archive,
    topics: Topics,
    group: mpsc::UnboundedSender<GroupEvent>,
}

impl Stage {
    /// A pipeline over two partitions that it owns, with samples in each that no checkpoint covers.
    async fn with_pending_samples(directory: &Path) -> Stage {
        let log = EmbeddedBus::open(&directory.join("log"), EmbeddedOptions::default()).unwrap();
        let topics = Topics::default();
        let specs = topics.all().map(|name| TopicSpec {
            name,
            partitions: 2,
            retention_ms: -1,
            log_append_time: true,
        });
        log.create_topics(&specs).await.unwrap();
        let (group, events) = mpsc::unbounded_channel();
        let events = Mutex::new(Some(events));
        let url = format!("file://{}", directory.join("archive").display());
        let archive = Archive::open(&url, &Default::default()).unwrap();
        let aggregates =
            AggregateStore::open(&directory.join("aggregates"), Retention::default()).unwrap();
        let pipeline = Pipeline::start(PipelineOptions {
            bus: Arc::new(Played {
                log: Arc::clone(&log),
                events,
            }),
            topics: topics.clone(),
            group: "played".to_owned(),
            owner: "test".to_owned(),
            archive: archive.clone(),
            aggregates: Arc::new(aggregates),
            archived_rollups: Resolution::ALL.to_vec(),
            processing: ProcessingConfig::default(),
            // Nothing is due by itself.
            checkpoint: CheckpointPolicy {
                interval: Duration::from_secs(3600),
                ..CheckpointPolicy::default()
            },
            compaction: Default::default(),
            rebuild_damaged_states: false,
            tick_interval: Duration::from_secs(3600),
        });
        let stage = Stage {
            pipeline: pipeline.await.unwrap(),
            archive,
            topics,
            group,
        };
        for partition in 0..2 {
            let record = Record {
                value: batch().into(),
                ..Record::default()
            };
            let topic = stage.topics.samples();
            log.append(&topic, partition, vec![record]).await.unwrap();
        }
        stage.tell(GroupEvent::Assigned(vec![0, 1]));
        stage.until_pending(&[0, 1]).await;
        stage
    }

    fn tell(&self, event: GroupEvent) {
        self.group.send(event).unwrap();
    }

    /// Waits until exactly these partitions run here, each with its samples waiting for a checkpoint.
    async fn until_pending(&self, partitions: &[u32]) {
        let deadline = tokio::time::Instant::now() + PATIENCE;
        loop {
            let status = self.pipeline.status();
            let all: Vec<u32> = status.iter().map(|status| status.partition).collect();
            let pending = status
                .iter()
                .all(|status| status.phase == Phase::Running && status.pending_samples == SAMPLES);
            if all == partitions && pending {
                return;
            }
            assert!(
                tokio::time::Instant::now() < deadline,
                "expected partitions {partitions:?} with pending samples, found {status:?}"
            );
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }

    /// The kinds of a partition's links, oldest first, and how many samples they accepted.
    async fn links(&self, partition: u32) -> (Vec<LinkKind>, u64) {
        let topic = self.topics.samples();
        let links = sinks::read_links(&self.archive, &topic, partition, 0..u64::MAX)
            .await
            .unwrap();
        let accepted = links.iter().map(|link| link.counts.accepted).sum();
        (links.iter().map(|link| link.kind).collect(), accepted)
    }
}

fn batch() -> Vec<u8> {
    let now = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .unwrap()
        .as_micros() as i64;
    let mut builder = BatchBuilder::default();
    let labels = builder.label_set(&Labels::try_new([("host", "a")]).unwrap());
    let metric = builder.metric("cpu");
    for sample in 0..SAMPLES {
        builder.push(
            metric,
            labels,
            Kind::Gauge,
            now + sample as i64,
            sample as f64,
        );
    }
    builder.finish().unwrap().encode().unwrap()
}

#[tokio::test]
async fn a_lost_partition_is_dropped_without_a_commit() {
    let directory = tempfile::tempdir().unwrap();
    let stage = Stage::with_pending_samples(directory.path()).await;
    stage.tell(GroupEvent::Lost(vec![0]));
    stage.until_pending(&[1]).await;
    assert_eq!(
        stage.links(0).await,
        (vec![LinkKind::Claim], 0),
        "another owner may have it: a commit is not ours to make"
    );
    // Given back, it is claimed anew, and its samples are read again.
    stage.tell(GroupEvent::Assigned(vec![0]));
    stage.until_pending(&[0, 1]).await;
    let Stage {
        pipeline,
        archive,
        topics,
        group,
    } = stage;
    assert_eq!(pipeline.shutdown().await, []);
    for (partition, claims) in [(0, 2), (1, 1)] {
        let links = sinks::read_links(&archive, &topics.samples(), partition, 0..u64::MAX)
            .await
            .unwrap();
        let of = |kind| links.iter().filter(|link| link.kind == kind).count();
        let accepted: u64 = links.iter().map(|link| link.counts.accepted).sum();
        assert_eq!(
            (of(LinkKind::Claim), of(LinkKind::Commit), accepted),
            (claims, 1, SAMPLES as u64)
        );
    }
    drop(group);
}

#[tokio::test]
async fn a_revoked_partition_is_committed_before_it_is_handed_over() {
    let directory = tempfile::tempdir().unwrap();
    let stage = Stage::with_pending_samples(directory.path()).await;
    let (sender, handed_over) = oneshot::channel();
    stage.tell(GroupEvent::Revoked(vec![0], Handover::new(sender)));
    // Dropped, not used: that is the end of the handover.
    let ended = tokio::time::timeout(PATIENCE, handed_over).await;
    assert!(ended.expect("the handover ends").is_err());
    assert_eq!(
        stage.links(0).await,
        (vec![LinkKind::Claim, LinkKind::Commit], SAMPLES as u64)
    );
    stage.until_pending(&[1]).await;
    assert_eq!(stage.pipeline.shutdown().await, []);
}
