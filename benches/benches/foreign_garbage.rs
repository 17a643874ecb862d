//! What garbage in a foreign topic costs: a million lines of Telegraf, one per record, without and with 1 % garbage of six kinds.
//!
//! `cargo build --release --bin tidewatch && TIDEWATCH_TEST_KAFKA=HOST:PORT cargo bench -p benches --bench foreign_garbage`; with `-- 2` each second record is
//! garbage, which tells what a dead letter costs. The program reads the topics with an embedded log of its own; its processor time is told until all is in the
//! log and processed. Topics stay behind in the broker.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a bench that can't run stops"
)]

use std::fmt::Write as _;
use std::path::Path;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use benches::client::Client;
use benches::process::cpu_seconds;
use benches::server::{Server, catch_up};
use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use rdkafka::util::Timeout;

const RECORDS: u64 = 1_000_000;
const HOSTS: u64 = 1_000;
/// Each so many records one is garbage, if nothing else is asked for.
const GARBAGE_EACH: u64 = 100;
/// A bound for what hangs.
const PATIENCE: Duration = Duration::from_secs(600);

fn main() {
    let brokers = std::env::var("TIDEWATCH_TEST_KAFKA").expect("TIDEWATCH_TEST_KAFKA=HOST:PORT");
    let asked = std::env::args().find_map(|argument| argument.parse().ok());
    let each = asked.unwrap_or(GARBAGE_EACH);
    // Clean, garbage, and both once more: what the first run warms up is nobody's gain.
    for fields in [10, 1] {
        for garbage_each in [None, Some(each), None, Some(each)] {
            let cpu_s = run(&brokers, fields, garbage_each);
            let kind = match garbage_each {
                None => "clean".to_owned(),
                Some(each) => format!("garbage each {each}"),
            };
            println!(
                "{fields:>2} fields a record, {kind:<16}: {cpu_s:.1} CPU-s, {:.1} µs a record",
                cpu_s * 1e6 / RECORDS as f64
            );
        }
    }
}

/// Fills a topic, has it read, and tells the processor time that took, seconds.
fn run(brokers: &str, fields: u64, garbage_each: Option<u64>) -> f64 {
    let topic = format!("garbage-{}", now_ms());
    let mut client = ClientConfig::new();
    client.set("bootstrap.servers", brokers);
    client.set("linger.ms", "20");
    create(&client, &topic);
    let letters = fill(&client, &topic, fields, garbage_each);
    let directory = tempfile::tempdir().expect("a temporary directory");
    let settings = format!(
        "[collectors.host]\nenabled = false\n[log]\nlevel = \"warn\"\n[bus]\nbrokers = \"{brokers}\"\n\
         [sources.kafka.telegraf]\ntopics = [\"{topic}\"]\nformat = \"influx\"\n"
    );
    std::fs::write(directory.path().join("bench.toml"), settings).expect("a configuration");
    read(directory.path(), (RECORDS - letters) * fields, letters)
}

fn read(directory: &Path, samples: u64, letters: u64) -> f64 {
    let server = Server::start(directory);
    let mut client = Client::connect(&server.address);
    let deadline = Instant::now() + PATIENCE;
    // Asked of the metrics: to count dead letters in SQL reads them all, of each partition the newest.
    let read = |client: &mut Client, metric: &str| {
        let metrics = client.get("/metrics");
        let line = metrics.lines().find(|line| line.starts_with(metric));
        let value = line.and_then(|line| line.rsplit(' ').next());
        value.and_then(|value| value.parse().ok()).unwrap_or(0_u64)
    };
    while read(&mut client, "tidewatch_source_records_total{") < RECORDS {
        assert!(Instant::now() < deadline, "it does not arrive");
        std::thread::sleep(Duration::from_millis(200));
    }
    catch_up(&mut client);
    let cpu_s = cpu_seconds(&server.child);
    let mut count = |question: &str| {
        let body = format!(r#"{{"query": "{question}", "format": "ndjson"}}"#);
        let answer = client.post("/api/v1/sql", "application/json", body.as_bytes());
        let digits: String = answer.chars().filter(char::is_ascii_digit).collect();
        digits.parse::<u64>().unwrap_or(0)
    };
    assert_eq!(count("SELECT count(*) FROM samples"), samples);
    let set_aside = read(&mut client, "tidewatch_source_dead_letters_total{");
    assert_eq!(set_aside, letters);
    cpu_s
}

fn create(client: &ClientConfig, topic: &str) {
    let admin: AdminClient<DefaultClientContext> = client.create().expect("a client");
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    let new = NewTopic::new(topic, 4, TopicReplication::Fixed(1));
    let made = runtime.block_on(admin.create_topics([&new], &AdminOptions::new()));
    made.expect("an answer")[0].as_ref().expect("a topic");
}

/// Sends the records; returns how many of them are garbage. Their times end soon after now, so that none is late.
fn fill(client: &ClientConfig, topic: &str, fields: u64, garbage_each: Option<u64>) -> u64 {
    let producer: BaseProducer = client.create().expect("a producer");
    let begin = now_ms();
    let mut letters = 0;
    for number in 0..RECORDS {
        let (host, round) = (number % HOSTS, number / HOSTS);
        let time_ms = begin + round as u128 * 60;
        let mut line = format!("cpu,host=host-{host},rack={},team=ops ", host % 100);
        for field in 0..fields {
            let comma = if field == 0 { "" } else { "," };
            write!(
                line,
                "{comma}usage_{field}={}i",
                (host + field + round) % 100
            )
            .expect("a string takes all");
        }
        writeln!(line, " {time_ms}000000").expect("a string takes all");
        let value = match garbage_each {
            Some(each) if number % each == 0 => {
                letters += 1;
                of_another_kind(number / each, &line)
            }
            _ => line.into_bytes(),
        };
        let mut record = BaseRecord::<(), _>::to(topic).payload(&value);
        while let Err((error, back)) = producer.send(record) {
            assert!(error.to_string().contains("QueueFull"), "{error}");
            producer.poll(Duration::from_millis(10));
            record = back;
        }
    }
    producer
        .flush(Timeout::After(PATIENCE))
        .expect("all are sent");
    letters
}

/// What people send to a topic of line protocol by mistake.
fn of_another_kind(kind: u64, line: &str) -> Vec<u8> {
    match kind % 6 {
        0 => br#"{"resourceMetrics":[{"resource":{"attributes":[]},"scopeMetrics":[{"metrics":[]}]}]}"#.to_vec(),
        1 => br#"{"fields":{"used":17},"name":"mem","tags":{"host":"a"},"timestamp":1700000000}"#.to_vec(),
        2 => [b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\x03".as_slice(), line.as_bytes()].concat(),
        3 => [b"\x00\x00\x00\x00\x07".as_slice(), line.as_bytes()].concat(),
        4 => line.split(' ').next().unwrap_or_default().as_bytes().to_vec(),
        _ => (0..200u64).map(|at| (at * 151 + kind * 29) as u8 | 0x80).collect(),
    }
}

fn now_ms() -> u128 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.expect("after 1970").as_millis()
}
