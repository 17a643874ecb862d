//! Membership in a consumer group: a consumer that owns partitions and fetches nothing, on a thread of its own. Its callbacks become [`GroupEvent`]s.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc as thread_mpsc;
use std::time::Duration;

use async_trait::async_trait;
use rdkafka::client::ClientContext;
use rdkafka::config::{FromClientConfigAndContext, RDKafkaLogLevel};
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer, ConsumerContext, RebalanceProtocol};
use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode};
use rdkafka::types::RDKafkaRespErr;
use rdkafka::{Offset as KafkaOffset, TopicPartitionList};
use schemas::NextOffset;
use tokio::sync::{mpsc, oneshot};

use super::client;
use super::fault;
use super::options::KafkaOptions;
use crate::{BusError, GroupEvent, Handover, Membership};

/// Events that wait for the member; when full, the group's callback waits, and in the end the group goes on without this member.
const EVENTS: usize = 64;
/// Progress reports that wait for the thread; when full, the newest is dropped: the next one says more.
const REPORTS: usize = 1024;
const SERVE_INTERVAL: Duration = Duration::from_millis(100);

/// How long leaving the group may take: one request that is answered, unless the broker is away.
const LEAVE_MAX: Duration = Duration::from_secs(2);

/// A member of a consumer group.
pub(super) struct KafkaMember {
    events: mpsc::Receiver<GroupEvent>,
    reports: thread_mpsc::SyncSender<(u32, NextOffset)>,
    left: Arc<AtomicBool>,
    /// Ends when the thread has left the group.
    gone: Option<oneshot::Receiver<()>>,
}

impl KafkaMember {
    pub(super) fn join(options: &KafkaOptions, topic: &str, group: &str) -> Result<Self, BusError> {
        let (sender, events) = mpsc::channel(EVENTS);
        let (reports, reported) = thread_mpsc::sync_channel(REPORTS);
        let left = Arc::<AtomicBool>::default();
        let context = GroupContext {
            events: sender,
            brokers: options.brokers.clone(),
            topic: topic.to_owned(),
            handover_max: Duration::from_millis(u64::from(options.handover_ms_max)),
        };
        let consumer = BaseConsumer::from_config_and_context(&options.member(group), context)
            .map_err(|error| fault::config(&error))?;
        consumer
            .subscribe(&[topic])
            .map_err(|error| fault::of("joining the group of", topic, &options.brokers, &error))?;
        let (told, gone) = oneshot::channel();
        let thread = MemberThread {
            consumer,
            _gone: told,
            topic: topic.to_owned(),
            reported,
            left: left.clone(),
        };
        std::thread::Builder::new()
            .name("kafka-member".into())
            .spawn(move || thread.run())
            .map_err(|error| BusError::Unavailable {
                action: "starting a Kafka member's thread".into(),
                detail: error.to_string(),
            })?;
        Ok(KafkaMember {
            events,
            reports,
            left,
            gone: Some(gone),
        })
    }
}

#[async_trait]
impl Membership for KafkaMember {
    async fn next(&mut self) -> GroupEvent {
        match self.events.recv().await {
            Some(event) => event,
            // The thread ends only after this member is dropped.
            None => std::future::pending().await,
        }
    }

    async fn report_progress(&self, partition: u32, next: NextOffset) {
        let _ = self.reports.try_send((partition, next));
    }

    async fn leave(mut self: Box<Self>) {
        let gone = self.gone.take();
        drop(self);
        if let Some(gone) = gone
            && tokio::time::timeout(LEAVE_MAX, gone).await.is_err()
        {
            tracing::warn!(
                "the group was not told that this member leaves; others take its partitions when its session is over"
            );
        }
    }
}

impl Drop for KafkaMember {
    fn drop(&mut self) {
        // The thread leaves the group; nobody waits for it here, the broker may be away. Closing the events ends every handover that is waited for.
        self.left.store(true, Ordering::Release);
        self.events.close();
    }
}

struct MemberThread {
    /// Dropped first: that leaves the group.
    consumer: BaseConsumer<GroupContext>,
    /// Dropped when that is done.
    _gone: oneshot::Sender<()>,
    topic: String,
    reported: thread_mpsc::Receiver<(u32, NextOffset)>,
    left: Arc<AtomicBool>,
}

impl MemberThread {
    fn run(self) {
        while !self.left.load(Ordering::Acquire) {
            if let Some(Err(error)) = self.consumer.poll(SERVE_INTERVAL) {
                self.consumer.context().tell_error(&error);
            }
            self.commit_reports();
        }
        self.commit_reports();
    }

    fn commit_reports(&self) {
        let newest: BTreeMap<u32, NextOffset> = self.reported.try_iter().collect();
        if newest.is_empty() {
            return;
        }
        let mut list = TopicPartitionList::new();
        for (partition, next) in newest {
            let (Ok(partition), Ok(next)) = (i32::try_from(partition), i64::try_from(next.0))
            else {
                continue;
            };
            if let Err(error) =
                list.add_partition_offset(&self.topic, partition, KafkaOffset::Offset(next))
            {
                tracing::debug!(%error, partition, "a progress report could not be added");
            }
        }
        if let Err(error) = self.consumer.commit(&list, CommitMode::Async) {
            tracing::debug!(%error, "progress could not be reported to the group; the next report says more");
        }
    }
}

struct GroupContext {
    events: mpsc::Sender<GroupEvent>,
    brokers: String,
    topic: String,
    handover_max: Duration,
}

impl ClientContext for GroupContext {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        client::log(level, facility, message);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        client::log_error(&error, reason);
    }
}

impl ConsumerContext for GroupContext {
    /// Replaces the default, which ignores the errors of (un)assigning.
    fn rebalance(
        &self,
        consumer: &BaseConsumer<Self>,
        event: RDKafkaRespErr,
        list: &mut TopicPartitionList,
    ) {
        let partitions = partitions_of(list);
        match event {
            RDKafkaRespErr::RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS => match own(consumer, list) {
                Ok(()) => self.tell(partitions, GroupEvent::Assigned),
                Err(error) => self.tell_error(&error),
            },
            RDKafkaRespErr::RD_KAFKA_RESP_ERR__REVOKE_PARTITIONS => {
                if consumer.assignment_lost() {
                    self.tell(partitions, GroupEvent::Lost);
                } else {
                    self.hand_over(partitions);
                }
                if let Err(error) = disown(consumer, list) {
                    self.tell_error(&error);
                }
            }
            other => {
                self.tell_error(&KafkaError::Rebalance(RDKafkaErrorCode::from(other)));
                if let Err(error) = consumer.unassign() {
                    self.tell_error(&error);
                }
            }
        }
    }

    fn commit_callback(&self, result: KafkaResult<()>, _offsets: &TopicPartitionList) {
        if let Err(error) = result {
            tracing::debug!(%error, "progress could not be reported to the group; the next report says more");
        }
    }
}

impl GroupContext {
    fn tell(&self, partitions: Vec<u32>, event: fn(Vec<u32>) -> GroupEvent) {
        if !partitions.is_empty() {
            // Fails when the member is gone; then nobody is to be told.
            let _ = self.events.blocking_send(event(partitions));
        }
    }

    /// Errors repeat while a broker is away, so they are logged now and then, and what finds no room is not told.
    fn tell_error(&self, error: &KafkaError) {
        if let Some(kept_back) = client::due(&format!("{} {error}", self.topic)) {
            tracing::warn!(%error, topic = self.topic, kept_back, "the consumer group reports a problem");
        }
        let _ = self.events.try_send(GroupEvent::Error(fault::of(
            "in the group of",
            &self.topic,
            &self.brokers,
            error,
        )));
    }

    /// Gives the owner time to finish. Heartbeats go on meanwhile, from librdkafka's own thread.
    fn hand_over(&self, partitions: Vec<u32>) {
        if partitions.is_empty() {
            return;
        }
        let (sender, finished) = oneshot::channel();
        let event = GroupEvent::Revoked(partitions, Handover::new(sender));
        if self.events.blocking_send(event).is_err() {
            return;
        }
        let Ok(runtime) = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .build()
        else {
            return;
        };
        let waited =
            runtime.block_on(async { tokio::time::timeout(self.handover_max, finished).await });
        if waited.is_err() {
            tracing::warn!(
                waited_ms = self.handover_max.as_millis(),
                "the owner did not finish in time; the group goes on, the checkpoint chain fences"
            );
        }
    }
}

/// Owns partitions without fetching: at their end, and paused.
fn own(consumer: &BaseConsumer<GroupContext>, list: &TopicPartitionList) -> KafkaResult<()> {
    let mut parked = TopicPartitionList::new();
    for element in list.elements() {
        parked.add_partition_offset(element.topic(), element.partition(), KafkaOffset::End)?;
    }
    match consumer.rebalance_protocol() {
        RebalanceProtocol::Cooperative => consumer.incremental_assign(&parked)?,
        _ => consumer.assign(&parked)?,
    }
    consumer.pause(&parked)
}

fn disown(consumer: &BaseConsumer<GroupContext>, list: &TopicPartitionList) -> KafkaResult<()> {
    match consumer.rebalance_protocol() {
        RebalanceProtocol::Cooperative => consumer.incremental_unassign(list),
        _ => consumer.unassign(),
    }
}

fn partitions_of(list: &TopicPartitionList) -> Vec<u32> {
    let mut partitions: Vec<u32> = list
        .elements()
        .iter()
        .filter_map(|element| u32::try_from(element.partition()).ok())
        .collect();
    partitions.sort_unstable();
    partitions
}
