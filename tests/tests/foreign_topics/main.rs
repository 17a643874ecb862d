//! Topics of others on a real Kafka: every format arrives, garbage is diagnosed and replayed, and neither a kill nor a gap loses or repeats a sample.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod bodies;
mod dead_letters;
mod delivery;
mod formats;

use std::time::{Duration, Instant};

use tests::kafka::Cluster;
use tests::process::Tidewatch;

/// How long what was sent may take to be seen. A bound for what hangs, not a measure of speed.
const ARRIVAL_MAX: Duration = Duration::from_secs(90);

/// A number that a question answers.
fn number(process: &Tidewatch, sql: &str) -> i64 {
    let rows = process.sql(sql);
    let row = rows[0].as_object().unwrap();
    row.values().next().unwrap().as_i64().unwrap()
}

/// Waits until a question answers a number.
fn wait_for(process: &mut Tidewatch, sql: &str, expected: i64) {
    let deadline = Instant::now() + ARRIVAL_MAX;
    let mut found = number(process, sql);
    while found != expected {
        assert!(
            Instant::now() < deadline,
            "`{sql}` answers {found}, expected {expected}\n{}",
            process.log()
        );
        assert!(process.exited().is_none(), "it ended\n{}", process.log());
        std::thread::sleep(Duration::from_millis(100));
        found = number(process, sql);
    }
}

/// Every sample: metric, labels, time in microseconds, value.
fn samples(process: &Tidewatch) -> Vec<String> {
    let rows = process.sql(
        "SELECT metric, labels, CAST(time AS BIGINT) AS us, value FROM samples ORDER BY metric, series_id, time",
    );
    rows.iter().map(ToString::to_string).collect()
}
