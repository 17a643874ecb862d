//! Real clients of StatsD and DogStatsD (the libraries `statsd` and `datadog` for Python) send to the real program: every count is there.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::process::Command;
use std::time::Duration;

use tests::agents::Way;
use tests::process::{Launch, free_address};

/// Follows the lines of docs/agents/statsd.md, which make `client` and `dog`. Pauses so that several intervals are gathered.
const SCRIPT: &str = r#"
import time
tcp = statsd.TCPStatsClient(client._addr[0], client._addr[1], prefix="tcp")
for turn in range(4):
    for i in range(100):
        client.incr("hits")
        client.decr("balance", 2)
        client.timing("latency", i)
        tcp.incr("hits", 3)
        dog.increment("dog.hits", tags=["env:prod", "canary"])
        dog.distribution("dog.size", i * 0.5, tags=["env:prod"])
        if i % 10 == 9:
            # What a socket's buffer can't hold is lost, as UDP has it; 60 datagrams fit.
            dog.flush()
            time.sleep(0.02)
    client.gauge("load", 10 + turn)
    client.gauge("load", 5, delta=True)
    client.set("users", "user%d" % turn)
    dog.gauge("dog.load", turn / 4, tags=["host:büro"])
    dog.set("dog.users", "user%d" % turn)
    dog.event("title", "text")
    dog.flush()
    time.sleep(0.4)
tcp.close()
"#;

#[test]
fn every_count_of_the_clients_arrives() {
    if !tests::audit::is_available("statsd") {
        return;
    }
    let mut way = Way::of("statsd and datadog, Python", "UDP and TCP");
    let directory = tempfile::tempdir().unwrap();
    let address = free_address();
    let ours = tests::agents::settings_below(
        "statsd",
        "# StatsD and DogStatsD",
        &[("127.0.0.1:8125", address.to_string())],
    );
    let launch = Launch::new(directory.path())
        .config(format!("{}\n{}", tests::FAST_CONFIG, ours[0]))
        .env("TIDEWATCH__RECEIVERS__STATSD__FLUSH_INTERVAL", "500ms");
    let process = launch.start_ready();
    let settings = tests::agents::settings(
        "statsd",
        &[
            ("127.0.0.1", address.ip().to_string()),
            ("8125", address.port().to_string()),
        ],
    );
    let output = Command::new(tests::python::venv::interpreter().unwrap())
        .args(["-c", &format!("{settings}{SCRIPT}")])
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "the clients failed: {}\n{}",
        String::from_utf8_lossy(&output.stderr),
        process.log()
    );
    // Sums over all intervals, however the values fell into them; the client of Datadog also tells of itself.
    let sql = "SELECT metric, coalesce(labels['env'], '') || coalesce(labels['canary'], '') || coalesce(labels['host'], '') AS tags, \
               coalesce(labels['temporality'], '') AS temporality, sum(value) AS total, min(value) AS least, max(value) AS most \
               FROM samples WHERE metric NOT LIKE 'datadog.%' AND labels['quantile'] IS NULL GROUP BY 1, 2, 3 ORDER BY 1";
    let rows = |process: &tests::process::Tidewatch| -> Vec<(String, String, String, [f64; 3])> {
        let rows = process.sql(sql);
        rows.iter()
            .map(|row| {
                let text = |key: &str| row[key].as_str().unwrap().to_owned();
                let number = |key: &str| row[key].as_f64().unwrap();
                (
                    text("metric"),
                    text("tags"),
                    text("temporality"),
                    [number("total"), number("least"), number("most")],
                )
            })
            .collect()
    };
    // What each metric must come to: the sum where values are increases, else the least and the greatest value.
    let expected = [
        ("dog.hits", "prodtrue", Some(400.0), None),
        ("dog.load", "büro", None, Some((0.0, 0.75))),
        ("dog.size_count", "prod", Some(400.0), None),
        ("dog.size_max", "prod", None, Some((0.0, 49.5))),
        ("dog.size_min", "prod", None, Some((0.0, 49.5))),
        ("dog.size_sum", "prod", Some(9_900.0), None),
        ("dog.users", "", None, None),
        ("shop.balance", "", Some(-800.0), None),
        ("shop.hits", "", Some(400.0), None),
        ("shop.latency_count", "", Some(400.0), None),
        ("shop.latency_max", "", None, None),
        ("shop.latency_min", "", None, None),
        ("shop.latency_sum", "", Some(19_800.0), None),
        ("shop.load", "", None, Some((15.0, 18.0))),
        ("shop.users", "", None, None),
        ("tcp.hits", "", Some(1_200.0), None),
    ];
    let holds = |found: &[(String, String, String, [f64; 3])]| {
        found.len() == expected.len()
            && found.iter().zip(&expected).all(
                |(
                    (metric, tags, temporality, [total, least, most]),
                    (name, labels, sum, range),
                )| {
                    let is_delta = sum.is_some();
                    metric == name
                        && tags == labels
                        && (temporality == "delta") == is_delta
                        && sum.is_none_or(|sum| (total - sum).abs() < 1e-6)
                        && range.is_none_or(|(low, high)| *least >= low && *most <= high)
                        // Each value of a set was sent once, so the counts of the intervals add up.
                        && (!name.ends_with("users") || *total == 4.0)
                },
            )
    };
    let deadline = std::time::Instant::now() + Duration::from_secs(60);
    loop {
        let found = rows(&process);
        if holds(&found) {
            break;
        }
        assert!(
            std::time::Instant::now() < deadline,
            "not all arrived: {found:#?}\n{}",
            process.log()
        );
        std::thread::sleep(Duration::from_millis(200));
    }
    way.has_arrived("2,420 values");
    process.stop_cleanly();
}
