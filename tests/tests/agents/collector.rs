//! The OpenTelemetry Collector: over HTTP as protobuf and JSON, as gRPC, and through Kafka in both encodings.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use rstest::rstest;
use tests::agents::{self, Agent, Way, settings_below};
use tests::captured;
use tests::http::{NoAnswer, post};
use tests::kafka::Cluster;
use tests::process::free_address;
use tests::recorder::Recorder;

use super::{known, launch, settings_of_both};

const PAGE: &str = "collector";
/// How long it may take until it listens. A bound for what hangs.
const START_MAX: Duration = Duration::from_secs(60);

pub(crate) fn program() -> Option<PathBuf> {
    agents::program(
        PAGE,
        "TIDEWATCH_TEST_COLLECTOR",
        "TIDEWATCH_REQUIRE_COLLECTOR",
    )
}

/// Starts it with the lines of a page and what they leave open, and gives it the known request.
pub(crate) fn send(program: &Path, directory: &Path, settings: &str, way: &str) -> Agent {
    let receiver = free_address();
    let rest = format!(
        "receivers: {{otlp: {{protocols: {{http: {{endpoint: '{receiver}'}}}}}}}}\n\
         service: {{telemetry: {{metrics: {{level: none}}}}, pipelines: {{metrics: {{receivers: [otlp]}}}}}}\n"
    );
    let (page, rest_path) = (directory.join("page.yaml"), directory.join("rest.yaml"));
    std::fs::write(&page, settings).unwrap();
    std::fs::write(&rest_path, rest).unwrap();
    let mut command = Command::new(program);
    command
        .arg("--config")
        .arg(rest_path)
        .arg("--config")
        .arg(page);
    let mut agent = Agent::start(&mut command, directory);
    hand_over(
        &mut agent,
        receiver,
        known::otlp(way).to_string().as_bytes(),
    );
    agent
}

/// Posts a request to its receiver as soon as that listens.
fn hand_over(agent: &mut Agent, receiver: SocketAddr, request: &[u8]) {
    let deadline = Instant::now() + START_MAX;
    loop {
        match post(receiver, "/v1/metrics", "application/json", request) {
            Ok(answer) => {
                assert_eq!(answer.status, 200, "{}", answer.text());
                return;
            }
            Err(NoAnswer::NotSent(_)) => assert!(
                agent.is_running() && Instant::now() < deadline,
                "the Collector did not start\n{}",
                agent.output()
            ),
            Err(error) => panic!("{error}\n{}", agent.output()),
        }
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// Straight to us, by the lines below a heading of the page, with a further setting of the exporter before one that is there.
fn check_direct(name: &str, heading: &str, (setting, before): (&str, &str)) {
    let Some(program) = program() else { return };
    let mut way = Way::of("collector", name);
    let directory = tempfile::tempdir().unwrap();
    let mut process = launch(directory.path()).start_ready();
    let recorder = Recorder::start(process.address());
    let replacements = [
        (before, format!("{setting}\n    {before}")),
        ("127.0.0.1:7744", recorder.address().to_string()),
    ];
    let settings = settings_below(PAGE, heading, &replacements).swap_remove(0);
    let agent = send(&program, directory.path(), &settings, &way.label());
    let expected = known::otlp_samples(&way.label());
    way.wait_for(&mut process, &expected);
    drop(agent);
    captured::keep(&way.label(), "connection", &recorder.sent()[0], &expected);
    process.stop_cleanly();
}

/// Through a topic, by the lines of the page for the default encoding, changed to another.
fn check_kafka(encoding: &str) {
    let Some(program) = program() else { return };
    let Some(cluster) = Cluster::find() else {
        return;
    };
    let mut way = Way::of("collector", &format!("kafka-{encoding}"));
    let directory = tempfile::tempdir().unwrap();
    let topic = cluster.topic("otlp", 1);
    let (theirs, ours) = settings_of_both(
        PAGE,
        "### Through Kafka",
        &cluster,
        ("otlp_metrics", &topic),
        &[("otlp_proto", encoding.to_owned())],
    );
    let mut process = launch(directory.path())
        .config(format!("{}\n{ours}", tests::FAST_CONFIG))
        .start_ready();
    let _agent = send(&program, directory.path(), &theirs, &way.label());
    let expected = known::otlp_samples(&way.label());
    way.wait_for(&mut process, &expected);
    assert_eq!(process.sql("SELECT reason FROM dead_letters").len(), 0);
    let record = cluster.values(&topic, 1).swap_remove(0);
    captured::keep(&way.label(), "record", &record, &expected);
    let entry = encoding.trim_end_matches("_proto");
    captured::keep_for_fuzzing(entry, "collector", &record);
    process.stop_cleanly();
}

#[rstest]
#[case("otlp_http", "")]
#[case("otlp_http-json", "encoding: json")]
#[case("otlp_http-zstd", "compression: zstd")]
#[case("otlp_http-uncompressed", "compression: none")]
fn metrics_of_every_kind_arrive_over_http(#[case] name: &str, #[case] setting: &str) {
    check_direct(name, "## Point it here", (setting, "endpoint:"));
}

#[rstest]
#[case("otlp_grpc", "")]
#[case("otlp_grpc-zstd", "compression: zstd")]
#[case("otlp_grpc-uncompressed", "compression: none")]
fn metrics_of_every_kind_arrive_by_grpc(#[case] name: &str, #[case] setting: &str) {
    check_direct(name, "### As gRPC", (setting, "endpoint:"));
}

/// The Collector keeps what nobody takes, and tries again.
#[test]
fn what_was_sent_before_we_listened_arrives() {
    let Some(program) = program() else { return };
    let mut way = Way::of("collector", "otlp_http-before_we_listen");
    let directory = tempfile::tempdir().unwrap();
    let address = free_address().to_string();
    let replacements = [("127.0.0.1:7744", address.clone())];
    let settings = settings_below(PAGE, "## Point it here", &replacements).swap_remove(0);
    let mut agent = send(&program, directory.path(), &settings, &way.label());
    let deadline = Instant::now() + START_MAX;
    while !agent.output().contains("connection refused") {
        assert!(agent.is_running() && Instant::now() < deadline);
        std::thread::sleep(Duration::from_millis(50));
    }
    let launch = launch(directory.path()).env("TIDEWATCH__RECEIVERS__OTLP__LISTEN", &address);
    let mut process = launch.start_ready();
    way.wait_for(&mut process, &known::otlp_samples(&way.label()));
    process.stop_cleanly();
}

#[rstest]
#[case("otlp_proto")]
#[case("otlp_json")]
fn metrics_of_every_kind_arrive_through_kafka(#[case] encoding: &str) {
    check_kafka(encoding);
}
