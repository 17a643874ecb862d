//! Topics of others on a real Kafka: every format arrives, garbage is diagnosed and replayed, and neither a kill nor a gap loses or repeats a sample.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod bodies;
mod dead_letters;
mod delivery;
mod formats;

use std::path::Path;
use std::time::{Duration, Instant, SystemTime};

use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use rdkafka::util::Timeout;
use tests::process::{Launch, Tidewatch};

/// How long what was sent may take to be seen. A bound for what hangs, not a measure of speed.
const ARRIVAL_MAX: Duration = Duration::from_secs(90);
const REQUEST_MAX: Duration = Duration::from_secs(30);

/// A cluster, and a first part of names that no other test has.
struct Cluster {
    brokers: String,
    unique: String,
}

impl Cluster {
    /// `None`, said loudly, where there is no broker.
    fn find() -> Option<Self> {
        let brokers = tests::kafka::kafka_for_tests()?;
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
        let unique = format!("f{}", now.unwrap().as_nanos());
        Some(Cluster { brokers, unique })
    }

    /// A name of our own.
    fn name(&self, name: &str) -> String {
        format!("{}-{name}", self.unique)
    }

    fn client(&self) -> ClientConfig {
        let mut config = ClientConfig::new();
        config
            .set("bootstrap.servers", &self.brokers)
            .set("linger.ms", "5");
        config
    }

    /// Creates a topic and answers its full name.
    fn topic(&self, name: &str, partitions: i32) -> String {
        let topic = self.name(name);
        let admin: AdminClient<DefaultClientContext> = self.client().create().unwrap();
        let new = NewTopic::new(&topic, partitions, TopicReplication::Fixed(1));
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
    fn send(&self, topic: &str, values: &[Vec<u8>]) {
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

    /// A start with an embedded log of its own and these sources.
    fn launch(&self, directory: &Path, sources: &str) -> Launch {
        // Samples of any time, and new topics are found at once.
        let config = format!(
            "{}\n[bus]\nbrokers = \"{}\"\ngroup = \"{}\"\n[bus.settings]\n\"topic.metadata.refresh.interval.ms\" = 500\n{sources}",
            tests::FAST_CONFIG,
            self.brokers,
            self.unique,
        );
        Launch::new(directory)
            .config(config)
            .env("TIDEWATCH__PROCESSING__BACKFILL", "true")
    }
}

/// A number that a question answers.
fn number(process: &Tidewatch, sql: &str) -> i64 {
    let rows = process.sql(sql);
    let row = rows[0].as_object().unwrap();
    row.values().next().unwrap().as_i64().unwrap()
}

/// Waits until a question answers a number.
fn wait_for(process: &mut Tidewatch, sql: &str, expected: i64) {
    let deadline = Instant::now() + ARRIVAL_MAX;
    let mut found = number(process, sql);
    while found != expected {
        assert!(
            Instant::now() < deadline,
            "`{sql}` answers {found}, expected {expected}\n{}",
            process.log()
        );
        assert!(process.exited().is_none(), "it ended\n{}", process.log());
        std::thread::sleep(Duration::from_millis(100));
        found = number(process, sql);
    }
}

/// Every sample: metric, labels, time in microseconds, value.
fn samples(process: &Tidewatch) -> Vec<String> {
    let rows = process.sql(
        "SELECT metric, labels, CAST(time AS BIGINT) AS us, value FROM samples ORDER BY metric, series_id, time",
    );
    rows.iter().map(ToString::to_string).collect()
}
