//! What is asked about topics: partitions, ranges, the cluster's id; and their creation.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::config::FromClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use schemas::NextOffset;

use super::client::Logging;
use super::options::KafkaOptions;
use super::{MESSAGE_BYTES_MAX, fault};
use crate::{BusError, Retained, TopicSpec};

/// How long an answer about partitions is believed.
const PARTITIONS_KEPT: Duration = Duration::from_secs(60);
/// How long a new topic may take to be known everywhere.
const CREATION_MAX: Duration = Duration::from_secs(15);
/// How long a broker may take to answer before it counts as away: less than a probe of readiness repeats.
const HEALTH_MAX: Duration = Duration::from_secs(3);
/// How long a partition without a leader is left alone before it is asked again.
const LEADER_PAUSE: Duration = Duration::from_millis(50);

type Client = Arc<BaseConsumer<Logging>>;

#[derive(Clone)]
pub(super) struct Topics {
    brokers: String,
    request_max: Duration,
    // A consumer: its metadata requests never create a topic.
    client: Client,
    known: Arc<Mutex<HashMap<String, (u32, Instant)>>>,
}

impl Topics {
    pub(super) fn new(options: &KafkaOptions, client: Client) -> Self {
        Topics {
            brokers: options.brokers.clone(),
            request_max: Duration::from_millis(u64::from(options.request_ms_max)),
            client,
            known: Arc::default(),
        }
    }

    /// Number of partitions, as known a minute ago or newer.
    pub(super) async fn partitions(&self, topic: &str) -> Result<u32, BusError> {
        let known = self
            .known
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .get(topic)
            .copied();
        match known {
            Some((count, asked)) if asked.elapsed() < PARTITIONS_KEPT => Ok(count),
            Some((count, _)) => match self.ask_partitions(topic).await {
                // An outage must not be told by another error than the append's own.
                Err(BusError::Unavailable { .. }) => Ok(count),
                asked => asked,
            },
            None => self.ask_partitions(topic).await,
        }
    }

    /// Number of partitions, asked now.
    pub(super) async fn ask_partitions(&self, topic: &str) -> Result<u32, BusError> {
        let name = topic.to_owned();
        let found = self
            .blocking(
                "asking for the partitions of",
                topic,
                move |client, timeout| {
                    let metadata = client.fetch_metadata(Some(&name), timeout)?;
                    let topic = metadata
                        .topics()
                        .iter()
                        .find(|topic| topic.name() == name)
                        .ok_or(KafkaError::MetadataFetch(RDKafkaErrorCode::UnknownTopic))?;
                    match topic.error() {
                        Some(error) => Err(KafkaError::MetadataFetch(error.into())),
                        None => Ok(topic.partitions().len()),
                    }
                },
            )
            .await?;
        let found = u32::try_from(found).unwrap_or(u32::MAX);
        if found == 0 {
            return Err(BusError::NoTopic {
                topic: topic.to_owned(),
            });
        }
        self.known
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(topic.to_owned(), (found, Instant::now()));
        Ok(found)
    }

    /// Whether a broker answers, and every partition of a topic has a leader.
    pub(super) async fn check(&self, topic: &str) -> Result<(), BusError> {
        let (name, client) = (topic.to_owned(), self.client.clone());
        let asked = tokio::task::spawn_blocking(move || {
            let metadata = client.fetch_metadata(Some(&name), HEALTH_MAX)?;
            let errors = metadata.topics().iter().flat_map(|topic| {
                let own = topic.error();
                own.into_iter()
                    .chain(topic.partitions().iter().filter_map(|p| p.error()))
            });
            match errors.map(RDKafkaErrorCode::from).find(|code| {
                // The leader takes appends; a follower that is away is the brokers' business.
                *code != RDKafkaErrorCode::ReplicaNotAvailable
            }) {
                Some(code) => Err(KafkaError::MetadataFetch(code)),
                None => Ok(()),
            }
        });
        asked
            .await
            .map_err(|error| fault::thread(&error))?
            .map_err(|error| self.fault("asking for the state of", topic, &error))
    }

    pub(super) async fn retained(&self, topic: &str, partition: u32) -> Result<Retained, BusError> {
        let name = topic.to_owned();
        let partition = i32::try_from(partition).unwrap_or(i32::MAX);
        const ACTION: &str = "asking for the range of";
        let asked = self.blocking(ACTION, topic, move |client, timeout| {
            client.fetch_watermarks(&name, partition, timeout)
        });
        let (start, end) = match asked.await {
            // A client whose metadata an outage has aged says so of any topic; whether it is there, the broker knows.
            Err(BusError::NoTopic { .. }) => {
                self.ask_partitions(topic).await?;
                return Err(BusError::Unavailable {
                    action: format!("{ACTION} `{topic}`"),
                    detail: "the client does not know the leaders of its partitions yet".into(),
                });
            }
            asked => asked?,
        };
        Ok(Retained {
            start: NextOffset(start.try_into().unwrap_or(0)),
            end: NextOffset(end.try_into().unwrap_or(0)),
        })
    }

    pub(super) async fn cluster_id(&self) -> Result<String, BusError> {
        self.blocking(
            "asking for the cluster of",
            "the group",
            |client, timeout| {
                client
                    .client()
                    .fetch_cluster_id(timeout)
                    .ok_or(KafkaError::MetadataFetch(
                        RDKafkaErrorCode::BrokerTransportFailure,
                    ))
            },
        )
        .await
    }

    pub(super) async fn create(
        &self,
        options: &KafkaOptions,
        specs: &[TopicSpec],
    ) -> Result<(), BusError> {
        let mut missing = Vec::new();
        for spec in specs {
            match self.ask_partitions(&spec.name).await {
                Ok(found) if found == spec.partitions => {}
                Ok(found) => {
                    return Err(BusError::PartitionCount {
                        topic: spec.name.clone(),
                        expected: spec.partitions,
                        found,
                    });
                }
                Err(BusError::NoTopic { .. }) => missing.push(spec),
                Err(error) => return Err(error),
            }
        }
        if missing.is_empty() {
            return Ok(());
        }
        let admin: AdminClient<DefaultClientContext> =
            AdminClient::from_config(&options.admin()).map_err(|error| fault::config(&error))?;
        let bytes_max = MESSAGE_BYTES_MAX.to_string();
        let retention: Vec<String> = missing
            .iter()
            .map(|spec| spec.retention_ms.to_string())
            .collect();
        let new: Vec<NewTopic<'_>> = missing
            .iter()
            .zip(&retention)
            .map(|(spec, retention_ms)| {
                // -1: as many replicas as the brokers' own default says.
                NewTopic::new(
                    &spec.name,
                    i32::try_from(spec.partitions).unwrap_or(i32::MAX),
                    TopicReplication::Fixed(-1),
                )
                .set(
                    "message.timestamp.type",
                    if spec.log_append_time {
                        "LogAppendTime"
                    } else {
                        "CreateTime"
                    },
                )
                .set("retention.ms", retention_ms)
                .set("max.message.bytes", &bytes_max)
            })
            .collect();
        let request = AdminOptions::new()
            .request_timeout(Some(self.request_max))
            .operation_timeout(Some(self.request_max));
        let results = admin.create_topics(&new, &request).await.map_err(|error| {
            fault::of(
                "creating topics like",
                &missing[0].name,
                &self.brokers,
                &error,
            )
        })?;
        for result in results {
            match result {
                // Another process was faster; its number of partitions is compared below.
                Ok(_) | Err((_, RDKafkaErrorCode::TopicAlreadyExists)) => {}
                Err((topic, code)) => {
                    return Err(fault::of(
                        "creating",
                        &topic,
                        &self.brokers,
                        &KafkaError::AdminOp(code),
                    ));
                }
            }
        }
        let deadline = Instant::now() + CREATION_MAX;
        for spec in missing {
            let found = loop {
                match self.ask_partitions(&spec.name).await {
                    Err(BusError::NoTopic { .. } | BusError::Unavailable { .. })
                        if Instant::now() < deadline =>
                    {
                        tokio::time::sleep(Duration::from_millis(50)).await
                    }
                    result => break result?,
                }
            };
            if found != spec.partitions {
                return Err(BusError::PartitionCount {
                    topic: spec.name.clone(),
                    expected: spec.partitions,
                    found,
                });
            }
        }
        Ok(())
    }

    fn fault(&self, action: &str, topic: &str, error: &KafkaError) -> BusError {
        let failure = self.client.context().failure();
        fault::after(action, topic, &self.brokers, error, failure)
    }

    /// Asks on a blocking thread; again while a leader is being chosen, as long as a request may take.
    pub(super) async fn blocking<T: Send + 'static>(
        &self,
        action: &str,
        topic: &str,
        ask: impl Fn(&BaseConsumer<Logging>, Duration) -> Result<T, KafkaError> + Send + Sync + 'static,
    ) -> Result<T, BusError> {
        let deadline = Instant::now() + self.request_max;
        let ask = Arc::new(ask);
        loop {
            let (client, ask, timeout) = (self.client.clone(), ask.clone(), self.request_max);
            let answer = tokio::task::spawn_blocking(move || ask(&client, timeout))
                .await
                .map_err(|error| fault::thread(&error))?;
            match answer {
                Ok(answer) => {
                    self.client.context().forget_failure();
                    return Ok(answer);
                }
                Err(error) if fault::passes_soon(&error) && Instant::now() < deadline => {
                    tokio::time::sleep(LEADER_PAUSE).await
                }
                Err(error) => return Err(self.fault(action, topic, &error)),
            }
        }
    }
}
