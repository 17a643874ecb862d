//! Limits, each hit for real: the error names the limit, its value and its setting, and the engine goes on.

use std::time::Duration;

use query::{Limits, QueryError};
use schemas::{Fault, HasFault, Table};

use crate::world::{World, many};

async fn big(limits: Limits) -> World {
    let world = World::empty(limits);
    world.commit("samples/big.parquet", Table::Samples, &many("cpu", 200_000));
    world
}

async fn assert_limit(world: &World, sql: &str, setting: &str) {
    let error = world.error(sql).await;
    let text = error.to_string();
    let short: String = sql.chars().take(200).collect();
    assert!(
        matches!(error, QueryError::Limit { .. })
            && text.contains(setting)
            && text.contains("limit is"),
        "{short}\n{error:?}"
    );
    assert_eq!(error.fault(), Fault::BadInput);
    // The threads may still be at the end of some batches of the query that was stopped.
    for _ in 0..5 {
        if world.text("SELECT 1 AS one").await == "one\n---\n  1\n" {
            return;
        }
    }
    panic!("no more answers after {short}");
}

#[tokio::test(flavor = "multi_thread")]
async fn time() {
    let world = big(Limits {
        timeout: Duration::from_millis(700),
        ..Limits::default()
    })
    .await;
    for sql in [
        "SELECT count(*) FROM samples a, samples b, samples c WHERE a.value * b.value + c.value = 0.5",
        "SELECT sum(a.value * b.value) FROM samples a CROSS JOIN samples b",
        "WITH RECURSIVE n AS (SELECT 1 AS i UNION ALL SELECT i + 1 FROM n) SELECT max(i) FROM n",
        "SELECT count(*) FROM range(0, 9000000) a, range(0, 9000000) b WHERE a.value % 7 = b.value % 11",
    ] {
        assert_limit(&world, sql, "query.timeout").await;
    }
}

#[tokio::test]
async fn memory() {
    let world = big(Limits {
        memory_bytes: 2 << 20,
        ..Limits::default()
    })
    .await;
    for sql in [
        "SELECT * FROM samples ORDER BY value DESC, labels['host']",
        "SELECT value, count(*) FROM samples GROUP BY value",
        "SELECT array_agg(series_id) FROM samples",
        "SELECT string_agg(series_id, ',') FROM samples",
        "SELECT count(*) FROM samples a JOIN samples b ON a.value = b.value + 1 AND a.series_id = b.series_id",
        "SELECT DISTINCT series_id, value FROM samples",
    ] {
        assert_limit(&world, sql, "query.memory`").await;
    }
    let world = big(Limits {
        memory_bytes_total: 4 << 20,
        ..Limits::default()
    })
    .await;
    assert_limit(
        &world,
        "SELECT * FROM samples ORDER BY value DESC",
        "query.memory_total`",
    )
    .await;
}

#[tokio::test]
async fn a_sort_spills_into_the_given_directory_and_leaves_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let spill = directory.path().join("spill");
    std::fs::create_dir(&spill).unwrap();
    let limits = Limits {
        memory_bytes: 24 << 20,
        spill_directory: Some(spill.clone()),
        threads: 1,
        ..Limits::default()
    };
    let world = big(limits.clone()).await;
    let sql = "SELECT value, series_id, host FROM samples ORDER BY value DESC, series_id";
    let rows: usize = world
        .ask(sql)
        .await
        .unwrap()
        .collect()
        .await
        .unwrap()
        .iter()
        .map(|batch| batch.num_rows())
        .sum();
    assert_eq!(rows, 200_000);
    let world = big(Limits {
        spill_bytes: 1 << 20,
        ..limits
    })
    .await;
    let sql = "SELECT * FROM samples ORDER BY value DESC, series_id";
    assert_limit(&world, sql, "query.spill").await;
}

#[tokio::test]
async fn rows() {
    let world = big(Limits {
        rows_max: 1_000,
        ..Limits::default()
    })
    .await;
    assert_limit(&world, "SELECT * FROM samples", "query.rows_max").await;
    assert_eq!(
        world
            .text("SELECT count(*) AS n FROM (SELECT * FROM samples LIMIT 1000)")
            .await,
        "n\n----\n1000\n".replace("n\n", "   n\n")
    );
}

#[tokio::test]
async fn queries_at_once() {
    let limits = Limits {
        concurrent_max: 1,
        waiting_max: 1,
        wait: Duration::from_millis(50),
        ..Limits::default()
    };
    let world = big(limits).await;
    let running = world.ask("SELECT * FROM samples").await.unwrap();
    let (one, two) = tokio::join!(world.error("SELECT 1"), world.error("SELECT 1"));
    let texts = format!("{one}\n{two}");
    assert!(
        matches!(
            (&one, &two),
            (QueryError::Busy { .. }, QueryError::Busy { .. })
        ),
        "{texts}"
    );
    assert_eq!(one.fault(), Fault::Outage);
    assert!(
        texts.contains("query.waiting_max") && texts.contains("query.concurrent_max"),
        "{texts}"
    );
    // Whoever stops reading makes room.
    drop(running);
    let mut tries = 0;
    while let Err(error) = world.ask("SELECT 1").await {
        tries += 1;
        assert!(tries < 100, "{error}");
    }
}

#[tokio::test]
async fn text_and_nesting() {
    let world = World::small();
    let many = |part: &str, times: usize| vec![part; times].join(" OR ");
    let cases = [
        (
            format!("SELECT * FROM samples WHERE {}", many("value = 1", 100_000)),
            "SQL_BYTES_MAX",
        ),
        (
            format!("SELECT * FROM samples WHERE {}", many("value=1", 5_000)),
            "OPERATORS_MAX",
        ),
        (format!("SELECT 1{}", "+1".repeat(30_000)), "OPERATORS_MAX"),
        (format!("SELECT {}1", "- ".repeat(30_000)), "OPERATORS_MAX"),
        (
            format!("SELECT {}true", "NOT ".repeat(10_000)),
            "OPERATORS_MAX",
        ),
        (
            format!("SELECT 1{}", "::int".repeat(10_000)),
            "OPERATORS_MAX",
        ),
        (
            format!("SELECT a{} FROM samples", "[1]".repeat(15_000)),
            "OPERATORS_MAX",
        ),
        (vec!["SELECT 1"; 3_400].join(" UNION ALL "), "OPERATORS_MAX"),
        (
            format!("SELECT * FROM samples{}", ",samples".repeat(5_000)),
            "RELATIONS_MAX",
        ),
        (
            format!("SELECT * FROM samples{}", " CROSS JOIN samples".repeat(500)),
            "RELATIONS_MAX",
        ),
        (
            format!("SELECT {}1{}", "(".repeat(30_000), ")".repeat(30_000)),
            "recursion limit",
        ),
        (
            format!("SELECT {}1{}", "abs(".repeat(10_000), ")".repeat(10_000)),
            "recursion limit",
        ),
        (
            format!(
                "SELECT * FROM {}samples{}",
                "(SELECT * FROM ".repeat(400),
                ")".repeat(400)
            ),
            "recursion limit",
        ),
        (
            format!("{}SELECT 1", "EXPLAIN ".repeat(8_000)),
            "OPERATORS_MAX",
        ),
    ];
    for (sql, setting) in cases {
        assert_limit(&world, &sql, setting).await;
    }
    // What stays below the limits is planned without exhausting a stack.
    for sql in [
        format!(
            "SELECT count(*) AS n FROM samples WHERE {}",
            many("value = 1", 480)
        ),
        format!(
            "SELECT count(*) AS n FROM samples WHERE value IN ({})",
            vec!["1"; 10_000].join(",")
        ),
        format!("SELECT 1{}", "+1".repeat(990)),
        vec!["SELECT 1"; 300].join(" UNION ALL "),
        format!("SELECT {}1{}", "(".repeat(20), ")".repeat(20)),
    ] {
        let answer = world
            .ask(&sql)
            .await
            .unwrap_or_else(|error| panic!("{:.100}: {error}", sql));
        answer.collect().await.unwrap();
    }
}

#[tokio::test]
async fn functions_that_make_much_out_of_little() {
    let world = World::small();
    let doubling = |name: &str, double: &str, seed: &str, times: usize| {
        let steps: Vec<_> = (0..times)
            .map(|i| format!("{name}{} AS (SELECT {double} AS s FROM {name}{i})", i + 1))
            .collect();
        format!(
            "WITH {name}0 AS (SELECT {seed} AS s), {} SELECT s FROM {name}{times}",
            steps.join(", ")
        )
    };
    let cases = [
        "SELECT repeat('x', 1000000000)".to_owned(),
        "SELECT repeat('x', 9223372036854775807)".to_owned(),
        "SELECT repeat(host, 100000000) FROM samples".to_owned(),
        "SELECT repeat(repeat(repeat('x', 1000), 1000), 1000)".to_owned(),
        "SELECT lpad('x', 1000000000)".to_owned(),
        "SELECT rpad(host, 1000000000, 'ab') FROM samples".to_owned(),
        "SELECT array_repeat(1, 1000000000)".to_owned(),
        "SELECT array_repeat(array_repeat(1, 8000), 8000)".to_owned(),
        "SELECT array_resize([1], 1000000000, 0)".to_owned(),
        "SELECT generate_series(1, 1000000000)".to_owned(),
        "SELECT range(1000000000)".to_owned(),
        "SELECT generate_series(TIMESTAMP '1970-01-01', TIMESTAMP '2026-01-01', INTERVAL '1 second')".to_owned(),
        "SELECT * FROM generate_series(1, 1000000000000)".to_owned(),
        "SELECT * FROM range(1000000000000)".to_owned(),
        "SELECT * FROM generate_series(TIMESTAMP '1970-01-01', TIMESTAMP '2026-01-01', INTERVAL '1 second')".to_owned(),
        "SELECT replace(repeat('a', 60000), 'a', repeat('b', 60000))".to_owned(),
        "SELECT regexp_replace(repeat('a', 60000), 'a', repeat('b', 60000), 'g')".to_owned(),
        "SELECT array_to_string(range(8000), repeat('x', 60000))".to_owned(),
        "SELECT repeat('x', 60000) FROM range(100000) r WHERE repeat(r.value::varchar, 60000) = ''".to_owned(),
        doubling("a", "s || s", "'0123456789'", 40),
        doubling("b", "concat(s, s)", "'0123456789'", 40),
        doubling("c", "concat_ws(',', s, s)", "'0123456789'", 40),
        doubling("d", "array_concat(s, s)", "[1, 2, 3]", 40),
        doubling("e", "make_array(s, s)", "'0123456789'", 40),
        doubling("g", "s || s", "[1, 2, 3]", 40),
        doubling("h", "[s, s]", "'0123456789'", 40),
        doubling("i", "named_struct('a', s, 'b', s)", "1", 40),
        doubling("j", "{'a': s, 'b': s}", "1", 40),
        doubling("k", "MAP {'a': s, 'b': s}", "1", 40),
        doubling("f", "replace(s, '0', '00')", "'0123456789'", 40),
    ];
    for sql in &cases {
        assert_limit(&world, sql, "MAX, fixed").await;
    }
    for sql in [
        "SELECT repeat('ab', 1000)",
        "SELECT lpad(host, 20) FROM samples",
        "SELECT generate_series(1, 1000)",
        "SELECT replace(host, 'a', 'b') FROM samples",
    ] {
        world.ask(sql).await.unwrap().collect().await.unwrap();
    }
}
