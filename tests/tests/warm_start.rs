//! Detection and forecasts that are turned on late learn the past of their series from the archive, once, before anything new is judged.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fmt::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::Value;
use tests::process::binary;

/// 2026-03-01T00:00:00Z, seconds.
const MARCH: i64 = 1_772_323_200;
/// Three weeks, minutes.
const PAST: i64 = 21 * 1_440;
/// When the load jumps, minutes after the start with detection: before its warm-up would end.
const JUMP: i64 = 20;

/// Every so many minutes from (inclusive) to (exclusive), two hosts: a load with a daily rhythm, which jumps on one of them for three minutes, and a
/// counter.
fn history(from: i64, to: i64, every: usize) -> String {
    let mut text = String::from("timestamp,metric,host,value\n");
    for minute in (from..to).step_by(every) {
        let time = MARCH + 60 * minute;
        for host in 0..2 {
            let noise = ((minute * 7_919 + host * 31) % 101) as f64 / 100.0;
            let busy = if minute % 1_440 < 720 { 40.0 } else { 20.0 };
            let jump = host == 0 && (PAST + JUMP..PAST + JUMP + 3).contains(&minute);
            let load = busy + noise + if jump { 300.0 } else { 0.0 };
            writeln!(text, "{time},load,h{host},{load}").unwrap();
            writeln!(text, "{time},requests_total,h{host},{}", 60 * minute).unwrap();
        }
    }
    text
}

/// Replays a file into a data directory, with detection and forecasts or without; returns the anomalies of the directory.
fn replay(place: &Path, file: &str, data: &str, on: bool) -> Vec<Value> {
    let output = Command::new(binary())
        .args([
            "replay",
            file,
            "--data-dir",
            data,
            "--append",
            "--leave-open",
            "-q",
        ])
        .args(["--output", "events.ndjson"])
        .env("TIDEWATCH__DETECTION__ENABLED", on.to_string())
        .env("TIDEWATCH__FORECAST__ENABLED", on.to_string())
        .current_dir(place)
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{file}: {errors}");
    let events = std::fs::read_to_string(place.join("events.ndjson")).unwrap();
    let events = events.lines();
    events
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

/// The one number that a question has for an answer.
fn count(place: &Path, data: &str, query: &str) -> u64 {
    let query = format!("SELECT count(*) AS n FROM {query}");
    let answer =
        tests::process::run_command(place, &["sql", "--data-dir", data, "-f", "csv", &query]);
    answer.trim().trim_start_matches("n\n").parse().unwrap()
}

/// The jump, as far as it was told.
fn jumps(events: &[Value]) -> Vec<&Value> {
    let told = events.iter().filter(|event| event["metric"] == "load");
    told.collect()
}

#[test]
fn what_is_turned_on_late_knows_the_past_at_once() {
    let directory = tempfile::tempdir().unwrap();
    let place = directory.path();
    std::fs::write(place.join("past.csv"), history(0, PAST, 5)).unwrap();
    std::fs::write(place.join("first.csv"), history(PAST, PAST + 420, 1)).unwrap();
    std::fs::write(place.join("then.csv"), history(PAST + 420, PAST + 480, 1)).unwrap();
    const LEARNED: &str = "checkpoints WHERE kind = 'commit' AND start_offset = end_offset";
    const FORECASTS: &str = "forecasts WHERE kind = 'value'";

    // Without a past, the first minutes are too early for an alarm, and the first hours for a forecast.
    let cold = replay(place, "first.csv", "cold", true);
    assert_eq!(jumps(&cold), Vec::<&Value>::new());
    assert_eq!(count(place, "cold", FORECASTS), 0);
    assert_eq!(count(place, "cold", LEARNED), 0);

    for data in ["warm", "again"] {
        assert_eq!(replay(place, "past.csv", data, false), Vec::<Value>::new());
        assert_eq!(count(place, data, LEARNED), 0, "nothing wants to know");
    }
    let warm = replay(place, "first.csv", "warm", true);
    let told = jumps(&warm);
    assert_eq!(told.len(), 1, "{warm:#?}");
    let time = MARCH + 60 * (PAST + JUMP);
    let time = schemas::time::rfc3339(time * schemas::time::SECOND);
    assert_eq!(told[0]["time"], time.replace(".000000Z", "Z").as_str());
    assert!(told[0]["trust"].as_f64().unwrap() > 0.99, "{}", told[0]);
    let partitions = count(place, "warm", LEARNED);
    assert!(
        (1..=2).contains(&partitions),
        "a link of each partition with a host, but {partitions}"
    );
    assert!(count(place, "warm", FORECASTS) > 0);
    // What was forecast in the past was never published, so nothing of it is scored.
    let orphans = "forecast_scores s LEFT JOIN forecasts f ON s.forecast_id = f.event_id WHERE f.event_id IS NULL";
    assert_eq!(count(place, "warm", orphans), 0);

    // The same archive gives the same events; who knows the past does not learn it again.
    assert_eq!(replay(place, "first.csv", "again", true), warm);
    replay(place, "then.csv", "warm", true);
    assert_eq!(count(place, "warm", LEARNED), partitions);
}
