//! Prometheus 3: what it scrapes of a known endpoint arrives by remote write 1.0 and 2.0, sample by sample as it holds it itself.

use std::net::SocketAddr;

use tests::agents::{self, WAY_LABEL, Way, settings};
use tests::captured;
use tests::http::{self, endpoint};
use tests::process::{Tidewatch, free_address};
use tests::prometheus::Prometheus;
use tests::recorder::Recorder;
use tests::samples::{self, Sample};

use super::launch;

/// What the endpoint exposes.
pub(crate) const EXPOSED: &str = "# TYPE jobs_total counter\njobs_total{queue=\"a \\\"b\\\"\"} 9007199254740993\njobs_total{queue=\"büro\"} 0.5\n\
    # TYPE heat gauge\nheat -1.25\n# TYPE wait_seconds histogram\nwait_seconds_bucket{le=\"0.5\"} 3\nwait_seconds_bucket{le=\"+Inf\"} 4\n\
    wait_seconds_sum 2.5\nwait_seconds_count 4\n# TYPE age summary\nage{quantile=\"0.99\"} 1e-300\nage_sum 7\nage_count 2\n";
/// The value of `heat` in it.
const HEAT: f64 = -1.25;
/// Samples of one scrape: ten lines, and `up` with four more that Prometheus adds.
const SCRAPE_SAMPLES: usize = 10 + 5;
/// How many scrapes are waited for.
const SCRAPES: usize = 3;

pub(crate) fn program() -> Option<String> {
    let program = agents::program(
        "prometheus",
        "TIDEWATCH_TEST_PROMETHEUS_3",
        "TIDEWATCH_REQUIRE_PROMETHEUS_3",
    );
    program.map(|path| path.to_str().unwrap().to_owned())
}

/// Its configuration: the target with the label of a way, and where to write to.
pub(crate) fn config(way: &str, target: SocketAddr, remote_write: &str) -> String {
    format!(
        "global: {{scrape_interval: 1s}}\nscrape_configs:\n  - job_name: known\n    static_configs: [{{targets: ['{target}'], labels: {{{WAY_LABEL}: {way}}}}}]\n{remote_write}\n"
    )
}

/// What Prometheus itself holds of a way.
fn held(prometheus: SocketAddr, way: &str) -> Vec<Sample> {
    // {way="…"}[5m]
    let query = format!("/api/v1/query?query=%7B{WAY_LABEL}%3D%22{way}%22%7D%5B5m%5D");
    let answer = http::get(prometheus, &query).unwrap();
    assert!(answer.is_success(), "{}", answer.text());
    let answer: serde_json::Value = serde_json::from_str(&answer.text()).unwrap();
    let mut samples = Vec::new();
    for series in answer["data"]["result"].as_array().unwrap() {
        let labels = series["metric"].as_object().unwrap();
        for pair in series["values"].as_array().unwrap() {
            let time_ms = (pair[0].as_f64().unwrap() * 1000.0).round() as i64;
            let value = pair[1].as_str().unwrap().parse().unwrap();
            let metric = labels["__name__"].as_str().unwrap();
            let mut sample = Sample::new(metric, time_ms * 1000, value);
            let others = labels.iter().filter(|(key, _)| *key != "__name__");
            sample.labels = others
                .map(|(key, value)| (key.clone(), value.as_str().unwrap().to_owned()))
                .collect();
            samples.push(sample);
        }
    }
    samples
}

/// Waits for some scrapes, then until all that Prometheus holds by then is in SQL, and answers that.
pub(crate) fn wait_for_held(
    way: &mut Way,
    process: &mut Tidewatch,
    prometheus: SocketAddr,
) -> Vec<Sample> {
    let is_known =
        |sample: &&Sample| sample.metric == "heat" && sample.value_bits == HEAT.to_bits();
    samples::wait_until(process, WAY_LABEL, &way.label(), |found| {
        let scrapes = found.iter().filter(is_known).count();
        (scrapes < SCRAPES).then(|| format!("of {scrapes} scrapes"))
    });
    let held = held(prometheus, &way.label());
    assert!(held.len() >= SCRAPES * SCRAPE_SAMPLES, "{}", held.len());
    samples::wait_until(process, WAY_LABEL, &way.label(), |found| {
        let mut missing = held.iter().filter(|sample| !found.contains(sample));
        missing
            .next()
            .map(|sample| format!("not {}", sample.line()))
    });
    way.has_arrived(&format!("{} samples", held.len()));
    held
}

fn check(version: &str, entry: &str, change: fn(&str) -> String) {
    let Some(program) = program() else { return };
    let mut way = Way::of("prometheus", version);
    let directory = tempfile::tempdir().unwrap();
    let mut process = launch(directory.path()).start_ready();
    let recorder = Recorder::start(process.address());
    let sender = free_address();
    // What a scrape brings goes out at once, so that one request holds one scrape.
    let replacements = [
        ("127.0.0.1:7744", recorder.address().to_string()),
        (
            "queue_config:",
            "queue_config:\n      batch_send_deadline: 50ms".to_owned(),
        ),
    ];
    let remote_write = change(&settings("prometheus", &replacements));
    let config = config(&way.label(), endpoint(EXPOSED), &remote_write);
    let running = Prometheus::start(&program, directory.path(), &config, sender);
    let held = wait_for_held(&mut way, &mut process, sender);
    drop(running);
    process.stop_cleanly();
    keep(&way.label(), entry, &recorder.sent()[0], &held);
}

/// Captures the first request, with the samples that it brings to a process of its own: all are among those that Prometheus held.
fn keep(name: &str, entry: &str, connection: &[u8], held: &[Sample]) {
    if !captured::is_asked() {
        return;
    }
    let (request, body) = http::first_request(connection).unwrap();
    let directory = tempfile::tempdir().unwrap();
    let mut process = launch(directory.path()).start_ready();
    let _open = http::replay(process.address(), request);
    let brought = samples::wait_until(&mut process, WAY_LABEL, name, |found| {
        (found.len() < SCRAPE_SAMPLES).then(|| "no whole scrape".to_owned())
    });
    assert!(brought.iter().all(|sample| held.contains(sample)));
    captured::keep(name, "connection", request, &brought);
    let body = snap::raw::Decoder::new().decompress_vec(body).unwrap();
    captured::keep_for_fuzzing(entry, "prometheus_3", &body);
}

#[test]
fn what_it_scrapes_arrives_by_remote_write_1() {
    check("remote_write_1", "remote_write", |settings| {
        let lines = settings.lines();
        let without: Vec<&str> = lines
            .filter(|line| !line.contains("protobuf_message"))
            .collect();
        without.join("\n")
    });
}

#[test]
fn what_it_scrapes_arrives_by_remote_write_2() {
    check("remote_write_2", "remote_write_2", str::to_owned);
}
