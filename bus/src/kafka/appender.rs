//! Appends by one idempotent producer, always to a partition that we name.

use std::sync::{PoisonError, RwLock};
use std::time::{Duration, Instant};

use rdkafka::config::FromClientConfigAndContext;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::{DeliveryFuture, FutureProducer, FutureRecord, Producer};
use schemas::Offset;

use super::client::Logging;
use super::fault;
use super::options::KafkaOptions;
use crate::{BusError, Record};

/// How long an appender waits for room in the producer's queue before it looks again.
const FULL_QUEUE_PAUSE: Duration = Duration::from_millis(20);

pub(super) struct Appender {
    options: KafkaOptions,
    /// Replaced when librdkafka declares it broken for good.
    producer: RwLock<FutureProducer<Logging>>,
}

impl Appender {
    pub(super) fn new(options: &KafkaOptions) -> Result<Self, BusError> {
        let producer = RwLock::new(new_producer(options)?);
        Ok(Appender {
            options: options.clone(),
            producer,
        })
    }

    pub(super) async fn append(
        &self,
        topic: &str,
        partition: u32,
        records: &[Record],
    ) -> Result<Vec<Offset>, BusError> {
        let producer = self
            .producer
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        let result = self.append_with(&producer, topic, partition, records).await;
        if result.is_err() && producer.client().fatal_error().is_some() {
            self.replace(&producer)?;
        }
        result
    }

    async fn append_with(
        &self,
        producer: &FutureProducer<Logging>,
        topic: &str,
        partition: u32,
        records: &[Record],
    ) -> Result<Vec<Offset>, BusError> {
        let fault =
            |error: &KafkaError| fault::of("appending to", topic, &self.options.brokers, error);
        let mut deliveries = Vec::with_capacity(records.len());
        let mut refused = None;
        for record in records {
            match self.enqueue(producer, topic, partition, record).await {
                Ok(delivery) => deliveries.push(delivery),
                Err(error) => {
                    refused = Some(fault(&error));
                    break;
                }
            }
        }
        let mut offsets = Vec::with_capacity(records.len());
        for delivery in deliveries {
            match delivery.await {
                Ok(Ok(delivered)) => match u64::try_from(delivered.offset) {
                    Ok(offset) => offsets.push(Offset(offset)),
                    // The broker knew a retry as a duplicate but not where the first one went.
                    Err(_) => {
                        refused = Some(BusError::Unavailable {
                            action: format!("appending to `{topic}`"),
                            detail: "the broker did not tell the offset".into(),
                        })
                    }
                },
                Ok(Err((error, _))) => refused = refused.or_else(|| Some(fault(&error))),
                Err(_) => refused = refused.or_else(|| Some(fault(&KafkaError::Canceled))),
            }
        }
        match refused {
            Some(error) => Err(error),
            None => Ok(offsets),
        }
    }

    async fn enqueue(
        &self,
        producer: &FutureProducer<Logging>,
        topic: &str,
        partition: u32,
        record: &Record,
    ) -> Result<DeliveryFuture, KafkaError> {
        let partition = i32::try_from(partition)
            .map_err(|_| KafkaError::MessageProduction(RDKafkaErrorCode::UnknownPartition))?;
        let deadline =
            Instant::now() + Duration::from_millis(u64::from(self.options.append_ms_max));
        let mut message: FutureRecord<'_, [u8], [u8]> = FutureRecord::to(topic)
            .partition(partition)
            .payload(&record.value);
        if !record.key.is_empty() {
            message = message.key(&record.key);
        }
        if let Some(time_ms) = record.append_time_ms {
            message = message.timestamp(time_ms);
        }
        if !record.headers.is_empty() {
            let headers = OwnedHeaders::new_with_capacity(record.headers.len());
            message = message.headers(record.headers.iter().fold(
                headers,
                |headers, (name, value)| {
                    headers.insert(Header {
                        key: name,
                        value: Some(value.as_ref()),
                    })
                },
            ));
        }
        loop {
            match producer.send_result(message) {
                Ok(delivery) => return Ok(delivery),
                Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), back))
                    if Instant::now() < deadline =>
                {
                    message = back;
                    tokio::time::sleep(FULL_QUEUE_PAUSE).await;
                }
                Err((error, _)) => return Err(error),
            }
        }
    }

    fn replace(&self, broken: &FutureProducer<Logging>) -> Result<(), BusError> {
        let mut current = self
            .producer
            .write()
            .unwrap_or_else(PoisonError::into_inner);
        // Another append may have replaced it already.
        if current.client().native_ptr() == broken.client().native_ptr() {
            tracing::warn!(error = ?broken.client().fatal_error(), "the kafka producer is broken for good; a new one takes over");
            *current = new_producer(&self.options)?;
        }
        Ok(())
    }
}

fn new_producer(options: &KafkaOptions) -> Result<FutureProducer<Logging>, BusError> {
    FutureProducer::from_config_and_context(&options.producer(), Logging::default())
        .map_err(|error| fault::config(&error))
}
