//! Settings of the Kafka log, and the client configurations made of them.

use std::collections::BTreeMap;

use rdkafka::ClientConfig;
use rdkafka::config::RDKafkaLogLevel;

use super::{MESSAGE_BYTES_MAX, Security};
use crate::BusError;

/// librdkafka settings on which promises rest; `extra` may not touch them.
const FIXED: &[&str] = &[
    "acks",
    "auto.offset.reset",
    "bootstrap.servers",
    "check.crcs",
    "enable.auto.commit",
    "enable.auto.offset.store",
    "enable.idempotence",
    "enable.partition.eof",
    "group.id",
    "isolation.level",
    "metadata.broker.list",
    "partition.assignment.strategy",
    "request.required.acks",
    "transactional.id",
];

/// Settings of the Kafka log.
#[derive(Debug, Clone)]
pub struct KafkaOptions {
    /// `host:port`, separated by commas.
    pub brokers: String,
    /// Names this process in the brokers' logs.
    pub client_id: String,
    /// How long the group waits for a silent member, milliseconds.
    pub session_timeout_ms: u32,
    /// How long a revocation waits for the former owner to finish, milliseconds; at most a third of the session.
    pub handover_ms_max: u32,
    /// How long an append may take before it is answered with `Unavailable`, milliseconds. 20 s: longer than brokers take to choose a new leader, and
    /// short enough that the refusal arrives before a client gives up waiting (Prometheus does after 30 s).
    pub append_ms_max: u32,
    /// How long other requests may take, milliseconds.
    pub request_ms_max: u32,
    /// Fetched ahead of a reader, per partition, KiB; when full, that partition is not fetched.
    pub read_ahead_kib_max: u32,
    /// Topics whose number of partitions is known; `partitions` fails if it is another.
    pub partitions_expected: BTreeMap<String, u32>,
    /// TLS and SASL.
    pub security: Security,
    /// Other librdkafka settings (`group.instance.id`, `socket.keepalive.enable` …), for all clients.
    pub extra: BTreeMap<String, String>,
}

impl KafkaOptions {
    /// The usual settings for some brokers.
    pub fn new(brokers: &str) -> Self {
        KafkaOptions {
            brokers: brokers.to_owned(),
            client_id: "tidewatch".to_owned(),
            session_timeout_ms: 30_000,
            handover_ms_max: 10_000,
            append_ms_max: 20_000,
            request_ms_max: 10_000,
            read_ahead_kib_max: 8 * 1024,
            partitions_expected: BTreeMap::new(),
            security: Security::default(),
            extra: BTreeMap::new(),
        }
    }

    pub(super) fn check(&self) -> Result<(), BusError> {
        if self.brokers.trim().is_empty() {
            return Err(BusError::Config(
                "no Kafka brokers are named; expected `host:port`, separated by commas".into(),
            ));
        }
        if let Some(name) = self
            .extra
            .keys()
            .find(|name| FIXED.contains(&name.as_str()))
        {
            return Err(BusError::Config(format!(
                "the librdkafka setting `{name}` can't be changed: what Tidewatch promises rests on its value; remove it"
            )));
        }
        self.security.check(&self.extra)?;
        if self.handover_ms_max > self.session_timeout_ms / 3 {
            return Err(BusError::Config(format!(
                "a handover of {} ms does not fit into a session of {} ms; it may take a third of it, {} ms",
                self.handover_ms_max,
                self.session_timeout_ms,
                self.session_timeout_ms / 3
            )));
        }
        Ok(())
    }

    /// What all clients share.
    fn base(&self) -> ClientConfig {
        let mut config = ClientConfig::new();
        config
            .set("bootstrap.servers", &self.brokers)
            .set("client.id", &self.client_id)
            // After an outage a client is back within seconds; the defaults back off to ten.
            .set("reconnect.backoff.ms", "100")
            .set("reconnect.backoff.max.ms", "2000")
            .set("topic.metadata.refresh.interval.ms", "60000");
        // Whatever our log shows: why a connection failed is told at this level, and stands in our errors.
        if !matches!(config.log_level, RDKafkaLogLevel::Debug) {
            config.set_log_level(RDKafkaLogLevel::Info);
        }
        self.security.apply(&mut config);
        config
    }

    pub(super) fn producer(&self) -> ClientConfig {
        let mut config = self.base();
        config
            .set("enable.idempotence", "true")
            .set("acks", "all")
            .set("compression.type", "zstd")
            // Waits a little for company: the log compresses batches, and one request costs the broker as much as fifty records.
            .set("linger.ms", "5")
            .set("message.max.bytes", MESSAGE_BYTES_MAX.to_string())
            .set("queue.buffering.max.kbytes", "65536")
            .set("message.timeout.ms", self.append_ms_max.to_string());
        self.with_extra(config)
    }

    pub(super) fn admin(&self) -> ClientConfig {
        self.with_extra(self.base())
    }

    fn consumer(&self) -> ClientConfig {
        let mut config = self.base();
        config
            .set("auto.offset.reset", "error")
            .set("enable.auto.commit", "false")
            .set("enable.auto.offset.store", "false")
            .set("enable.partition.eof", "false")
            .set("allow.auto.create.topics", "false")
            .set("check.crcs", "true")
            .set("isolation.level", "read_committed")
            .set("partition.assignment.strategy", "cooperative-sticky")
            .set("session.timeout.ms", self.session_timeout_ms.to_string())
            .set(
                "heartbeat.interval.ms",
                (self.session_timeout_ms / 10).max(1).to_string(),
            )
            // At least the session, or librdkafka refuses its settings.
            .set(
                "max.poll.interval.ms",
                self.session_timeout_ms
                    .saturating_mul(3)
                    .max(300_000)
                    .to_string(),
            );
        config
    }

    pub(super) fn reader(&self) -> ClientConfig {
        let mut config = self.consumer();
        config
            // librdkafka assigns only with a group's name; this one is never joined and never committed to.
            .set("group.id", format!("{}.readers", self.client_id))
            .set("queued.min.messages", "10000")
            .set(
                "queued.max.messages.kbytes",
                self.read_ahead_kib_max.to_string(),
            )
            // How long a partition rests when its queue is full; the default of 1 s would starve a fast reader.
            .set("fetch.queue.backoff.ms", "20")
            .set("fetch.wait.max.ms", "500")
            .set("fetch.error.backoff.ms", "200");
        self.with_extra(config)
    }

    pub(super) fn member(&self, group: &str) -> ClientConfig {
        let mut config = self.consumer();
        config.set("group.id", group);
        self.with_extra(config)
    }

    pub(super) fn with_extra(&self, mut config: ClientConfig) -> ClientConfig {
        for (name, value) in &self.extra {
            config.set(name, value);
        }
        config
    }
}
