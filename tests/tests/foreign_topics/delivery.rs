//! At least once from a foreign topic, once in the archive: across kills, gaps of aborted transactions, and tombstones.

use std::time::{Duration, Instant};

use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use rdkafka::util::Timeout;
use tests::kafka::cluster::REQUEST_MAX;
use tests::process::{Launch, SIGABRT, Tidewatch, ended_by, run_command};

use super::bodies::influx;
use super::{ARRIVAL_MAX, Cluster, number, wait_for};

const START_S: u64 = 1_780_000_000;
const COUNT: &str = "SELECT count(*) FROM samples";
const LETTERS: &str = "SELECT count(*) FROM dead_letters";

fn lines(values: std::ops::Range<u64>) -> Vec<Vec<u8>> {
    values.map(|value| influx(value, START_S + value)).collect()
}

fn source(topic: &str) -> String {
    format!("[sources.kafka.telegraf]\ntopics = [\"{topic}\"]\nformat = \"influx\"\n")
}

#[test]
fn c2_a_kill_between_append_and_commit_neither_loses_nor_repeats_a_sample() {
    let Some(cluster) = Cluster::find() else {
        return;
    };
    let points: Vec<&str> = bus::CRASH_POINTS
        .iter()
        .copied()
        .filter(|point| point.starts_with("foreign."))
        .collect();
    assert!(points.len() >= 3, "{points:?}");
    let directory = tempfile::tempdir().unwrap();
    let topic = cluster.topic("killed", 3);
    let launch = cluster.launch(directory.path(), &source(&topic));
    let mut sent = 0;
    let mut process = launch.start_ready();
    for (round, point) in points.iter().enumerate() {
        cluster.send(&topic, &lines(sent..sent + 150));
        sent += 150;
        wait_for(&mut process, COUNT, i64::try_from(sent).unwrap());
        process.stop_cleanly();

        let mut more = lines(sent..sent + 150);
        sent += 150;
        more.insert(70, b"no line protocol".to_vec());
        cluster.send(&topic, &more);
        let mut doomed = launch.clone().crash_at(point).start();
        let status = doomed.wait_exit(ARRIVAL_MAX);
        assert!(
            ended_by(status, SIGABRT),
            "at {point}: {status}\n{}",
            doomed.log()
        );

        process = launch.start_ready();
        wait_for(&mut process, COUNT, i64::try_from(sent).unwrap());
        wait_for(&mut process, LETTERS, round as i64 + 1);
    }
    let distinct = "SELECT count(DISTINCT time) FROM samples";
    assert_eq!(number(&process, distinct), i64::try_from(sent).unwrap());
    let sum = "SELECT CAST(sum(value) AS BIGINT) FROM samples";
    let expected = i64::try_from(sent * (sent - 1) / 2).unwrap();
    assert_eq!(number(&process, sum), expected);
    process.stop_cleanly();
}

/// Two processes read one foreign topic as one group, and write to one log and one archive. One dies with records in hand.
#[test]
fn c2_members_of_a_group_share_a_topic_and_one_takes_over_from_the_other() {
    let Some(cluster) = Cluster::find() else {
        return;
    };
    let directory = tempfile::tempdir().unwrap();
    let topic = cluster.topic("shared", 6);
    let config = format!(
        "{}\n[bus]\nkind = \"kafka\"\nbrokers = \"{}\"\ngroup = \"{}\"\ntopic_prefix = \"{}\"\npartitions = 2\nsession_timeout = \"6s\"\n[archive]\nurl = \"file://{}\"\n{}",
        tests::FAST_CONFIG,
        cluster.brokers,
        cluster.name("group"),
        cluster.name("log"),
        directory.path().join("archive").display(),
        source(&topic)
    );
    std::fs::write(directory.path().join("topics.toml"), &config).unwrap();
    let create = ["topics", "create", "--config", "topics.toml"];
    run_command(directory.path(), &create);
    let launches = ["one", "other"].map(|name| {
        let own = directory.path().join(name);
        std::fs::create_dir(&own).unwrap();
        Launch::new(&own)
            .config(config.clone())
            .env("TIDEWATCH__PROCESSING__BACKFILL", "true")
    });
    let mut one = launches[0].start_ready();
    let mut other = launches[1].start_ready();
    let records = |process: &Tidewatch| {
        let counts = process.metric("tidewatch_source_records_total");
        counts.iter().sum::<f64>()
    };
    // Records go on coming until each has had some: both are members.
    let mut sent = 0;
    let mut send_some = || {
        cluster.send(&topic, &lines(sent..sent + 60));
        sent += 60;
        std::thread::sleep(Duration::from_millis(100));
        sent
    };
    let deadline = Instant::now() + ARRIVAL_MAX;
    while records(&one) == 0.0 || records(&other) == 0.0 {
        assert!(Instant::now() < deadline, "{}\n{}", one.log(), other.log());
        send_some();
    }
    // One dies while records come; its partitions are read on from where it had committed.
    let before = records(&other);
    send_some();
    one.kill_nine();
    let sent = (0..20).map(|_| send_some()).max().unwrap();
    other.wait_for_partitions(2);
    // An instance shows the hot rows of its own partitions and the archive of all: the survivor has all partitions now.
    wait_for(&mut other, COUNT, i64::try_from(sent).unwrap());
    assert!(records(&other) > before);
    let distinct = "SELECT count(DISTINCT time) FROM samples";
    assert_eq!(number(&other, distinct), i64::try_from(sent).unwrap());
    let sum = "SELECT CAST(sum(value) AS BIGINT) FROM samples";
    let expected = i64::try_from(sent * (sent - 1) / 2).unwrap();
    assert_eq!(number(&other, sum), expected);
    other.stop_cleanly();
}

#[test]
fn gaps_of_aborted_transactions_tombstones_and_foreign_headers_are_survived() {
    let Some(cluster) = Cluster::find() else {
        return;
    };
    let directory = tempfile::tempdir().unwrap();
    let topic = cluster.topic("gaps", 1);
    let launch = cluster.launch(directory.path(), &source(&topic));
    let mut process = launch.start_ready();

    let mut config = cluster.client();
    config.set("transactional.id", cluster.name("transactions"));
    let producer: BaseProducer = config.create().unwrap();
    producer.init_transactions(REQUEST_MAX).unwrap();
    // What is aborted leaves offsets that no reader ever sees; so does every marker of an end.
    for (first, commits) in [(0, true), (1_000, false), (50, true), (2_000, false)] {
        producer.begin_transaction().unwrap();
        for line in lines(first..first + 50) {
            let record = BaseRecord::<(), _>::to(&topic).payload(&line);
            producer.send(record).map_err(|(error, _)| error).unwrap();
        }
        producer.flush(Timeout::After(REQUEST_MAX)).unwrap();
        match commits {
            true => producer.commit_transaction(REQUEST_MAX).unwrap(),
            false => producer.abort_transaction(REQUEST_MAX).unwrap(),
        }
    }
    wait_for(&mut process, COUNT, 100);

    let producer: BaseProducer = cluster.client().create().unwrap();
    let headers = OwnedHeaders::new().insert(Header {
        key: "traceparent",
        value: Some("00-abc-def-01"),
    });
    let headers = headers.insert(Header::<&str> {
        key: "empty",
        value: None,
    });
    let sent = [
        // A tombstone, as a compacted topic has them.
        producer.send(BaseRecord::<_, ()>::to(&topic).key("gone")),
        producer.send(
            BaseRecord::<_, ()>::to(&topic)
                .key("gone too")
                .headers(headers.clone()),
        ),
    ];
    assert!(sent.iter().all(Result::is_ok));
    let good = influx(100, START_S + 100);
    let record = BaseRecord::to(&topic).key("host a").payload(&good);
    producer.send(record.headers(headers.clone())).unwrap();
    let bad = BaseRecord::to(&topic).key("host a").payload("what is this");
    producer.send(bad.headers(headers)).unwrap();
    producer.flush(Timeout::After(REQUEST_MAX)).unwrap();
    wait_for(&mut process, COUNT, 101);
    wait_for(&mut process, LETTERS, 1);
    assert_eq!(process.metric("tidewatch_source_tombstones_total"), [2.0]);
    let letter = &process.sql("SELECT headers, encode(key, 'hex') AS key FROM dead_letters")[0];
    assert_eq!(
        letter["headers"],
        r#"[["traceparent","00-abc-def-01"],["empty",""]]"#
    );
    assert_eq!(letter["key"], "686f73742061");
    process.stop_cleanly();

    // A group whose place is behind markers only goes on from there.
    let mut process = launch.start_ready();
    cluster.send(&topic, &lines(101..111));
    wait_for(&mut process, COUNT, 111);
    let again = process.metric("tidewatch_source_records_total");
    assert_eq!(again, [10.0], "what was committed is not read again");
    process.stop_cleanly();
}
