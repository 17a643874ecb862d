//! The embedded log, the archive and its chain, and the running instance.

use std::path::{Path, PathBuf};

use tests::process::Launch;

use super::{Report, doctor, one_partition, work};

/// A data directory that a clean run left, with a few checkpoints in it.
fn worked() -> tempfile::TempDir {
    let directory = tempfile::tempdir().unwrap();
    let mut process = one_partition(directory.path()).start_ready();
    work(&mut process, 3);
    process.stop_cleanly();
    directory
}

fn link(directory: &Path, sequence: u64) -> PathBuf {
    directory.join(format!(
        "data/archive/chain/tidewatch.samples/p00000/{sequence:020}.json"
    ))
}

#[test]
fn before_the_first_start_nothing_fails() {
    let directory = tempfile::tempdir().unwrap();
    let report = doctor(directory.path(), &[]);
    report.expect_failures(&[]);
    report.expect_state("instance", "warning");
    assert!(
        !directory.path().join("data").exists(),
        "looking makes no data directory"
    );
}

#[test]
fn a_running_instance_is_well_and_so_is_what_it_leaves() {
    let directory = tempfile::tempdir().unwrap();
    let mut process = one_partition(directory.path()).start_ready();
    work(&mut process, 2);
    // Started with an address of its own, which the data directory tells.
    let address_file = directory.path().join("data/http-address");
    assert!(process.wait_until(std::time::Duration::from_secs(30), |_| {
        address_file.exists()
    }));
    let report = doctor(directory.path(), &[]);
    report.expect_failures(&[]);
    for name in [
        "instance",
        "data directory",
        "archive",
        "chain",
        "aggregate store",
        "log",
        "lag",
        "clock",
    ] {
        report.expect_state(name, "ok");
    }
    process.stop_cleanly();

    let report = doctor(directory.path(), &[]);
    report.expect_failures(&[]);
    report.expect_state("instance", "warning");
    for name in [
        "chain",
        "archive files",
        "aggregate store",
        "log",
        "log and archive",
    ] {
        report.expect_state(name, "ok");
    }
    let left: Vec<_> = std::fs::read_dir(directory.path().join("data/archive/chain"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name())
        .collect();
    assert_eq!(left, ["tidewatch.samples"], "a probe was left");
}

#[test]
fn a_small_fleet_on_many_partitions_is_told() {
    let directory = tempfile::tempdir().unwrap();
    let mut process = Launch::new(directory.path()).start_ready();
    work(&mut process, 2);
    let report = doctor(directory.path(), &[]);
    report.expect_failures(&[]);
    let told = report.named("comparison");
    assert!(
        matches!(told[..], [("warning", found, "")] if found.starts_with("8 resources on 4 partitions") && found.ends_with("as a whole; their series are, across partitions")),
        "{told:?}"
    );
    process.stop_cleanly();
}

#[test]
fn a_hole_in_the_chain_is_found() {
    let directory = worked();
    std::fs::remove_file(link(directory.path(), 1)).unwrap();
    let report = doctor(directory.path(), &[]);
    report.expect_failures(&[(
        "chain",
        "TW-CHAIN-003",
        "00000000000000000001.json`: it is missing",
    )]);
}

#[test]
fn a_damaged_link_is_found_and_an_instance_that_stumbles_over_it() {
    let directory = worked();
    let place = link(directory.path(), 1);
    let text = std::fs::read_to_string(&place).unwrap();
    std::fs::write(&place, text.replacen("\"epoch\": 1", "\"epoch\": 2", 1)).unwrap();
    let report = doctor(directory.path(), &[]);
    report.expect_failures(&[("chain", "TW-CHAIN-003", "00000000000000000001.json")]);

    // It starts, tells its address, and is not ready.
    let mut process = one_partition(directory.path()).start();
    let address_file = directory.path().join("data/http-address");
    assert!(
        process.wait_until(std::time::Duration::from_secs(60), |_| address_file
            .exists()),
        "{}",
        process.log()
    );
    let report = doctor(directory.path(), &[]);
    report.expect_failures(&[
        (
            "instance",
            "TW-DOCTOR-005",
            "partition 0 is stopped: chain link",
        ),
        ("chain", "TW-CHAIN-003", "00000000000000000001.json"),
    ]);
    let log = process.log();
    assert!(
        log.lines()
            .any(|line| line.contains("partition stopped") && line.contains("TW-CHAIN-003")),
        "the log tells the code\n{log}"
    );
}

#[test]
fn files_that_are_gone_or_cut_are_found() {
    let directory = worked();
    let day = std::fs::read_dir(directory.path().join("data/archive/samples"))
        .unwrap()
        .next()
        .unwrap()
        .unwrap()
        .path();
    let file = std::fs::read_dir(day)
        .unwrap()
        .next()
        .unwrap()
        .unwrap()
        .path();
    let bytes = std::fs::read(&file).unwrap();
    std::fs::write(&file, &bytes[..bytes.len() / 2]).unwrap();
    let report = doctor(directory.path(), &[]);
    report.expect_failures(&[("archive files", "TW-ARCHIVE-002", "bytes, found")]);
    std::fs::remove_file(&file).unwrap();
    let report = doctor(directory.path(), &[]);
    report.expect_failures(&[("archive files", "TW-ARCHIVE-002", "it is missing")]);
}

#[test]
fn a_saved_state_that_is_damaged_or_gone_is_found() {
    let directory = worked();
    let states = directory
        .path()
        .join("data/archive/snapshots/tidewatch.samples/p00000");
    let mut states = std::fs::read_dir(states).unwrap();
    let state = states.next().unwrap().unwrap().path();
    let bytes = std::fs::read(&state).unwrap();
    let mut flipped = bytes.clone();
    flipped[bytes.len() / 2] ^= 1;
    std::fs::write(&state, flipped).unwrap();
    let report = doctor(directory.path(), &[]);
    report.expect_failures(&[("saved states", "TW-ARCHIVE-002", "SHA-256")]);
    std::fs::remove_file(&state).unwrap();
    let report = doctor(directory.path(), &[]);
    report.expect_failures(&[("saved states", "TW-ARCHIVE-002", "it is missing")]);
    std::fs::write(&state, bytes).unwrap();
    doctor(directory.path(), &[]).expect_state("saved states", "ok");
}

#[test]
fn a_log_that_does_not_fit_is_found() {
    let directory = worked();
    let two = [("TIDEWATCH__BUS__PARTITIONS", "2")];
    let report = doctor(directory.path(), &two);
    report.expect_failures(&[("log", "TW-LOG-002", "has 1 partitions, expected 2")]);

    // Another log in its place.
    let log = directory.path().join("data/bus");
    std::fs::rename(&log, directory.path().join("kept")).unwrap();
    let report = doctor(directory.path(), &[]);
    report.expect_failures(&[(
        "log",
        "TW-CHAIN-004",
        "there is none, but the archive was filled",
    )]);
    // One that lost its files and was made anew when it was looked at.
    std::fs::create_dir(&log).unwrap();
    let report = doctor(directory.path(), &[]);
    report.expect_failures(&[(
        "log",
        "TW-CHAIN-004",
        "it is empty, but the archive was filled",
    )]);
    std::fs::remove_dir_all(&log).unwrap();
    let other = tempfile::tempdir().unwrap();
    one_partition(other.path()).start_ready().stop_cleanly();
    std::fs::rename(other.path().join("data/bus"), &log).unwrap();
    let report = doctor(directory.path(), &[]);
    report.expect_failures(&[("log and archive", "TW-CHAIN-004", "was filled from log")]);
}

#[test]
fn a_frozen_instance_and_a_taken_directory_are_told() {
    let directory = tempfile::tempdir().unwrap();
    let mut process = one_partition(directory.path()).start_ready();
    work(&mut process, 1);
    process.pause();
    let report: Report = doctor(directory.path(), &[]);
    report.expect_state("instance", "warning");
    report.expect_failures(&[
        (
            "aggregate store",
            "TW-STORE-003",
            "another process has it open",
        ),
        (
            "log",
            "TW-LOG-008",
            "is in use by another tidewatch (process",
        ),
    ]);
    process.resume();
}

#[test]
fn a_clock_behind_the_log_is_found() {
    let directory = worked();
    // The log's machine was an hour ahead: the newest link says so, and is the newest, so that no other holds its hash.
    let chain = link(directory.path(), 0).parent().unwrap().to_owned();
    let mut links: Vec<PathBuf> = std::fs::read_dir(chain)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    links.sort();
    let newest = links.last().unwrap();
    let mut record: serde_json::Value =
        serde_json::from_slice(&std::fs::read(newest).unwrap()).unwrap();
    let clock = record["log_clock"].as_i64().unwrap() + 3_600_000_000;
    record["log_clock"] = clock.into();
    std::fs::write(newest, record.to_string()).unwrap();
    let report = doctor(directory.path(), &[]);
    report.expect_failures(&[("clock", "TW-DOCTOR-004", "59 min")]);
}
