//! `tidewatch replay`: the same rows whatever the order, the records and the checkpoints; what the archive holds, replayed, gives what it held.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use tests::process::{Launch, binary, run_command};

/// Every table that holds results, with what its rows are ordered by.
const TABLES: [(&str, &str); 9] = [
    ("samples", "metric, series_id, time"),
    ("rollups_10s", "metric, series_id, time"),
    ("rollups_1m", "metric, series_id, time"),
    ("rollups_5m", "metric, series_id, time"),
    ("rollups_1h", "metric, series_id, time"),
    ("rollups_1d", "metric, series_id, time"),
    ("anomalies", "time, event_id"),
    ("forecasts", "time, event_id"),
    ("forecast_scores", "time, forecast_id"),
];

/// 2026-03-01T00:00:00Z, seconds.
const MARCH: i64 = 1_772_323_200;

struct Place {
    directory: tempfile::TempDir,
}

impl Place {
    fn new() -> Self {
        Place {
            directory: tempfile::tempdir().unwrap(),
        }
    }

    fn path(&self) -> &Path {
        self.directory.path()
    }

    fn write(&self, name: &str, content: &str) {
        std::fs::write(self.path().join(name), content).unwrap();
    }

    fn read(&self, name: &str) -> String {
        std::fs::read_to_string(self.path().join(name)).unwrap()
    }

    fn exists(&self, name: &str) -> bool {
        self.path().join(name).exists()
    }

    /// `tidewatch replay …`, started below the directory.
    fn replay(&self, arguments: &[&str], environment: &[(&str, &str)]) -> Output {
        Command::new(binary())
            .arg("replay")
            .args(arguments)
            .envs(environment.iter().copied())
            .current_dir(self.path())
            .stdin(Stdio::null())
            .output()
            .unwrap()
    }

    /// As [`Place::replay`], and it must succeed; what it said.
    fn replayed(&self, arguments: &[&str], environment: &[(&str, &str)]) -> String {
        let output = self.replay(arguments, environment);
        assert!(
            output.status.success(),
            "{arguments:?}: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        String::from_utf8(output.stdout).unwrap()
    }

    /// As [`Place::replay`], and it must fail with this exit code; what it said of why.
    fn refused(&self, arguments: &[&str], code: i32) -> String {
        let output = self.replay(arguments, &[]);
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(code), "{arguments:?}: {said}");
        said
    }

    /// The rows of a table, one JSON object per line, numbers to the last bit.
    fn rows(&self, data_dir: &str, table: &str, order: &str) -> Vec<String> {
        let question = format!("SELECT * FROM {table} ORDER BY {order}");
        let answer = run_command(
            self.path(),
            &[
                "sql",
                "--data-dir",
                data_dir,
                "--format",
                "ndjson",
                &question,
            ],
        );
        answer.lines().map(str::to_owned).collect()
    }

    /// The files of the archive's samples.
    fn samples_files(&self, data_dir: &str) -> Vec<String> {
        let list = run_command(
            self.path(),
            &[
                "archive",
                "files",
                "--table",
                "samples",
                "--data-dir",
                data_dir,
            ],
        );
        list.lines().map(str::to_owned).collect()
    }

    fn assert_same(&self, left: &str, right: &str) {
        for (table, order) in TABLES {
            let (left_rows, right_rows) = (
                self.rows(left, table, order),
                self.rows(right, table, order),
            );
            assert!(!left_rows.is_empty(), "{table} of {left}");
            let difference = left_rows.iter().zip(&right_rows).find(|(l, r)| l != r);
            assert_eq!(difference, None, "{table}: {left} and {right}");
            assert_eq!(
                left_rows.len(),
                right_rows.len(),
                "{table}: {left} and {right}"
            );
        }
    }
}

/// Two days of a gauge that changes its pace, a counter with resets, and one with holes, on three hosts: rows of CSV in time order. With spikes,
/// a value that is no number, and rows that come twice.
fn history() -> Vec<String> {
    let mut rows: Vec<(i64, String)> = Vec::new();
    for host in 0..3i64 {
        let (mut time_ms, mut step) = (MARCH * 1000 + host, 0i64);
        while time_ms < (MARCH + 2 * 86_400) * 1000 {
            let wave = (time_ms as f64 / 6e6 + host as f64).sin() * 5.0;
            let noise = (step * 7919 % 101) as f64 / 50.0;
            let spike = if step % 1500 == 1499 { 80.0 } else { 0.0 };
            let load = match step {
                700 => "NaN".to_owned(),
                _ => format!("{}", 40.0 + wave + noise + spike),
            };
            rows.push((time_ms, format!("{time_ms},load,h{host},,{load}")));
            if step % 90 == 0 {
                rows.push((time_ms, format!("{time_ms},load,h{host},,{load}")));
            }
            rows.push((
                time_ms,
                format!("{time_ms},requests_total,h{host},api,{}", step * 3 % 4000),
            ));
            if step / 400 % 3 != 1 {
                rows.push((
                    time_ms,
                    format!("{time_ms},queue,h{host},api,{}", step % 13),
                ));
            }
            time_ms += [10_000, 15_003, 60_000, 20_500][(step / 300 % 4) as usize] + step % 7;
            step += 1;
        }
    }
    rows.sort_by_key(|(time, _)| *time);
    rows.into_iter().map(|(_, row)| row).collect()
}

fn csv(rows: impl Iterator<Item = String>) -> String {
    let mut text = String::from("timestamp,metric,host,service,value\n");
    rows.for_each(|row| writeln!(text, "{row}").unwrap());
    text
}

#[test]
fn c5_neither_records_nor_checkpoints_nor_the_order_of_rows_matter() {
    let place = Place::new();
    let rows = history();
    place.write("ordered.csv", &csv(rows.iter().cloned()));
    place.write("reversed.csv", &csv(rows.iter().rev().cloned()));
    let said = place.replayed(
        &[
            "ordered.csv",
            "--data-dir",
            "plain",
            "--output",
            "plain.ndjson",
            "--scores",
            "plain.csv",
        ],
        &[],
    );
    assert!(
        said.contains(&format!("samples      {} in 9 series", rows.len())),
        "{said}"
    );
    let anomalies = place.rows("plain", "anomalies", "time");
    assert!(anomalies.len() >= 5, "the spikes are seen: {anomalies:?}");

    // Records of 37 samples, a checkpoint every few of them.
    place.replayed(
        &[
            "ordered.csv",
            "--data-dir",
            "small",
            "--record-samples",
            "37",
            "--output",
            "small.ndjson",
            "--scores",
            "small.csv",
        ],
        &[("TIDEWATCH__PROCESSING__CHECKPOINT_SAMPLES_MAX", "2000")],
    );
    place.assert_same("plain", "small");
    assert_eq!(place.read("plain.ndjson"), place.read("small.ndjson"));
    assert_eq!(place.read("plain.ndjson").lines().count(), anomalies.len());
    assert_eq!(place.read("plain.csv"), place.read("small.csv"));

    // Four partitions: what moved with an event on other hosts of its service is seen where they are in the same one, and nothing else differs.
    let four = [("TIDEWATCH__BUS__PARTITIONS", "4")];
    place.replayed(
        &["ordered.csv", "--data-dir", "four", "--scores", "four.csv"],
        &four,
    );
    assert_eq!(place.read("plain.csv"), place.read("four.csv"));
    let told = "(SELECT * EXCEPT (related, explanation) FROM anomalies)";
    assert_eq!(
        place.rows("plain", told, "time, event_id"),
        place.rows("four", told, "time, event_id")
    );
    for (table, order) in TABLES.iter().filter(|(table, _)| *table != "anomalies") {
        assert_eq!(
            place.rows("plain", table, order),
            place.rows("four", table, order),
            "{table}"
        );
    }

    place.replayed(&["reversed.csv", "--data-dir", "reversed"], &[]);
    place.assert_same("plain", "reversed");

    // What the archive holds is a history as good as the one it came from.
    let files = place.samples_files("plain");
    let arguments: Vec<&str> = files
        .iter()
        .map(String::as_str)
        .chain(["--data-dir", "again"])
        .collect();
    place.replayed(&arguments, &[]);
    place.assert_same("plain", "again");
}

#[test]
fn the_scores_are_those_of_the_anomalies() {
    let place = Place::new();
    place.write("h.csv", &csv(history().into_iter()));
    place.replayed(&["h.csv", "--data-dir", "d", "--scores", "s.ndjson"], &[]);
    let mut scored = std::collections::HashMap::new();
    for line in place.read("s.ndjson").lines() {
        let row: serde_json::Value = serde_json::from_str(line).unwrap();
        let key = (
            row["metric"].clone(),
            row["labels"].clone(),
            row["time"].clone(),
        );
        assert!(scored.insert(key, row).is_none(), "a sample is scored once");
    }
    let anomalies = place.rows("d", "anomalies", "time");
    assert!(!anomalies.is_empty());
    for line in anomalies {
        let event: serde_json::Value = serde_json::from_str(&line).unwrap();
        // What is missing, and what a resource is as a whole, is no sample.
        if event["observed"].is_null() || event["metric"] == "tidewatch.resource" {
            continue;
        }
        let row = &scored[&(
            event["metric"].clone(),
            event["labels"].clone(),
            event["time"].clone(),
        )];
        for (in_row, in_event) in [
            ("value", "observed"),
            ("expected", "expected"),
            ("lower", "lower"),
            ("upper", "upper"),
            ("score", "score"),
        ] {
            assert_eq!(row[in_row], event[in_event], "{in_row} of {event}");
        }
        assert!(row["raw_score"].as_f64().unwrap() > 0.0);
    }
}

#[test]
fn a_live_archive_replayed_gives_what_it_held() {
    let place = Place::new();
    // Late enough that no sample below is late, however slow the machine; early enough that windows are sealed while we wait.
    let config = tests::FAST_CONFIG.replace("lateness = \"1s\"", "lateness = \"20s\"");
    assert!(config.contains("20s"));
    let launch = Launch::new(place.path()).config(config.clone());
    let mut process = launch.start_ready();
    let now_ms = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .unwrap()
        .as_millis() as i64;
    let (mut time_ms, mut step) = (now_ms - 12_000, 0);
    while time_ms < now_ms {
        let mut body = String::new();
        for _ in 0..7 {
            for host in 0..3 {
                let spike = if step % 60 == 59 { 500 } else { 0 };
                writeln!(
                    body,
                    "live,host=h{host} load={}.{},requests_total={} {time_ms}",
                    20 + spike,
                    step % 10,
                    step * host
                )
                .unwrap();
            }
            time_ms += 90 + step % 37;
            step += 1;
        }
        assert!(process.write_lines(&body).unwrap().is_success());
    }
    // A window that is sealed and committed, of each resolution that fits the time.
    let sealed = "SELECT count(*) AS n FROM rollups_10s WHERE metric LIKE 'live_%'";
    assert!(
        process.wait_until(Duration::from_secs(90), |address| {
            let body = serde_json::json!({ "query": sealed, "format": "json" }).to_string();
            tests::http::post(address, "/api/v1/sql", "application/json", body.as_bytes())
                .is_ok_and(|answer| answer.is_success() && !answer.text().contains("\"n\":0"))
        }),
        "no window was sealed\n{}",
        process.log()
    );
    process.stop_cleanly();
    let counts = run_command(
        place.path(),
        &[
            "sql",
            "--data-dir",
            "data",
            "--format",
            "csv",
            "SELECT sum(late), sum(revised), sum(replaced) FROM checkpoints",
        ],
    );
    assert!(
        counts.ends_with("\n0,0,0\n"),
        "late samples would be told apart: {counts}"
    );

    place.write("replay.toml", &config);
    let files = place.samples_files("data");
    let arguments: Vec<&str> = files
        .iter()
        .map(String::as_str)
        .chain(["--data-dir", "again", "--config", "replay.toml"])
        .collect();
    place.replayed(&arguments, &[]);
    for (table, order) in TABLES {
        let (live, again) = (
            place.rows("data", table, order),
            place.rows("again", table, order),
        );
        if table == "samples" || table == "anomalies" {
            assert!(!live.is_empty(), "{table}");
            assert_eq!(live, again, "{table}");
        } else {
            // The replay has sealed also the windows that were open when the live one stopped.
            for row in &live {
                assert!(
                    again.contains(row),
                    "{table}: only the live one holds {row}"
                );
            }
        }
    }
    assert!(!place.rows("data", "rollups_10s", "time").is_empty());
}

#[test]
fn a_replay_goes_on_where_another_left_its_windows_open() {
    let place = Place::new();
    let rows = history();
    let (first, second) = rows.split_at(rows.len() / 3);
    place.write("whole.csv", &csv(rows.iter().cloned()));
    place.write("first.csv", &csv(first.iter().cloned()));
    place.write("second.csv", &csv(second.iter().cloned()));
    place.replayed(&["whole.csv", "--data-dir", "whole"], &[]);
    place.replayed(&["first.csv", "--data-dir", "parts", "--leave-open"], &[]);
    place.replayed(&["second.csv", "--data-dir", "parts", "--append"], &[]);
    place.assert_same("whole", "parts");
}

#[test]
fn an_event_about_the_end_that_was_left_open_is_told_by_the_replay_that_goes_on() {
    let place = Place::new();
    // Two series of a host, two hours; one stops after 50 minutes, which is silence from the 55th on, and the first file ends with the 56th.
    let (mut first, mut second) = (Vec::new(), Vec::new());
    for i in 0..720 {
        let rows = if i < 336 { &mut first } else { &mut second };
        let mut row = |metric: &str, value: i64| {
            rows.push(format!("{},{metric},a,{value}", MARCH + 10 * i));
        };
        row("goes_on", i % 7);
        if i < 300 {
            row("stops", i % 5);
        }
    }
    for (name, rows) in [("first.csv", first), ("second.csv", second)] {
        let head = "timestamp,metric,host,value\n".to_owned();
        place.write(name, &(head + &rows.join("\n")));
    }
    let said = place.replayed(
        &[
            "first.csv",
            "--data-dir",
            "d",
            "--leave-open",
            "-o",
            "first.ndjson",
        ],
        &[],
    );
    assert!(said.contains("anomalies    0\n"), "{said}");
    let said = place.replayed(
        &[
            "second.csv",
            "--data-dir",
            "d",
            "--append",
            "-o",
            "second.ndjson",
        ],
        &[],
    );
    let told = place.read("second.ndjson");
    assert!(
        told.contains("\"missing\"") && told.contains("2026-03-01T00:55:00"),
        "{told}"
    );
    let all = place.rows("d", "anomalies", "time, metric, series_id, event_id");
    assert_eq!(told.lines().collect::<Vec<_>>(), all);
    assert!(
        said.contains(&format!("anomalies    {}\n", all.len())),
        "{said}"
    );

    // What was told once is not told again.
    place.write(
        "third.csv",
        &format!(
            "timestamp,metric,host,value\n{},goes_on,a,1\n",
            MARCH + 7_200
        ),
    );
    place.replayed(
        &[
            "third.csv",
            "--data-dir",
            "d",
            "--append",
            "-o",
            "third.ndjson",
        ],
        &[],
    );
    assert_eq!(place.read("third.ndjson"), "");
}

#[test]
fn what_is_wrong_is_told_and_leaves_nothing_behind() {
    let place = Place::new();
    place.write(
        "bad.csv",
        "\u{feff}time,host,value\r\n1772323200,a,1\r\n\r\n1772323210,\"b\",\r\n1772323220,c,3\r\n",
    );
    let said = place.refused(&["bad.csv", "--data-dir", "d", "--output", "a.csv"], 1);
    assert!(
        said.contains("bad.csv, line 4: column `value`: expected a number, found an empty cell"),
        "{said}"
    );
    assert!(!place.exists("d") && !place.exists("a.csv"));
    assert_eq!(
        std::fs::read_dir(place.path()).unwrap().count(),
        1,
        "no part of an output is left"
    );

    let said = place.replayed(&["bad.csv", "--data-dir", "d", "--skip-invalid"], &[]);
    assert!(
        said.contains("skipped rows 1") && said.contains("bad.csv, line 4: column"),
        "{said}"
    );
    assert_eq!(place.rows("d", "samples", "time").len(), 2);

    place.write("good.csv", "time,value\n1772323200,1\n");
    let said = place.refused(&["good.csv", "--data-dir", "d"], 2);
    assert!(
        said.contains("is not empty") && said.contains("--append"),
        "{said}"
    );
    std::fs::write(place.path().join("d/replay"), "unfinished\n").unwrap();
    let said = place.refused(&["good.csv", "--data-dir", "d", "--append"], 2);
    assert!(said.contains("did not end"), "{said}");
    let said = place.refused(&["good.csv"], 2);
    assert!(said.contains("--data-dir DIR"), "{said}");
    let said = place.refused(&["good.csv", "--data-dir", "e", "--output", "a.txt"], 2);
    assert!(said.contains(".csv, .ndjson, .jsonl or .parquet"), "{said}");
    let said = place.refused(&["none.csv", "--data-dir", "e"], 1);
    assert!(said.contains("none.csv: No such file"), "{said}");
    place.write("broken.parquet", "PAR1 and nothing more");
    let said = place.refused(&["broken.parquet", "--data-dir", "e"], 1);
    assert!(
        said.contains("broken.parquet: expected a Parquet file; found a damaged one"),
        "{said}"
    );
    assert!(!place.exists("e"));
}

#[test]
fn the_kind_of_a_metric_can_be_told() {
    let place = Place::new();
    let rows = (0..200).map(|i| format!("{},bytes,a,,{}", MARCH + i * 10, i * 500));
    place.write("h.csv", &csv(rows));
    let rates = |data_dir: &str| {
        place
            .rows(data_dir, "rollups_1m", "time")
            .iter()
            .filter(|row| row.contains("\"rate\":50.0"))
            .count()
    };
    place.replayed(&["h.csv", "--data-dir", "gauge"], &[]);
    assert_eq!(rates("gauge"), 0);
    place.replayed(
        &["h.csv", "--data-dir", "counter", "--counter", "byt*"],
        &[],
    );
    assert!(rates("counter") > 30);
}

#[test]
fn nothing_but_the_summary_where_there_is_no_terminal() {
    let place = Place::new();
    place.write("cpu.csv", "timestamp,value\n1772323200,1\n");
    let output = place.replay(&["cpu.csv", "--data-dir", "d"], &[]);
    assert!(output.status.success());
    assert_eq!(
        String::from_utf8_lossy(&output.stderr),
        "",
        "no bar, no log line"
    );
    let said = String::from_utf8(output.stdout).unwrap();
    assert!(!said.contains('\u{1b}'), "no colour");
    // Told like that, the next command works.
    let next = said
        .lines()
        .find_map(|line| line.trim().strip_prefix("tidewatch sql --data-dir "))
        .unwrap();
    let (data_dir, question) = next.split_once(' ').unwrap();
    run_command(
        place.path(),
        &["sql", "--data-dir", data_dir, question.trim_matches('"')],
    );
    assert_eq!(
        PathBuf::from(data_dir),
        place.path().join("d").canonicalize().unwrap()
    );
}
