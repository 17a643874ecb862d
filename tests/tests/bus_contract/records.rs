//! Records: order, offsets, waiting, what comes back.

use std::time::Duration;

use bus::Retained;
use futures::FutureExt;
use rstest::rstest;
use schemas::{NextOffset, Offset};

use crate::log::{HOUR_MS, Kind, Log, now_ms, read, read_from, record, texts};

#[rstest]
#[case::embedded(Kind::Embedded)]
#[case::kafka(Kind::Kafka)]
#[tokio::test]
async fn a_partition_keeps_the_order_and_its_offsets_have_no_gap(#[case] kind: Kind) {
    let Some(log) = Log::open(kind) else { return };
    let topic = log.topic(2).await;
    let mut expected = Vec::new();
    for batch in 0..20 {
        let values: Vec<String> = (0..=batch % 4).map(|i| format!("{batch}.{i}")).collect();
        let offsets = log
            .bus()
            .append(
                &topic,
                1,
                values.iter().map(|value| record(value.clone())).collect(),
            )
            .await
            .unwrap();
        let next = expected.len() as u64;
        assert_eq!(
            offsets,
            (next..next + values.len() as u64)
                .map(Offset)
                .collect::<Vec<_>>()
        );
        expected.extend(values);
    }
    let records = read_from(log.bus(), &topic, 1, 0, expected.len()).await;
    assert_eq!(texts(&records), expected);
    assert_eq!(
        records
            .iter()
            .map(|record| record.offset.0)
            .collect::<Vec<_>>(),
        (0..expected.len() as u64).collect::<Vec<_>>()
    );
    assert!(
        records.is_sorted_by_key(|record| record.append_time_ms),
        "append times never go back"
    );
    assert!(
        (records[0].append_time_ms - now_ms()).abs() < HOUR_MS,
        "append times are the log's clock"
    );
    assert_eq!(
        log.bus().retained(&topic, 1).await.unwrap(),
        Retained {
            start: NextOffset(0),
            end: NextOffset(expected.len() as u64)
        }
    );
    assert_eq!(
        log.bus().retained(&topic, 0).await.unwrap().end,
        NextOffset(0),
        "the other partition is untouched"
    );
    assert_eq!(
        log.bus().append(&topic, 0, Vec::new()).await.unwrap(),
        [],
        "nothing appends nothing"
    );
}

#[rstest]
#[case::embedded(Kind::Embedded)]
#[case::kafka(Kind::Kafka)]
#[tokio::test]
async fn every_retained_offset_can_be_read_from(#[case] kind: Kind) {
    let Some(log) = Log::open(kind) else { return };
    let topic = log.topic(1).await;
    log.bus()
        .append(&topic, 0, (0..30).map(|i| record(i.to_string())).collect())
        .await
        .unwrap();
    for from in 0..30 {
        let records = read_from(log.bus(), &topic, 0, from, 30 - from as usize).await;
        assert_eq!(
            texts(&records),
            (from..30).map(|i| i.to_string()).collect::<Vec<_>>(),
            "from {from}"
        );
    }
}

#[rstest]
#[case::embedded(Kind::Embedded)]
#[case::kafka(Kind::Kafka)]
#[tokio::test]
async fn two_readers_of_a_partition_do_not_disturb_each_other(#[case] kind: Kind) {
    let Some(log) = Log::open(kind) else { return };
    let topic = log.topic(1).await;
    log.bus()
        .append(&topic, 0, (0..10).map(|i| record(i.to_string())).collect())
        .await
        .unwrap();
    let mut first = log.bus().reader(&topic, 0, NextOffset(0)).await.unwrap();
    let mut second = log.bus().reader(&topic, 0, NextOffset(5)).await.unwrap();
    assert_eq!(read(second.as_mut(), 5).await.unwrap()[0].offset, Offset(5));
    drop(second);
    assert_eq!(read(first.as_mut(), 10).await.unwrap().len(), 10);
    // The first still waits and is woken although the second has gone.
    let mut third = log.bus().reader(&topic, 0, NextOffset(10)).await.unwrap();
    log.bus()
        .append(&topic, 0, vec![record("last")])
        .await
        .unwrap();
    assert_eq!(texts(&read(first.as_mut(), 1).await.unwrap()), ["last"]);
    assert_eq!(texts(&read(third.as_mut(), 1).await.unwrap()), ["last"]);
}

#[rstest]
#[case::embedded(Kind::Embedded)]
#[case::kafka(Kind::Kafka)]
#[tokio::test]
async fn a_reader_waits_at_the_end_and_a_dropped_wait_loses_nothing(#[case] kind: Kind) {
    let Some(log) = Log::open(kind) else { return };
    let topic = log.topic(1).await;
    let mut reader = log.bus().reader(&topic, 0, NextOffset(0)).await.unwrap();
    for i in 0..20 {
        assert!(
            reader.next(1024).now_or_never().is_none(),
            "nothing is there yet"
        );
        log.bus()
            .append(&topic, 0, vec![record(i.to_string())])
            .await
            .unwrap();
        // Dropped as often as it is asked before the record arrives.
        let mut records = reader.next(1024).now_or_never();
        while records.is_none() {
            tokio::task::yield_now().await;
            records = tokio::time::timeout(Duration::from_millis(3), reader.next(1024))
                .await
                .ok();
        }
        assert_eq!(texts(&records.unwrap().unwrap()), [i.to_string()]);
    }
}
