//! The cluster of a test: topics of names that no other test has, records sent to them and read from them.

use std::path::Path;
use std::time::{Duration, Instant, SystemTime};

use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use rdkafka::util::Timeout;
use rdkafka::{ClientConfig, Message, Offset, TopicPartitionList};

use crate::process::Launch;

/// How long a request may take. A bound for what hangs.
pub const REQUEST_MAX: Duration = Duration::from_secs(30);

/// A cluster, and a first part of names that no other test has.
#[derive(Debug)]
pub struct Cluster {
    /// `host:port` of its brokers.
    pub brokers: String,
    unique: String,
}

impl Cluster {
    /// `None`, said loudly, where there is no broker.
    pub fn find() -> Option<Self> {
        let brokers = super::kafka_for_tests()?;
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
        let unique = format!("f{}", now.unwrap().as_nanos());
        Some(Cluster { brokers, unique })
    }

    /// A name of our own.
    pub fn name(&self, name: &str) -> String {
        format!("{}-{name}", self.unique)
    }

    /// What every client of it is set up with.
    pub fn client(&self) -> ClientConfig {
        let mut config = ClientConfig::new();
        config
            .set("bootstrap.servers", &self.brokers)
            .set("linger.ms", "5");
        config
    }

    /// Creates a topic and answers its full name.
    ///
    /// # Panics
    /// If it can't.
    pub fn topic(&self, name: &str, partitions: i32) -> String {
        let topic = self.name(name);
        let admin: AdminClient<DefaultClientContext> = self.client().create().unwrap();
        // Agents give records the times of what they hold, which a test may have chosen long ago.
        let new =
            NewTopic::new(&topic, partitions, TopicReplication::Fixed(1)).set("retention.ms", "-1");
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        let options = AdminOptions::new().operation_timeout(Some(REQUEST_MAX));
        let made = runtime
            .block_on(admin.create_topics([&new], &options))
            .unwrap();
        made[0].as_ref().unwrap();
        topic
    }

    /// Sends values to a topic, one after the other over its partitions, and waits until all are there.
    ///
    /// # Panics
    /// If they can't be sent.
    pub fn send(&self, topic: &str, values: &[Vec<u8>]) {
        let producer: BaseProducer = self.client().create().unwrap();
        for value in values {
            let mut record = BaseRecord::<(), _>::to(topic).payload(value);
            while let Err((error, back)) = producer.send(record) {
                assert!(error.to_string().contains("QueueFull"), "{error}");
                producer.poll(Duration::from_millis(10));
                record = back;
            }
        }
        producer.flush(Timeout::After(REQUEST_MAX)).unwrap();
    }

    /// The values of the first records of a topic's only partition.
    ///
    /// # Panics
    /// If there are fewer.
    pub fn values(&self, topic: &str, number: usize) -> Vec<Vec<u8>> {
        let mut config = self.client();
        config.set("group.id", self.name("values"));
        let consumer: BaseConsumer = config.create().unwrap();
        let mut place = TopicPartitionList::new();
        place
            .add_partition_offset(topic, 0, Offset::Beginning)
            .unwrap();
        consumer.assign(&place).unwrap();
        let deadline = Instant::now() + REQUEST_MAX;
        let mut values = Vec::new();
        while values.len() < number {
            assert!(Instant::now() < deadline, "{topic} has {}", values.len());
            if let Some(record) = consumer.poll(Duration::from_millis(100)) {
                values.push(record.unwrap().payload().unwrap_or_default().to_vec());
            }
        }
        values
    }

    /// A start with an embedded log of its own and these sources.
    pub fn launch(&self, directory: &Path, sources: &str) -> Launch {
        // Samples of any time, and new topics are found at once.
        let config = format!(
            "{}\n[bus]\nbrokers = \"{}\"\ngroup = \"{}\"\n[bus.settings]\n\"topic.metadata.refresh.interval.ms\" = 500\n{sources}",
            crate::FAST_CONFIG,
            self.brokers,
            self.unique,
        );
        Launch::new(directory)
            .config(config)
            .env("TIDEWATCH__PROCESSING__BACKFILL", "true")
    }
}
