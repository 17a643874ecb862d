//! C1 at an impatient end: a second Ctrl-C ends the program at once, and the next start reads what no checkpoint covers.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::io::Write;
use std::net::TcpStream;
use std::time::Duration;

use tests::audit::Book;
use tests::load::{Load, Outcome};
use tests::process::Launch;

/// A bound for what hangs, not a measure of speed.
const PATIENCE: Duration = Duration::from_secs(30);

#[test]
fn c1_a_second_ctrl_c_ends_at_once_and_loses_nothing() {
    if !tests::audit::is_available("second_signal") {
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let launch = Launch::new(directory.path());
    // Nothing is final before the end, so that the next start has everything to read.
    let hasty = launch
        .clone()
        .env("TIDEWATCH__PROCESSING__CHECKPOINT_INTERVAL", "1h");
    let mut process = hasty.start_ready();
    let mut load = Load::new(50).spikes_every(10);
    for _ in 0..30 {
        assert_eq!(load.send(&process), Outcome::Ok);
    }
    // A request whose body never comes: the end waits for it a while, and the second signal finds it waiting.
    let mut half = TcpStream::connect(process.address()).unwrap();
    half.write_all(
        b"POST /api/v2/write HTTP/1.1\r\nhost: a\r\ncontent-length: 1000\r\n\r\nload,host=a m=1",
    )
    .unwrap();
    let in_flight = || process.metric("tidewatch_ingest_in_flight_requests") == [1.0];
    let deadline = std::time::Instant::now() + PATIENCE;
    while !in_flight() {
        assert!(
            std::time::Instant::now() < deadline,
            "the request is not seen"
        );
    }

    let log = directory.path().join("tidewatch.log");
    let says = |words: &str| std::fs::read_to_string(&log).is_ok_and(|log| log.contains(words));
    process.send_sigint();
    assert!(
        process.wait_until(PATIENCE, |_| says("stopping")),
        "{}",
        process.log()
    );
    process.send_sigint();
    let status = process.wait_exit(PATIENCE);
    assert_eq!(status.code(), Some(1), "{}", process.log());
    assert!(says("second signal, ending at once"), "{}", process.log());
    assert!(
        !says("INFO tidewatch::app: stopped"),
        "it went through the clean end\n{}",
        process.log()
    );
    let links = directory
        .path()
        .join("data/archive/chain/tidewatch.samples/p00000");
    let links = std::fs::read_dir(links).unwrap().count();
    assert_eq!(
        links, 1,
        "more than the claim, so nothing was left to be read"
    );

    let next = launch.start_ready();
    load.repeat_last(&next, 3);
    next.stop_cleanly();
    Book::of(&load, directory.path()).audit("after a second signal");
}

#[test]
fn the_end_of_the_terminal_is_a_clean_end_unless_it_is_to_be_ignored() {
    let directory = tempfile::tempdir().unwrap();
    let launch = Launch::new(directory.path());
    // Whoever runs the tests may ignore it, which is inherited.
    let heeds = ["env", "--default-signal=HUP"];
    let mut process = launch.clone().under(&heeds).start_ready();
    assert_eq!(Load::new(5).send(&process), Outcome::Ok);
    // A terminal that goes may send it twice.
    process.send_sighup();
    process.send_sighup();
    let status = process.wait_exit(PATIENCE);
    assert!(status.success(), "{status}\n{}", process.log());
    let log = process.log();
    assert!(
        log.contains("partition closed") && log.contains("tidewatch::app: stopped"),
        "{log}"
    );

    let mut process = launch.under(&["nohup"]).start_ready();
    process.send_sighup();
    // What is asked after the signal is answered by a process that is still there.
    assert_eq!(Load::new(5).send(&process), Outcome::Ok);
    process.stop_cleanly();
}
