//! `docker compose up` for real: healthy, hardened, fed by a Kafka client, scaled, one instance killed, taken down and up again; nothing is lost.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bus::kafka::{KafkaBus, KafkaOptions};
use bus::{Bus, Record};
use schemas::topics::{FORMAT_BATCH, HEADER_FORMAT};
use schemas::{BatchBuilder, Kind, Labels, NextOffset, Resource, Topics, partition_of};
use serde_json::{Value, json};
use tests::compose::{Services, docker, try_docker};
use tokio::runtime::Runtime;

/// As `docker-compose.yml` has it.
const PARTITIONS: u32 = 8;
/// Hosts of the fleet: enough that every partition has some.
const HOSTS: u32 = 40;
/// How long an announced anomaly may take to reach a consumer.
const ANOMALY_TIMEOUT: Duration = Duration::from_secs(90);
/// How much is read of a topic at once.
const READ_BYTES: usize = 1 << 20;
/// The metric with a spike in it.
const PLANTED: &str = "planted";

/// A Kafka client that publishes samples and keeps the book of what the brokers acknowledged.
struct Client {
    runtime: Runtime,
    bus: Arc<KafkaBus>,
    topics: Topics,
    last_time_us: i64,
    samples: u64,
    total: f64,
}

impl Client {
    fn connect(brokers: &str) -> Self {
        let runtime = Runtime::new().unwrap();
        let bus = {
            let _inside = runtime.enter();
            KafkaBus::connect(KafkaOptions::new(brokers)).unwrap()
        };
        Client {
            runtime,
            bus,
            topics: Topics::new("tidewatch"),
            last_time_us: 0,
            samples: 0,
            total: 0.0,
        }
    }

    /// Publishes a sample of each host, at the present time, and waits until they are durable.
    fn publish(&mut self) {
        let since_1970 = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
        let now_us = i64::try_from(since_1970.as_micros()).unwrap();
        self.last_time_us = now_us.max(self.last_time_us + 1);
        for host in 0..HOSTS {
            let value = f64::from(host) + self.samples as f64;
            self.append("compose", host, self.last_time_us, value);
            self.samples += 1;
            self.total += value;
        }
    }

    fn append(&self, metric: &str, host: u32, time_us: i64, value: f64) {
        let labels = Labels::try_new([("host.name", format!("fleet-{host:02}"))]).unwrap();
        let hash = Resource::of(&labels).hash64();
        let mut batch = BatchBuilder::default();
        let (metric, labels) = (batch.metric(metric), batch.label_set(&labels));
        batch.push(metric, labels, Kind::Gauge, time_us, value);
        let record = Record {
            key: hash.to_be_bytes().to_vec().into(),
            value: batch.finish().unwrap().encode().unwrap().into(),
            headers: vec![(HEADER_FORMAT.into(), FORMAT_BATCH.into())],
            append_time_ms: None,
        };
        let partition = partition_of(hash, PARTITIONS);
        let topic = self.topics.samples();
        let appended = self.bus.append(&topic, partition, vec![record]);
        self.runtime.block_on(appended).unwrap();
    }

    /// A series that hardly moves, and then does.
    fn plant_an_anomaly(&self) {
        let since_1970 = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
        let now_us = i64::try_from(since_1970.as_micros()).unwrap();
        for second in 0..30 {
            let value = if second == 29 {
                1e6
            } else {
                100.0 + f64::from(second % 3)
            };
            let time_us = now_us - 30_000_000 + i64::from(second) * 1_000_000;
            self.append(PLANTED, 7, time_us, value);
        }
    }

    /// The event of the planted anomaly, as a consumer of the topic gets it.
    fn consume_the_anomaly(&self) -> Value {
        let topic = self.topics.anomalies();
        let found = async {
            let readers = (0..PARTITIONS).map(|partition| self.consume(&topic, partition));
            let first = futures::future::select_all(readers.map(Box::pin));
            tokio::time::timeout(ANOMALY_TIMEOUT, first).await
        };
        self.runtime.block_on(found).unwrap().0
    }

    async fn consume(&self, topic: &str, partition: u32) -> Value {
        let start = self.bus.retained(topic, partition).await.unwrap().start;
        let mut reader = self.bus.reader(topic, partition, start).await.unwrap();
        loop {
            for record in reader.next(READ_BYTES).await.unwrap() {
                let event: Value = serde_json::from_slice(&record.value).unwrap();
                if event["metric"] == PLANTED {
                    return event;
                }
            }
        }
    }

    /// Count, distinct pairs of series and time, and sum of all that was published.
    fn book(&self) -> Value {
        json!({ "samples": self.samples, "pairs": self.samples, "total": self.total })
    }
}

/// As [`Client::book`], by SQL.
fn archived(services: &Services) -> Value {
    let rows = services.sql(
        "SELECT count(*) AS samples, count(DISTINCT concat(series_id, time)) AS pairs, sum(value) AS total FROM samples WHERE metric = 'compose'",
    );
    rows.and_then(|rows| rows.into_iter().next())
        .unwrap_or_default()
}

/// How many partitions each instance runs, fewest first.
fn shares(services: &Services) -> Vec<usize> {
    let instances = services.instances();
    let mut shares: Vec<usize> = instances
        .iter()
        .map(|id| services.partitions_of(id))
        .collect();
    shares.sort_unstable();
    shares
}

fn check_hardening(services: &Services) {
    let id = &services.instances()[0];
    let told = docker(&[
        "inspect",
        "--format",
        "{{.HostConfig.ReadonlyRootfs}} {{.HostConfig.CapDrop}} {{.HostConfig.SecurityOpt}} {{.Config.User}} {{.Config.StopSignal}}",
        id,
    ]);
    assert_eq!(
        told.trim(),
        "true [ALL] [no-new-privileges:true] 10744:10744 SIGTERM"
    );
    let written = try_docker(&["exec", id, "touch", "/usr/local/bin/probe"]);
    assert!(
        !written.status.success(),
        "the root file system is writable"
    );
    let every_address = docker(&[
        "ps",
        "--filter",
        "name=tidewatch-under-test",
        "--format",
        "{{.Ports}}",
    ]);
    for published in every_address
        .split([',', '\n'])
        .filter(|port| port.contains("->"))
    {
        assert!(
            published.trim().starts_with("127.0.0.1:"),
            "`{published}` can be reached from other machines"
        );
    }
    let version = docker(&["exec", id, "tidewatch", "version"]);
    assert_eq!(
        version.lines().next(),
        Some(concat!("tidewatch ", env!("CARGO_PKG_VERSION")))
    );
}

#[test]
fn a_fleet_of_containers_shares_the_work_and_loses_nothing() {
    let Some(mut services) = Services::prepare("compose") else {
        return;
    };
    services.up(1);
    check_hardening(&services);
    services.wait_for("partitions of one instance", &vec![8], shares);

    let mut client = Client::connect(&services.brokers());
    client.publish();
    services.wait_for("samples of a Kafka client", &client.book(), archived);
    client.plant_an_anomaly();
    let event = client.consume_the_anomaly();
    assert_eq!(
        (&event["observed"], &event["labels"]["host.name"]),
        (&json!(1e6), &json!("fleet-07")),
        "{event}"
    );

    services.up(2);
    services.wait_for("partitions of two instances", &vec![4, 4], shares);
    (0..20).for_each(|_| client.publish());
    // One dies with what it has not archived yet; the other takes its partitions.
    docker(&["kill", "--signal", "KILL", &services.instances()[0]]);
    (0..20).for_each(|_| client.publish());
    services.wait_for("partitions of the survivor", &vec![8], shares);
    services.wait_for("samples after a kill", &client.book(), archived);

    client.publish();
    services.down();
    services.up(1);
    services.wait_for("partitions after down and up", &vec![8], shares);
    services.wait_for("samples after down and up", &client.book(), archived);
    client.publish();
    services.wait_for("samples sent after down and up", &client.book(), archived);

    let ends: BTreeMap<u32, NextOffset> = (0..PARTITIONS)
        .map(|partition| {
            let retained = client.bus.retained("tidewatch.samples", partition);
            (partition, client.runtime.block_on(retained).unwrap().end)
        })
        .collect();
    assert!(
        ends.values().all(|end| end.0 > 0),
        "a partition was never written to, so nothing was learned of it: {ends:?}"
    );
}
