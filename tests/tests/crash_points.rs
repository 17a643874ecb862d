//! C1, C2 and C4 across the death of the process at every named step: what was acknowledged is in the archive once, what was not is sent again.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::VecDeque;
use std::path::Path;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use tests::audit::Book;
use tests::load::Load;
use tests::process::{Launch, SIGABRT, ended_by, run_command};

/// How long a crash point may take to be passed under load. The slowest wait for a 10 s window to be sealed three times.
const HIT_TIMEOUT: Duration = Duration::from_secs(120);
/// Pause between two requests: a steady load instead of as much as the machine takes.
const PACE: Duration = Duration::from_millis(10);
/// How many programs run at once. Most of a run is waiting for windows, sessions and syncs.
const LANES: usize = 3;

/// The first passing of a point and the third: nothing before, and something before.
#[test]
fn c2_every_crash_point_on_the_embedded_log() {
    if !tests::audit::is_available("crash_points") {
        return;
    }
    let points = bus::CRASH_POINTS
        .iter()
        // Those of foreign topics have a test of their own: no request leads there.
        .filter(|name| !name.starts_with("foreign."))
        .flat_map(|name| [(*name).to_owned(), format!("{name}:3")])
        .collect();
    at_each(points, |point| {
        let directory = tempfile::tempdir().unwrap();
        let load = dies_and_recovers(point, &Launch::new(directory.path()), 4);
        Book::of(&load, directory.path()).audit(&format!("after a crash at {point}"));
    });
}

#[test]
fn c2_every_crash_point_on_kafka() {
    if !tests::audit::is_available("crash_points on Kafka") {
        return;
    }
    let Some(brokers) = tests::kafka::kafka_for_tests() else {
        return;
    };
    // What happens inside an append is the broker's own there.
    let points = bus::CRASH_POINTS
        .iter()
        .filter(|name| !name.starts_with("append.") && !name.starts_with("foreign."))
        .map(|name| (*name).to_owned())
        .collect();
    at_each(points, |point| {
        let directory = tempfile::tempdir().unwrap();
        let prefix = format!(
            "crash-{}-{}",
            std::process::id(),
            point.replace([':', '_'], "-")
        );
        let load = dies_and_recovers(point, &on_kafka(directory.path(), &brokers, &prefix), 2);
        let archive = directory.path().join("data").join("archive");
        Book::of_archive(
            &load,
            directory.path(),
            &archive,
            &format!("{prefix}.samples"),
        )
        .audit(&format!("after a crash at {point} on Kafka"));
    });
}

/// A start as a consumer group of one, with topics of its own.
fn on_kafka(directory: &Path, brokers: &str, prefix: &str) -> Launch {
    let config = format!(
        "{}\n[bus]\nkind = \"kafka\"\nbrokers = \"{brokers}\"\ngroup = \"{prefix}\"\ntopic_prefix = \"{prefix}\"\npartitions = 2\nsession_timeout = \"6s\"\n",
        tests::FAST_CONFIG
    );
    std::fs::write(directory.join("topics.toml"), &config).unwrap();
    run_command(directory, &["topics", "create", "--config", "topics.toml"]);
    Launch::new(directory).config(config)
}

/// Runs a check for every point, a few at once, and fails with the names of those that failed.
fn at_each(points: VecDeque<String>, check: impl Fn(&str) + Sync + std::panic::RefUnwindSafe) {
    // One point alone, to look into a failure: TIDEWATCH_TEST_CRASH_POINT=checkpoint.before_link:3
    let name = |point: &str| point.split(':').next().unwrap_or_default().to_owned();
    let points = match std::env::var("TIDEWATCH_TEST_CRASH_POINT") {
        Ok(only) => points
            .iter()
            .any(|point| name(point) == name(&only))
            .then_some(only)
            .into_iter()
            .collect(),
        Err(_) => points,
    };
    let (points, failed) = (Mutex::new(points), Mutex::new(Vec::new()));
    std::thread::scope(|scope| {
        for _ in 0..LANES {
            scope.spawn(|| {
                loop {
                    let Some(point) = points.lock().unwrap().pop_front() else {
                        break;
                    };
                    if std::panic::catch_unwind(|| check(&point)).is_err() {
                        failed.lock().unwrap().push(point);
                    }
                }
            });
        }
    });
    let failed = failed.into_inner().unwrap();
    assert!(
        failed.is_empty(),
        "failed at {failed:?}; what went wrong stands above"
    );
}

/// Runs under load, dies at `point`, starts again, takes what was not acknowledged, and stops cleanly.
fn dies_and_recovers(point: &str, launch: &Launch, partitions: usize) -> Load {
    let mut load = Load::new(20).spikes_every(40);

    // Something to recover from, so that claims and recoveries have work to do.
    let mut first = launch.start_ready();
    for _ in 0..10 {
        load.send(&first);
    }
    first.kill_nine();

    let mut doomed = launch.clone().crash_at(point).start();
    doomed.wait_until(HIT_TIMEOUT, |address| {
        tests::http::get(address, "/readyz").is_ok_and(|answer| answer.is_success())
    });
    let deadline = Instant::now() + HIT_TIMEOUT;
    let status = loop {
        if let Some(status) = doomed.exited() {
            break status;
        }
        assert!(
            Instant::now() < deadline,
            "crash point `{point}` was not passed under load: it is never reached, or the load does not lead there"
        );
        load.send(&doomed);
        std::thread::sleep(PACE);
    };
    assert!(
        ended_by(status, SIGABRT),
        "at `{point}` the program ended with {status} instead of dying there"
    );

    let mut again = launch.start_ready();
    again.wait_for_partitions(partitions);
    load.resend(&again);
    load.repeat_last(&again, 3);
    again.stop_cleanly();
    load
}
