//! Limits that requests meet, each passed for real: who meets one is told which, where it stands, what was sent and which setting moves it; it is counted; and
//! whoever comes when it has passed is taken.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::io::Write;
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use flate2::Compression;
use flate2::write::GzEncoder;
use tests::http::{self, Answer};
use tests::process::{Launch, Tidewatch};

/// A bound for what hangs, not a measure of speed.
const PATIENCE: Duration = Duration::from_secs(60);

fn started(directory: &tempfile::TempDir, settings: &[(&str, &str)]) -> Tidewatch {
    let quiet = Launch::new(directory.path()).env("TIDEWATCH__COLLECTORS__HOST__ENABLED", "false");
    let launch = settings.iter().fold(quiet, |launch, (name, value)| {
        launch.env(&format!("TIDEWATCH__LIMITS__{name}"), value)
    });
    launch.start_ready()
}

/// A sample of line protocol, and empty lines up to so many bytes.
fn line_of(bytes: usize) -> Vec<u8> {
    let mut body = b"load,host=a m=1".to_vec();
    body.resize(bytes, b'\n');
    body
}

/// A request that announces a body and never sends all of it: it is being worked on until it is dropped.
fn held(address: SocketAddr, announced: usize) -> TcpStream {
    let mut half = TcpStream::connect(address).unwrap();
    write!(
        half,
        "POST /api/v2/write HTTP/1.1\r\nhost: a\r\ncontent-length: {announced}\r\n\r\nload,host=a m=1"
    )
    .unwrap();
    half
}

#[track_caller]
fn wait_for_requests(process: &mut Tidewatch, count: usize) {
    let line = format!("\ntidewatch_ingest_in_flight_requests {count}\n");
    let metrics = |address| http::get(address, "/metrics").unwrap().text();
    let reached = process.wait_until(PATIENCE, |address| metrics(address).contains(&line));
    assert!(reached, "{}", metrics(process.address()));
}

/// Whether an answer says all of it, and the limit was counted once.
#[track_caller]
fn check(process: &Tidewatch, answer: &Answer, status: u16, limit: &str, parts: &[&str]) {
    let told = answer.text();
    assert_eq!(answer.status, status, "{told}");
    let setting = format!("`limits.{limit}`");
    for part in parts.iter().chain([&setting.as_str()]) {
        assert!(told.contains(part), "{part}: {told}");
    }
    assert_eq!(answer.header("retry-after").is_some(), status == 429);
    let metrics = http::get(process.address(), "/metrics").unwrap().text();
    let hit = format!("tidewatch_ingest_limit_hits_total{{limit=\"{limit}\"}} 1\n");
    assert!(metrics.contains(&hit), "{metrics}");
}

#[test]
fn a_body_that_grows_too_much_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let process = started(&directory, &[("RATIO_MAX", "300")]);
    let gzipped = |bytes: &[u8]| {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
        encoder.write_all(bytes).unwrap();
        let body = encoder.finish().unwrap();
        let headers = [("content-encoding", "gzip")];
        http::request(process.address(), "POST", "/api/v2/write", &headers, &body).unwrap()
    };
    let answer = gzipped(&line_of(8 << 20));
    let parts = ["the gzip body grows to more than 300 times", "at least"];
    check(&process, &answer, 413, "ratio_max", &parts);
    // One that grows as much, but not to more than a megabyte, hurts nobody.
    let answer = gzipped(&line_of(1 << 20));
    assert!(answer.is_success(), "{} {}", answer.status, answer.text());
    process.stop_cleanly();
}

#[test]
fn more_requests_than_may_be_worked_on_wait() {
    let directory = tempfile::tempdir().unwrap();
    let settings = [("REQUESTS_MAX", "2"), ("SENDER__REQUESTS_MAX", "2")];
    let mut process = started(&directory, &settings);
    let worked_on = [
        held(process.address(), 1_000),
        held(process.address(), 1_000),
    ];
    wait_for_requests(&mut process, 2);
    let answer = process.write_lines("load,host=a m=2").unwrap();
    let parts = ["2 requests are being worked on", "Retry-After"];
    check(&process, &answer, 429, "requests_max", &parts);
    drop(worked_on);
    wait_for_requests(&mut process, 0);
    let answer = process.write_lines("load,host=a m=2").unwrap();
    assert!(answer.is_success(), "{} {}", answer.status, answer.text());
    process.stop_cleanly();
}

#[test]
fn more_bytes_than_may_be_worked_on_wait_or_are_refused() {
    let directory = tempfile::tempdir().unwrap();
    let settings = [
        ("IN_FLIGHT_MAX", "64KiB"),
        ("SENDER__IN_FLIGHT_MAX", "64KiB"),
    ];
    let mut process = started(&directory, &settings);
    let post = |process: &Tidewatch, bytes: usize| {
        let body = String::from_utf8(line_of(bytes)).unwrap();
        process.write_lines(&body).unwrap()
    };
    // What would not fit if nothing else were there is not to come again.
    let answer = post(&process, 70_000);
    let parts = ["70000", "65536"];
    check(&process, &answer, 413, "in_flight_max", &parts);

    let worked_on = held(process.address(), 40_000);
    wait_for_requests(&mut process, 1);
    let answer = post(&process, 30_000);
    assert_eq!(answer.status, 429, "{}", answer.text());
    for part in ["30000 bytes more", "65536", "`limits.in_flight_max`"] {
        assert!(answer.text().contains(part), "{part}: {}", answer.text());
    }
    drop(worked_on);
    wait_for_requests(&mut process, 0);
    let answer = post(&process, 30_000);
    assert!(answer.is_success(), "{} {}", answer.status, answer.text());
    process.stop_cleanly();
}
