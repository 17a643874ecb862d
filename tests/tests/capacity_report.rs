//! `tidewatch report capacity` on a real data directory: history goes in by `replay`, the report comes out in each form, with what changed.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fmt::Write as _;

use serde_json::Value;
use tests::process::{run, said};

/// 2026-03-01T00:00:00Z, seconds.
const MARCH: i64 = 1_772_323_200;

/// Two weeks of one host, every ten minutes: one disk fills (told as used and free), one is cleaned each day (told as available and size),
/// one lies still (told in per cent), and a processor that has no ceiling.
fn fortnight() -> String {
    let mut text = String::from("timestamp,metric,host,mountpoint,state,value\n");
    for i in 0..14 * 24 * 6 {
        let (time, hours) = (MARCH + i * 600, i as f64 / 6.0);
        let filling = 20.0 + hours * 0.2;
        let cleaned = 40.0 + 45.0 * (hours / 24.0).fract();
        for (metric, mount, state, value) in [
            ("system.filesystem.usage", "/fills", "used", filling),
            ("system.filesystem.usage", "/fills", "free", 100.0 - filling),
            (
                "node_filesystem_avail_bytes",
                "/cleaned",
                "",
                100.0 - cleaned,
            ),
            ("node_filesystem_size_bytes", "/cleaned", "", 100.0),
            ("disk_used_percent", "/still", "", 71.0),
            ("system.cpu.utilization", "", "", 0.99),
        ] {
            writeln!(text, "{time},{metric},web-1,{mount},{state},{value}").unwrap();
        }
    }
    text
}

#[test]
fn what_fills_comes_first_and_what_is_cleaned_stays_quiet() {
    let directory = tempfile::tempdir().unwrap();
    let place = directory.path();
    std::fs::write(place.join("march.csv"), fortnight()).unwrap();
    said(place, &["replay", "march.csv", "--data-dir", "data"]);
    let report = |arguments: &[&str]| {
        let all = [&["report", "capacity", "--data-dir", "data"], arguments].concat();
        said(place, &all)
    };
    assert_eq!(report(&["--output", "first.json"]), "");
    let text = std::fs::read_to_string(place.join("first.json")).unwrap();
    let json: Value = serde_json::from_str(&text).unwrap();
    let pools: Vec<(&str, &str)> = json["pools"]
        .as_array()
        .unwrap()
        .iter()
        .map(|pool| {
            (
                pool["name"].as_str().unwrap(),
                pool["answer"].as_str().unwrap(),
            )
        })
        .collect();
    assert_eq!(pools[0], ("disk /fills on web-1", "full_in"));
    assert_eq!(pools.len(), 3, "{pools:?}");
    assert!(
        pools.contains(&("disk /cleaned on web-1", "no_trend")),
        "{pools:?}"
    );
    assert!(
        pools.contains(&("disk /still on web-1", "no_trend")),
        "{pools:?}"
    );
    // 80 at 0.2 an hour: full 400 hours after the start, 64 after the end.
    let days = json["pools"][0]["days_to_full"].as_f64().unwrap();
    assert!((days - 64.0 / 24.0).abs() < 0.3, "{days}");

    let table = report(&["--previous", "first.json"]);
    assert!(table.contains("Nothing of note changed."), "{table}");
    report(&["-o", "page.html"]);
    let page = std::fs::read_to_string(place.join("page.html")).unwrap();
    assert!(page.starts_with("<!doctype html>") && page.contains("disk /fills on web-1"));
    let sheet = report(&["--format", "csv"]);
    assert_eq!(sheet.lines().count(), 4, "{sheet}");
}

#[test]
fn what_is_missing_is_said_with_its_code() {
    let directory = tempfile::tempdir().unwrap();
    let place = directory.path();
    let cpu: String = (0..600)
        .map(|i| format!("{},system.cpu.utilization,web-1,0.5\n", MARCH + i * 60))
        .collect();
    std::fs::write(
        place.join("cpu.csv"),
        format!("timestamp,metric,host,value\n{cpu}"),
    )
    .unwrap();
    said(place, &["replay", "cpu.csv", "--data-dir", "data"]);
    let refused = |arguments: &[&str], code: &str| {
        let all = [&["report", "capacity", "--data-dir", "data"], arguments].concat();
        let output = run(place, &all);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(1), "{said}");
        assert!(said.contains(code), "{said}");
    };
    refused(&["-o", "page.html"], "TW-REPORT-001");
    assert!(!place.join("page.html").exists(), "no half report is left");
    refused(&["--previous", "cpu.csv"], "TW-REPORT-002");
    refused(&["--previous", "nowhere.json"], "TW-REPORT-002");
}
