//! Tests of the door: batches, splits, memory, validation, publication.

use std::sync::Arc;

use proptest::prelude::*;
use rstest::rstest;
use schemas::time::{TIME_MAX, TIME_MIN};
use schemas::topics::{FORMAT_BATCH, HEADER_FORMAT};
use schemas::{BATCH_SAMPLES_MAX, Kind, Labels, Resource, partition_of};

use super::*;
use crate::memory_bus::{MemoryBus, rows_of, rows_of_all};

fn host(name: &str) -> Labels {
    Labels::try_new([("host", name)]).unwrap()
}

fn push(door: &mut Batcher, metric: &str, labels: &Labels, time: i64, value: f64) {
    let metric = door.metric(metric).unwrap();
    let labels = door
        .label_set_by_raw(labels.canonical(), || Ok(labels.clone()))
        .unwrap();
    door.push(
        metric,
        labels,
        None,
        time,
        TimeUnit::Microseconds,
        value,
        Place::Collected,
    )
    .unwrap();
}

#[test]
fn a_record_goes_to_the_partition_of_its_resource_and_bears_its_hash() {
    let mut door = Batcher::new(7, 1 << 20, 1000);
    for name in ["a", "b", "c", "d", "e", "f", "g", "h"] {
        push(&mut door, "cpu", &host(name), 1, 1.0);
        push(&mut door, "cpu", &host(name), 2, 2.0);
    }
    let (records, rejections) = door.finish().unwrap();
    assert!(rejections.is_empty());
    assert_eq!(
        records.iter().map(|record| record.samples).sum::<usize>(),
        16
    );
    for record in &records {
        assert_eq!(
            record.record.headers,
            [(HEADER_FORMAT.into(), FORMAT_BATCH.into())]
        );
        let batch = schemas::SampleBatch::decode(&record.record.value).unwrap();
        let hashes: Vec<u64> = batch
            .label_sets()
            .iter()
            .map(|labels| Resource::of(labels).hash64())
            .collect();
        assert_eq!(record.record.key[..], hashes[0].to_be_bytes());
        assert!(
            hashes
                .iter()
                .all(|hash| partition_of(*hash, 7) == record.partition)
        );
    }
}

#[test]
fn batches_are_split_by_samples_and_by_bytes_and_keep_their_order() {
    let mut door = Batcher::new(1, 1 << 20, 1_000_000);
    let total = 2 * BATCH_SAMPLES_MAX + 5;
    for time in 0..total {
        push(&mut door, "cpu", &host("a"), time as i64, time as f64);
    }
    let (records, _) = door.finish().unwrap();
    assert!(records.len() >= 3);
    for record in &records {
        assert!(record.samples <= BATCH_SAMPLES_MAX);
        assert!(
            record.record.value.len() < BATCH_BYTES_MAX + BATCH_BYTES_MAX / 4,
            "{} bytes",
            record.record.value.len()
        );
    }
    assert_eq!(
        rows_of_all(&records)
            .iter()
            .map(|row| row.3)
            .collect::<Vec<_>>(),
        (0..total as i64).collect::<Vec<_>>()
    );
}

#[test]
fn a_record_of_the_largest_label_sets_stays_below_what_the_log_takes() {
    let mut door = Batcher::new(1, 1 << 20, 1000);
    // 56 values of 16 KiB: just below the limit of a set.
    for set in 0..5 {
        let labels = Labels::try_new(
            (0..56).map(|key| (format!("k{key}"), format!("{set}{}", "x".repeat(16_000)))),
        )
        .unwrap();
        push(&mut door, "cpu", &labels, 1, 1.0);
    }
    let (records, _) = door.finish().unwrap();
    assert_eq!(records.len(), 5);
    assert!(
        records
            .iter()
            .all(|record| record.record.value.len() < bus::RECORD_BYTES_MAX)
    );

    let huge = Labels::try_new((0..70).map(|key| (format!("k{key}"), "x".repeat(16_000)))).unwrap();
    assert!(matches!(
        door.label_set(huge),
        Err(Reason::LabelSetTooLarge(1_120_000..))
    ));
}

#[rstest]
#[case(TIME_MIN, TimeUnit::Microseconds, Some(0))]
#[case(TIME_MAX - 1, TimeUnit::Microseconds, Some(TIME_MAX - 1))]
#[case(TIME_MAX, TimeUnit::Microseconds, None)]
#[case(-1, TimeUnit::Microseconds, None)]
#[case(-1, TimeUnit::Nanoseconds, None)]
#[case(999, TimeUnit::Nanoseconds, Some(0))]
#[case(1_999, TimeUnit::Nanoseconds, Some(1))]
#[case(i64::MAX, TimeUnit::Nanoseconds, None)]
#[case(i64::MIN, TimeUnit::Nanoseconds, None)]
#[case(i64::MAX, TimeUnit::Milliseconds, None)]
#[case(i64::MIN, TimeUnit::Milliseconds, None)]
#[case(i64::MAX, TimeUnit::Hours, None)]
#[case(i64::MIN, TimeUnit::Hours, None)]
#[case(2, TimeUnit::Seconds, Some(2_000_000))]
#[case(2, TimeUnit::Minutes, Some(120_000_000))]
fn times_outside_the_range_are_rejected_with_what_was_sent(
    #[case] time: i64,
    #[case] unit: TimeUnit,
    #[case] expected: Option<i64>,
) {
    let mut door = Batcher::new(1, 1 << 20, 10);
    let (metric, labels) = (
        door.metric("cpu").unwrap(),
        door.label_set(host("a")).unwrap(),
    );
    door.push(
        metric,
        labels,
        None,
        time,
        unit,
        1.0,
        Place::Line { line: 3, column: 1 },
    )
    .unwrap();
    let (records, rejections) = door.finish().unwrap();
    assert_eq!(rows_of_all(&records).first().map(|row| row.3), expected);
    assert_eq!(rejections.samples(), u64::from(expected.is_none()));
    if let Some(rejection) = rejections.first().first() {
        assert_eq!(rejection.reason, Reason::Time { value: time, unit });
        assert!(
            rejection
                .to_string()
                .starts_with(&format!("line 3, column 1: time {time} {}", unit.name()))
        );
    }
}

#[test]
fn values_pass_bit_for_bit() {
    let values = [
        0.0,
        -0.0,
        f64::NAN,
        f64::from_bits(0x7ff0_0000_0000_0002),
        f64::from_bits(0xfff8_0000_dead_beef),
        f64::INFINITY,
        f64::NEG_INFINITY,
        5e-324,
        f64::MIN_POSITIVE / 2.0,
        f64::MAX,
    ];
    let mut door = Batcher::new(1, 1 << 20, 100);
    for (time, value) in values.iter().enumerate() {
        push(&mut door, "cpu", &host("a"), time as i64, *value);
    }
    let (records, _) = door.finish().unwrap();
    assert_eq!(
        rows_of_all(&records)
            .iter()
            .map(|row| row.4)
            .collect::<Vec<_>>(),
        values.map(f64::to_bits)
    );
}

#[test]
fn names_and_sizes_are_checked() {
    let mut door = Batcher::new(1, 1 << 20, 2);
    assert_eq!(door.metric(""), Err(Reason::NoMetric));
    assert_eq!(
        door.metric(&"m".repeat(1025)),
        Err(Reason::MetricTooLong(1025))
    );
    push(&mut door, "a", &host("a"), 1, 1.0);
    push(&mut door, "a", &host("a"), 2, 1.0);
    let (metric, labels) = (
        door.metric("a").unwrap(),
        door.label_set(host("a")).unwrap(),
    );
    assert_eq!(
        door.push(
            metric,
            labels,
            None,
            3,
            TimeUnit::Seconds,
            1.0,
            Place::Collected
        ),
        Err(TooManySamples(2))
    );
    door.discard();
    assert_eq!(door.finish().unwrap().0, []);
    push(&mut door, "after", &host("a"), 1, 1.0);
    assert_eq!(rows_of_all(&door.finish().unwrap().0)[0].0, "after");
}

#[test]
fn the_first_rejections_are_kept_and_all_are_counted() {
    let mut rejections = Rejections::default();
    for line in 0..100 {
        rejections.add(3, Place::Line { line, column: 1 }, Reason::NoMetric);
    }
    assert_eq!(
        (rejections.samples(), rejections.first().len()),
        (300, REJECTIONS_KEPT_MAX)
    );
}

#[test]
fn the_kind_is_guessed_unless_told() {
    let mut door = Batcher::new(1, 1 << 20, 10);
    let labels = door.label_set(host("a")).unwrap();
    for (name, kind) in [
        ("requests_total", None),
        ("requests_total", Some(Kind::Gauge)),
        ("cpu", None),
        ("cpu", Some(Kind::Counter)),
    ] {
        let metric = door.metric(name).unwrap();
        door.push(
            metric,
            labels,
            kind,
            1,
            TimeUnit::Seconds,
            1.0,
            Place::Collected,
        )
        .unwrap();
    }
    assert_eq!(
        rows_of_all(&door.finish().unwrap().0)
            .iter()
            .map(|row| row.2)
            .collect::<Vec<_>>(),
        [1, 0, 0, 1]
    );
}

proptest! {
    /// A memory that forgets all the time and one that never does give the same records, request after request.
    #[test]
    fn forgetting_changes_nothing(requests in prop::collection::vec(prop::collection::vec((0..6usize, 0..9usize, 0..1000i64), 0..60), 1..4)) {
        let mut doors = [Batcher::new(3, 0, 1000), Batcher::new(3, 700, 1000), Batcher::new(3, 1 << 20, 1000)];
        for request in requests {
            let answers = doors.each_mut().map(|door| {
                for (metric, name, time) in &request {
                    push(door, &format!("metric{metric}"), &host(&format!("host{name}")), *time, *time as f64);
                }
                door.finish().unwrap().0
            });
            prop_assert_eq!(&answers[0], &answers[2]);
            prop_assert_eq!(&answers[1], &answers[2]);
            let rows: usize = answers[2].iter().map(|record| rows_of(&record.record).len()).sum();
            prop_assert_eq!(rows, request.len());
        }
    }
}

#[tokio::test]
async fn publication_ends_when_the_last_partition_is_durable() {
    let bus = MemoryBus::new();
    let publisher = bus.publisher(5);
    let mut door = Batcher::new(5, 1 << 20, 1000);
    for name in ["a", "b", "c", "d", "e", "f"] {
        push(&mut door, "cpu", &host(name), 1, 1.0);
    }
    let (records, _) = door.finish().unwrap();
    let partitions = records.len();
    assert!(partitions >= 2);
    // All but one append may go on.
    bus.gate
        .forget_permits(tokio::sync::Semaphore::MAX_PERMITS - (partitions - 1));
    let publication = tokio::spawn(async move { publisher.publish(records).await });
    while bus.records.lock().unwrap().len() < partitions - 1 {
        tokio::task::yield_now().await;
    }
    assert!(!publication.is_finished());
    bus.gate.add_permits(1);
    let published = publication.await.unwrap().unwrap();
    assert_eq!((published.records, published.samples), (partitions, 6));
}

#[tokio::test]
async fn a_failed_append_fails_the_publication() {
    let bus = MemoryBus::new();
    bus.failures.store(1, std::sync::atomic::Ordering::SeqCst);
    let mut door = Batcher::new(1, 1 << 20, 1000);
    push(&mut door, "cpu", &host("a"), 1, 1.0);
    let (records, _) = door.finish().unwrap();
    let publisher = bus.publisher(1);
    assert!(publisher.publish(records.clone()).await.is_err());
    assert_eq!(publisher.publish(records).await.unwrap().samples, 1);
    assert_eq!(Arc::strong_count(&bus), 2);
}
