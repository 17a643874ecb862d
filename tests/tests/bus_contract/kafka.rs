//! What only Kafka can show: an outage of the broker.

use std::collections::BTreeMap;
use std::time::Instant;

use bus::kafka::{KafkaBus, KafkaOptions};
use bus::{Bus, BusError};
use schemas::{Fault, HasFault, NextOffset};
use tests::kafka::own_broker_for_tests;

use crate::log::{Kind, Log, PATIENCE, record, spec, texts, within};

#[tokio::test]
async fn a_kafka_topic_with_another_number_of_partitions_than_configured_is_refused() {
    let Some(log) = Log::open(Kind::Kafka) else {
        return;
    };
    let topic = log.topic(3).await;
    let options = KafkaOptions {
        partitions_expected: BTreeMap::from([(topic.clone(), 8)]),
        ..KafkaOptions::new(&log.place)
    };
    let error = KafkaBus::connect(options)
        .unwrap()
        .partitions(&topic)
        .await
        .unwrap_err();
    assert!(
        matches!(
            error,
            BusError::PartitionCount {
                expected: 8,
                found: 3,
                ..
            }
        ) && error.to_string().contains("bus.partitions = 3"),
        "{error}"
    );
}

#[tokio::test]
async fn a_broker_that_goes_away_and_comes_back_only_delays() {
    let Some(mut broker) = own_broker_for_tests() else {
        return;
    };
    let options = KafkaOptions {
        append_ms_max: 2_000,
        request_ms_max: 2_000,
        ..KafkaOptions::new(&broker.address())
    };
    let bus = KafkaBus::connect(options).unwrap();
    let topic = spec();
    bus.create_topics(std::slice::from_ref(&topic))
        .await
        .unwrap();
    let mut reader = bus.reader(&topic.name, 0, NextOffset(0)).await.unwrap();
    let mut values = Vec::new();
    for outage in 0..3 {
        values.push(format!("before {outage}"));
        bus.append(
            &topic.name,
            0,
            vec![record(values[values.len() - 1].clone())],
        )
        .await
        .unwrap();
        if outage < 2 {
            broker.stop();
        } else {
            broker.freeze().unwrap();
        }
        values.push(format!("during {outage}"));
        let during = vec![record(values[values.len() - 1].clone())];
        let error = bus
            .append(&topic.name, 0, during.clone())
            .await
            .unwrap_err();
        assert_eq!(error.fault(), Fault::Outage, "{error}");
        if outage < 2 {
            broker.restart().unwrap();
        } else {
            broker.thaw().unwrap();
        }
        let deadline = Instant::now() + PATIENCE;
        while let Err(error) = bus.append(&topic.name, 0, during.clone()).await {
            assert!(
                error.fault() == Fault::Outage && Instant::now() < deadline,
                "{error}"
            );
        }
    }
    // The same reader, all the time; what was repeated after an unclear answer may be there twice.
    let mut seen = Vec::new();
    while seen.len() < values.len() {
        match within("a record", reader.next(1024)).await {
            Ok(records) => seen.extend(texts(&records)),
            Err(error) => assert_eq!(error.fault(), Fault::Outage, "{error}"),
        }
        seen.dedup();
    }
    assert_eq!(seen, values);
}
