//! Hot rows: the later offset stays, replay changes nothing, age removes, damage is named.

use arrow::array::AsArray;
use arrow::datatypes::{Float64Type, Int32Type, TimestampMicrosecondType};
use schemas::time::{MINUTE, SECOND};
use schemas::{Kind, Labels, Rollup};

use super::store::{BLOCKS_MAX, block_key};
use super::*;

const START: Micros = 1_000_000 * MINUTE;

fn directory() -> SeriesDirectory {
    let series = |metric: &str, host: &str| {
        Arc::new(Series::new(
            metric,
            Labels::try_new([("host", host), ("x", "1")]).unwrap(),
            Kind::Gauge,
        ))
    };
    [series("cpu", "a"), series("cpu", "b"), series("mem", "a")]
        .into_iter()
        .collect()
}

fn row(series: u32, start: Micros, value: f64, revision: u32) -> RollupRow {
    let rollup = Rollup::fold([(start, value), (start + SECOND, value)]).unwrap();
    RollupRow {
        series,
        resolution: Resolution::Minute,
        start,
        rollup,
        rate: rollup.rate(),
        completeness: 1.0,
        revision,
    }
}

/// (start, metric, host, last, revision) of all rows, sorted.
type Seen = (Micros, String, String, f64, i32);

/// How many batches all rows of a resolution come in.
async fn blocks(store: &AggregateStore, resolution: Resolution) -> usize {
    let always = Micros::MIN..Micros::MAX;
    let found = store.rows(resolution, always, None, NextOffset(0)).await;
    found.unwrap().batches.len()
}

async fn seen(store: &AggregateStore, partition: Option<u32>, after: u64) -> Vec<Seen> {
    let found = store
        .rows(
            Resolution::Minute,
            Micros::MIN..Micros::MAX,
            partition,
            NextOffset(after),
        )
        .await
        .unwrap();
    assert!(found.damaged.is_empty(), "{:?}", found.damaged);
    let mut seen = Vec::new();
    for batch in &found.batches {
        let text = |name: &str, i: usize| {
            batch
                .column_by_name(name)
                .unwrap()
                .as_string::<i32>()
                .value(i)
                .to_owned()
        };
        for i in 0..batch.num_rows() {
            let start = batch
                .column_by_name("time")
                .unwrap()
                .as_primitive::<TimestampMicrosecondType>()
                .value(i);
            let last = batch
                .column_by_name("last")
                .unwrap()
                .as_primitive::<Float64Type>()
                .value(i);
            let revision = batch
                .column_by_name("revision")
                .unwrap()
                .as_primitive::<Int32Type>()
                .value(i);
            seen.push((
                (start - START) / MINUTE,
                text("metric", i),
                text("host", i),
                last,
                revision,
            ));
        }
    }
    seen.sort_by(|a, b| a.partial_cmp(b).unwrap());
    seen
}

fn expect(rows: &[(Micros, &str, &str, f64, i32)]) -> Vec<Seen> {
    rows.iter()
        .map(|(start, metric, host, last, revision)| {
            (*start, (*metric).into(), (*host).into(), *last, *revision)
        })
        .collect()
}

#[tokio::test]
async fn the_later_offset_stays_and_replay_is_harmless() {
    let keep = tempfile::tempdir().unwrap();
    let store = AggregateStore::open(keep.path(), Retention::default()).unwrap();
    let directory = directory();
    let first = [
        row(0, START, 1.0, 0),
        row(1, START, 2.0, 0),
        row(2, START + MINUTE, 3.0, 0),
    ];
    let revised = [row(1, START, 20.0, 1)];
    let both = expect(&[
        (0, "cpu", "a", 1.0, 0),
        (0, "cpu", "b", 20.0, 1),
        (1, "mem", "a", 3.0, 0),
    ]);
    store
        .put(7, &directory, &first, NextOffset(10))
        .await
        .unwrap();
    store
        .put(7, &directory, &revised, NextOffset(20))
        .await
        .unwrap();
    assert_eq!(seen(&store, None, 0).await, both);
    store
        .put(7, &directory, &first, NextOffset(10))
        .await
        .unwrap();
    store
        .put(7, &directory, &revised, NextOffset(20))
        .await
        .unwrap();
    assert_eq!(seen(&store, None, 0).await, both, "replay");
    store
        .put(7, &directory, &[row(1, START, 99.0, 9)], NextOffset(15))
        .await
        .unwrap();
    assert_eq!(
        seen(&store, None, 0).await,
        both,
        "an older one after a newer one"
    );
    assert_eq!(
        seen(&store, None, 10).await,
        expect(&[(0, "cpu", "b", 20.0, 1)]),
        "past a chain's end"
    );
    assert!(seen(&store, None, 20).await.is_empty());

    store
        .put(8, &directory, &[row(0, START, 8.0, 0)], NextOffset(1))
        .await
        .unwrap();
    assert_eq!(
        seen(&store, Some(8), 0).await,
        expect(&[(0, "cpu", "a", 8.0, 0)])
    );
    assert_eq!(seen(&store, Some(7), 0).await, both);
    let found = store
        .rows(
            Resolution::Minute,
            START + MINUTE..START + 2 * MINUTE,
            None,
            NextOffset(0),
        )
        .await
        .unwrap();
    assert_eq!(found.batches.len(), 1);
    assert_eq!(
        found.batches[0].schema(),
        schemas::columns::table_schema(schemas::Table::Rollups(Resolution::Minute))
    );
    assert!(
        store
            .rows(
                Resolution::Hour,
                Micros::MIN..Micros::MAX,
                None,
                NextOffset(0)
            )
            .await
            .unwrap()
            .batches
            .is_empty()
    );
    assert_eq!(
        store
            .put(7, &directory, &[row(9, START, 0.0, 0)], NextOffset(30))
            .await
            .unwrap_err()
            .fault(),
        Fault::Bug
    );
}

#[tokio::test]
async fn many_revisions_become_one_block_and_keep_the_guard() {
    let keep = tempfile::tempdir().unwrap();
    let store = AggregateStore::open(keep.path(), Retention::default()).unwrap();
    let directory = directory();
    for end in 1..=40u32 {
        store
            .put(
                0,
                &directory,
                &[row(end % 3, START, f64::from(end), end)],
                NextOffset(u64::from(end)),
            )
            .await
            .unwrap();
    }
    store
        .put(0, &directory, &[row(0, START, -1.0, 0)], NextOffset(38))
        .await
        .unwrap();
    assert!(store.shared.open().unwrap().blocks.iter().count() <= BLOCKS_MAX);
    assert_eq!(
        seen(&store, None, 0).await,
        expect(&[
            (0, "cpu", "a", 39.0, 39),
            (0, "cpu", "b", 40.0, 40),
            (0, "mem", "a", 38.0, 38)
        ])
    );
    assert_eq!(
        seen(&store, None, 38).await,
        expect(&[(0, "cpu", "a", 39.0, 39), (0, "cpu", "b", 40.0, 40)])
    );
}

/// Names that are stored, by id: the day on which each was last confirmed.
fn stored_names(store: &AggregateStore) -> BTreeMap<u128, u32> {
    let inner = store.shared.open().unwrap();
    let stored = inner.series.iter().filter_map(|entry| {
        let (key, name) = entry.into_inner().unwrap();
        names::read(&key, &name)
    });
    stored.collect()
}

/// However many come at once and whatever a start knows of them: each name is stored once, under the newest day of its rows.
#[tokio::test]
async fn names_keep_their_newest_day_through_tables_batches_and_starts() {
    let keep = tempfile::tempdir().unwrap();
    let series = |i: usize| {
        let labels = Labels::try_new([("host", format!("h{i}"))]).unwrap();
        Arc::new(Series::new("m", labels, Kind::Gauge))
    };
    let directory: SeriesDirectory = (0..5_000).map(series).collect();
    let mut expected: BTreeMap<u128, u32> = BTreeMap::new();
    // Which series, how many days later: enough for a table or too few, known or not, before and after the day of the names.
    let puts = [
        (0..10, 3),
        (0..4_500, 3),
        (4_400..5_000, 2),
        (0..5_000, 4),
        (0..5_000, 1),
        (7..9, 5),
        (0..4_990, 5),
    ];
    for (number, (range, days)) in puts.into_iter().enumerate() {
        let store = AggregateStore::open(keep.path(), Retention::default()).unwrap();
        let rows: Vec<_> = range
            .clone()
            .map(|series| row(series, START + days * DAY, 1.0, 0))
            .collect();
        let end = NextOffset(number as u64 + 1);
        // Twice: the second time all are remembered.
        for _ in 0..2 {
            store.put(0, &directory, &rows, end).await.unwrap();
        }
        for index in range {
            let day = expected.entry(directory[index as usize].id.0).or_insert(0);
            *day = names::day(START + days * DAY).max(*day);
        }
        assert!(stored_names(&store) == expected, "put {number}");
        // The database refuses to be opened while its threads end.
        drop(store);
    }
    let store = AggregateStore::open(keep.path(), Retention::default()).unwrap();
    let found = seen(&store, None, 6).await;
    assert_eq!(found.len(), 4_990);
    let hosts: std::collections::BTreeSet<_> = found.iter().map(|row| &row.2).collect();
    assert_eq!(hosts.len(), 4_990);
}

#[tokio::test]
async fn names_are_looked_through_once_a_day_across_starts() {
    let keep = tempfile::tempdir().unwrap();
    let directory = directory();
    let now = START + 800 * DAY;
    let put = async |store: &AggregateStore, series, days_ago| {
        let rows = [row(series, now - days_ago * DAY, 1.0, 0)];
        store
            .put(0, &directory, &rows, NextOffset(1))
            .await
            .unwrap();
    };
    let names_after = async |now| {
        let store = AggregateStore::open(keep.path(), Retention::default()).unwrap();
        store.expire(now).await.unwrap();
        stored_names(&store).len()
    };
    {
        let store = AggregateStore::open(keep.path(), Retention::default()).unwrap();
        put(&store, 0, 0).await;
        put(&store, 1, 731).await;
        store.expire(now).await.unwrap();
        assert_eq!(stored_names(&store).len(), 1, "731 days are too many");
        put(&store, 2, 731).await;
    }
    assert_eq!(names_after(now).await, 2, "not again on the same day");
    assert_eq!(names_after(now + DAY).await, 1);
}

/// What a failed write leads to, told by a work that fails as one: the database's own failures need a broken disk (`full_disk` has one).
#[tokio::test]
async fn a_store_that_failed_is_opened_anew_by_the_next_use() {
    let keep = tempfile::tempdir().unwrap();
    let store = AggregateStore::open(keep.path(), Retention::default()).unwrap();
    let rows = [row(0, START, 1.0, 0)];
    store
        .put(0, &directory(), &rows, NextOffset(5))
        .await
        .unwrap();
    for (failure, ends_it) in [
        (StoreError::Closed, true),
        (StoreError::Outage("no space".into()), true),
        (
            StoreError::Corruption {
                what: "a block".into(),
                detail: "damaged".into(),
            },
            false,
        ),
    ] {
        let shown = failure.to_string();
        let still_used = store.shared.open().unwrap();
        let refused: Result<(), StoreError> = store.shared.with(|_| Err(failure));
        assert!(refused.is_err());
        // While someone holds the failed one, its lock keeps a new one out: an outage that passes.
        let again = store.shared.with(|_| Ok(()));
        match again {
            Ok(()) => assert!(!ends_it, "{shown}: the failed one is still used"),
            Err(error) => assert!(
                ends_it && error.fault() == Fault::Outage,
                "{shown}: {error}"
            ),
        }
        drop(still_used);
        assert_eq!(seen(&store, None, 0).await.len(), 1, "{shown}");
    }
}

#[tokio::test]
async fn what_is_old_expires_and_the_rest_survives_a_reopening() {
    let keep = tempfile::tempdir().unwrap();
    let directory = directory();
    {
        let store = AggregateStore::open(keep.path(), Retention::default()).unwrap();
        let rows: Vec<RollupRow> = (0..10)
            .map(|i| row(i % 3, START + i64::from(i) * MINUTE, f64::from(i), 0))
            .collect();
        store
            .put(0, &directory, &rows, NextOffset(5))
            .await
            .unwrap();
        let daily = RollupRow {
            resolution: Resolution::Day,
            ..row(0, START, 1.0, 0)
        };
        store
            .put(0, &directory, &[daily], NextOffset(5))
            .await
            .unwrap();
        assert_eq!(store.expire(START + 2 * DAY + 7 * MINUTE).await.unwrap(), 7);
        store.sync().await.unwrap();
        let error = AggregateStore::open(keep.path(), Retention::default())
            .err()
            .unwrap();
        assert_eq!(error.fault(), Fault::BadConfig, "{error}");
    }
    let store = AggregateStore::open(keep.path(), Retention::default()).unwrap();
    assert_eq!(
        seen(&store, None, 0).await,
        expect(&[
            (7, "cpu", "b", 7.0, 0),
            (8, "mem", "a", 8.0, 0),
            (9, "cpu", "a", 9.0, 0)
        ])
    );
    assert_eq!(blocks(&store, Resolution::Day).await, 1);
    // Once nothing can need them, the names go too.
    assert_eq!(store.expire(START + 800 * DAY).await.unwrap(), 4);
    assert_eq!(
        (
            store.shared.open().unwrap().blocks.iter().count(),
            stored_names(&store).len()
        ),
        (0, 0)
    );
    store
        .put(
            0,
            &directory,
            &[row(0, START + 800 * DAY, 1.0, 0)],
            NextOffset(6),
        )
        .await
        .unwrap();
    assert_eq!(seen(&store, None, 0).await.len(), 1);
}

#[test]
fn a_store_that_lacks_a_file_says_what_mends_it() {
    let keep = tempfile::tempdir().unwrap();
    drop(AggregateStore::open(keep.path(), Retention::default()).unwrap());
    std::fs::remove_file(keep.path().join("version")).unwrap();
    let error = AggregateStore::open(keep.path(), Retention::default())
        .err()
        .unwrap();
    assert_eq!(error.fault(), Fault::Corruption);
    let said = error.to_string();
    assert!(
        said.contains("a file of it is gone") && said.contains("delete the directory"),
        "{said}"
    );
}

#[tokio::test]
async fn c6_a_damaged_block_is_named_skipped_and_kept() {
    let keep = tempfile::tempdir().unwrap();
    let store = AggregateStore::open(keep.path(), Retention::default()).unwrap();
    let directory = directory();
    for i in 0..3 {
        store
            .put(
                0,
                &directory,
                &[row(0, START + i * MINUTE, 1.0, 0)],
                NextOffset(1),
            )
            .await
            .unwrap();
    }
    let key = block_key(Resolution::Minute, START + MINUTE, 0, NextOffset(1));
    let mut bytes = store
        .shared
        .open()
        .unwrap()
        .blocks
        .get(key)
        .unwrap()
        .unwrap()
        .to_vec();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    store
        .shared
        .open()
        .unwrap()
        .blocks
        .insert(key, bytes)
        .unwrap();
    let name = directory[1].id.0.to_be_bytes();
    store
        .put(
            0,
            &directory,
            &[row(1, START + 5 * MINUTE, 1.0, 0)],
            NextOffset(1),
        )
        .await
        .unwrap();
    store
        .shared
        .open()
        .unwrap()
        .series
        .insert(name, b"rubbish")
        .unwrap();
    let found = store
        .rows(
            Resolution::Minute,
            Micros::MIN..Micros::MAX,
            None,
            NextOffset(0),
        )
        .await
        .unwrap();
    assert_eq!(found.batches.len(), 2);
    let damaged: Vec<String> = found.damaged.iter().map(ToString::to_string).collect();
    assert_eq!(damaged.len(), 2, "{damaged:?}");
    assert!(
        damaged[0].contains("checksum") && damaged[1].contains("name of series"),
        "{damaged:?}"
    );
    assert!(
        found
            .damaged
            .iter()
            .all(|error| error.fault() == Fault::Corruption)
    );
    assert!(
        store
            .shared
            .open()
            .unwrap()
            .blocks
            .get(key)
            .unwrap()
            .is_some()
    );
    // New rows of the damaged window are stored and seen.
    store
        .put(
            0,
            &directory,
            &[row(0, START + MINUTE, 2.0, 0)],
            NextOffset(2),
        )
        .await
        .unwrap();
    assert_eq!(blocks(&store, Resolution::Minute).await, 3);
}
