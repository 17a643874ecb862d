//! What only the embedded log promises: sharing syncs, one process, retention under guard, damage found.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, Instant};

use bus::embedded::{EmbeddedBus, EmbeddedOptions};
use bus::{Bus, BusError, Record, Retained, TopicSpec};
use futures::future::join_all;
use schemas::{Fault, HasFault, NextOffset, Offset};

use crate::durability::acknowledged_before_kill;
use crate::log::{
    HOUR_MS, PATIENCE, append_each, embedded_with, noise, read, read_from, record, spec, texts,
    with_clock,
};

/// Retention follows an append's answer; this waits until it is done, and allows nothing.
async fn retention_was_looked_at(bus: &EmbeddedBus, topic: &str) {
    bus.allow_trim(topic, 0, NextOffset(0)).await.unwrap();
}

#[tokio::test]
async fn many_appends_share_one_sync() {
    let (log, bus) = embedded_with(EmbeddedOptions::default());
    let topic = log.topic(4).await;
    let before = bus.stats();
    let appends =
        (0..2_000).map(|i| bus.append(&topic, i % 4, vec![record(noise(u64::from(i), 200))]));
    assert!(join_all(appends).await.iter().all(Result::is_ok));
    let after = bus.stats();
    assert_eq!(after.appends - before.appends, 2_000);
    let syncs = after.syncs - before.syncs;
    assert!(
        (1..500).contains(&syncs),
        "2,000 appends at once took {syncs} syncs"
    );
}

#[tokio::test]
async fn a_directory_belongs_to_one_process() {
    let (log, bus) = embedded_with(EmbeddedOptions::default());
    let error = EmbeddedBus::open(Path::new(&log.place), EmbeddedOptions::default())
        .err()
        .unwrap();
    assert_eq!(error.fault(), Fault::BadConfig);
    for part in [
        &log.place,
        "another tidewatch",
        &std::process::id().to_string(),
        "stop that one",
    ] {
        assert!(error.to_string().contains(part), "{error}");
    }
    let topic = log.topic(1).await;
    let id = bus.log_id(&topic).await.unwrap();
    // A child sees the same lock.
    assert!(
        acknowledged_before_kill(&log.place, &topic, 0, None).is_empty(),
        "another process was let in"
    );
    let place = log.place.clone();
    let (dir, _) = (log._dir, drop(bus));
    drop(log.bus);
    let again = EmbeddedBus::open(Path::new(&place), EmbeddedOptions::default()).unwrap();
    assert_eq!(again.log_id(&topic).await.unwrap(), id, "the id is kept");
    let (other_log, other) = embedded_with(EmbeddedOptions::default());
    let other_topic = other_log.topic(1).await;
    assert_ne!(
        id.split('/').next(),
        other.log_id(&other_topic).await.unwrap().split('/').next(),
        "another log has another id"
    );
    drop(dir);
}

#[tokio::test]
async fn old_records_go_once_they_are_archived_and_not_before() {
    let clock = Arc::new(AtomicI64::new(1_000_000));
    let (log, bus) = embedded_with(with_clock(&clock));
    let topic = log.topic(2).await;
    append_each(&*bus, &topic, 0..5).await;
    let mut slow = bus.reader(&topic, 0, NextOffset(0)).await.unwrap();
    clock.fetch_add(30 * HOUR_MS, Ordering::SeqCst);
    append_each(&*bus, &topic, 5..6).await;
    retention_was_looked_at(&bus, &topic).await;
    assert_eq!(
        bus.retained(&topic, 0).await.unwrap().start,
        NextOffset(0),
        "past their time, but not archived"
    );
    bus.allow_trim(&topic, 0, NextOffset(4)).await.unwrap();
    assert_eq!(
        bus.retained(&topic, 0).await.unwrap().start,
        NextOffset(0),
        "the last of them is not archived"
    );
    bus.allow_trim(&topic, 0, NextOffset(5)).await.unwrap();
    assert_eq!(
        bus.retained(&topic, 0).await.unwrap().start,
        NextOffset(0),
        "archived, but not past their time since the segment ended"
    );
    clock.fetch_add(25 * HOUR_MS, Ordering::SeqCst);
    append_each(&*bus, &topic, 6..7).await;
    retention_was_looked_at(&bus, &topic).await;
    assert_eq!(
        bus.retained(&topic, 0).await.unwrap(),
        Retained {
            start: NextOffset(5),
            end: NextOffset(7)
        }
    );
    assert_eq!(bus.stats().removed_records, 5);
    let error = slow.next(1024).await.unwrap_err();
    assert!(
        matches!(
            error,
            BusError::OutOfRange {
                asked: 0,
                start: 5,
                ..
            }
        ),
        "a reader that fell behind is told: {error}"
    );
    assert!(
        matches!(slow.next(1024).await, Err(BusError::OutOfRange { .. })),
        "each time"
    );
    assert_eq!(texts(&read_from(&*bus, &topic, 0, 5, 2).await), ["5", "6"]);
    assert_eq!(
        bus.retained(&topic, 1).await.unwrap(),
        Retained {
            start: NextOffset(0),
            end: NextOffset(0)
        }
    );

    let place = log.place.clone();
    let dir = log._dir;
    drop((log.bus, bus, slow));
    let again = EmbeddedBus::open(Path::new(&place), with_clock(&clock)).unwrap();
    assert_eq!(
        again.retained(&topic, 0).await.unwrap(),
        Retained {
            start: NextOffset(5),
            end: NextOffset(7)
        },
        "a restart keeps the range"
    );
    drop(dir);
}

#[tokio::test]
async fn a_log_over_its_size_loses_its_oldest_records_but_only_archived_ones() {
    let options = EmbeddedOptions {
        retention_bytes_max: 200_000,
        segment_bytes_max: 50_000,
        ..EmbeddedOptions::default()
    };
    let (log, bus) = embedded_with(EmbeddedOptions {
        unguarded_topics: BTreeSet::from(["events".to_owned()]),
        ..options
    });
    let topic = log.topic(1).await;
    bus.create_topics(&[TopicSpec {
        name: "events".into(),
        ..spec()
    }])
    .await
    .unwrap();
    for i in 0..40 {
        bus.append(&topic, 0, vec![record(noise(i, 10_000))])
            .await
            .unwrap();
    }
    retention_was_looked_at(&bus, &topic).await;
    assert_eq!(bus.retained(&topic, 0).await.unwrap().start, NextOffset(0));
    assert!(
        bus.stats().stored_bytes > 400_000,
        "over its limit rather than lossy"
    );
    bus.allow_trim(&topic, 0, NextOffset(12)).await.unwrap();
    let start = bus.retained(&topic, 0).await.unwrap().start;
    assert!(
        (6..=12).contains(&start.0),
        "whole segments below 12 are gone: {start:?}"
    );
    bus.allow_trim(&topic, 0, NextOffset(40)).await.unwrap();
    let Retained { start, end } = bus.retained(&topic, 0).await.unwrap();
    assert!(
        bus.stats().stored_bytes <= 200_000 && start.0 < end.0,
        "back below its limit, and no further"
    );
    assert_eq!(
        read_from(&*bus, &topic, 0, start.0, (end.0 - start.0) as usize).await[0].value,
        noise(start.0, 10_000)
    );

    // Nobody archives these.
    for i in 0..40 {
        bus.append("events", 0, vec![record(noise(i, 10_000))])
            .await
            .unwrap();
    }
    retention_was_looked_at(&bus, &topic).await;
    assert!(bus.retained("events", 0).await.unwrap().start.0 > 0);
    assert!(bus.stats().stored_bytes <= 260_000);
}

#[tokio::test]
async fn append_times_that_are_given_never_go_back_even_over_a_restart() {
    let clock = Arc::new(AtomicI64::new(5_000));
    let (log, bus) = embedded_with(with_clock(&clock));
    let given = TopicSpec {
        log_append_time: false,
        ..spec()
    };
    bus.create_topics(std::slice::from_ref(&given))
        .await
        .unwrap();
    let at = |time| {
        vec![Record {
            append_time_ms: time,
            ..record("x")
        }]
    };
    bus.append(&given.name, 0, at(Some(9_000))).await.unwrap();
    bus.append(&given.name, 0, at(Some(7_000))).await.unwrap();
    let place = log.place.clone();
    let dir = log._dir;
    drop((log.bus, bus));
    let bus = EmbeddedBus::open(Path::new(&place), with_clock(&clock)).unwrap();
    bus.append(&given.name, 0, at(None)).await.unwrap();
    bus.append(&given.name, 0, at(Some(9_001))).await.unwrap();
    let times: Vec<i64> = read_from(&*bus, &given.name, 0, 0, 4)
        .await
        .iter()
        .map(|record| record.append_time_ms)
        .collect();
    assert_eq!(times, [9_000, 9_000, 9_000, 9_001]);
    drop(dir);
}

#[tokio::test]
async fn append_times_are_what_the_clock_says_also_where_it_is_set_back() {
    let clock = Arc::new(AtomicI64::new(90_000_000));
    let (_log, bus) = embedded_with(with_clock(&clock));
    let spec = spec();
    let topic = spec.name.clone();
    bus.create_topics(&[spec]).await.unwrap();
    for time in [90_000_000, 3_000_000, 3_000_001] {
        clock.store(time, Ordering::SeqCst);
        bus.append(&topic, 0, vec![record("x")]).await.unwrap();
    }
    let read = read_from(&*bus, &topic, 0, 0, 3).await;
    let times: Vec<i64> = read.iter().map(|record| record.append_time_ms).collect();
    assert_eq!(times, [90_000_000, 3_000_000, 3_000_001]);
}

/// All files under a directory whose bytes contain a needle, with where.
fn find(dir: &Path, needle: &[u8]) -> Vec<(std::path::PathBuf, usize)> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(find(&path, needle));
        } else if let Ok(bytes) = std::fs::read(&path)
            && let Some(at) = bytes
                .windows(needle.len())
                .position(|window| window == needle)
        {
            found.push((path, at));
        }
    }
    found
}

fn flip(path: &Path, at: usize) {
    let mut bytes = std::fs::read(path).unwrap();
    bytes[at] ^= 1;
    std::fs::write(path, bytes).unwrap();
}

#[tokio::test]
async fn a_damaged_record_is_found_named_and_left_in_place() {
    let (log, bus) = embedded_with(EmbeddedOptions {
        segment_bytes_max: 100_000,
        ..EmbeddedOptions::default()
    });
    let topic = log.topic(1).await;
    // Each larger than a block of the store, so that each is damaged by itself.
    for i in 0..8 {
        bus.append(&topic, 0, vec![record(noise(i, 40_000))])
            .await
            .unwrap();
    }
    let needle = &noise(1, 40_000)[1_000..1_032];
    let segments = Path::new(&log.place).join("log").join("keyspaces");
    let deadline = Instant::now() + PATIENCE;
    let (path, at) = loop {
        // The first segment has ended; it is written to its table in the background.
        if let Some(found) = find(&segments, needle).into_iter().next() {
            break found;
        }
        assert!(Instant::now() < deadline, "the segment was not flushed");
        tokio::time::sleep(Duration::from_millis(20)).await;
    };
    let place = log.place.clone();
    let dir = log._dir;
    drop((log.bus, bus));
    flip(&path, at);
    let bus = EmbeddedBus::open(Path::new(&place), EmbeddedOptions::default()).unwrap();
    let mut reader = bus.reader(&topic, 0, NextOffset(0)).await.unwrap();
    assert_eq!(
        read(reader.as_mut(), 1).await.unwrap().len(),
        1,
        "what is before it is read"
    );
    for _ in 0..2 {
        let error = reader.next(1 << 20).await.unwrap_err();
        assert!(
            matches!(
                &error,
                BusError::Damaged {
                    offset: 1,
                    partition: 0,
                    ..
                }
            ),
            "{error}"
        );
        assert_eq!(error.fault(), Fault::Corruption);
    }
    assert_eq!(
        read_from(&*bus, &topic, 0, 2, 6).await[5].value,
        noise(7, 40_000),
        "what is after it is read"
    );
    drop(dir);
}

/// The newest journal of a closed log, and where its last written byte is.
fn journal(place: &str) -> (std::path::PathBuf, usize) {
    let journals = std::fs::read_dir(Path::new(place).join("log"))
        .unwrap()
        .map(|entry| entry.unwrap().path());
    let path = journals
        .filter(|path| path.extension().is_some_and(|extension| extension == "jnl"))
        .max()
        .unwrap();
    let last = std::fs::read(&path)
        .unwrap()
        .iter()
        .rposition(|byte| *byte != 0)
        .unwrap();
    (path, last)
}

#[tokio::test]
async fn a_torn_tail_is_cut_off_and_damage_before_it_refuses_to_open() {
    let (log, bus) = embedded_with(EmbeddedOptions::default());
    let topic = log.topic(1).await;
    for i in 0..3 {
        bus.append(&topic, 0, vec![record(noise(i, 5_000))])
            .await
            .unwrap();
    }
    let place = log.place.clone();
    let dir = log._dir;
    drop((log.bus, bus));
    // As if the last write had only half reached the disk: it was never synced, so never answered.
    let (path, last) = journal(&place);
    std::fs::OpenOptions::new()
        .write(true)
        .open(&path)
        .unwrap()
        .set_len(last as u64 - 2_000)
        .unwrap();
    let bus = EmbeddedBus::open(Path::new(&place), EmbeddedOptions::default()).unwrap();
    assert_eq!(bus.retained(&topic, 0).await.unwrap().end, NextOffset(2));
    assert_eq!(
        bus.append(&topic, 0, vec![record("again")]).await.unwrap(),
        [Offset(2)]
    );
    let records = read_from(&*bus, &topic, 0, 0, 3).await;
    assert_eq!(
        (&records[1].value, &records[2].value[..]),
        (&noise(1, 5_000), &b"again"[..])
    );
    drop(bus);

    let (path, at) = find(&Path::new(&place).join("log"), &noise(0, 5_000)[100..132]).remove(0);
    flip(&path, at);
    let error = EmbeddedBus::open(Path::new(&place), EmbeddedOptions::default())
        .err()
        .unwrap();
    assert!(
        matches!(error, BusError::DamagedLog { .. }) && error.to_string().contains(&place),
        "{error}"
    );
    assert_eq!(error.fault(), Fault::Corruption);
    drop(dir);
}

#[tokio::test]
async fn a_log_that_lacks_a_file_is_damaged_and_not_made_anew() {
    for missing in ["version", "0.jnl"] {
        let (log, bus) = embedded_with(EmbeddedOptions::default());
        let topic = log.topic(1).await;
        bus.append(&topic, 0, vec![record("one")]).await.unwrap();
        let place = log.place.clone();
        let _dir = log._dir;
        drop((log.bus, bus));
        let file = Path::new(&place).join("log").join(missing);
        std::fs::remove_file(&file).unwrap();
        match EmbeddedBus::open(Path::new(&place), EmbeddedOptions::default()) {
            Err(error) => assert!(
                matches!(error, BusError::DamagedLog { .. }),
                "{missing}: {error}"
            ),
            // Without its journal it is an empty log, under another id: that it is not the archive's is found where the two meet.
            Ok(bus) => assert!(missing == "0.jnl" && bus.partitions(&topic).await.is_err()),
        }
    }
}
