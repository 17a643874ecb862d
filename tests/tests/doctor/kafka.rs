//! A real Kafka: brokers that are away, topics that are missing or wrong, a group that is behind.

use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use bus::kafka::{KafkaBus, KafkaOptions};
use bus::{Bus, Record, TopicSpec};
use tests::kafka::{kafka_for_tests, own_broker_for_tests};
use tests::process::free_address;

use super::{Report, doctor};

/// Doctor with a Kafka log of its own prefix.
fn ask(directory: &Path, brokers: &str, prefix: &str) -> Report {
    doctor(
        directory,
        &[
            ("TIDEWATCH__BUS__KIND", "kafka"),
            ("TIDEWATCH__BUS__BROKERS", brokers),
            ("TIDEWATCH__BUS__TOPIC_PREFIX", prefix),
            ("TIDEWATCH__BUS__PARTITIONS", "2"),
        ],
    )
}

fn create(brokers: &str, topics: &[TopicSpec]) {
    runtime().block_on(async {
        let bus = KafkaBus::connect(KafkaOptions::new(brokers)).unwrap();
        bus.create_topics(topics).await.unwrap();
    });
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Runtime::new().unwrap()
}

fn topic(prefix: &str, name: &str, partitions: u32) -> TopicSpec {
    TopicSpec {
        name: format!("{prefix}.{name}"),
        partitions,
        retention_ms: 604_800_000,
        log_append_time: true,
    }
}

#[test]
fn a_broker_that_is_away_is_one_failure_and_hides_no_other() {
    let directory = tempfile::tempdir().unwrap();
    let address = free_address().to_string();
    let report = ask(directory.path(), &address, "away");
    report.expect_failures(&[("broker", "TW-LOG-007", &address)]);
    for name in ["topics", "log and archive", "lag"] {
        report.expect_state(name, "skipped");
    }
    report.expect_state("data directory", "ok");
}

#[test]
fn a_broker_that_dies_is_found() {
    let Some(mut broker) = own_broker_for_tests() else {
        return;
    };
    let directory = tempfile::tempdir().unwrap();
    let address = broker.address();
    let report = ask(directory.path(), &address, "dies");
    report.expect_state("broker", "ok");
    let (_, found, _) = report.named("broker")[0];
    assert!(
        found.contains("Kafka 4.0 or later") && found.contains(&address),
        "{found}"
    );
    broker.stop();
    let report = ask(directory.path(), &address, "dies");
    report.expect_failures(&[("broker", "TW-LOG-007", &address)]);
    broker.restart().unwrap();
    broker.freeze().unwrap();
    let report = ask(directory.path(), &address, "dies");
    report.expect_failures(&[("broker", "TW-LOG-007", &address)]);
    broker.thaw().unwrap();
}

#[test]
fn missing_and_wrong_topics_are_found_with_what_mends_them() {
    let Some(brokers) = kafka_for_tests() else {
        return;
    };
    let directory = tempfile::tempdir().unwrap();
    let prefix = format!("doctor-topics-{}", std::process::id());
    let missing = |name: &str| format!("topic `{prefix}.{name}` does not exist");

    let report = ask(directory.path(), &brokers, &prefix);
    let expected: Vec<String> = ["samples", "anomalies", "forecasts", "dead-letters"]
        .map(missing)
        .to_vec();
    let failures: Vec<_> = expected
        .iter()
        .map(|text| ("topics", "TW-LOG-001", text.as_str()))
        .collect();
    report.expect_failures(&failures);
    report.expect_state("lag", "skipped");
    for check in report
        .checks()
        .iter()
        .filter(|check| check["name"] == "topics")
    {
        assert_eq!(check["fix"], "tidewatch topics create");
    }

    create(
        &brokers,
        &[
            topic(&prefix, "samples", 3),
            TopicSpec {
                log_append_time: false,
                ..topic(&prefix, "anomalies", 2)
            },
            topic(&prefix, "forecasts", 2),
            TopicSpec {
                retention_ms: 60_000,
                ..topic(&prefix, "dead-letters", 2)
            },
        ],
    );
    let report = ask(directory.path(), &brokers, &prefix);
    report.expect_failures(&[
        ("topics", "TW-LOG-002", "has 3 partitions, expected 2"),
        (
            "topics",
            "TW-DOCTOR-009",
            "message.timestamp.type is CreateTime, expected LogAppendTime",
        ),
    ]);
    let fixes: Vec<&str> = report
        .checks()
        .iter()
        .filter(|check| check["name"] == "topics")
        .filter_map(|check| check["fix"].as_str())
        .collect();
    assert_eq!(fixes[0], "set bus.partitions = 3");
    assert!(
        fixes[1].starts_with("kafka-configs.sh ")
            && fixes[1].ends_with("message.timestamp.type=LogAppendTime"),
        "{fixes:?}"
    );
    assert!(fixes[2].ends_with("retention.ms=604800000"), "{fixes:?}");
    let warned = report.named("topics").into_iter().any(|(state, found, _)| {
        state == "warning" && found.contains("dead-letters` keeps records for 1 min 0 s")
    });
    assert!(warned, "{:#}", report.json);
}

#[test]
fn a_group_that_is_behind_is_told_by_the_age_of_what_waits() {
    let Some(brokers) = kafka_for_tests() else {
        return;
    };
    let directory = tempfile::tempdir().unwrap();
    let prefix = format!("doctor-lag-{}", std::process::id());
    // Times of our own, so that a record can be old at once.
    let names = ["samples", "anomalies", "forecasts", "dead-letters"];
    let topics = names.map(|name| TopicSpec {
        log_append_time: name != "samples",
        ..topic(&prefix, name, 2)
    });
    create(&brokers, &topics);
    let now_ms = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap()
        .as_millis();
    let append = |ago_ms: i64| {
        let record = Record {
            value: "x".into(),
            append_time_ms: Some(i64::try_from(now_ms).unwrap() - ago_ms),
            ..Record::default()
        };
        runtime().block_on(async {
            let bus = KafkaBus::connect(KafkaOptions::new(&brokers)).unwrap();
            bus.append(&format!("{prefix}.samples"), 1, vec![record])
                .await
                .unwrap();
        });
    };
    append(60_000);
    let report = ask(directory.path(), &brokers, &prefix);
    report.expect_state("lag", "ok");
    let (_, found, _) = report.named("lag")[0];
    assert!(found.contains("is 1 records behind"), "{found}");

    let older = format!("{prefix}-older");
    let topics = topics.map(|spec| TopicSpec {
        name: spec.name.replacen(&prefix, &older, 1),
        ..spec
    });
    create(&brokers, &topics);
    let record = |ago_ms: i64| Record {
        value: "x".into(),
        append_time_ms: Some(i64::try_from(now_ms).unwrap() - ago_ms),
        ..Record::default()
    };
    runtime().block_on(async {
        let bus = KafkaBus::connect(KafkaOptions::new(&brokers)).unwrap();
        let records = vec![record(7_200_000), record(-3_600_000)];
        bus.append(&format!("{older}.samples"), 1, records)
            .await
            .unwrap();
    });
    let report = ask(directory.path(), &brokers, &older);
    report.expect_state("lag", "warning");
    let (_, found, _) = report.named("lag")[0];
    assert!(
        found.contains("2 records behind") && found.contains("waits for 2 h 0 min"),
        "{found}"
    );
    // The newest record is of an hour ahead: the broker's clock, or ours, is wrong.
    let (state, found, code) = report.named("clock")[0];
    assert_eq!((state, code), ("failure", "TW-DOCTOR-004"), "{found}");
}
