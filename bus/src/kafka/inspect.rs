//! What is asked of a cluster when someone looks for a fault: brokers and their version, topics and their settings, a group's progress. Changes nothing.

use std::collections::BTreeMap;
use std::time::Duration;

use rdkafka::TopicPartitionList;
use rdkafka::admin::{AdminClient, AdminOptions, ResourceSpecifier};
use rdkafka::client::DefaultClientContext;
use rdkafka::config::{FromClientConfig, FromClientConfigAndContext};
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaError;
use schemas::NextOffset;

use super::client::Logging;
use super::{KafkaBus, MESSAGE_BYTES_MAX, fault};
use crate::BusError;

/// The oldest brokers that do what we need, `major.minor`. 2.1: the first that store zstd, which the appender sends.
pub const BROKER_VERSION_MIN: (u32, u32) = (2, 1);

/// A cluster, as its brokers tell it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cluster {
    /// Its id.
    pub id: String,
    /// `host:port` of each broker.
    pub brokers: Vec<String>,
    /// The version of one of them.
    pub version: BrokerVersion,
}

/// What a broker's settings tell of its version: Kafka has no request that names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BrokerVersion {
    /// The protocol that the brokers of the cluster speak, up to Kafka 3: `major.minor`.
    Protocol(u32, u32),
    /// 4.0 or later, which has that setting no more.
    AtLeastFour,
    /// The settings tell neither; perhaps it is another make of broker.
    Unknown,
}

impl BrokerVersion {
    /// Whether it does what we need; `None` if that is not known.
    pub fn is_usable(self) -> Option<bool> {
        match self {
            BrokerVersion::Protocol(major, minor) => Some((major, minor) >= BROKER_VERSION_MIN),
            BrokerVersion::AtLeastFour => Some(true),
            BrokerVersion::Unknown => None,
        }
    }

    /// Reads it from a broker's settings.
    fn of(settings: &BTreeMap<String, String>) -> BrokerVersion {
        // "3.7-IV4", "2.1".
        let protocol = settings
            .get("inter.broker.protocol.version")
            .and_then(|text| {
                let mut numbers = text.split('-').next()?.split('.').map(str::parse);
                Some((numbers.next()?.ok()?, numbers.next()?.ok()?))
            });
        match protocol {
            Some((major, minor)) => BrokerVersion::Protocol(major, minor),
            // Came with 3.8, where the other still was.
            None if settings.contains_key("compression.zstd.level") => BrokerVersion::AtLeastFour,
            None => BrokerVersion::Unknown,
        }
    }
}

/// A topic as it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TopicState {
    /// How many partitions it has.
    pub partitions: u32,
    /// Partitions that nobody leads at the moment: they can't be read or written.
    pub leaderless: Vec<u32>,
    /// Its settings in force, by Kafka's names.
    pub settings: BTreeMap<String, String>,
}

/// A setting of a topic that is not what we need.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TopicSettingFault {
    /// Kafka's name of it.
    pub setting: &'static str,
    /// What it is.
    pub found: String,
    /// What it has to be.
    pub expected: String,
    /// What comes of it.
    pub consequence: &'static str,
}

impl TopicState {
    /// The settings that break a promise. Retention is not among them: that is a choice.
    pub fn faults(&self) -> Vec<TopicSettingFault> {
        let mut faults = Vec::new();
        let mut check =
            |setting, expected: String, consequence, fits: &dyn Fn(&str) -> bool| match self
                .settings
                .get(setting)
            {
                Some(found) if !fits(found) => faults.push(TopicSettingFault {
                    setting,
                    found: found.clone(),
                    expected,
                    consequence,
                }),
                _ => {}
            };
        check(
            "message.timestamp.type",
            "LogAppendTime".to_owned(),
            "windows would close by the senders' clocks",
            &|found| found == "LogAppendTime",
        );
        check(
            "cleanup.policy",
            "delete".to_owned(),
            "records would be removed by their keys, before they are processed",
            &|found| found == "delete",
        );
        check(
            "max.message.bytes",
            MESSAGE_BYTES_MAX.to_string(),
            "large requests would be refused",
            &|found| {
                found
                    .parse()
                    .is_ok_and(|bytes: usize| bytes >= MESSAGE_BYTES_MAX)
            },
        );
        faults
    }
}

impl KafkaBus {
    /// The cluster behind the brokers of the settings.
    ///
    /// # Errors
    /// `Unavailable` if none of them answers, `Config` if they refuse us.
    pub async fn cluster(&self) -> Result<Cluster, BusError> {
        let id = self.topics.cluster_id().await?;
        let brokers = self
            .topics
            .blocking("asking for the brokers of", "", |client, timeout| {
                // A topic that is never there: without one, all topics of the cluster are told.
                let metadata = client.fetch_metadata(Some("-"), timeout)?;
                Ok(metadata
                    .brokers()
                    .iter()
                    .map(|broker| (broker.id(), format!("{}:{}", broker.host(), broker.port())))
                    .collect::<Vec<_>>())
            })
            .await?;
        let version = match brokers.first() {
            Some((id, _)) => match self.settings(ResourceSpecifier::Broker(*id)).await {
                Ok(settings) => BrokerVersion::of(&settings),
                // The right to read the brokers' settings is not needed for anything else.
                Err(BusError::Config(_)) => BrokerVersion::Unknown,
                Err(error) => return Err(error),
            },
            None => BrokerVersion::Unknown,
        };
        Ok(Cluster {
            id,
            brokers: brokers.into_iter().map(|(_, address)| address).collect(),
            version,
        })
    }

    /// A topic as it is, whatever is expected of it.
    ///
    /// # Errors
    /// `NoTopic`; `Unavailable`; `Config` if we are not allowed to ask.
    pub async fn topic_state(&self, topic: &str) -> Result<TopicState, BusError> {
        let partitions = self.topics.ask_partitions(topic).await?;
        let name = topic.to_owned();
        let leaderless = self
            .topics
            .blocking(
                "asking for the leaders of",
                topic,
                move |client, timeout| {
                    let metadata = client.fetch_metadata(Some(&name), timeout)?;
                    let partitions = metadata
                        .topics()
                        .iter()
                        .flat_map(|topic| topic.partitions());
                    Ok(partitions
                        .filter(|partition| partition.leader() < 0)
                        .filter_map(|partition| u32::try_from(partition.id()).ok())
                        .collect())
                },
            )
            .await?;
        let settings = self.settings(ResourceSpecifier::Topic(topic)).await?;
        Ok(TopicState {
            partitions,
            leaderless,
            settings,
        })
    }

    /// How far a group says that it has processed each partition; `None` where it has told nothing yet. Does not join it.
    ///
    /// # Errors
    /// `NoTopic`; `Unavailable`; `Config` if we are not allowed to ask.
    pub async fn group_progress(
        &self,
        topic: &str,
        group: &str,
    ) -> Result<Vec<Option<NextOffset>>, BusError> {
        let count = self.topics.ask_partitions(topic).await?;
        let refused = |error: &KafkaError| {
            fault::of(
                "asking for the progress in",
                topic,
                &self.options.brokers,
                error,
            )
        };
        let consumer: BaseConsumer<Logging> =
            BaseConsumer::from_config_and_context(&self.options.member(group), Logging::default())
                .map_err(|error| fault::config(&error))?;
        let mut asked = TopicPartitionList::new();
        for partition in 0..count {
            asked.add_partition(topic, i32::try_from(partition).unwrap_or(i32::MAX));
        }
        let timeout = Duration::from_millis(u64::from(self.options.request_ms_max));
        let told = tokio::task::spawn_blocking(move || consumer.committed_offsets(asked, timeout))
            .await
            .map_err(|error| fault::thread(&error))?
            .map_err(|error| refused(&error))?;
        let progress = |partition: u32| {
            let element = told.find_partition(topic, i32::try_from(partition).ok()?)?;
            let offset = element.offset().to_raw()?;
            u64::try_from(offset).ok().map(NextOffset)
        };
        Ok((0..count).map(progress).collect())
    }

    async fn settings(
        &self,
        of: ResourceSpecifier<'_>,
    ) -> Result<BTreeMap<String, String>, BusError> {
        let name = match of {
            ResourceSpecifier::Topic(topic) => topic.to_owned(),
            ResourceSpecifier::Group(group) => group.to_owned(),
            ResourceSpecifier::Broker(id) => format!("broker {id}"),
        };
        let failed = |error: &KafkaError| {
            fault::of(
                "asking for the settings of",
                &name,
                &self.options.brokers,
                error,
            )
        };
        let admin: AdminClient<DefaultClientContext> =
            AdminClient::from_config(&self.options.admin())
                .map_err(|error| fault::config(&error))?;
        let timeout = Duration::from_millis(u64::from(self.options.request_ms_max));
        let request = AdminOptions::new().request_timeout(Some(timeout));
        let told = admin
            .describe_configs([&of], &request)
            .await
            .map_err(|error| failed(&error))?;
        let mut settings = BTreeMap::new();
        for resource in told {
            let resource = resource.map_err(|code| failed(&KafkaError::AdminOp(code)))?;
            settings.extend(
                resource
                    .entries
                    .into_iter()
                    .filter_map(|entry| Some((entry.name, entry.value?))),
            );
        }
        Ok(settings)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect()
    }

    #[test]
    fn a_version_is_read_from_what_brokers_tell() {
        for (told, version, usable) in [
            (
                &[("inter.broker.protocol.version", "3.7-IV4")][..],
                BrokerVersion::Protocol(3, 7),
                Some(true),
            ),
            (
                &[("inter.broker.protocol.version", "2.0-IV1")],
                BrokerVersion::Protocol(2, 0),
                Some(false),
            ),
            (
                &[("inter.broker.protocol.version", "2.1")],
                BrokerVersion::Protocol(2, 1),
                Some(true),
            ),
            (
                &[("compression.zstd.level", "3")],
                BrokerVersion::AtLeastFour,
                Some(true),
            ),
            (
                &[("inter.broker.protocol.version", "x")],
                BrokerVersion::Unknown,
                None,
            ),
            (&[], BrokerVersion::Unknown, None),
        ] {
            let found = BrokerVersion::of(&settings(told));
            assert_eq!((found, found.is_usable()), (version, usable), "{told:?}");
        }
    }

    #[test]
    fn each_setting_that_breaks_a_promise_is_told() {
        let state = |pairs| TopicState {
            partitions: 1,
            leaderless: Vec::new(),
            settings: settings(pairs),
        };
        let good = [
            ("message.timestamp.type", "LogAppendTime"),
            ("cleanup.policy", "delete"),
            ("max.message.bytes", "5000000"),
        ];
        assert_eq!(state(&good).faults(), []);
        let bad = [
            ("message.timestamp.type", "CreateTime"),
            ("cleanup.policy", "compact"),
            ("max.message.bytes", "1048588"),
        ];
        let found: Vec<_> = state(&bad)
            .faults()
            .into_iter()
            .map(|fault| fault.setting)
            .collect();
        assert_eq!(
            found,
            [
                "message.timestamp.type",
                "cleanup.policy",
                "max.message.bytes"
            ]
        );
    }
}
