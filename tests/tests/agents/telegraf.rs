//! Telegraf: over HTTP as line protocol and remote write, over OTLP, and through Kafka in its three formats.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use rstest::rstest;
use tests::agents::{self, Agent, Way, settings_below};
use tests::captured;
use tests::kafka::Cluster;
use tests::recorder::Recorder;
use tests::samples::Sample;

use super::{known, launch, settings_of_both};

const PAGE: &str = "telegraf";

pub(crate) fn program() -> Option<PathBuf> {
    agents::program(
        PAGE,
        "TIDEWATCH_TEST_TELEGRAF",
        "TIDEWATCH_REQUIRE_TELEGRAF",
    )
}

/// Lets it read the known lines, and write them once by the lines of a page.
pub(crate) fn send(program: &Path, directory: &Path, settings: &str, way: &str) {
    let lines = directory.join("known.lines");
    std::fs::write(&lines, known::lines(way)).unwrap();
    let config = directory.join("telegraf.conf");
    // Its own name is no part of what is known.
    let rest = format!(
        "[agent]\n  omit_hostname = true\n[[inputs.file]]\n  files = [\"{}\"]\n  data_format = \"influx\"\n",
        lines.display()
    );
    std::fs::write(&config, format!("{rest}{settings}")).unwrap();
    let mut command = Command::new(program);
    command.arg("--once").arg("--config").arg(config);
    Agent::start(&mut command, directory).wait();
}

/// Straight to us, by the lines below a heading of the page; `change` says what this way does to the samples.
fn check_direct(name: &str, heading: &str, change: impl Fn(Vec<Sample>) -> Vec<Sample>) {
    let Some(program) = program() else { return };
    let mut way = Way::of("telegraf", name);
    let directory = tempfile::tempdir().unwrap();
    let mut process = launch(directory.path()).start_ready();
    let recorder = Recorder::start(process.address());
    let address = recorder.address().to_string();
    let settings = settings_below(PAGE, heading, &[("127.0.0.1:7744", address)]).swap_remove(0);
    send(&program, directory.path(), &settings, &way.label());
    let expected = change(known::line_samples(&way.label()));
    way.wait_for(&mut process, &expected);
    captured::keep(&way.label(), "connection", &recorder.sent()[0], &expected);
    process.stop_cleanly();
}

/// Through a topic, by the lines of the page for the default format, changed to another.
fn check_kafka(format: &str) {
    let Some(program) = program() else { return };
    let Some(cluster) = Cluster::find() else {
        return;
    };
    let mut way = Way::of("telegraf", &format!("kafka-{format}"));
    let directory = tempfile::tempdir().unwrap();
    let topic = cluster.topic("lines", 1);
    let (theirs, ours) = settings_of_both(
        PAGE,
        "### Through Kafka",
        &cluster,
        ("\"telegraf\"", &format!("\"{topic}\"")),
        &[("\"influx\"", format!("\"{format}\""))],
    );
    let mut process = launch(directory.path())
        .config(format!("{}\n{ours}", tests::FAST_CONFIG))
        .start_ready();
    send(&program, directory.path(), &theirs, &way.label());
    let expected = known::line_samples(&way.label());
    way.wait_for(&mut process, &expected);
    assert_eq!(process.sql("SELECT reason FROM dead_letters").len(), 0);
    keep(&cluster, &topic, format, &way.label(), &expected);
    process.stop_cleanly();
}

/// Captures a record of the topic, which is one line, and all of them for the decoders that take several at once.
fn keep(cluster: &Cluster, topic: &str, format: &str, name: &str, expected: &[Sample]) {
    if !captured::is_asked() {
        return;
    }
    let lines = known::lines(name).lines().count();
    let records = cluster.values(topic, lines);
    // That line has every type of field.
    let is_cpu = |sample: &&Sample| sample.metric.starts_with("cpu_");
    let cpu: Vec<Sample> = expected.iter().filter(is_cpu).cloned().collect();
    let has_cpu = |record: &Vec<u8>| record.windows(4).any(|word| word == b"cpu0");
    let place = records.iter().position(has_cpu).unwrap();
    captured::keep(name, "record", &records[place], &cpu);
    let entry = match format {
        "influx" => "line_protocol",
        "json" => "telegraf_json",
        _ => return,
    };
    captured::keep_for_fuzzing(entry, "telegraf", &records.concat());
}

/// What its remote write leaves of a batch: the last sample of each series.
fn last_of_each_series(samples: Vec<Sample>) -> Vec<Sample> {
    let mut last = BTreeMap::new();
    for sample in samples {
        last.insert((sample.metric.clone(), sample.labels.clone()), sample);
    }
    last.into_values().collect()
}

/// What its OTLP leaves.
fn without_booleans(mut samples: Vec<Sample>) -> Vec<Sample> {
    samples.retain(|sample| !["cpu_online", "cpu_throttled"].contains(&sample.metric.as_str()));
    samples
}

#[test]
fn lines_arrive_by_the_output_for_influxdb() {
    check_direct("influxdb_v2", "## Point it here", |samples| samples);
}

#[test]
fn lines_arrive_by_the_output_for_influxdb_1() {
    check_direct("influxdb", "### As to InfluxDB 1", |samples| samples);
}

#[test]
fn lines_arrive_by_the_output_for_http() {
    check_direct("http-influx", "### With the output for HTTP", |samples| {
        samples
    });
}

#[test]
fn the_last_of_each_series_arrives_by_remote_write() {
    check_direct(
        "http-prometheusremotewrite",
        "### As remote write",
        last_of_each_series,
    );
}

#[test]
fn numbers_arrive_over_otlp() {
    check_direct("opentelemetry", "### Over OTLP", without_booleans);
}

#[rstest]
#[case("influx")]
#[case("json")]
#[case("prometheusremotewrite")]
fn lines_arrive_through_kafka(#[case] format: &str) {
    check_kafka(format);
}
