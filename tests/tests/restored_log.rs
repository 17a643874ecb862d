//! C1 where the log is older than the archive: new records would get offsets that the archive has already, so nothing is taken for committed.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::path::Path;
use std::time::Duration;

use tests::http::get;
use tests::load::{Load, Outcome};
use tests::process::{Launch, run};

/// A bound for what hangs, not a measure of speed.
const PATIENCE: Duration = Duration::from_secs(60);

/// Copies a directory with all in it.
fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let place = to.join(entry.file_name());
        match entry.file_type().unwrap().is_dir() {
            true => copy(&entry.path(), &place),
            false => drop(std::fs::copy(entry.path(), place).unwrap()),
        }
    }
}

/// Up to which offset the partition is committed.
fn committed(address: std::net::SocketAddr) -> Option<u64> {
    let answer = get(address, "/readyz?verbose").ok()?;
    let told: serde_json::Value = serde_json::from_str(&answer.text()).ok()?;
    told["partitions"][0]["committed_offset"].as_u64()
}

#[test]
fn c1_a_log_older_than_the_archive_stops_its_partitions_aloud() {
    let directory = tempfile::tempdir().unwrap();
    let launch = Launch::new(directory.path()).env("TIDEWATCH__BUS__PARTITIONS", "1");
    // No state is saved between two stops, so that a copy of the log reaches back to the last one, and yet not up to the last commit.
    let launch = launch.env("TIDEWATCH__PROCESSING__SNAPSHOT_INTERVAL", "1h");
    let (log, kept) = (launch.data_dir().join("bus"), directory.path().join("kept"));
    let mut load = Load::new(20);
    let process = launch.start_ready();
    for _ in 0..5 {
        assert_eq!(load.send(&process), Outcome::Ok);
    }
    process.stop_cleanly();
    copy(&log, &kept);
    let mut process = launch.start_ready();
    let before = committed(process.address()).unwrap();
    let goes_on = process.wait_until(PATIENCE, |address| committed(address) > Some(before));
    assert!(goes_on, "{}", process.log());
    process.kill_nine();

    // Restored from a copy of before.
    std::fs::remove_dir_all(&log).unwrap();
    std::fs::rename(&kept, &log).unwrap();
    let mut process = launch.start();
    let said = process.wait_until(PATIENCE, |address| {
        get(address, "/readyz").is_ok_and(|answer| {
            answer.status == 503 && answer.text().contains("is outside what the log holds")
        })
    });
    assert!(said, "{}", process.log());
    assert!(process.log().contains("TW-LOG-004"), "{}", process.log());
    process.kill_nine();
    let report = run(
        directory.path(),
        &["doctor", "--config", "config.toml", "--data-dir", "data"],
    );
    let report = String::from_utf8_lossy(&report.stdout).into_owned();
    assert!(report.contains("TW-LOG-004"), "{report}");
}
