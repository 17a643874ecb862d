//! The first ten minutes of a user: no configuration, host metrics in SQL, Ctrl-C, and SQL on the directory afterwards.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::time::Duration;

use serde_json::Value;
use tests::process::{Launch, run_command};

/// How long the first host metrics may take: they are collected every 10 s.
const METRICS_TIMEOUT: Duration = Duration::from_secs(90);
/// The promise: a stop takes at most 10 s.
const STOP_TIMEOUT: Duration = Duration::from_secs(10);

fn count(rows: &[Value]) -> u64 {
    rows.first()
        .and_then(|row| row["n"].as_u64())
        .unwrap_or_else(|| panic!("expected one row with a count `n`, found {rows:?}"))
}

#[test]
fn starts_with_nothing_collects_answers_stops_and_answers_again() {
    const COUNT: &str = "SELECT count(*) AS n FROM samples WHERE metric LIKE 'system.%'";
    let directory = tempfile::tempdir().unwrap();
    let launch = Launch::unconfigured(directory.path());
    let mut process = launch.start_ready();

    // It is ready a moment before it says so.
    let launch_log = directory.path().join("tidewatch.log");
    process.wait_until(Duration::from_secs(30), |_| {
        std::fs::read_to_string(&launch_log).is_ok_and(|log| log.contains("Ctrl-C"))
    });
    let said = process.log();
    let data_dir = launch.data_dir().display().to_string();
    for expected in [
        process.address().to_string().as_str(),
        data_dir.as_str(),
        "tidewatch sql",
        "tidewatch tail",
    ] {
        assert!(
            said.contains(expected),
            "expected `{expected}` in what the program prints at the start\n{said}"
        );
    }

    let health = tests::http::get(process.address(), "/healthz").unwrap();
    assert!(
        health.is_success(),
        "/healthz answered {} {}",
        health.status,
        health.text()
    );

    let mut seen = 0;
    let query = |process: &tests::process::Tidewatch| count(&process.sql(COUNT));
    let deadline = std::time::Instant::now() + METRICS_TIMEOUT;
    while seen == 0 {
        assert!(
            std::time::Instant::now() < deadline,
            "no host metric reached SQL in {METRICS_TIMEOUT:?}\n{}",
            process.log()
        );
        process.wait_until(Duration::from_millis(250), |_| false);
        seen = query(&process);
    }

    assert_eq!(
        process.running_partitions(),
        1,
        "all hosts are compared with each other"
    );

    let metrics = process.sql("SELECT DISTINCT metric FROM samples ORDER BY metric");
    let named: Vec<&str> = metrics
        .iter()
        .filter_map(|row| row["metric"].as_str())
        .collect();
    for prefix in [
        "system.cpu.",
        "system.memory.",
        "system.network.",
        "system.filesystem.",
    ] {
        assert!(
            named.iter().any(|name| name.starts_with(prefix)),
            "no metric `{prefix}…` among {named:?}"
        );
    }
    let resources = process
        .sql("SELECT count(*) AS n FROM samples WHERE host IS NULL AND metric LIKE 'system.%'");
    assert_eq!(count(&resources), 0, "host metrics without a host");

    process.send_sigterm();
    let status = process.wait_exit(STOP_TIMEOUT);
    assert!(
        status.success(),
        "SIGTERM ended it with {status}\n{}",
        process.log()
    );

    let answer = run_command(
        directory.path(),
        &["sql", "--data-dir", &data_dir, "--format", "ndjson", COUNT],
    );
    let rows: Vec<Value> = answer
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert!(
        count(&rows) >= seen,
        "{seen} samples before the stop, {} afterwards",
        count(&rows)
    );
}

#[test]
fn a_log_keeps_the_number_of_its_partitions() {
    let directory = tempfile::tempdir().unwrap();
    let launch = Launch::unconfigured(directory.path());
    let three = launch.clone().env("TIDEWATCH__BUS__PARTITIONS", "3");
    three.start_ready().stop_cleanly();

    let process = launch.start_ready();
    assert_eq!(process.running_partitions(), 3);
    process.stop_cleanly();

    let mut refused = launch.env("TIDEWATCH__BUS__PARTITIONS", "1").start();
    assert!(!refused.wait_exit(Duration::from_secs(30)).success());
    assert!(
        refused.log().contains("set `bus.partitions = 3`"),
        "{}",
        refused.log()
    );
}
