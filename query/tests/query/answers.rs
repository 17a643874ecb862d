//! Answers: hot and cold once each, pruning, joins, catalogue, one moment per query.

use query::{Limits, ScanBounds};
use schemas::time::{HOUR, MINUTE};
use schemas::{Resolution, Table};

use crate::world::{START, World, link, rollups, samples};

#[tokio::test]
async fn hot_and_cold_rows_count_once() {
    let world = World::small();
    world
        .check(
            "SELECT metric, count(*) AS n, sum(value) AS total, max(time) AS latest FROM samples GROUP BY metric ORDER BY metric",
            "metric  n  total  latest
             ------  -  -----  --------------------
             cpu     5   15.0  2026-11-21T02:00:00Z
             mem     2   30.0  2026-11-21T01:00:00Z",
        )
        .await;
    world
        .check(
            "SELECT count(*) FROM samples",
            "count(*)\n--------\n       7",
        )
        .await;
    world
        .check(
            "SELECT count(*) FROM samples WHERE value > 2.5",
            "count(*)\n--------\n       5",
        )
        .await;
    world
        .check(
            "SELECT value FROM samples ORDER BY value DESC LIMIT 2",
            "value\n-----\n 20.0\n 10.0",
        )
        .await;
}

#[tokio::test]
async fn counts_and_extremes_of_time_open_no_file() {
    let world = World::small();
    world
        .check("SELECT count(*) AS n FROM samples", "n\n-\n7")
        .await;
    assert_eq!(world.opened(), Vec::<String>::new());
}

#[tokio::test]
async fn only_files_that_can_matter_are_opened_and_none_is_listed() {
    let world = World::small();
    let cases = [
        ("metric = 'mem'", vec!["p00001-mem.parquet"]),
        ("metric IN ('mem', 'none')", vec!["p00001-mem.parquet"]),
        (
            "metric = 'mem' OR metric = 'disk'",
            vec!["p00001-mem.parquet"],
        ),
        (
            "metric = 'cpu' AND time >= '2026-11-21T01:00:00Z'",
            vec!["p00000-cpu-2.parquet"],
        ),
        (
            "metric = 'cpu' AND time < '2026-11-21T01:00:00Z'",
            vec!["p00000-cpu-1.parquet"],
        ),
        (
            "metric = 'cpu' AND time BETWEEN '2026-11-21T00:59:00Z' AND '2026-11-21T01:30:00Z'",
            vec!["p00000-cpu-2.parquet"],
        ),
        (
            "metric = 'cpu' AND '2026-11-21T00:30:00Z' >= time",
            vec!["p00000-cpu-1.parquet"],
        ),
        (
            "metric = 'cpu' AND time = TIMESTAMP '2026-11-21T01:00:00Z'",
            vec!["p00000-cpu-2.parquet"],
        ),
        (
            "metric = 'cpu' AND time > '2026-11-21T02:00:00Z'::timestamptz - INTERVAL '61 minutes'",
            vec!["p00000-cpu-2.parquet"],
        ),
        (
            "metric = 'cpu' AND CAST(time AS DATE) = DATE '2026-11-20'",
            vec![],
        ),
        ("time > now() + INTERVAL '100 years'", vec![]),
        ("metric = 'none'", vec![]),
        (
            "(metric = 'mem' AND time > '2026-11-20') OR (metric = 'none' AND time < '2026-11-22')",
            vec!["p00001-mem.parquet"],
        ),
        (
            "NOT metric = 'mem' AND metric = 'cpu' AND time < '2026-11-21T01:00:00Z'",
            vec!["p00000-cpu-1.parquet"],
        ),
    ];
    for (filter, files) in cases {
        world
            .ask(&format!("SELECT host, value FROM samples WHERE {filter}"))
            .await
            .unwrap()
            .collect()
            .await
            .unwrap();
        assert_eq!(world.opened(), files, "{filter}");
    }
}

#[tokio::test]
async fn tables_are_told_the_bounds() {
    let world = World::small();
    world.ask("SELECT 1 FROM samples WHERE metric = 'cpu' AND time >= '2026-11-21T01:00:00Z' AND time < '2026-11-21T02:00:00Z'").await.unwrap();
    let bounds = ScanBounds {
        time_min: Some(START + HOUR),
        time_max: Some(START + 2 * HOUR),
        metrics: Some(vec!["cpu".to_owned()]),
        columns: Some(vec!["time".to_owned(), "metric".to_owned()]),
    };
    assert_eq!(
        *world.held.asked.lock().unwrap(),
        [(Table::Samples, bounds)]
    );
}

#[tokio::test]
async fn a_table_that_occurs_twice_is_looked_at_once_within_the_bounds_of_both() {
    let world = World::small();
    world
        .held
        .after_view
        .lock()
        .unwrap()
        .replace(Box::new(|held| held.files.lock().unwrap().clear()));
    world
        .check(
            "SELECT (SELECT count(value) FROM samples WHERE metric = 'mem') AS mem, count(*) AS cpu FROM samples WHERE metric = 'cpu'",
            "mem  cpu\n---  ---\n  2    5",
        )
        .await;
    let asked = world.held.asked.lock().unwrap().clone();
    assert_eq!(asked.len(), 1, "{asked:?}");
    assert_eq!(
        asked[0].1.metrics,
        Some(vec!["cpu".to_owned(), "mem".to_owned()])
    );
}

#[tokio::test]
async fn tables_join() {
    let world = World::small();
    world
        .check(
            "SELECT s.host, s.value, r.sum FROM samples s JOIN rollups_1m r ON s.metric = r.metric AND s.host = r.host \
             WHERE s.time < '2026-11-21T01:00:00Z' ORDER BY s.host",
            "host  value    sum
             ----  -----  -----
             a       1.0   60.0
             b       2.0  120.0",
        )
        .await;
    world
        .check(
            "WITH busy AS (SELECT host FROM rollups_1m WHERE sum > 100) SELECT count(*) AS n FROM samples WHERE host IN (SELECT host FROM busy)",
            "n\n-\n2",
        )
        .await;
}

#[tokio::test]
async fn labels_are_a_map() {
    let world = World::small();
    world
        .check(
            "SELECT DISTINCT labels['zone'] AS zone, labels FROM samples WHERE metric = 'mem'",
            r#"zone  labels
               ----  ------------------------
               eu    {"host":"a","zone":"eu"}"#,
        )
        .await;
    world
        .check(
            "SELECT count(*) AS n FROM samples WHERE labels['host'] = 'b'",
            "n\n-\n2",
        )
        .await;
}

#[tokio::test]
async fn windows_and_buckets_of_time() {
    let world = World::small();
    world
        .check(
            "SELECT date_bin(INTERVAL '1 hour', time) AS hour, avg(value) AS mean FROM samples WHERE metric = 'cpu' GROUP BY 1 ORDER BY 1",
            "hour                  mean
             --------------------  ----
             2026-11-21T00:00:00Z   1.5
             2026-11-21T01:00:00Z   3.5
             2026-11-21T02:00:00Z   5.0",
        )
        .await;
    world
        .check(
            "SELECT host, value - lag(value) OVER (PARTITION BY host ORDER BY time) AS step FROM samples WHERE metric = 'cpu' AND host = 'b'",
            "host  step
             ----  ----
             b
             b      2.0",
        )
        .await;
    world
        .check(
            "SELECT now() > TIMESTAMP '2026-01-01' AS later, now() = now() AS same",
            "later  same\n-----  ----\ntrue   true",
        )
        .await;
    world
        .check(
            "SELECT round(sqrt(16.0), 1) AS r, abs(-2) AS a",
            "  r  a\n---  -\n4.0  2",
        )
        .await;
    world
        .check(
            "SELECT 'a' || 1 || NULL AS n, 'a' || 'b' AS ab, concat('x', NULL, 'y') AS xy",
            "n  ab  xy\n-  --  --\nab  xy",
        )
        .await;
    world
        .check("SELECT value FROM range(1, 7, 2)", "value\n-----\n1\n3\n5")
        .await;
}

#[tokio::test]
async fn empty_tables_have_columns() {
    let world = World::empty(Limits::default());
    world
        .check(
            "SELECT metric, score FROM anomalies",
            "metric  score\n------  -----",
        )
        .await;
    world
        .check(
            "SELECT count(*) AS n, max(time) AS t FROM samples",
            "n  t\n-  -\n0",
        )
        .await;
    world
        .check(
            "SELECT reason, source_offset FROM dead_letters",
            "reason  source_offset\n------  -------------",
        )
        .await;
}

#[tokio::test]
async fn the_catalogue_tells_of_itself() {
    let world = World::small();
    world
        .check(
            "SELECT table_name FROM information_schema.tables WHERE table_schema = 'public' ORDER BY 1",
            "table_name
             ---------------
             anomalies
             checkpoints
             dead_letters
             demo_events
             forecast_scores
             forecasts
             rollups_10s
             rollups_1d
             rollups_1h
             rollups_1m
             rollups_5m
             samples",
        )
        .await;
    world
        .check(
            "DESCRIBE samples",
            r#"column_name  data_type                                                                     is_nullable
               -----------  ----------------------------------------------------------------------------  -----------
               time         Timestamp(µs, "UTC")                                                          NO
               metric       Utf8                                                                          NO
               series_id    Utf8                                                                          NO
               labels       Map("entries": non-null Struct("key": non-null Utf8, "value": Utf8), sorted)  NO
               host         Utf8                                                                          YES
               service      Utf8                                                                          YES
               value        Float64                                                                       NO"#,
        )
        .await;
    for sql in [
        "SHOW TABLES",
        "SHOW COLUMNS FROM samples",
        "SHOW FUNCTIONS",
        "EXPLAIN SELECT * FROM samples",
        "EXPLAIN ANALYZE SELECT count(value) FROM samples",
    ] {
        assert!(
            !world
                .ask(sql)
                .await
                .unwrap()
                .collect()
                .await
                .unwrap()
                .is_empty(),
            "{sql}"
        );
    }
}

#[tokio::test]
async fn checkpoints_and_dead_letters_are_tables() {
    let world = World::empty(Limits::default());
    let file = world.write(
        "samples/x.parquet",
        Table::Samples,
        &samples("cpu", &[("a", START, 1.0)]),
    );
    *world.held.links.lock().unwrap() = vec![link(3, 0, vec![]), link(3, 1, vec![file])];
    world
        .check(
            "SELECT partition, sequence, kind, end_offset, files_added, rows_added, read - accepted - duplicate - late - invalid AS lost, watermark \
             FROM checkpoints ORDER BY sequence",
            "partition  sequence  kind    end_offset  files_added  rows_added  lost  watermark
             ---------  --------  ------  ----------  -----------  ----------  ----  --------------------
                     3         0  claim            0            0           0     0
                     3         1  commit          10            1           1     0  2026-11-21T00:00:00Z",
        )
        .await;
}

#[tokio::test]
async fn a_file_that_a_compaction_replaced_meanwhile_is_no_error() {
    let world = World::empty(Limits::default());
    let minute = Table::Rollups(Resolution::Minute);
    let old = world.commit(
        "rollups_1m/old.parquet",
        minute,
        &rollups("cpu", &[("a", START, 1, 7.0)]),
    );
    let new = world.write(
        "rollups_1m/new.parquet",
        minute,
        &rollups(
            "cpu",
            &[("a", START, 1, 7.0), ("a", START + MINUTE, 1, 8.0)],
        ),
    );
    let gone = world.directory.path().join(&old.path);
    world
        .held
        .after_view
        .lock()
        .unwrap()
        .replace(Box::new(move |held| {
            *held.files.lock().unwrap() = vec![new];
            std::fs::remove_file(gone).unwrap();
        }));
    world
        .check(
            "SELECT sum(sum) AS total FROM rollups_1m",
            "total\n-----\n15.0",
        )
        .await;
    assert_eq!(world.held.asked.lock().unwrap().len(), 2);
}

#[tokio::test]
async fn an_answer_says_whose_hot_rows_it_lacks() {
    let world = World::small();
    *world.held.lacking.lock().unwrap() = vec![7, 2];
    let answer = world.ask("SELECT * FROM samples").await.unwrap();
    assert_eq!(answer.notes.partitions_without_hot_rows, [2, 7]);
    assert!(
        answer.notes.to_string().contains("partitions 2, 7"),
        "{}",
        answer.notes
    );
    assert!(world.ask("SELECT 1").await.unwrap().notes.is_empty());
}

#[tokio::test]
async fn repeated_column_names_are_told_apart() {
    let world = World::small();
    let answer = world
        .ask("SELECT a.host, b.host, 1 AS host_2 FROM samples a JOIN samples b ON a.time = b.time")
        .await
        .unwrap();
    let names: Vec<_> = answer
        .schema
        .fields()
        .iter()
        .map(|field| field.name().as_str())
        .collect();
    assert_eq!(names, ["host", "host_2_", "host_2"]);
}
