//! Reads partitions by explicit assignment, many through one client, each with its own bounded queue.
//!
//! A client's thread only serves its events; records wait in librdkafka's queue of their partition until a reader takes them. When that is full, librdkafka stops
//! fetching the partition. One client reads a partition once: a second reader of the same partition gets another client.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use async_trait::async_trait;
use rdkafka::config::FromClientConfigAndContext;
use rdkafka::consumer::base_consumer::PartitionQueue;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode};
use rdkafka::message::{BorrowedMessage, Message};
use rdkafka::{Offset as KafkaOffset, TopicPartitionList};
use schemas::Offset;
use tokio::sync::Notify;

use super::client::{self, Logging};
use super::fault;
use super::options::KafkaOptions;
use super::topics::Topics;
use crate::{BusError, LogRecord, PartitionReader};

/// How often a client's events are served, and within which it notices that it is no longer needed.
const SERVE_INTERVAL: Duration = Duration::from_millis(100);
/// A waiting reader looks at its queue this often, should a wake-up be lost.
const WAKE_INTERVAL: Duration = Duration::from_secs(1);

type Consumers = BaseConsumer<Logging>;

/// The shared reading clients.
pub(super) struct Readers {
    options: KafkaOptions,
    clients: Mutex<Vec<Arc<ReadingClient>>>,
}

struct ReadingClient {
    consumer: Arc<Consumers>,
    slots: Mutex<HashMap<(String, i32), Arc<Slot>>>,
}

/// What a reader shares with its client's thread and callbacks.
#[derive(Default)]
struct Slot {
    filled: Notify,
    /// A record came to the client instead of the partition's queue: the reader must fetch again from where it is.
    strayed: AtomicBool,
}

impl Readers {
    pub(super) fn new(options: &KafkaOptions) -> Result<Self, BusError> {
        let first = ReadingClient::start(options)?;
        Ok(Readers {
            options: options.clone(),
            clients: Mutex::new(vec![first]),
        })
    }

    /// A client for questions about topics.
    pub(super) fn client(&self) -> Arc<Consumers> {
        let clients = self.clients.lock().unwrap_or_else(PoisonError::into_inner);
        clients[0].consumer.clone()
    }

    fn take(
        &self,
        topic: &str,
        partition: i32,
    ) -> Result<(Arc<ReadingClient>, Arc<Slot>), BusError> {
        let mut clients = self.clients.lock().unwrap_or_else(PoisonError::into_inner);
        let key = (topic.to_owned(), partition);
        for client in clients.iter() {
            let mut slots = client.slots.lock().unwrap_or_else(PoisonError::into_inner);
            if let std::collections::hash_map::Entry::Vacant(vacant) = slots.entry(key.clone()) {
                let slot = vacant.insert(Arc::default()).clone();
                drop(slots);
                return Ok((client.clone(), slot));
            }
        }
        let client = ReadingClient::start(&self.options)?;
        let slot = Arc::<Slot>::default();
        client
            .slots
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(key, slot.clone());
        clients.push(client.clone());
        Ok((client, slot))
    }
}

impl ReadingClient {
    fn start(options: &KafkaOptions) -> Result<Arc<Self>, BusError> {
        let consumer = Consumers::from_config_and_context(&options.reader(), Logging::default())
            .map_err(|error| fault::config(&error))?;
        let client = Arc::new(ReadingClient {
            consumer: Arc::new(consumer),
            slots: Mutex::default(),
        });
        let served = Arc::downgrade(&client);
        std::thread::Builder::new()
            .name("kafka-reader".into())
            .spawn(move || serve(&served))
            .map_err(|error| BusError::Unavailable {
                action: "starting a Kafka reader's thread".into(),
                detail: error.to_string(),
            })?;
        Ok(client)
    }
}

fn serve(client: &Weak<ReadingClient>) {
    while let Some(served) = client.upgrade() {
        match served.consumer.poll(SERVE_INTERVAL) {
            None => {}
            Some(Err(error)) => client::log_error(&error, ""),
            Some(Ok(message)) => {
                let slots = served.slots.lock().unwrap_or_else(PoisonError::into_inner);
                if let Some(slot) = slots.get(&(message.topic().to_owned(), message.partition())) {
                    slot.strayed.store(true, Ordering::Release);
                    slot.filled.notify_one();
                }
            }
        }
    }
}

/// Reads one partition.
pub(super) struct KafkaReader {
    topics: Topics,
    client: Arc<ReadingClient>,
    slot: Arc<Slot>,
    // `None` only while it is dropped.
    queue: Option<PartitionQueue<Logging>>,
    topic: String,
    partition: i32,
    brokers: String,
    next: u64,
    /// The broker says that `next` is outside the log; to be compared with the true range.
    range_doubted: bool,
    failed: Option<Failure>,
}

/// What is the same again at each call.
enum Failure {
    OutOfRange { start: u64, end: u64 },
    Damaged { detail: String },
}

impl KafkaReader {
    pub(super) fn new(
        readers: Arc<Readers>,
        topics: Topics,
        topic: &str,
        partition: u32,
        next: u64,
    ) -> Result<Self, BusError> {
        let partition = i32::try_from(partition).map_err(|_| BusError::NoTopic {
            topic: topic.to_owned(),
        })?;
        let (client, slot) = readers.take(topic, partition)?;
        let brokers = readers.options.brokers.clone();
        let mut reader = KafkaReader {
            topics,
            client,
            slot,
            queue: None,
            topic: topic.to_owned(),
            partition,
            brokers,
            next,
            range_doubted: false,
            failed: None,
        };
        // Before the assignment, so that no record goes to the client's common queue.
        let mut queue = reader
            .client
            .consumer
            .split_partition_queue(topic, partition)
            .ok_or_else(|| BusError::NoTopic {
                topic: topic.to_owned(),
            })?;
        let slot = reader.slot.clone();
        queue.set_nonempty_callback(move || slot.filled.notify_one());
        reader.queue = Some(queue);
        reader.assign()?;
        Ok(reader)
    }

    fn fault(&self, error: &KafkaError) -> BusError {
        fault::of("reading", &self.topic, &self.brokers, error)
    }

    fn assign(&self) -> Result<(), BusError> {
        let mut list = TopicPartitionList::new();
        let offset = KafkaOffset::Offset(i64::try_from(self.next).unwrap_or(i64::MAX));
        list.add_partition_offset(&self.topic, self.partition, offset)
            .map_err(|error| self.fault(&error))?;
        self.client
            .consumer
            .incremental_assign(&list)
            .map_err(|error| self.fault(&error))
    }

    fn unassign(&self) -> KafkaResult<()> {
        let mut list = TopicPartitionList::new();
        list.add_partition(&self.topic, self.partition);
        self.client.consumer.incremental_unassign(&list)
    }

    /// Fetches again from `next`.
    fn restart(&self) -> Result<(), BusError> {
        self.unassign().map_err(|error| self.fault(&error))?;
        self.assign()
    }

    /// Takes what is queued.
    fn take_queued(&mut self, bytes_max: usize) -> Result<Vec<LogRecord>, BusError> {
        let mut records = Vec::new();
        let mut bytes = 0;
        let Some(queue) = &self.queue else {
            return Ok(records);
        };
        while bytes < bytes_max.max(1) {
            match queue.poll(Duration::ZERO) {
                None => break,
                Some(Ok(message)) => {
                    let Ok(offset) = u64::try_from(message.offset()) else {
                        continue;
                    };
                    // Left over from before a restart.
                    if offset < self.next {
                        continue;
                    }
                    let record = to_record(&message, offset);
                    bytes += record.value.len() + record.key.len();
                    self.next = offset + 1;
                    records.push(record);
                }
                Some(Err(error)) => {
                    let noted = self.note(&error);
                    // What was taken before the error is handed out first; what must not be lost of the error is noted.
                    if records.is_empty() {
                        noted?;
                    }
                    break;
                }
            }
        }
        Ok(records)
    }

    /// Notes an error that stays; tells one that passes.
    fn note(&mut self, error: &KafkaError) -> Result<(), BusError> {
        match error.rdkafka_error_code() {
            Some(RDKafkaErrorCode::AutoOffsetReset | RDKafkaErrorCode::OffsetOutOfRange) => {
                self.range_doubted = true;
                Ok(())
            }
            Some(
                RDKafkaErrorCode::BadMessage
                | RDKafkaErrorCode::BadCompression
                | RDKafkaErrorCode::InvalidMessage,
            ) => {
                self.failed = Some(Failure::Damaged {
                    detail: error.to_string(),
                });
                Ok(())
            }
            _ => Err(self.fault(error)),
        }
    }

    fn told(&self, failure: &Failure) -> BusError {
        let (topic, partition) = (self.topic.clone(), self.partition.unsigned_abs());
        match failure {
            Failure::OutOfRange { start, end } => BusError::OutOfRange {
                topic,
                partition,
                asked: self.next,
                start: *start,
                end: *end,
            },
            Failure::Damaged { detail } => BusError::Damaged {
                topic,
                partition,
                offset: self.next,
                detail: detail.clone(),
            },
        }
    }

    async fn check_range(&mut self) -> Result<(), BusError> {
        let range = self
            .topics
            .retained(&self.topic, self.partition.unsigned_abs())
            .await?;
        if (range.start.0..=range.end.0).contains(&self.next) {
            // The doubt was passing: a follower, or the log grew meanwhile.
            self.restart()?;
        } else {
            self.failed = Some(Failure::OutOfRange {
                start: range.start.0,
                end: range.end.0,
            });
        }
        self.range_doubted = false;
        Ok(())
    }
}

#[async_trait]
impl PartitionReader for KafkaReader {
    async fn next(&mut self, bytes_max: usize) -> Result<Vec<LogRecord>, BusError> {
        loop {
            if let Some(failure) = &self.failed {
                return Err(self.told(failure));
            }
            if self.range_doubted {
                self.check_range().await?;
                continue;
            }
            if self.slot.strayed.swap(false, Ordering::AcqRel) {
                self.restart()?;
            }
            let records = self.take_queued(bytes_max)?;
            if !records.is_empty() {
                return Ok(records);
            }
            if self.failed.is_none() && !self.range_doubted {
                // Woken or not, the queue is looked at again.
                let _ = tokio::time::timeout(WAKE_INTERVAL, self.slot.filled.notified()).await;
            }
        }
    }
}

impl Drop for KafkaReader {
    fn drop(&mut self) {
        // In this order: a later reader of the partition gets the same librdkafka queue, and must not lose its wake-up to our leaving.
        self.queue = None;
        if let Err(error) = self.unassign() {
            tracing::debug!(%error, topic = self.topic, partition = self.partition, "a kafka reader could not give its partition back");
        }
        let mut slots = self
            .client
            .slots
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        slots.remove(&(std::mem::take(&mut self.topic), self.partition));
    }
}

fn to_record(message: &BorrowedMessage<'_>, offset: u64) -> LogRecord {
    LogRecord {
        offset: Offset(offset),
        append_time_ms: message.timestamp().to_millis().unwrap_or(0),
        key: super::copied(message.key()),
        value: super::copied(message.payload()),
        headers: super::headers(message),
    }
}
