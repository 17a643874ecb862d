//! The real program scrapes a real Prometheus, itself and an endpoint that ends: what they expose is there, and what went is marked.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeMap;
use std::net::TcpStream;
use std::time::{Duration, Instant};

use tests::FAST_CONFIG;
use tests::http::endpoint;
use tests::process::{Launch, Tidewatch, free_address, has_program};
use tests::prometheus::Prometheus;

/// How long what was scraped may take until it is seen.
const SEEN_MAX: Duration = Duration::from_secs(60);

/// Waits until a query answers what is expected.
#[track_caller]
fn expect(process: &Tidewatch, sql: &str, holds: impl Fn(&[serde_json::Value]) -> bool) {
    let deadline = Instant::now() + SEEN_MAX;
    loop {
        let rows = process.sql(sql);
        if holds(&rows) {
            return;
        }
        assert!(
            Instant::now() < deadline,
            "{sql}: {rows:#?}\n{}",
            process.log()
        );
        std::thread::sleep(Duration::from_millis(200));
    }
}

/// By the lines of the page: labels, rules, kinds; then a restart goes on, without markers.
#[test]
fn what_an_endpoint_exposes_is_stored_by_the_lines_of_the_page() {
    let address = endpoint(
        "# TYPE node_cpu_seconds_total counter\nnode_cpu_seconds_total{cpu=\"0\"} 5\n# TYPE go_gc_count counter\ngo_gc_count 7\nnode_load1{job=\"theirs\"} 0.5\n",
    );
    let directory = tempfile::tempdir().unwrap();
    let settings = tests::agents::settings(
        "scrape",
        &[
            ("127.0.0.1:9100", address.to_string()),
            ("15s", "1s".to_owned()),
        ],
    );
    let launch = Launch::new(directory.path()).config(format!("{FAST_CONFIG}{settings}"));
    for _ in 0..2 {
        let process = launch.start_ready();
        let sql = "SELECT metric, labels, min(value) AS value, max(value) AS most FROM samples WHERE metric LIKE 'node%' OR metric LIKE 'go%' OR metric = 'up' \
                   GROUP BY 1, 2 ORDER BY 1";
        let expected = serde_json::json!([
            {"metric": "node_cpu_seconds_total", "labels": {"cpu": "0", "env": "prod", "instance": address.to_string(), "job": "node"}, "value": 5.0, "most": 5.0},
            {"metric": "node_load1", "labels": {"env": "prod", "exported_job": "theirs", "instance": address.to_string(), "job": "node"}, "value": 0.5, "most": 0.5},
            {"metric": "up", "labels": {"env": "prod", "instance": address.to_string(), "job": "node"}, "value": 1.0, "most": 1.0},
        ]);
        expect(&process, sql, |rows| serde_json::json!(rows) == expected);
        process.stop_cleanly();
    }
}

/// A target in a file, which goes: all of its series end with a marker.
#[test]
fn a_target_that_is_taken_from_its_file_ends_with_markers() {
    let address = endpoint("a 1\nb 2\n");
    let directory = tempfile::tempdir().unwrap();
    let targets = directory.path().join("targets.json");
    std::fs::write(&targets, format!(r#"[{{"targets": ["{address}"]}}]"#)).unwrap();
    let table = format!(
        "[[scrape]]\njob = \"files\"\ninterval = \"1s\"\nfiles = [\"{}\"]\n",
        targets.display()
    );
    let launch = Launch::new(directory.path()).config(format!("{FAST_CONFIG}{table}"));
    let process = launch.start_ready();
    let sql = "SELECT count(DISTINCT metric) AS series, count(DISTINCT CASE WHEN isnan(value) THEN metric END) AS gone \
               FROM samples WHERE labels['job'] = 'files'";
    let counts = |rows: &[serde_json::Value]| {
        (
            rows[0]["series"].as_u64().unwrap(),
            rows[0]["gone"].as_u64().unwrap(),
        )
    };
    expect(&process, sql, |rows| counts(rows) == (7, 0));
    std::fs::write(&targets, "[]").unwrap();
    expect(&process, sql, |rows| counts(rows) == (7, 7));
    process.stop_cleanly();
}

/// An endpoint behind TLS, with a certificate that it signed itself: trusted by its file, and by nothing else.
#[test]
fn an_endpoint_behind_tls_is_scraped_by_those_who_trust_it() {
    let directory = tempfile::tempdir().unwrap();
    let [theirs, ours] = ["theirs", "ours"].map(|name| {
        let place = directory.path().join(name);
        std::fs::create_dir(&place).unwrap();
        place
    });
    // The endpoint is another instance. Its certificate is made at its first start, and names the loopback addresses.
    let launch = Launch::new(&theirs).env("TIDEWATCH__SERVER__TLS__SELF_SIGNED", "true");
    let mut endpoint = launch.start();
    let certificate = launch.data_dir().join("tls/certificate.pem");
    assert!(endpoint.wait_until(SEEN_MAX, |address| {
        certificate.is_file() && TcpStream::connect(address).is_ok()
    }));
    let address = endpoint.address();
    let table = |job: &str, ca_file: &str| {
        format!(
            "[[scrape]]\njob = \"{job}\"\ntargets = [\"{address}\"]\nscheme = \"https\"\ninterval = \"1s\"\n{ca_file}"
        )
    };
    let trusts = format!("ca_file = \"{}\"\n", certificate.display());
    let config = [table("trusts", &trusts), table("doubts", "")].concat();
    let launch = Launch::new(&ours).config(format!("{FAST_CONFIG}{config}"));
    let process = launch.start_ready();
    let sql = "SELECT labels['job'] AS job, max(value) AS up, count(*) > 1 AS again FROM samples WHERE metric = 'up' GROUP BY 1 ORDER BY 1";
    let expected = serde_json::json!([
        {"job": "doubts", "up": 0.0, "again": true},
        {"job": "trusts", "up": 1.0, "again": true},
    ]);
    expect(&process, sql, |rows| serde_json::json!(rows) == expected);
    let sql = "SELECT DISTINCT labels['job'] AS job FROM samples WHERE metric = 'tidewatch_ingest_in_flight_bytes'";
    let expected = serde_json::json!([{"job": "trusts"}]);
    expect(&process, sql, |rows| serde_json::json!(rows) == expected);
    assert!(process.log().contains("certificate"), "{}", process.log());
    process.stop_cleanly();
}

/// What Prometheus says of itself, in OpenMetrics, and what we say of ourselves: every name of the page is a metric in SQL. Then Prometheus ends.
#[test]
fn a_prometheus_and_we_are_scraped_and_its_end_is_seen() {
    if !has_program("prometheus") {
        tests::skip(
            "scrape",
            "the program `prometheus` (Debian package of that name)",
            "TIDEWATCH_REQUIRE_PROMETHEUS",
        );
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let (prometheus, own) = (free_address(), directory.path().join("self.json"));
    let running = Prometheus::start("prometheus", directory.path(), "{}\n", prometheus);
    let page = tests::http::get(prometheus, "/metrics").unwrap().text();
    let exposed: BTreeMap<&str, ()> = page
        .lines()
        .filter(|line| !line.starts_with('#'))
        .filter_map(|line| Some((line.split(['{', ' ']).next()?, ())))
        .collect();
    assert!(exposed.len() > 100, "{} names", exposed.len());

    let tables = format!(
        "[[scrape]]\njob = \"prometheus\"\ntargets = [\"{prometheus}\"]\ninterval = \"1s\"\n\
         [[scrape]]\njob = \"self\"\nfiles = [\"{}\"]\ninterval = \"1s\"\n",
        own.display()
    );
    let launch = Launch::new(directory.path()).config(format!("{FAST_CONFIG}{tables}"));
    let process = launch.start_ready();
    std::fs::write(
        &own,
        format!(r#"[{{"targets": ["{}"]}}]"#, process.address()),
    )
    .unwrap();
    let names = "SELECT DISTINCT metric FROM samples WHERE labels['job'] = 'prometheus'";
    expect(&process, names, |rows| {
        let found: Vec<&str> = rows
            .iter()
            .filter_map(|row| row["metric"].as_str())
            .collect();
        exposed.keys().all(|name| found.contains(name))
    });
    let ours = "SELECT count(*) AS n FROM samples WHERE labels['job'] = 'self' AND metric = 'tidewatch_ingest_accepted_samples_total' AND value > 0";
    expect(&process, ours, |rows| rows[0]["n"].as_u64() > Some(0));
    drop(running);
    let down = "SELECT min(value) AS least FROM samples WHERE labels['job'] = 'prometheus' AND metric = 'up'";
    expect(&process, down, |rows| rows[0]["least"] == 0.0);
    let gone = "SELECT count(DISTINCT metric) AS n FROM samples WHERE labels['job'] = 'prometheus' AND isnan(value) AND metric LIKE 'prometheus_build_info'";
    expect(&process, gone, |rows| rows[0]["n"] == 1);
    process.stop_cleanly();
}
