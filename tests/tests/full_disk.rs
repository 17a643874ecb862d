//! C1 and C7 on a disk that fills while the program runs: clients are told, nothing acknowledged is lost, and with free space it goes on.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::path::Path;
use std::time::Duration;

use tests::audit::Book;
use tests::http::get;
use tests::load::{Load, Outcome};
use tests::process::{Launch, Tidewatch};
use tests::small_disk::SmallDisk;

const MIB: u64 = 1 << 20;
/// How long a partition may take to notice that a disk is full, or that it is not any more (its pauses grow to 15 s).
const NOTICE_TIMEOUT: Duration = Duration::from_secs(90);
/// Pause between two requests while something is waited for.
const PACE: Duration = Duration::from_millis(50);

/// A disk on a directory below the data directory, and how to start the program on it.
fn prepare(test: &str, directory: &Path, on: &str, disk_mib: u64) -> Option<(SmallDisk, Launch)> {
    if !tests::audit::is_available(test) {
        return None;
    }
    let disk = SmallDisk::for_tests(test, &directory.join("data").join(on), disk_mib * MIB)?;
    let wrapper = disk.wrapper();
    let words: Vec<&str> = wrapper.iter().map(String::as_str).collect();
    Some((disk, Launch::new(directory).under(&words)))
}

fn send_ok(load: &mut Load, to: &Tidewatch, requests: usize) {
    for _ in 0..requests {
        assert_eq!(load.send(to), Outcome::Ok, "{}", to.log());
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Waits until `/readyz` says something, while the load goes on: without it nothing is written that a full disk could refuse.
fn wait_until_said(process: &mut Tidewatch, load: &mut Load, words: &str) {
    let said = process.wait_until(NOTICE_TIMEOUT, |address| {
        get(address, "/readyz")
            .is_ok_and(|answer| answer.status == 503 && answer.text().contains(words))
            || {
                std::thread::sleep(PACE);
                false
            }
    });
    let answer = get(process.address(), "/readyz").map(|answer| answer.text());
    assert!(
        said,
        "/readyz never said `{words}`, but {answer:?}\n{}",
        process.log()
    );
    let _either = load.send(process);
}

fn wait_ready_again(process: &mut Tidewatch) {
    let ready = process.wait_until(NOTICE_TIMEOUT, |address| {
        get(address, "/readyz").is_ok_and(|answer| answer.is_success())
    });
    assert!(ready, "it does not go on by itself\n{}", process.log());
}

/// Sends what the log has no room for, and checks the answer.
fn assert_refused(process: &Tidewatch, load: &mut Load) {
    assert_eq!(load.send(process), Outcome::Unknown, "{}", process.log());
    let answer = load.last_refusal().unwrap();
    assert_eq!(answer.status, 503, "{}", answer.text());
    assert!(answer.header("retry-after").is_some(), "{answer:?}");
    assert!(
        answer.text().contains("MiB are free on its disk")
            && answer.text().contains("free some space"),
        "{}",
        answer.text()
    );
}

#[test]
fn c7_a_nearly_full_disk_refuses_samples_while_checkpoints_go_on() {
    let directory = tempfile::tempdir().unwrap();
    let Some((disk, launch)) = prepare("full_disk", directory.path(), "", 160) else {
        return;
    };
    let launch = launch.env("TIDEWATCH__BUS__FREE_SPACE_MIN", "32MiB");
    let mut process = launch.start_ready();
    let mut load = Load::new(200).spikes_every(20);
    send_ok(&mut load, &process, 40);
    // Into the reserve: below what samples leave free, above what events and checkpoints need.
    disk.fill(24 * MIB);
    wait_until_said(&mut process, &mut load, "the log takes no samples");
    assert_refused(&process, &mut load);
    assert_eq!(process.metric("tidewatch_log_up"), [0.0]);
    assert!(get(process.address(), "/healthz").unwrap().is_success());
    // What was taken becomes final all the same, and can be asked for.
    let committed = process.wait_until(NOTICE_TIMEOUT, |address| {
        let text = get(address, "/readyz?verbose").map_or_else(|_| String::new(), |a| a.text());
        let status: serde_json::Value = serde_json::from_str(&text).unwrap_or_default();
        let partitions = status["partitions"].as_array().cloned().unwrap_or_default();
        !partitions.is_empty()
            && partitions
                .iter()
                .all(|p| p["phase"] == "running" && p["pending_samples"] == 0)
    });
    assert!(
        committed,
        "no checkpoint on a nearly full disk\n{}",
        process.log()
    );
    assert_eq!(count(&process), load.acknowledged_samples() as u64);
    disk.free();
    wait_ready_again(&mut process);
    load.resend(&process);
    send_ok(&mut load, &process, 40);
    load.repeat_last(&process, 3);
    process.stop_cleanly();
    audit(&load, directory.path(), &disk.seen_at().join("archive"));
}

#[test]
fn c1_a_full_disk_loses_nothing_also_when_killed_there() {
    let directory = tempfile::tempdir().unwrap();
    let Some((disk, launch)) = prepare("full_disk", directory.path(), "", 160) else {
        return;
    };
    // No reserve: every write meets the end of the disk.
    let launch = launch.env("TIDEWATCH__BUS__FREE_SPACE_MIN", "0B");
    let mut process = launch.start_ready();
    let mut load = Load::new(200).spikes_every(20);
    send_ok(&mut load, &process, 40);
    disk.fill(0);
    wait_until_said(&mut process, &mut load, "the log takes no samples");
    assert_refused(&process, &mut load);
    disk.free();
    wait_ready_again(&mut process);
    load.resend(&process);
    send_ok(&mut load, &process, 20);

    disk.fill(0);
    wait_until_said(&mut process, &mut load, "the log takes no samples");
    process.kill_nine();
    // A start on the full disk says what is the matter instead of running into it.
    let mut refused = launch.start();
    let status = refused.wait_exit(NOTICE_TIMEOUT);
    assert!(!status.success(), "{}", refused.log());
    assert!(
        refused.log().contains("No space left on device")
            && refused.log().contains("free some space"),
        "{}",
        refused.log()
    );
    disk.free();
    let process = launch.start_ready();
    load.resend(&process);
    send_ok(&mut load, &process, 20);
    load.repeat_last(&process, 3);
    process.stop_cleanly();
    audit(&load, directory.path(), &disk.seen_at().join("archive"));
}

#[test]
fn c7_an_archive_on_a_full_disk_is_waited_for() {
    let directory = tempfile::tempdir().unwrap();
    let Some((disk, launch)) = prepare("full_disk", directory.path(), "archive", 64) else {
        return;
    };
    let mut process = launch.start_ready();
    let mut load = Load::new(200).spikes_every(20);
    send_ok(&mut load, &process, 40);
    disk.fill(0);
    send_ok(&mut load, &process, 40);
    wait_until_said(&mut process, &mut load, "No space left on device");
    send_ok(&mut load, &process, 40);
    disk.free();
    wait_ready_again(&mut process);
    send_ok(&mut load, &process, 40);
    load.repeat_last(&process, 3);
    process.stop_cleanly();
    audit(&load, directory.path(), &disk.seen_at());
}

#[test]
fn c7_an_aggregate_store_on_a_full_disk_is_opened_anew() {
    let directory = tempfile::tempdir().unwrap();
    let Some((disk, launch)) = prepare("full_disk", directory.path(), "aggregates", 64) else {
        return;
    };
    let mut process = launch.start_ready();
    let mut load = Load::new(200);
    send_ok(&mut load, &process, 10);
    disk.fill(0);
    // Sealed windows go to the store, and the first is sealed after ten seconds at most.
    wait_until_said(&mut process, &mut load, "aggregate store");
    send_ok(&mut load, &process, 10);
    disk.free();
    wait_ready_again(&mut process);
    send_ok(&mut load, &process, 10);
    assert!(
        process.log().contains("opened anew after a failed write"),
        "the store went on without being opened anew, so the disk was never full\n{}",
        process.log()
    );
    process.stop_cleanly();
    let archive = directory.path().join("data").join("archive");
    audit(&load, directory.path(), &archive);
}

fn count(process: &Tidewatch) -> u64 {
    let rows = process.sql("SELECT count(*) AS n FROM samples WHERE metric LIKE 'load%'");
    rows[0]["n"].as_u64().unwrap()
}

fn audit(load: &Load, directory: &Path, archive: &Path) {
    Book::of_archive(load, directory, archive, "tidewatch.samples").audit("after a full disk");
}
