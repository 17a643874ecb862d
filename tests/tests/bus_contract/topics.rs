//! Ranges, limits and topics: what is refused, and how it is told.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, Instant};

use bus::embedded::EmbeddedOptions;
use bus::{BusError, RECORD_BYTES_MAX, Record, Retained, TopicSpec};
use bytes::Bytes;
use futures::future::join_all;
use rstest::rstest;
use schemas::{Fault, HasFault, NextOffset, Offset};

use crate::log::{
    HOUR_MS, Kind, Log, PATIENCE, append_each, embedded_with, noise, now_ms, open, read, read_from,
    record, spec, texts, with_clock,
};

#[rstest]
#[case::embedded(Kind::Embedded)]
#[case::kafka(Kind::Kafka)]
#[tokio::test]
async fn an_offset_outside_the_log_is_a_loud_error_with_the_true_range(#[case] kind: Kind) {
    let clock = Arc::new(AtomicI64::new(now_ms()));
    let (log, topic) = match kind {
        Kind::Embedded => {
            let (log, _) = embedded_with(EmbeddedOptions {
                segment_ms_max: 0,
                ..with_clock(&clock)
            });
            let topic = log.topic(1).await;
            append_each(log.bus(), &topic, 0..3).await;
            log.bus()
                .allow_trim(&topic, 0, NextOffset(2))
                .await
                .unwrap();
            clock.fetch_add(25 * HOUR_MS, Ordering::SeqCst);
            log.bus()
                .allow_trim(&topic, 0, NextOffset(2))
                .await
                .unwrap();
            (log, topic)
        }
        Kind::Kafka => {
            let Some(log) = Log::open(kind) else { return };
            let spec = TopicSpec {
                log_append_time: false,
                retention_ms: HOUR_MS,
                ..spec()
            };
            log.bus()
                .create_topics(std::slice::from_ref(&spec))
                .await
                .unwrap();
            let old = Record {
                append_time_ms: Some(now_ms() - 2 * HOUR_MS),
                ..record("old")
            };
            log.bus()
                .append(&spec.name, 0, vec![old.clone(), old])
                .await
                .unwrap();
            let deadline = Instant::now() + PATIENCE;
            while log.bus().retained(&spec.name, 0).await.unwrap().start.0 == 0 {
                assert!(
                    Instant::now() < deadline,
                    "the broker did not remove old records; is its log.retention.check.interval.ms short?"
                );
                tokio::time::sleep(Duration::from_millis(200)).await;
            }
            log.bus()
                .append(&spec.name, 0, vec![record("new")])
                .await
                .unwrap();
            (log, spec.name)
        }
    };
    let Retained { start, end } = log.bus().retained(&topic, 0).await.unwrap();
    assert_eq!((start.0, end.0), (2, 3));
    for asked in [0, 1, 4, 1000] {
        let error = match log.bus().reader(&topic, 0, NextOffset(asked)).await {
            Err(error) => error,
            Ok(mut reader) => read(reader.as_mut(), 1).await.unwrap_err(),
        };
        assert!(
            matches!(&error, BusError::OutOfRange { asked: told, start: 2, end: 3, .. } if *told == asked),
            "{error}"
        );
        assert_eq!(error.fault(), Fault::BadConfig);
    }
    assert_eq!(
        read_from(log.bus(), &topic, 0, 2, 1).await[0].offset,
        Offset(2)
    );
}

#[rstest]
#[case::embedded(Kind::Embedded)]
#[case::kafka(Kind::Kafka)]
#[tokio::test]
async fn concurrent_appends_each_get_offsets_of_their_own(#[case] kind: Kind) {
    let Some(log) = Log::open(kind) else { return };
    let topic = log.topic(1).await;
    let appends = (0..200).map(|i| {
        log.bus().append(
            &topic,
            0,
            vec![record(format!("{i}.a")), record(format!("{i}.b"))],
        )
    });
    let answers: Vec<Vec<Offset>> = join_all(appends)
        .await
        .into_iter()
        .collect::<Result<_, _>>()
        .unwrap();
    let records = read_from(log.bus(), &topic, 0, 0, 400).await;
    let mut seen = BTreeSet::new();
    for (i, offsets) in answers.iter().enumerate() {
        assert_eq!(offsets.len(), 2);
        assert!(
            offsets[0] < offsets[1],
            "the order within an append is kept"
        );
        for (offset, letter) in offsets.iter().zip(["a", "b"]) {
            assert!(seen.insert(*offset), "{offset:?} was given twice");
            assert_eq!(records[offset.0 as usize].value, format!("{i}.{letter}"));
        }
    }
    assert_eq!(records.len(), 400);
}

#[rstest]
#[case::embedded(Kind::Embedded)]
#[case::kafka(Kind::Kafka)]
#[tokio::test]
async fn sixty_four_partitions_are_written_and_read_at_once(#[case] kind: Kind) {
    let Some(log) = Log::open(kind) else { return };
    let topic = log.topic(64).await;
    let bus = log.bus();
    let readers =
        join_all((0..64).map(|partition| bus.reader(&topic, partition, NextOffset(0)))).await;
    let appends = (0..64).flat_map(|partition| (0..5).map(move |i| (partition, i)));
    let appends = appends.map(|(partition, i)| {
        bus.append(&topic, partition, vec![record(format!("{partition}:{i}"))])
    });
    assert!(join_all(appends).await.iter().all(Result::is_ok));
    let reads = readers.into_iter().map(|reader| async {
        let mut reader = reader.unwrap();
        read(reader.as_mut(), 5).await.unwrap()
    });
    for (partition, records) in join_all(reads).await.into_iter().enumerate() {
        let found: BTreeSet<String> = texts(&records).into_iter().collect();
        assert_eq!(found, (0..5).map(|i| format!("{partition}:{i}")).collect());
    }
}

#[rstest]
#[case::embedded(Kind::Embedded)]
#[case::kafka(Kind::Kafka)]
#[tokio::test]
async fn keys_headers_and_empty_values_come_back_as_they_were(#[case] kind: Kind) {
    let Some(log) = Log::open(kind) else { return };
    let topic = log.topic(1).await;
    let full = Record {
        key: Bytes::from_static(&[0, 255, 1]),
        value: noise(1, 100_000),
        headers: vec![
            ("b".into(), Bytes::from_static(b"1")),
            ("a".into(), Bytes::new()),
            ("b".into(), Bytes::from_static(&[0, 200])),
        ],
        append_time_ms: None,
    };
    let tick = Record {
        headers: vec![("kind".into(), Bytes::from_static(b"tick"))],
        ..Record::default()
    };
    let text = record("x".repeat(50_000));
    let sent = vec![full, tick, Record::default(), text];
    log.bus().append(&topic, 0, sent.clone()).await.unwrap();
    let records = read_from(log.bus(), &topic, 0, 0, sent.len()).await;
    for (sent, read) in sent.iter().zip(&records) {
        assert_eq!(
            (&read.key, &read.value, &read.headers),
            (&sent.key, &sent.value, &sent.headers)
        );
    }
    assert_eq!(
        records[0].header("b"),
        Some(&Bytes::from_static(b"1")),
        "the first of a name"
    );
}

#[rstest]
#[case::embedded(Kind::Embedded)]
#[case::kafka(Kind::Kafka)]
#[tokio::test]
async fn append_times_are_the_appenders_only_where_the_topic_says_so(#[case] kind: Kind) {
    let Some(log) = Log::open(kind) else { return };
    let (own, given) = (
        spec(),
        TopicSpec {
            log_append_time: false,
            ..spec()
        },
    );
    log.bus()
        .create_topics(&[own.clone(), given.clone()])
        .await
        .unwrap();
    let base = now_ms() - 10 * 60_000;
    let times = [base, base + 1, base + 1, base + 5_000];
    for topic in [&own.name, &given.name] {
        let records = times
            .iter()
            .map(|time| Record {
                append_time_ms: Some(*time),
                ..record("x")
            })
            .collect();
        log.bus().append(topic, 0, records).await.unwrap();
    }
    let read: Vec<i64> = read_from(log.bus(), &given.name, 0, 0, 4)
        .await
        .iter()
        .map(|record| record.append_time_ms)
        .collect();
    assert_eq!(read, times);
    let read = read_from(log.bus(), &own.name, 0, 0, 4).await;
    assert!(
        read.iter()
            .all(|record| record.append_time_ms > base + 60_000),
        "a log that keeps its own time ignores the appender's"
    );
}

#[rstest]
#[case::embedded(Kind::Embedded)]
#[case::kafka(Kind::Kafka)]
#[tokio::test]
async fn the_largest_record_is_taken_and_a_larger_one_is_refused_before_anything_is_sent(
    #[case] kind: Kind,
) {
    let Some(log) = Log::open(kind) else { return };
    let topic = log.topic(1).await;
    let largest = Record {
        key: Bytes::from(vec![7; 1000]),
        ..record(noise(2, RECORD_BYTES_MAX))
    };
    let too_large = record(vec![0; RECORD_BYTES_MAX + 1]);
    let error = log
        .bus()
        .append(&topic, 0, vec![record("first"), too_large])
        .await
        .unwrap_err();
    assert!(
        matches!(error, BusError::TooLarge { bytes, limit, .. } if bytes == RECORD_BYTES_MAX + 1 && limit == RECORD_BYTES_MAX),
        "{error}"
    );
    assert_eq!(error.fault(), Fault::BadInput);
    let wide = Record {
        headers: vec![("h".into(), noise(3, bus::ENVELOPE_BYTES_MAX))],
        ..record("x")
    };
    assert!(matches!(
        log.bus().append(&topic, 0, vec![wide]).await,
        Err(BusError::TooLarge { .. })
    ));
    assert_eq!(
        log.bus()
            .append(&topic, 0, vec![largest.clone(), record("after")])
            .await
            .unwrap(),
        [Offset(0), Offset(1)]
    );
    let records = read_from(log.bus(), &topic, 0, 0, 2).await;
    assert_eq!(records[0].value, largest.value);
    assert_eq!(records[1].value, "after");
}

#[rstest]
#[case::embedded(Kind::Embedded)]
#[case::kafka(Kind::Kafka)]
#[tokio::test]
async fn topics_are_made_once_and_a_wrong_one_is_bad_configuration(#[case] kind: Kind) {
    let Some(log) = Log::open(kind) else { return };
    let spec = TopicSpec {
        partitions: 3,
        ..spec()
    };
    let bus = log.bus();
    let missing = bus.partitions(&spec.name).await.unwrap_err();
    assert!(
        matches!(missing, BusError::NoTopic { .. })
            && missing.to_string().contains("tidewatch topics create"),
        "{missing}"
    );
    assert!(matches!(
        bus.append(&spec.name, 0, vec![record("x")]).await,
        Err(BusError::NoTopic { .. })
    ));
    bus.create_topics(std::slice::from_ref(&spec))
        .await
        .unwrap();
    assert_eq!(
        bus.append(&spec.name, 2, vec![record("kept")])
            .await
            .unwrap(),
        [Offset(0)]
    );
    bus.create_topics(std::slice::from_ref(&spec))
        .await
        .unwrap();
    assert_eq!(
        bus.retained(&spec.name, 2).await.unwrap().end,
        NextOffset(1),
        "an existing topic is left as it is"
    );
    assert_eq!(bus.partitions(&spec.name).await.unwrap(), 3);
    let error = bus
        .create_topics(&[TopicSpec {
            partitions: 5,
            ..spec.clone()
        }])
        .await
        .unwrap_err();
    assert!(
        matches!(
            error,
            BusError::PartitionCount {
                expected: 5,
                found: 3,
                ..
            }
        ),
        "{error}"
    );
    for error in [
        bus.append(&spec.name, 3, vec![record("x")])
            .await
            .unwrap_err(),
        bus.retained(&spec.name, 9).await.unwrap_err(),
    ] {
        assert!(
            matches!(error, BusError::PartitionCount { found: 3, .. }),
            "{error}"
        );
    }
    assert_eq!(
        bus.log_id(&spec.name).await.unwrap(),
        open_again(&log, &spec.name).await,
        "a log is named the same by all"
    );
}

/// The log's id as another opener sees it; the embedded log has one opener, so it is asked again.
async fn open_again(log: &Log, topic: &str) -> String {
    match log.kind {
        Kind::Embedded => log.bus().log_id(topic).await.unwrap(),
        Kind::Kafka => open(Kind::Kafka, &log.place).log_id(topic).await.unwrap(),
    }
}
