//! A real Prometheus remote-writes into the real program: every sample that it holds is there, with its value.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use tests::agents::Way;
use tests::process::{Launch, free_address, has_program};
use tests::prometheus::Prometheus;

/// How long Prometheus scrapes and writes.
const RUN: Duration = Duration::from_secs(60);

/// Metric and labels as canonical JSON, time in milliseconds → bits of the value.
type Samples = BTreeMap<(String, i64), u64>;

fn key(labels: &serde_json::Value) -> String {
    let sorted: BTreeMap<String, String> = serde_json::from_value(labels.clone()).unwrap();
    serde_json::to_string(&sorted).unwrap()
}

#[test]
fn every_sample_that_prometheus_holds_arrives() {
    if !has_program("prometheus") {
        tests::skip(
            "prometheus",
            "the program `prometheus` (Debian package of that name)",
            "TIDEWATCH_REQUIRE_PROMETHEUS",
        );
        return;
    }
    // Without the line that asks for 2.0, which Debian's does not know.
    check("prometheus", "remote_write_1, Debian's", |settings| {
        let lines = settings.lines();
        let known: Vec<&str> = lines
            .filter(|line| !line.contains("protobuf_message"))
            .collect();
        known.join("\n")
    });
}

#[test]
fn every_sample_arrives_by_remote_write_2() {
    let Ok(program) = std::env::var("TIDEWATCH_TEST_PROMETHEUS_3") else {
        tests::skip(
            "prometheus",
            "a Prometheus from 3.0 on, named by TIDEWATCH_TEST_PROMETHEUS_3",
            "TIDEWATCH_REQUIRE_PROMETHEUS_3",
        );
        return;
    };
    check(&program, "remote_write_2, a minute", str::to_owned);
}

/// Lets a Prometheus scrape itself and us, and compares what it holds with what it wrote to us by the lines of its page.
fn check(program: &str, way: &str, change: impl Fn(&str) -> String) {
    let mut way = Way::of("prometheus", way);
    let directory = tempfile::tempdir().unwrap();
    let launch = Launch::new(directory.path());
    let process = launch.start_ready();
    let prometheus = free_address();
    let address = [("127.0.0.1:7744", process.address().to_string())];
    let settings = change(&tests::agents::settings("prometheus", &address));
    let config = format!(
        "global: {{scrape_interval: 1s}}\nscrape_configs:\n  - job_name: self\n    static_configs: [{{targets: ['{prometheus}']}}]\n  - job_name: tidewatch\n    static_configs: [{{targets: ['{}']}}]\n{settings}\n",
        process.address(),
    );
    let sender = Prometheus::start(program, directory.path(), &config, prometheus);
    // A minute of real traffic, as long as it was to be.
    std::thread::sleep(RUN);

    // What Prometheus holds of its last minutes, `{__name__=~".+"}[5m]`, up to now.
    let answer = tests::http::get(
        prometheus,
        "/api/v1/query?query=%7B__name__%3D~%22.%2B%22%7D%5B5m%5D",
    )
    .unwrap();
    assert!(answer.is_success(), "{}", answer.text());
    let held: serde_json::Value = serde_json::from_str(&answer.text()).unwrap();
    let mut expected = Samples::new();
    for series in held["data"]["result"].as_array().unwrap() {
        for pair in series["values"].as_array().unwrap() {
            let time_ms = (pair[0].as_f64().unwrap() * 1000.0).round() as i64;
            let text = pair[1].as_str().unwrap();
            let value: f64 = text
                .replace("+Inf", "inf")
                .replace("-Inf", "-inf")
                .parse()
                .unwrap();
            expected.insert((key(&series["metric"]), time_ms), value.to_bits());
        }
    }
    assert!(
        expected.len() > 10_000,
        "only {} samples to compare",
        expected.len()
    );

    let deadline = Instant::now() + Duration::from_secs(60);
    loop {
        let mut found = Samples::new();
        for row in
            process.sql("SELECT metric, labels, CAST(time AS BIGINT) AS us, value FROM samples")
        {
            let mut labels = row["labels"].clone();
            labels["__name__"] = row["metric"].clone();
            // JSON has no NaN and no infinity: they come as null or text, and are compared by presence.
            let value = row["value"].as_f64().map_or(0, f64::to_bits);
            found.insert((key(&labels), row["us"].as_i64().unwrap() / 1000), value);
        }
        let missing: Vec<_> = expected
            .iter()
            .filter(|(key, bits)| {
                found
                    .get(key)
                    .is_none_or(|there| there != *bits && f64::from_bits(**bits).is_finite())
            })
            .take(5)
            .collect();
        if missing.is_empty() {
            break;
        }
        assert!(
            Instant::now() < deadline,
            "of {} samples some did not arrive, such as {missing:?}\n{}",
            expected.len(),
            process.log()
        );
        std::thread::sleep(Duration::from_millis(500));
    }
    way.has_arrived(&format!("{} samples", expected.len()));
    drop(sender);
    process.stop_cleanly();
}
