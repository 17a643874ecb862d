//! C1 and C2 across a broker that goes away: frozen for a minute, killed and started again, away while the program is stopped.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::path::Path;
use std::time::{Duration, Instant};

use tests::audit::Book;
use tests::http::get;
use tests::kafka::{Broker, own_broker_for_tests};
use tests::load::{Load, Outcome};
use tests::process::{Launch, Tidewatch, run_command};

/// How long the broker is away in the long test: longer than every timeout of a client, a session, a metadata answer that is still believed.
const MINUTE: Duration = Duration::from_secs(60);
/// How long the program may take to notice that the broker is back. Seen: under 10 s.
const RECOVERY_TIMEOUT: Duration = Duration::from_secs(90);

/// A start as a consumer group of one on a broker, with topics of its own; `settings` go to librdkafka.
fn prepare(broker: &Broker, directory: &Path, settings: &str) -> Launch {
    let config = format!(
        "{}\n[bus]\nkind = \"kafka\"\nbrokers = \"{}\"\npartitions = 2\nsession_timeout = \"6s\"\n[bus.settings]\n{settings}\n",
        tests::FAST_CONFIG,
        broker.address()
    );
    std::fs::write(directory.join("topics.toml"), &config).unwrap();
    run_command(directory, &["topics", "create", "--config", "topics.toml"]);
    Launch::new(directory).config(config)
}

fn send_ok(load: &mut Load, to: &Tidewatch, requests: usize) {
    for _ in 0..requests {
        assert_eq!(load.send(to), Outcome::Ok, "{}", to.log());
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// Sends a request that can't be acknowledged, and checks what the client and `/readyz` are told.
fn send_refused(load: &mut Load, process: &Tidewatch, broker: &Broker) {
    assert_eq!(load.send(process), Outcome::Unknown, "{}", process.log());
    let answer = load.last_refusal().unwrap();
    assert_eq!(answer.status, 503, "{}", answer.text());
    assert!(answer.header("retry-after").is_some(), "{answer:?}");
    assert!(
        answer.text().contains(&broker.address()),
        "{}",
        answer.text()
    );
    let ready = get(process.address(), "/readyz").unwrap();
    assert!(
        ready.status == 503
            && ready.text().contains("the log takes no samples")
            && ready.text().contains(&broker.address()),
        "/readyz said {} {}",
        ready.status,
        ready.text()
    );
    assert!(get(process.address(), "/healthz").unwrap().is_success());
}

/// Waits until the same process works again, and sends what it did not acknowledge.
fn recover(load: &mut Load, process: &mut Tidewatch) {
    let ready = process.wait_until(RECOVERY_TIMEOUT, |address| {
        get(address, "/readyz").is_ok_and(|answer| answer.is_success())
    });
    assert!(ready, "it does not go on by itself\n{}", process.log());
    process.wait_for_partitions(2);
    assert!(load.unacknowledged_requests() > 0);
    load.resend(process);
}

/// Waits until all that was acknowledged is published and in a checkpoint: what is still to be published when the broker goes away can't be made final
/// by a stop, which then says so with its exit status.
fn wait_until_final(load: &Load, process: &mut Tidewatch) {
    let expected = load.acknowledged_samples() as u64;
    let deadline = Instant::now() + RECOVERY_TIMEOUT;
    loop {
        let rows = process.sql("SELECT count(*) AS n FROM samples WHERE metric LIKE 'load_m%'");
        let pending: f64 = process
            .metric("tidewatch_partition_pending_samples")
            .iter()
            .sum();
        let taken = rows.first().and_then(|row| row["n"].as_u64());
        if taken >= Some(expected) && pending == 0.0 {
            return;
        }
        assert!(
            Instant::now() < deadline,
            "{taken:?} of {expected} samples are taken, {pending} wait for a checkpoint\n{}",
            process.log()
        );
        std::thread::sleep(Duration::from_millis(50));
    }
}

fn audit(load: &Load, directory: &Path, when: &str) {
    let archive = directory.join("data").join("archive");
    Book::of_archive(load, directory, &archive, "tidewatch.samples").audit(when);
}

#[test]
fn c1_c2_a_broker_frozen_for_a_minute_delays_and_loses_nothing() {
    if !tests::audit::is_available("broker_outage") {
        return;
    }
    let Some(broker) = own_broker_for_tests() else {
        return;
    };
    let directory = tempfile::tempdir().unwrap();
    let mut process = prepare(&broker, directory.path(), "").start_ready();
    process.wait_for_partitions(2);
    let mut load = Load::new(100).spikes_every(20);
    send_ok(&mut load, &process, 60);

    broker.freeze().unwrap();
    let back = Instant::now() + MINUTE;
    while Instant::now() < back {
        send_refused(&mut load, &process, &broker);
        // What is there can be asked for without the broker.
        let rows = process.sql("SELECT count(*) AS n FROM samples WHERE metric = 'load_m0'");
        assert_eq!(rows.len(), 1);
    }
    broker.thaw().unwrap();
    recover(&mut load, &mut process);
    send_ok(&mut load, &process, 60);
    load.repeat_last(&process, 10);
    process.stop_cleanly();
    audit(
        &load,
        directory.path(),
        "after a broker was frozen for a minute",
    );
}

#[test]
fn c1_c2_a_broker_that_dies_and_one_that_is_away_at_the_stop_lose_nothing() {
    if !tests::audit::is_available("broker_outage") {
        return;
    }
    let Some(mut broker) = own_broker_for_tests() else {
        return;
    };
    let directory = tempfile::tempdir().unwrap();
    // The answer to a client comes sooner than by default; else all is the same.
    let launch = prepare(
        &broker,
        directory.path(),
        "\"message.timeout.ms\" = \"5000\"",
    );
    let mut process = launch.start_ready();
    process.wait_for_partitions(2);
    let mut load = Load::new(100).spikes_every(20);
    send_ok(&mut load, &process, 60);

    broker.stop();
    send_refused(&mut load, &process, &broker);
    send_refused(&mut load, &process, &broker);
    broker.restart().unwrap();
    recover(&mut load, &mut process);
    send_ok(&mut load, &process, 60);

    // A stop must not wait for a broker that is away; what it still holds is read at the next start.
    wait_until_final(&load, &mut process);
    broker.freeze().unwrap();
    process.stop_cleanly();
    broker.thaw().unwrap();
    let mut process = launch.start_ready();
    process.wait_for_partitions(2);
    send_ok(&mut load, &process, 20);
    load.repeat_last(&process, 10);
    process.stop_cleanly();
    audit(&load, directory.path(), "after a broker died");
}
