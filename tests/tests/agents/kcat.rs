//! kcat: lines of a file become records with keys and headers, as people fill topics by hand.

use std::process::Command;

use tests::agents::{Agent, Way};
use tests::kafka::Cluster;
use tests::process::has_program;

use super::known;

#[test]
fn lines_arrive_that_kcat_sends_with_keys_and_headers() {
    if !has_program("kcat") {
        tests::skip(
            "kcat",
            "the program `kcat` (Debian package of that name)",
            "TIDEWATCH_REQUIRE_KCAT",
        );
        return;
    }
    let Some(cluster) = Cluster::find() else {
        return;
    };
    let mut way = Way::of("kcat", "kafka-influx");
    let directory = tempfile::tempdir().unwrap();
    let topic = cluster.topic("by-hand", 2);
    let sources = format!("[sources.kafka.by_hand]\ntopics = [\"{topic}\"]\nformat = \"influx\"\n");
    let mut process = cluster.launch(directory.path(), &sources).start_ready();
    let lines = directory.path().join("known.lines");
    let keyed: String = known::lines(&way.label())
        .lines()
        .map(|line| format!("web1;{line}\n"))
        .collect();
    std::fs::write(&lines, keyed).unwrap();
    let mut command = Command::new("kcat");
    command
        .args(["-P", "-b", &cluster.brokers, "-t", &topic])
        .args(["-K", ";", "-H", "origin=by hand", "-z", "lz4", "-l"])
        .arg(&lines);
    Agent::start(&mut command, directory.path()).wait();
    way.wait_for(&mut process, &known::line_samples(&way.label()));
    assert_eq!(process.sql("SELECT reason FROM dead_letters").len(), 0);
    let read: f64 = process
        .metric("tidewatch_source_records_total")
        .iter()
        .sum();
    assert_eq!(read as usize, known::lines("").lines().count());
    process.stop_cleanly();
}
