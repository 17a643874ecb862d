//! `tidewatch score`: each benchmark on a tiny data folder of its form; the names of its metrics are public.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fmt::Write as _;
use std::io::Write as _;
use std::path::Path;

use flate2::{Compression, Crc, write::GzEncoder};
use serde_json::{Value, json};
use tests::process::run_command;

/// Seeded noise from 0 (inclusive) to 1.
fn noise(step: i64) -> f64 {
    (step * 7_919 % 101) as f64 / 101.0
}

/// Runs a benchmark on a data folder, looks at what it prints, and returns what it writes.
fn score(data: &Path, benchmark: &str) -> Value {
    let arguments = ["score", benchmark, "--data", ".", "--json", "out.json"];
    let table = run_command(data, &arguments);
    let report: Value =
        serde_json::from_slice(&std::fs::read(data.join("out.json")).unwrap()).unwrap();
    assert_eq!(report["benchmark"], benchmark);
    assert_eq!(report.as_object().unwrap().len(), 3, "{report}");
    for (name, value) in report["metrics"].as_object().unwrap() {
        let line = format!("{benchmark}  {name}  {:.4}", value.as_f64().unwrap());
        assert!(table.contains(&line), "`{line}` is not in\n{table}");
    }
    report
}

/// That a report has metrics of these names, each from one number to another.
fn expect(report: &Value, metrics: &[(&str, f64, f64)]) {
    for (name, least, most) in metrics {
        let value = report["metrics"][name].as_f64();
        let value = value.unwrap_or_else(|| panic!("no `{name}` in {report:#}"));
        assert!((*least..=*most).contains(&value), "{name}: {value}");
    }
}

#[test]
fn nab() {
    let directory = tempfile::tempdir().unwrap();
    let (data, labels) = ("nab/data/x", "nab/labels");
    std::fs::create_dir_all(directory.path().join(data)).unwrap();
    std::fs::create_dir_all(directory.path().join(labels)).unwrap();
    // A week every five minutes, with a spike on the sixth day.
    let time = |step: i64| {
        let (day, minute) = (step / 288 + 1, step % 288 * 5);
        format!("2014-07-{day:02} {:02}:{:02}:00", minute / 60, minute % 60)
    };
    let mut text = String::from("timestamp,value\n");
    for step in 0..7 * 288 {
        let spike = if step == 1_500 { 400.0 } else { 0.0 };
        writeln!(text, "{},{}", time(step), 50.0 + noise(step) + spike).unwrap();
    }
    std::fs::write(directory.path().join(data).join("spike.csv"), text).unwrap();
    let windows = json!({ "x/spike.csv": [[time(1_490), time(1_530)]] });
    let path = directory.path().join(labels).join("combined_windows.json");
    std::fs::write(path, windows.to_string()).unwrap();

    let report = score(directory.path(), "nab");
    expect(
        &report,
        &[
            ("standard", 90.0, 100.0),
            ("low_fp", 90.0, 100.0),
            ("low_fn", 90.0, 100.0),
        ],
    );
    expect(
        &report,
        &[
            ("windows", 1.0, 1.0),
            ("windows_hit", 1.0, 1.0),
            ("false_rows", 0.0, 0.0),
        ],
    );
    assert_eq!(report["per_series"][0]["series"], "x/spike.csv");
}

#[test]
fn wsd() {
    let directory = tempfile::tempdir().unwrap();
    std::fs::create_dir(directory.path().join("wsd")).unwrap();
    // A week of minutes; two stretches of ten are abnormal. Some minutes have no value.
    let mut text = String::from("timestamp,value,label\n");
    for minute in 0..7 * 1_440 {
        let abnormal = [5_000..5_010, 8_000..8_010]
            .iter()
            .any(|range| range.contains(&minute));
        let value = 50.0 + noise(minute) + if abnormal { 300.0 } else { 0.0 };
        let value = if minute % 500 == 7 {
            String::new()
        } else {
            value.to_string()
        };
        writeln!(text, "{},{value},{}", 60 * minute, u8::from(abnormal)).unwrap();
    }
    let file = std::fs::File::create(directory.path().join("wsd/1.csv.gz")).unwrap();
    let mut file = GzEncoder::new(file, Compression::fast());
    file.write_all(text.as_bytes()).unwrap();
    file.finish().unwrap();

    let report = score(directory.path(), "wsd");
    expect(
        &report,
        &[
            ("vus_pr", 0.5, 1.0),
            ("recall", 1.0, 1.0),
            ("segments", 2.0, 2.0),
        ],
    );
    expect(
        &report,
        &[
            ("recall_fixed", 0.5, 1.0),
            ("false_alarms_per_week", 0.0, 2.0),
        ],
    );
    assert_eq!(report["per_series"][0]["series"], "1.csv.gz");
}

/// A numpy array as a file: its type, its shape, its values in the order of rows.
fn npy(kind: &str, shape: &str, values: &[[u8; 8]]) -> Vec<u8> {
    let mut header = format!("{{'descr': '{kind}', 'fortran_order': False, 'shape': {shape}, }}");
    while (10 + header.len() + 1) % 64 != 0 {
        header.push(' ');
    }
    header.push('\n');
    let mut bytes = b"\x93NUMPY\x01\x00".to_vec();
    bytes.extend((header.len() as u16).to_le_bytes());
    bytes.extend(header.as_bytes());
    bytes.extend(values.as_flattened());
    bytes
}

/// A ZIP archive of files that are stored as they are.
fn zip(files: &[(&str, Vec<u8>)]) -> Vec<u8> {
    let (mut bytes, mut directory) = (Vec::new(), Vec::new());
    for (name, content) in files {
        let mut crc = Crc::new();
        crc.update(content);
        let (size, at) = (content.len() as u32, bytes.len() as u32);
        // Version 2.0, no flags, stored, no date; then checksum, both sizes, length of the name, nothing extra.
        let mut about = vec![20, 0, 0, 0, 0, 0, 0, 0, 0, 0];
        about.extend([crc.sum(), size, size].map(u32::to_le_bytes).as_flattened());
        about.extend((name.len() as u32).to_le_bytes());
        bytes.extend(b"PK\x03\x04");
        bytes.extend(&about);
        bytes.extend(name.as_bytes());
        bytes.extend(content);
        directory.extend(b"PK\x01\x02\x14\x00");
        directory.extend(&about);
        // No comment, first disk, no attributes.
        directory.extend([0; 10]);
        directory.extend(at.to_le_bytes());
        directory.extend(name.as_bytes());
    }
    let (count, start) = (files.len() as u16, bytes.len() as u32);
    bytes.extend(&directory);
    bytes.extend(b"PK\x05\x06\0\0\0\0");
    bytes.extend([count, count].map(u16::to_le_bytes).as_flattened());
    bytes.extend((directory.len() as u32).to_le_bytes());
    bytes.extend(start.to_le_bytes());
    bytes.extend([0; 2]);
    bytes
}

#[test]
fn forest() {
    let directory = tempfile::tempdir().unwrap();
    std::fs::create_dir(directory.path().join("adbench")).unwrap();
    // 300 rows of two features; each hundredth is far off.
    let far = |row: i64| if row % 100 == 99 { 9.0 } else { 0.0 };
    let rows = (0..300).flat_map(|row| [noise(row) + far(row), noise(3 * row + 1) - far(row)]);
    let rows: Vec<[u8; 8]> = rows.map(f64::to_le_bytes).collect();
    let labels: Vec<[u8; 8]> = (0..300)
        .map(|row| i64::from(far(row) > 0.0).to_le_bytes())
        .collect();
    let table = zip(&[
        ("X.npy", npy("<f8", "(300, 2)", &rows)),
        ("y.npy", npy("<i8", "(300,)", &labels)),
    ]);
    std::fs::write(directory.path().join("adbench/1_far.npz"), table).unwrap();

    let report = score(directory.path(), "forest");
    expect(&report, &[("auroc_mean", 0.99, 1.0), ("ap_mean", 0.9, 1.0)]);
    assert_eq!(report["per_series"][0]["series"], "adbench/1_far.npz");
}

#[test]
fn forecast() {
    let directory = tempfile::tempdir().unwrap();
    std::fs::create_dir(directory.path().join("m4")).unwrap();
    // Three weeks of hours with a daily rhythm, then two days.
    let value = |hour: i64| 100.0 + 20.0 * f64::from((hour % 24) as u8 / 12) + noise(hour);
    for (file, hours) in [("Hourly-train.csv", 0..504), ("Hourly-test.csv", 504..552)] {
        let cells: Vec<String> = hours.map(|hour| format!("\"{}\"", value(hour))).collect();
        let text = format!("\"V1\",\"V2\"\n\"H1\",{}\n", cells.join(","));
        std::fs::write(directory.path().join("m4").join(file), text).unwrap();
    }

    let report = score(directory.path(), "forecast");
    expect(
        &report,
        &[
            ("owa", 0.0, 1.5),
            ("msis", 0.0, 10.0),
            ("coverage_95", 0.5, 1.0),
        ],
    );
    assert_eq!(report["per_series"][0]["series"], "H1");
}

#[test]
fn disk() {
    let directory = tempfile::tempdir().unwrap();
    std::fs::create_dir(directory.path().join("disk")).unwrap();
    // 420 days of steady growth, of which each 1 % takes weeks.
    let mut text = String::from("day,tree_bytes,cumulative_written_bytes\n");
    for day in 0..420 {
        let date = format!(
            "{}-{:02}-{:02}",
            2024 + day / 360,
            day % 360 / 30 + 1,
            day % 30 + 1
        );
        if day % 360 / 30 == 1 && day % 30 > 27 {
            // Not every February has a 29th: a missing day has the level of the day before.
            continue;
        }
        writeln!(
            text,
            "{date},{},0",
            1e9 + 1e6 * day as f64 + 1e5 * noise(day)
        )
        .unwrap();
    }
    std::fs::write(directory.path().join("disk/steady.csv"), text).unwrap();

    let report = score(directory.path(), "disk");
    expect(
        &report,
        &[
            ("median_abs_ln_ttf", 0.0, 1.0),
            ("coverage_90", 0.0, 1.0),
            ("cases", 3.0, 60.0),
        ],
    );
    expect(
        &report,
        &[
            ("brier_skill_14d", -10.0, 1.0),
            ("brier_skill_30d", -10.0, 1.0),
        ],
    );
    assert_eq!(report["per_series"][0]["series"], "disk/steady.csv");
}
