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
        .filter(|name| !has_its_own_test(name))
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
        .filter(|name| !name.starts_with("append.") && !has_its_own_test(name))
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

/// Whether no request leads there: topics of others (`foreign_topics`), a past that is learned from the archive (`warm_start`).
fn has_its_own_test(point: &str) -> bool {
    point.starts_with("foreign.") || point.starts_with("warm_start.")
}

/// Where a forecast or its score could be lost or doubled: between its topic, its file and its link.
const FORECAST_POINTS: [&str; 6] = [
    "publish.after_events:2",
    "checkpoint.after_samples:2",
    "checkpoint.after_files:2",
    "checkpoint.after_snapshot:2",
    "checkpoint.before_link:2",
    "checkpoint.after_link:2",
];

#[test]
fn c3_forecasts_and_their_scores_outlive_every_crash_once() {
    if !tests::audit::is_available("crash_points of forecasts") {
        return;
    }
    let points = FORECAST_POINTS.iter().map(|name| (*name).to_owned());
    at_each(points.collect(), |point| {
        let directory = tempfile::tempdir().unwrap();
        let config = tests::FAST_CONFIG.replace(
            "[processing]\n",
            "[forecast]\ninterval = \"1h\"\nhorizons = [\"1h\", \"3h\"]\n\n[processing]\nfuture_max = \"1000d\"\n",
        );
        let launch = Launch::new(directory.path()).config(config);
        let mut load = Load::new(20).hourly();
        // A day of hours, after which each hour brings a forecast of each series, and the scores of those before.
        let mut first = launch.start_ready();
        for _ in 0..30 {
            load.send(&first);
        }
        first.kill_nine();
        dies_under(point, &launch, &mut load);
        let mut again = launch.start_ready();
        again.wait_for_partitions(4);
        load.resend(&again);
        for _ in 0..10 {
            load.send(&again);
        }
        again.stop_cleanly();
        Book::of(&load, directory.path()).audit(&format!("after a crash at {point}"));
        // What is forecast and scored follows from the samples alone: each hour after the first day, each series, two horizons.
        let hours = load.acknowledged_samples() / 20;
        for (table, least) in [
            ("forecasts", 40 * (hours - 26)),
            ("forecast_scores", 40 * (hours - 31)),
        ] {
            let count = format!("SELECT count(*) AS n FROM {table}");
            let found = run_command(
                directory.path(),
                &["sql", "--data-dir", "data", "-f", "csv", &count],
            );
            let found: usize = found.trim().trim_start_matches("n\n").parse().unwrap();
            assert!(
                found >= least,
                "{hours} hours, {table}: {found} of at least {least}, after {point}"
            );
        }
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
    dies_under(point, launch, &mut load);

    let mut again = launch.start_ready();
    again.wait_for_partitions(partitions);
    load.resend(&again);
    load.repeat_last(&again, 3);
    again.stop_cleanly();
    load
}

/// Starts, and sends until it has died at `point`.
fn dies_under(point: &str, launch: &Launch, load: &mut Load) {
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
}
