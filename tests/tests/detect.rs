//! `tidewatch detect`, `forecast` and `score`: what they make of files is what the stream makes of the same samples.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeMap;
use std::fmt::Write as _;

use serde_json::Value;
use tests::process::{run, said};

/// 2026-03-01T00:00:00Z, seconds.
const MARCH: i64 = 1_772_323_200;

fn objects(lines: &str) -> Vec<Value> {
    lines
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

/// Four days of two hosts every minute: a gauge with a daily rhythm that jumps for ten minutes on the third, one that stops in between, one that ends an
/// hour before the others, and a counter.
fn history() -> String {
    let mut text = String::from("timestamp,metric,host,value\n");
    for minute in 0..4 * 1440i64 {
        let time = MARCH + 60 * minute;
        for host in 0..2 {
            let noise = ((minute * 7_919 + host * 31) % 101) as f64 / 100.0;
            let busy = if minute % 1440 < 720 { 20.0 } else { 40.0 };
            let jump = host == 0 && (2 * 1440 + 400..2 * 1440 + 410).contains(&minute);
            let load = busy + noise + if jump { 300.0 } else { 0.0 };
            writeln!(text, "{time},load,h{host},{load}").unwrap();
            if !(2000..2600).contains(&minute) {
                writeln!(text, "{time},queue,h{host},{}", 3.0 + noise).unwrap();
            }
            writeln!(text, "{time},requests_total,h{host},{}", 60 * minute).unwrap();
            if minute < 4 * 1440 - 60 {
                writeln!(text, "{time},ends,h{host},{}", 3.0 + noise).unwrap();
            }
        }
    }
    text
}

/// The rows by what they are about.
fn by_sample(rows: Vec<Value>) -> BTreeMap<String, Value> {
    let key = |row: &Value| format!("{} {} {}", row["metric"], row["labels"], row["time"]);
    let count = rows.len();
    let found: BTreeMap<String, Value> = rows.into_iter().map(|row| (key(&row), row)).collect();
    assert_eq!(found.len(), count, "a sample is scored once");
    found
}

#[test]
fn detect_gives_the_scores_and_events_of_the_stream() {
    let directory = tempfile::tempdir().unwrap();
    let place = directory.path();
    std::fs::write(place.join("h.csv"), history()).unwrap();
    let events = said(place, &["detect", "h.csv", "--output", "detected.ndjson"]);
    said(
        place,
        &[
            "replay",
            "h.csv",
            "--data-dir",
            "d",
            "--scores",
            "replayed.ndjson",
            "--output",
            "events.ndjson",
        ],
    );
    let read = |name: &str| objects(&std::fs::read_to_string(place.join(name)).unwrap());
    let (detected, replayed) = (
        by_sample(read("detected.ndjson")),
        by_sample(read("replayed.ndjson")),
    );
    assert!(detected.len() > 30_000, "{}", detected.len());
    assert!(detected == replayed, "the scores differ");
    let row = detected.values().next().unwrap().as_object().unwrap();
    let columns: Vec<&str> = row.keys().map(String::as_str).collect();
    let expected = "expected labels lower metric raw_score score time upper value";
    assert_eq!(columns.join(" "), expected);

    let ids = |events: &[Value]| {
        let mut ids: Vec<String> = events
            .iter()
            .map(|event| {
                format!(
                    "{} {} {}",
                    event["event_id"], event["kind"], event["explanation"]
                )
            })
            .collect();
        ids.sort();
        ids
    };
    let events = objects(&events);
    assert_eq!(ids(&events), ids(&read("events.ndjson")));
    let kinds: Vec<&str> = events
        .iter()
        .map(|event| event["kind"].as_str().unwrap())
        .collect();
    assert!(kinds.contains(&"missing") && kinds.len() > 2, "{kinds:?}");
    // The last record holds all of the last hour.
    let ended = |event: &&Value| event["metric"] == "ends" && event["kind"] == "missing";
    assert_eq!(events.iter().filter(ended).count(), 2, "{events:?}");
    // An alarm is a row with a score above 1, of the kinds that a sample shows.
    for event in events.iter().filter(|event| event["kind"] != "missing") {
        if event["metric"] != "tidewatch.resource" {
            let time = event["time"].as_str().unwrap().replace(".000000Z", "Z");
            let key = format!("{} {} \"{time}\"", event["metric"], event["labels"]);
            assert!(detected[&key]["score"].as_f64().unwrap() > 1.0, "{event}");
        }
    }
}

#[test]
fn what_is_read_is_never_written_over() {
    let directory = tempfile::tempdir().unwrap();
    let place = directory.path();
    let content = format!("timestamp,value\n{MARCH},1\n");
    std::fs::write(place.join("a.csv"), &content).unwrap();
    std::os::unix::fs::symlink("a.csv", place.join("b.csv")).unwrap();
    std::fs::write(place.join("c.toml"), "").unwrap();
    let here = place.join("a.csv").display().to_string();
    for (arguments, said) in [
        (
            &["detect", "a.csv", "-o", "./a.csv"][..],
            "--output names `./a.csv`, which is read",
        ),
        (&["detect", "a.csv", "--events", &here], "--events names"),
        (&["detect", "b.csv", "-o", "a.csv"], "which is read"),
        (&["detect", "a.csv", "-o", "b.csv"], "which is read"),
        (
            &[
                "detect",
                "a.csv",
                "--calendar",
                "c.toml",
                "--events",
                "c.toml",
            ],
            "which is read",
        ),
        (
            &["detect", "a.csv", "-o", "n.csv", "--events", "./n.csv"],
            "--events names `./n.csv`, as --output does",
        ),
        (
            &["forecast", "a.csv", "--horizon", "1h", "-o", "a.csv"],
            "which is read",
        ),
        (
            &["replay", "a.csv", "--data-dir", "d", "-o", "a.csv"],
            "which is read",
        ),
        (
            &[
                "replay",
                "a.csv",
                "--data-dir",
                "d",
                "-o",
                "n.csv",
                "--scores",
                "n.csv",
            ],
            "--scores names `n.csv`, as --output does",
        ),
    ] {
        let output = run(place, arguments);
        let error = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {error}");
        assert!(error.contains(said), "{arguments:?}: {error}");
        assert_eq!(std::fs::read_to_string(&here).unwrap(), content);
        assert!(!place.join("n.csv").exists() && !place.join("d").exists());
    }
}

#[test]
fn what_is_not_judged_and_what_is_no_sample_is_told() {
    let directory = tempfile::tempdir().unwrap();
    let place = directory.path();
    let rows = format!(
        "{MARCH},1\n{},NaN\n{},2\n{},2\n",
        MARCH + 10,
        MARCH + 20,
        MARCH + 20
    );
    std::fs::write(place.join("a.csv"), format!("time,value\n{rows}")).unwrap();
    std::fs::write(place.join("none.csv"), "time,value\n").unwrap();
    std::fs::write(place.join("bad.csv"), "time,value\nx,1\ny,2\n").unwrap();
    let error =
        |arguments: &[&str]| String::from_utf8_lossy(&run(place, arguments).stderr).into_owned();
    let said = error(&["detect", "a.csv"]);
    assert!(
        said.contains("0 events in 4 samples of 1 series\n2 samples were not judged"),
        "{said}"
    );
    let said = error(&["detect", "none.csv"]);
    assert!(
        said.contains("TW-INGEST-010: history: none.csv: expected rows with samples"),
        "{said}"
    );
    let said = error(&["detect", "bad.csv", "--skip-invalid"]);
    assert!(
        said.contains("found no row with a sample; 2 were skipped, the first: bad.csv, line 2"),
        "{said}"
    );
    let said = error(&[
        "forecast",
        "a.csv",
        "--horizon",
        "1h",
        "--method",
        "mstl_ets",
    ]);
    assert_eq!(said.matches("needs 16 steps").count(), 1, "{said}");
    assert!(
        said.contains("TW-FORECAST-002: 1 of 1 series have no forecast"),
        "{said}"
    );
}

#[test]
fn the_calendar_means_the_same_to_detect_and_to_the_stream() {
    let directory = tempfile::tempdir().unwrap();
    let place = directory.path();
    std::fs::write(place.join("h.csv"), history()).unwrap();
    // The jump of the third day, at 6:40.
    let maintenance = "[[event]]\nname = \"maintenance\"\nstart = 2026-03-03T06:30:00\nduration = \"30m\"\n\
        labels = { host = \"h0\" }\nskip_alarms = true\nno_learn = true\n";
    std::fs::write(place.join("c.toml"), maintenance).unwrap();
    let detect = |more: &[&str]| {
        let arguments = [&["detect", "h.csv", "--events", "e.ndjson"], more].concat();
        let output = run(place, &arguments);
        let errors = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "{errors}");
        let events = objects(&std::fs::read_to_string(place.join("e.ndjson")).unwrap());
        let jump = |event: &&Value| {
            event["time"] == "2026-03-03T06:40:00.000000Z" && event["metric"] == "load"
        };
        (events.iter().filter(jump).count(), errors)
    };
    assert_eq!(detect(&[]).0, 1);
    let (jumps, said_of_it) = detect(&["--calendar", "c.toml", "-o", "detected.ndjson"]);
    assert_eq!(jumps, 0);
    assert!(
        said_of_it.contains("1 more were skipped because the calendar says so"),
        "{said_of_it}"
    );
    std::fs::write(place.join("t.toml"), "[calendar]\nfile = \"c.toml\"\n").unwrap();
    let replay = [
        "replay",
        "h.csv",
        "--data-dir",
        "d",
        "--config",
        "t.toml",
        "--scores",
        "r.ndjson",
    ];
    let told = said(place, &replay);
    assert!(told.contains("1 more skipped"), "{told}");
    let read = |name: &str| by_sample(objects(&std::fs::read_to_string(place.join(name)).unwrap()));
    assert!(
        read("detected.ndjson") == read("r.ndjson"),
        "the scores differ"
    );
    let count = "SELECT sum(skipped_alarms) AS n FROM checkpoints";
    let rows = said(place, &["sql", "--data-dir", "d", "-f", "csv", count]);
    assert_eq!(rows.trim(), "n\n1");
}

#[test]
fn a_calendar_that_is_wrong_is_refused_with_its_line() {
    let directory = tempfile::tempdir().unwrap();
    let place = directory.path();
    std::fs::write(place.join("c.toml"), "[[event]]\nname = \"x\"\n").unwrap();
    std::fs::write(place.join("t.toml"), "[calendar]\nfile = \"c.toml\"\n").unwrap();
    std::fs::write(
        place.join("absent.toml"),
        "[calendar]\nfile = \"none.ics\"\n",
    )
    .unwrap();
    for (config, code, why) in [
        (
            "t.toml",
            "TW-CALENDAR-001",
            "t.toml:2:8: `calendar.file`: c.toml: calendar, line ",
        ),
        (
            "absent.toml",
            "TW-CONFIG-001",
            "absent.toml:2:8: `calendar.file`: none.ics: can't be read: ",
        ),
    ] {
        let output = run(place, &["check", "--config", config]);
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{said}");
        assert!(said.contains(code) && said.contains(why), "{said}");
    }
}

#[test]
fn two_columns_are_a_series_of_the_file() {
    let directory = tempfile::tempdir().unwrap();
    let place = directory.path();
    let mut text = String::from("timestamp,value\n");
    for step in 0..600 {
        let value = if step == 590 {
            500.0
        } else {
            f64::from(step % 7)
        };
        writeln!(
            text,
            "2026-03-01 {:02}:{:02}:00,{value}",
            step / 60,
            step % 60
        )
        .unwrap();
    }
    std::fs::write(place.join("machine.csv"), text).unwrap();
    let arguments = [
        "detect",
        "machine.csv",
        "-q",
        "-o",
        "out.csv",
        "--events",
        "e.ndjson",
    ];
    assert_eq!(said(place, &arguments), "", "events went to their file");
    let rows = std::fs::read_to_string(place.join("out.csv")).unwrap();
    let mut lines = rows.lines();
    let header = "time,metric,labels,value,expected,lower,upper,raw_score,score";
    assert_eq!(lines.next(), Some(header));
    assert_eq!(lines.count(), 600);
    let events = objects(&std::fs::read_to_string(place.join("e.ndjson")).unwrap());
    assert!(
        events
            .iter()
            .any(|event| event["metric"] == "machine" && event["observed"] == 500.0),
        "{events:?}"
    );
}

#[test]
fn a_forecast_has_a_row_per_step_and_bands_that_hold_each_other() {
    let directory = tempfile::tempdir().unwrap();
    let place = directory.path();
    let mut text = String::from("timestamp,value\n");
    for hour in 0..24 * 21 {
        let value = if hour % 24 < 12 { 10.0 } else { 50.0 };
        writeln!(
            text,
            "{},{}",
            MARCH + 3600 * hour,
            value + (hour % 5) as f64
        )
        .unwrap();
    }
    std::fs::write(place.join("load.csv"), text).unwrap();
    for method in ["streaming", "mstl_ets"] {
        let arguments = [
            "forecast",
            "load.csv",
            "--horizon",
            "48h",
            "--method",
            method,
            "-o",
            "f.ndjson",
        ];
        said(place, &arguments);
        let rows = objects(&std::fs::read_to_string(place.join("f.ndjson")).unwrap());
        assert_eq!(rows.len(), 48, "{method}");
        assert_eq!(rows[0]["time"], "2026-03-22T00:00:00Z");
        for (hour, row) in rows.iter().enumerate() {
            let edges = [
                "lower_95", "lower_80", "lower_50", "median", "upper_50", "upper_80", "upper_95",
            ]
            .map(|edge| row[edge].as_f64().unwrap());
            assert!(edges.is_sorted(), "{method}: {row}");
            let expected = if hour % 24 < 12 { 12.0 } else { 52.0 };
            assert!(
                (edges[3] - expected).abs() < 5.0,
                "{method}, hour {hour}: {row}"
            );
        }
    }
    let table = said(place, &["forecast", "load.csv", "--horizon", "2h", "-q"]);
    assert!(
        table.starts_with("time ") && table.lines().count() == 4,
        "{table}"
    );
    let output = run(place, &["forecast", "load.csv", "--horizon", "soon"]);
    assert_eq!(output.status.code(), Some(2));
}

#[test]
fn wrong_input_is_named() {
    let directory = tempfile::tempdir().unwrap();
    let place = directory.path();
    std::fs::write(place.join("x.csv"), "timestamp,value\n2026-03-01,x\n").unwrap();
    std::fs::write(place.join("none.csv"), "timestamp,value\n").unwrap();
    for command in [&["detect"][..], &["forecast", "--horizon", "1h"]] {
        for (file, code, why) in [
            (
                "x.csv",
                1,
                "x.csv, line 2: column `value`: expected a number, found `x`",
            ),
            ("none.csv", 1, "none.csv: expected rows with samples"),
            ("absent.csv", 1, "absent.csv"),
        ] {
            let output = run(place, &[command, &[file]].concat());
            let said = String::from_utf8_lossy(&output.stderr);
            assert_eq!(output.status.code(), Some(code), "{command:?}: {said}");
            assert!(said.contains(why), "{command:?}: {said}");
        }
    }
    let output = run(place, &["score", "everything", "--data", "."]);
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.code() == Some(2) && said.contains("nab"),
        "{said}"
    );
    let output = run(place, &["score", "nab", "--data", "."]);
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.code() == Some(1) && said.contains("TW-SCORE-001"),
        "{said}"
    );
}
