//! A label with too many values: further new ones are folded, every sample counts, it is told everywhere, outlives a kill and is released by hand.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs::File;
use std::ops::Range;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tests::http;
use tests::process::{Launch, Tidewatch, binary, run_command};

/// Different values that a label may have here.
const VALUES: u64 = 100;
/// A bound for what hangs, not a measure of speed.
const PATIENCE: Duration = Duration::from_secs(60);

/// Lines of one metric, each with an `id` of its own and its number as the value.
fn jobs(ids: Range<u64>) -> String {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    let line = |id| format!("jobs,host=a,id=job-{id} done={id} {}\n", now.as_millis());
    ids.map(line).collect()
}

#[track_caller]
fn send(process: &Tidewatch, body: &str) {
    let answer = process.write_lines(body).unwrap();
    assert!(answer.is_success(), "{} {}", answer.status, answer.text());
}

/// The sum of all samples and the number of their series, once there are so many.
#[track_caller]
fn totals(process: &mut Tidewatch, samples: u64) -> (f64, u64) {
    let question = "SELECT count(*) AS samples, coalesce(sum(value), 0) AS total, count(DISTINCT series_id) AS series \
                    FROM samples WHERE metric = 'jobs_done'";
    let mut seen = serde_json::Value::Null;
    let mut asked = Vec::new();
    while asked.len() < 600 && seen["samples"] != samples {
        seen = process.sql(question).remove(0);
        asked.push(seen["samples"].clone());
        std::thread::sleep(Duration::from_millis(100));
    }
    assert_eq!(seen["samples"], samples, "{seen}");
    (
        seen["total"].as_f64().unwrap(),
        seen["series"].as_u64().unwrap(),
    )
}

fn sum(ids: Range<u64>) -> f64 {
    ids.sum::<u64>() as f64
}

#[test]
fn a_label_with_too_many_values_is_folded_told_kept_and_released() {
    let directory = tempfile::tempdir().unwrap();
    let launch = Launch::new(directory.path())
        .env("TIDEWATCH__LIMITS__VALUES_MAX", &VALUES.to_string())
        .env("TIDEWATCH__COLLECTORS__HOST__ENABLED", "false");
    let mut process = launch.start_ready();
    let url = format!("http://{}", process.address());
    let [events, followed] = ["events", "followed"].map(|name| directory.path().join(name));
    let mut tail = Command::new(binary())
        .args(["tail", "--url", &url, "anomalies"])
        .stdout(File::create(&events).unwrap())
        .stderr(File::create(&followed).unwrap())
        .spawn()
        .unwrap();
    let holds = |file: &Path, text: &str| std::fs::read_to_string(file).unwrap().contains(text);
    assert!(process.wait_until(PATIENCE, |_| holds(&followed, "following")));
    for request in 0..5 {
        send(&process, &jobs(request * 400..(request + 1) * 400));
    }
    // One series is that of all the others.
    assert_eq!(totals(&mut process, 2_000), (sum(0..2_000), VALUES + 1));

    let verbose = http::get(process.address(), "/readyz?verbose")
        .unwrap()
        .text();
    let verbose: serde_json::Value = serde_json::from_str(&verbose).unwrap();
    let label = &verbose["folded_labels"][0];
    assert_eq!(
        (&label["metric"], &label["label"]),
        (&"jobs_done".into(), &"id".into())
    );
    assert_eq!(
        label["examples"],
        serde_json::json!(["job-97", "job-98", "job-99"])
    );
    assert_eq!(process.metric("tidewatch_ingest_folded_labels"), [1.0]);
    assert_eq!(
        process.metric("tidewatch_ingest_folded_samples_total"),
        [1_900.0]
    );
    assert!(process.log().contains("job-98"), "the log names examples");
    // The event: once, with the label, three of its values and who sent them.
    let told = process.wait_until(PATIENCE, |_| holds(&events, "\"kind\":\"cardinality\""));
    tail.kill().unwrap();
    tail.wait().unwrap();
    let events = std::fs::read_to_string(&events).unwrap();
    assert!(told, "{events}");
    let mut events = events.lines().filter(|line| line.contains("cardinality"));
    let event: serde_json::Value = serde_json::from_str(events.next().unwrap()).unwrap();
    assert_eq!(events.next(), None);
    assert_eq!(event["metric"], "jobs_done");
    assert_eq!(event["labels"], serde_json::json!({"id": "__other__"}));
    let explanation = event["explanation"].as_str().unwrap();
    for part in [
        "`id` has 100 values",
        "job-97",
        "job-99",
        "address 127.0.0.1",
    ] {
        assert!(explanation.contains(part), "{explanation}");
    }

    // Killed, and started again: what was stored as it is goes on to be, and the rest to be folded.
    let kept = launch.data_dir().join("folded-labels");
    assert!(process.wait_until(PATIENCE, |_| kept.exists()));
    process.kill_nine();
    let mut process = launch.start_ready();
    send(&process, &jobs(0..50));
    send(&process, &jobs(5_000..5_100));
    let total = sum(0..2_000) + sum(0..50) + sum(5_000..5_100);
    assert_eq!(totals(&mut process, 2_150), (total, VALUES + 1));

    let url = format!("http://{}", process.address());
    let list = run_command(directory.path(), &["cardinality", "list", "--url", &url]);
    assert!(
        list.contains("jobs_done id: 100 values, such as job-97, job-98, job-99"),
        "{list}"
    );
    assert!(list.contains("address 127.0.0.1"), "{list}");
    let release = ["cardinality", "release", "jobs_done", "id", "--url", &url];
    run_command(directory.path(), &release);
    send(&process, &jobs(7_000..7_003));
    assert_eq!(totals(&mut process, 2_153).1, VALUES + 4);
    let list = run_command(directory.path(), &["cardinality", "list", "--url", &url]);
    assert!(list.contains("No label is folded."), "{list}");
    process.stop_cleanly();
}

#[test]
fn a_series_that_is_refused_is_told_and_the_others_of_its_request_are_stored() {
    let directory = tempfile::tempdir().unwrap();
    let launch = Launch::new(directory.path())
        .env("TIDEWATCH__LIMITS__SENDER__SERIES_MAX", "10")
        .env("TIDEWATCH__COLLECTORS__HOST__ENABLED", "false");
    let mut process = launch.start_ready();
    let answer = process.write_lines(&jobs(0..15)).unwrap();
    let told = answer.text();
    assert_eq!(answer.status, 400, "{told}");
    assert_eq!(answer.header("tidewatch-error"), Some("TW-INGEST-006"));
    for part in [
        "10 samples were stored, 5 rejected",
        "line 11",
        "`limits.sender.series_max`",
        "address 127.0.0.1",
    ] {
        assert!(told.contains(part), "{part}: {told}");
    }
    // Those that are known go on.
    send(&process, &jobs(0..10));
    assert_eq!(totals(&mut process, 20), (2.0 * sum(0..10), 10));
    let hits = http::get(process.address(), "/metrics").unwrap().text();
    let hit = "tidewatch_ingest_limit_hits_total{limit=\"sender.series_max\"} 5";
    assert!(hits.contains(hit), "{hits}");
    process.stop_cleanly();
}
