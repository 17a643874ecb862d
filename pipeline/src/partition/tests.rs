//! A partition over the real log, archive and store: it copies and encodes its rows in turn with the others.

use std::collections::BTreeMap;
use std::future::Future;
use std::path::Path;
use std::pin::pin;
use std::task::{Context, Poll, Waker};

use bus::embedded::{EmbeddedBus, EmbeddedOptions};
use bus::{Bus as _, TopicSpec};
use schemas::{BatchBuilder, Kind, Labels, Resolution, Topics};
use sinks::Archive;
use sinks::aggregates::{AggregateStore, Retention};

use super::*;
use crate::CheckpointPolicy;

/// A partition 0 whose log, archive and store are below a directory.
async fn options(directory: &Path) -> PipelineOptions {
    let bus = EmbeddedBus::open(&directory.join("log"), EmbeddedOptions::default()).unwrap();
    let topics = Topics::default();
    let specs = topics.all().map(|name| TopicSpec {
        name,
        partitions: 1,
        retention_ms: -1,
        log_append_time: false,
    });
    bus.create_topics(&specs).await.unwrap();
    let url = format!("file://{}", directory.join("archive").display());
    let aggregates = directory.join("aggregates");
    PipelineOptions {
        bus,
        topics,
        group: "test".to_owned(),
        owner: "test".to_owned(),
        archive: Archive::open(&url, &BTreeMap::new()).unwrap(),
        aggregates: Arc::new(AggregateStore::open(&aggregates, Retention::default()).unwrap()),
        archived_rollups: Resolution::ALL.to_vec(),
        processing: Default::default(),
        checkpoint: CheckpointPolicy::default(),
        compaction: Default::default(),
        rebuild_damaged_states: false,
        tick_interval: Duration::from_secs(3600),
    }
}

/// A record of one sample, measured and appended at a time.
fn record(time_ms: i64) -> Record {
    let mut builder = BatchBuilder::default();
    let labels = builder.label_set(&Labels::try_new([("host", "a")]).unwrap());
    let metric = builder.metric("cpu");
    builder.push(metric, labels, Kind::Gauge, time_ms * 1000, 1.0);
    Record {
        value: builder.finish().unwrap().encode().unwrap().into(),
        append_time_ms: Some(time_ms),
        ..Record::default()
    }
}

fn is_ready<T>(work: std::pin::Pin<&mut impl Future<Output = T>>) -> bool {
    matches!(
        work.poll(&mut Context::from_waker(Waker::noop())),
        Poll::Ready(_)
    )
}

/// Does some work while another partition has the only turn, and a third one asks for it next. Turns are given in the order of asking: where the third
/// one gets it, the work has not asked.
async fn expect_in_turn<T>(turns: &Turns, what: &str, work: impl Future<Output = T>) -> T {
    let held = turns.take().await;
    let mut work = pin!(work);
    assert!(!is_ready(work.as_mut()), "{what} waits for nothing");
    let mut next = pin!(turns.take());
    assert!(!is_ready(next.as_mut()));
    drop(held);
    assert!(
        !is_ready(next.as_mut()),
        "{what} goes on without having asked for its turn"
    );
    let (done, ()) = tokio::join!(work, async { drop(next.await) });
    done
}

#[tokio::test]
async fn rows_are_copied_in_turn_by_flushes_and_checkpoints() {
    let directory = tempfile::tempdir().unwrap();
    let options = options(directory.path()).await;
    let (totals, turns) = (Totals::default(), Turns::of(1));
    let recovered = recover(&options, 0).await.unwrap();
    let mut task = PartitionTask::new(&options, None, 0, &totals, &turns, recovered);

    let noon = 1_795_262_400_000;
    for record in [record(noon), record(noon + 3_600_000)] {
        let topic = options.topics.samples();
        options.bus.append(&topic, 0, vec![record]).await.unwrap();
    }
    let mut records = Vec::new();
    while records.len() < 2 {
        records.extend(task.reader.next(TURN_BYTES_MAX).await.unwrap());
    }
    let later = records.split_off(1);
    task.take(records).await.unwrap();
    // An hour later, windows are sealed, and their rollups go to the aggregate store.
    let sealing = task.take(later);
    expect_in_turn(&turns, "a flush", sealing).await.unwrap();
    assert!(task.flushed_rollups > 0);

    let committing = task.commit(false);
    expect_in_turn(&turns, "a checkpoint", committing)
        .await
        .unwrap();
    assert_eq!(task.chain.end(), NextOffset(2));
}

/// Times of four records: an hour after each other.
fn hourly() -> Vec<i64> {
    (0..4)
        .map(|hour| 1_795_262_400_000 + hour * 3_600_000)
        .collect()
}

#[tokio::test]
async fn a_clean_end_takes_what_its_time_allows_and_nothing_while_it_replays() {
    let directory = tempfile::tempdir().unwrap();
    let options = options(directory.path()).await;
    let (totals, turns) = (Totals::default(), Turns::of(1));
    let topic = options.topics.samples();
    let task = async || {
        let recovered = recover(&options, 0).await.unwrap();
        PartitionTask::new(&options, None, 0, &totals, &turns, recovered)
    };
    let next = |task: &PartitionTask<'_>| task.live.lock().state.next_offset();
    let records: Vec<Record> = hourly().into_iter().map(record).collect();
    options.bus.append(&topic, 0, records).await.unwrap();

    let mut late = task().await;
    let end = NextOffset(4);
    late.read_rest(end, Instant::now()).await.unwrap();
    assert_eq!(next(&late), NextOffset(0), "its time is over");
    let hour = Duration::from_secs(3600);
    late.read_rest(end, Instant::now() + hour).await.unwrap();
    assert_eq!(next(&late), end);
    late.commit(true).await.unwrap();

    // A commit without a saved state: the next owner replays what is behind it.
    let record = record(1_795_280_400_000);
    options.bus.append(&topic, 0, vec![record]).await.unwrap();
    let end = NextOffset(5);
    late.read_rest(end, Instant::now() + hour).await.unwrap();
    late.commit(false).await.unwrap();
    assert_eq!(late.chain.end(), end);
    let mut replaying = task().await;
    replaying
        .read_rest(end, Instant::now() + hour)
        .await
        .unwrap();
    assert_eq!(
        next(&replaying),
        NextOffset(4),
        "what the chain covers can wait"
    );
    replaying.finish().await.unwrap();
}
