//! The log of many processes: Apache Kafka, through librdkafka.
//!
//! Four kinds of client, apart from each other so that none waits for another: one idempotent producer (`appender`); shared consumers that read partitions
//! by explicit assignment (`reader`); per joined group a consumer that fetches nothing and only tells who owns what (`group`); and per source of foreign topics one that its group
//! tells what to fetch (`foreign`).
//! Group offsets are advisory; nothing here ever starts "at the latest" by itself: an offset that is gone is an error with the true range.

mod appender;
mod client;
mod fault;
mod foreign;
mod group;
mod inspect;
mod options;
mod reader;
mod repeats;
mod security;
mod topics;

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use rdkafka::message::{BorrowedMessage, Headers, Message};
use schemas::{NextOffset, Offset};

pub use foreign::{
    CommitWait, ForeignOptions, ForeignReader, ForeignRecord, Portion, Progress, Start, is_pattern,
};
pub use inspect::{BROKER_VERSION_MIN, BrokerVersion, Cluster, TopicSettingFault, TopicState};
pub use options::KafkaOptions;
pub use security::{Certificate, HAS_TLS, Mechanism, Sasl, Secret, Security, Tls};

use crate::{
    Bus, BusError, HeaderName, Membership, PartitionReader, Record, Retained, TopicSpec,
    check_sizes,
};
use appender::Appender;
use group::KafkaMember;
use reader::{KafkaReader, Readers};
use topics::Topics;

/// Largest message that clients send and topics take, bytes: a record with its envelope and some room for framing.
const MESSAGE_BYTES_MAX: usize = crate::RECORD_BYTES_MAX + 2 * crate::ENVELOPE_BYTES_MAX;

/// A log in Kafka. See the module.
pub struct KafkaBus {
    options: KafkaOptions,
    appender: Appender,
    readers: Arc<Readers>,
    topics: Topics,
}

impl KafkaBus {
    /// Prepares the clients. They connect by themselves; a broker that is away is told by the first call that needs it.
    ///
    /// # Errors
    /// `Config` for settings that are refused; `NoTls` for those that need the feature `kafka-tls`, in a program without it.
    pub fn connect(options: KafkaOptions) -> Result<Arc<KafkaBus>, BusError> {
        options.check()?;
        options.security.check_files()?;
        let readers = Arc::new(Readers::new(&options)?);
        let appender = Appender::new(&options)?;
        let topics = Topics::new(&options, readers.client());
        Ok(Arc::new(KafkaBus {
            options,
            appender,
            readers,
            topics,
        }))
    }

    async fn check_partition(&self, topic: &str, partition: u32) -> Result<(), BusError> {
        let found = self.topics.partitions(topic).await?;
        if partition >= found {
            return Err(BusError::PartitionCount {
                topic: topic.to_owned(),
                expected: partition + 1,
                found,
            });
        }
        Ok(())
    }
}

/// The headers of a message, in order.
fn headers(message: &BorrowedMessage<'_>) -> Vec<(HeaderName, Bytes)> {
    let headers = message.headers().map(|headers| {
        headers
            .iter()
            .map(|header| (header.key.to_owned().into(), copied(header.value)))
            .collect()
    });
    headers.unwrap_or_default()
}

fn copied(bytes: Option<&[u8]>) -> Bytes {
    bytes.map(Bytes::copy_from_slice).unwrap_or_default()
}

#[async_trait]
impl Bus for KafkaBus {
    /// `kafka:CLUSTER-ID/TOPIC`. librdkafka's safe interface does not tell a topic's id, so a topic that was deleted and created again under its name has
    /// the same id here; it is found by its range, because its offsets begin at 0 again.
    async fn log_id(&self, topic: &str) -> Result<String, BusError> {
        self.topics.partitions(topic).await?;
        let cluster = self.topics.cluster_id().await?;
        Ok(format!("kafka:{cluster}/{topic}"))
    }

    async fn partitions(&self, topic: &str) -> Result<u32, BusError> {
        let found = self.topics.ask_partitions(topic).await?;
        match self.options.partitions_expected.get(topic) {
            Some(expected) if *expected != found => Err(BusError::PartitionCount {
                topic: topic.to_owned(),
                expected: *expected,
                found,
            }),
            _ => Ok(found),
        }
    }

    async fn health(&self, topic: &str) -> Result<(), BusError> {
        self.topics.check(topic).await
    }

    async fn create_topics(&self, topics: &[TopicSpec]) -> Result<(), BusError> {
        self.topics.create(&self.options, topics).await
    }

    async fn append(
        &self,
        topic: &str,
        partition: u32,
        records: Vec<Record>,
    ) -> Result<Vec<Offset>, BusError> {
        check_sizes(topic, &records)?;
        self.check_partition(topic, partition).await?;
        self.appender.append(topic, partition, &records).await
    }

    async fn retained(&self, topic: &str, partition: u32) -> Result<Retained, BusError> {
        self.check_partition(topic, partition).await?;
        self.topics.retained(topic, partition).await
    }

    async fn reader(
        &self,
        topic: &str,
        partition: u32,
        from: NextOffset,
    ) -> Result<Box<dyn PartitionReader>, BusError> {
        let Retained { start, end } = self.retained(topic, partition).await?;
        if from < start || from > end {
            return Err(BusError::OutOfRange {
                topic: topic.to_owned(),
                partition,
                asked: from.0,
                start: start.0,
                end: end.0,
            });
        }
        Ok(Box::new(KafkaReader::new(
            self.readers.clone(),
            self.topics.clone(),
            topic,
            partition,
            from.0,
        )?))
    }

    async fn join(&self, topic: &str, group: &str) -> Result<Box<dyn Membership>, BusError> {
        self.topics.partitions(topic).await?;
        Ok(Box::new(KafkaMember::join(&self.options, topic, group)?))
    }

    // Kafka keeps its own retention.
    async fn allow_trim(
        &self,
        _topic: &str,
        _partition: u32,
        _below: NextOffset,
    ) -> Result<(), BusError> {
        Ok(())
    }
}

#[cfg(test)]
mod tests;
