//! A real client of line protocol, the `influxdb-client` library for Python, writes into the real program: every point is there, with its value.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::process::Command;

use tests::agents::Way;
use tests::process::Launch;

/// Points of the script below: per point two number fields, one boolean, one text that is no sample.
const POINTS: i64 = 500;

/// Writes as the library's users do: synchronously, and in batches with the library's own retries.
const SCRIPT: &str = r#"
import time
from influxdb_client import Point, WritePrecision
from influxdb_client.client.write_api import SYNCHRONOUS, WriteOptions

now_ms = int(time.time() * 1000)
def point(i):
    return (Point("boiler room").tag("host", "büro, links=1").tag("line", str(i % 5)).field("temp C", i / 8)
            .field("count", i).field("on", i % 2 == 0).field("note", 'said "yes", twice\\').time(now_ms - i, WritePrecision.MS))

with client:
    assert client.ping()
    assert client.health().status == "pass"
    with client.write_api(write_options=SYNCHRONOUS) as api:
        api.write(bucket="any", record=[point(i) for i in range(250)], write_precision=WritePrecision.MS)
    with client.write_api(write_options=WriteOptions(batch_size=50)) as api:
        for i in range(250, 500):
            api.write(bucket="any", record=point(i), write_precision=WritePrecision.MS)
"#;

#[test]
fn every_point_of_the_influxdb_client_arrives() {
    if !tests::audit::is_available("influxdb_client") {
        return;
    }
    let mut way = Way::of("influxdb-client, Python", "/api/v2/write");
    let directory = tempfile::tempdir().unwrap();
    let process = Launch::new(directory.path()).start_ready();
    // The lines of the page make `client`.
    let address = [("127.0.0.1:7744", process.address().to_string())];
    let settings = tests::agents::settings("influx", &address);
    let interpreter = tests::python::venv::interpreter().unwrap();
    let output = Command::new(interpreter)
        .args(["-c", &format!("{settings}{SCRIPT}")])
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "the client failed: {}\n{}",
        String::from_utf8_lossy(&output.stderr),
        process.log()
    );
    let rows = process.sql(
        "SELECT metric, host, count(*) AS n, count(DISTINCT labels['line']) AS lines, sum(value) AS total FROM samples GROUP BY 1, 2 ORDER BY 1",
    );
    let seen: Vec<_> = rows
        .iter()
        .map(|row| {
            (
                row["metric"].as_str().unwrap().to_owned(),
                row["host"].as_str().unwrap().to_owned(),
                row["n"].as_i64().unwrap(),
                row["lines"].as_i64().unwrap(),
                row["total"].as_f64().unwrap(),
            )
        })
        .collect();
    let sum: f64 = (0..POINTS).map(|i| i as f64).sum();
    let expect = |metric: &str, total: f64| {
        (
            format!("boiler room_{metric}"),
            "büro, links=1".to_owned(),
            POINTS,
            5,
            total,
        )
    };
    assert_eq!(
        seen,
        [
            expect("count", sum),
            expect("on", 250.0),
            expect("temp C", sum / 8.0)
        ]
    );
    way.has_arrived(&format!("{} samples", 3 * POINTS));
    process.stop_cleanly();
}
