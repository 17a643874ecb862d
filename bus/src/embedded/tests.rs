//! What can only be seen from inside: a failed sync stops the log.

use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use schemas::{Fault, HasFault};

use super::*;

fn spec() -> TopicSpec {
    TopicSpec {
        name: "t".into(),
        partitions: 1,
        retention_ms: 3_600_000,
        log_append_time: true,
    }
}

fn record(text: &'static str) -> Record {
    Record {
        value: Bytes::from_static(text.as_bytes()),
        ..Record::default()
    }
}

#[tokio::test]
async fn after_a_failed_sync_nothing_is_appended_until_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let broken = Arc::new(AtomicBool::new(false));
    let switch = broken.clone();
    let sync: writer::Sync = Box::new(move |db| {
        if switch.load(Ordering::SeqCst) {
            Err(fjall::Error::Io(std::io::Error::other("the disk is gone")))
        } else {
            db.persist(fjall::PersistMode::SyncAll)
        }
    });
    let bus = EmbeddedBus::open_with_sync(dir.path(), EmbeddedOptions::default(), sync).unwrap();
    bus.create_topics(&[spec()]).await.unwrap();
    assert_eq!(
        bus.append("t", 0, vec![record("first")]).await.unwrap(),
        [Offset(0)]
    );

    broken.store(true, Ordering::SeqCst);
    let error = bus
        .append("t", 0, vec![record("second")])
        .await
        .unwrap_err();
    assert_eq!(error.fault(), Fault::Outage);
    assert!(error.to_string().contains("the disk is gone"), "{error}");
    // The disk works again, but what the failed sync left behind is unknown.
    broken.store(false, Ordering::SeqCst);
    let error = bus.append("t", 0, vec![record("third")]).await.unwrap_err();
    assert!(error.to_string().contains("restart"), "{error}");
    let error = bus.health("t").await.unwrap_err();
    assert!(matches!(error, BusError::Broken { .. }), "{error}");
    assert_eq!(
        bus.retained("t", 0).await.unwrap().end,
        NextOffset(1),
        "nothing unsynced is published"
    );
    drop(bus);

    let bus = EmbeddedBus::open(dir.path(), EmbeddedOptions::default()).unwrap();
    bus.health("t").await.unwrap();
    bus.append("t", 0, vec![record("fourth")]).await.unwrap();
    let mut reader = bus.reader("t", 0, NextOffset(0)).await.unwrap();
    assert_eq!(reader.next(1).await.unwrap()[0].value, "first");
}

#[tokio::test]
async fn a_disk_that_is_nearly_full_refuses_appends_only_while_it_is() {
    let dir = tempfile::tempdir().unwrap();
    let options = EmbeddedOptions {
        free_bytes_min: u64::MAX / 2,
        ..EmbeddedOptions::default()
    };
    let bus = EmbeddedBus::open(dir.path(), options).unwrap();
    bus.create_topics(&[spec()]).await.unwrap();
    let error = bus.append("t", 0, vec![record("x")]).await.unwrap_err();
    assert_eq!(error.fault(), Fault::Outage);
    assert!(error.to_string().contains("MiB are free"), "{error}");
    let again = bus.append("t", 0, vec![record("x")]).await.unwrap_err();
    assert_eq!(
        again.to_string(),
        error.to_string(),
        "not fail-stop: it is asked again each time"
    );
    let health = bus.health("t").await.unwrap_err();
    assert!(matches!(health, BusError::Unavailable { .. }), "{health}");
}

/// Options under which a disk with this much free space counts as nearly full, though not for events.
fn nearly_full(dir: &Path) -> EmbeddedOptions {
    let disk = rustix::fs::statvfs(dir).unwrap();
    EmbeddedOptions {
        free_bytes_min: disk.f_bavail * disk.f_frsize / 2 * 3,
        unguarded_topics: ["events".to_owned()].into(),
        ..EmbeddedOptions::default()
    }
}

#[tokio::test]
async fn events_may_use_half_of_the_space_that_samples_leave_free() {
    let dir = tempfile::tempdir().unwrap();
    let bus = EmbeddedBus::open(dir.path(), nearly_full(dir.path())).unwrap();
    let events = TopicSpec {
        name: "events".into(),
        ..spec()
    };
    bus.create_topics(&[spec(), events]).await.unwrap();
    // Both at once, so that one batch of the writer holds what is taken and what is refused.
    let (samples, events) = tokio::join!(
        bus.append("t", 0, vec![record("x")]),
        bus.append("events", 0, vec![record("x")])
    );
    assert_eq!(samples.unwrap_err().fault(), Fault::Outage);
    assert_eq!(events.unwrap(), [Offset(0)]);
}

#[tokio::test]
async fn a_nearly_full_disk_takes_archived_records_before_their_time_and_no_others() {
    let dir = tempfile::tempdir().unwrap();
    let small = EmbeddedOptions {
        segment_bytes_max: 1,
        free_bytes_min: 0,
        ..EmbeddedOptions::default()
    };
    let bus = EmbeddedBus::open(dir.path(), small).unwrap();
    bus.create_topics(&[spec()]).await.unwrap();
    for text in ["first", "second", "third"] {
        bus.append("t", 0, vec![record(text)]).await.unwrap();
    }
    drop(bus);
    let bus = EmbeddedBus::open(dir.path(), nearly_full(dir.path())).unwrap();
    let start = async || bus.retained("t", 0).await.unwrap().start;
    bus.health("t").await.unwrap_err();
    assert_eq!(start().await, NextOffset(0), "nothing is archived");
    bus.allow_trim("t", 0, NextOffset(2)).await.unwrap();
    // The writer removes a segment a pass, after it has answered the questions that it found waiting.
    let removed = async {
        while start().await != NextOffset(2) {
            bus.health("t").await.unwrap_err();
        }
    };
    let waited = tokio::time::timeout(Duration::from_secs(60), removed).await;
    assert!(waited.is_ok(), "the archived records are still there");
    for _ in 0..3 {
        bus.health("t").await.unwrap_err();
    }
    assert_eq!(start().await, NextOffset(2), "the third is not archived");
}

#[tokio::test]
async fn a_topic_kept_for_ever_does_not_start_a_segment_per_record() {
    let directory = tempfile::tempdir().unwrap();
    let now = Arc::new(AtomicI64::new(1_000_000));
    let told = Arc::clone(&now);
    let options = EmbeddedOptions {
        clock: Arc::new(move || told.load(Ordering::SeqCst)),
        ..EmbeddedOptions::default()
    };
    let bus = EmbeddedBus::open(directory.path(), options).unwrap();
    let spec = TopicSpec {
        name: "t".into(),
        partitions: 1,
        retention_ms: -1,
        log_append_time: true,
    };
    bus.create_topics(&[spec]).await.unwrap();
    for _ in 0..20 {
        now.fetch_add(10_000, Ordering::SeqCst);
        bus.append("t", 0, vec![Record::default()]).await.unwrap();
    }
    let keyspaces = std::fs::read_dir(directory.path().join("log/keyspaces"))
        .unwrap()
        .count();
    assert!(keyspaces < 10, "{keyspaces} keyspaces for 20 small records");
}
