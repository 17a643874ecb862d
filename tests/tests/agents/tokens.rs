//! Agents at an instance that asks for tokens, each with the lines of its page that give one.

use std::path::Path;

use rstest::rstest;
use tests::agents::{Way, settings_below};
use tests::http::endpoint;
use tests::process::{Tidewatch, free_address, run_command};
use tests::prometheus::Prometheus;

use super::{collector, known, launch, prometheus, telegraf};

/// A running instance, and a token that may send to it. What is asked of it is asked with another one.
fn start(directory: &Path) -> (Tidewatch, String) {
    let launch = launch(directory).env("TIDEWATCH__ACCESS__REQUIRED", "true");
    let data_dir = launch.data_dir();
    let token = |scope| {
        let words = ["token", "create", "--scope", scope, "--data-dir"];
        let words = [words.as_slice(), &[data_dir.to_str().unwrap()]].concat();
        run_command(directory, &words).trim().to_owned()
    };
    let (ingest, query) = (token("ingest"), token("query"));
    let mut process = launch.start_ready();
    process.ask_with(&query);
    let anonymous = process.write_lines("m v=1").unwrap();
    assert_eq!(anonymous.status, 401, "{}", anonymous.text());
    (process, ingest)
}

/// The lines of a page about tokens, with a token.
fn lines_with(page: &str, token: &str) -> String {
    let heading = "### Where tokens are asked for";
    settings_below(page, heading, &[("TOKEN", token.to_owned())]).swap_remove(0)
}

#[rstest]
#[case("otlp_http-token", "## Point it here")]
#[case("otlp_grpc-token", "### As gRPC")]
fn the_collector_gives_its_token(#[case] name: &str, #[case] heading: &str) {
    let Some(program) = collector::program() else {
        return;
    };
    let mut way = Way::of("collector", name);
    let directory = tempfile::tempdir().unwrap();
    let (mut process, token) = start(directory.path());
    let replacements = [
        (
            "    endpoint:",
            lines_with("collector", &token) + "    endpoint:",
        ),
        ("127.0.0.1:7744", process.address().to_string()),
    ];
    let settings = settings_below("collector", heading, &replacements).swap_remove(0);
    let _agent = collector::send(&program, directory.path(), &settings, &way.label());
    way.wait_for(&mut process, &known::otlp_samples(&way.label()));
    process.stop_cleanly();
}

#[rstest]
#[case("influxdb_v2-token", "## Point it here", "token = \"any\"")]
#[case("influxdb-token", "### As to InfluxDB 1", "password = \"any\"")]
fn telegraf_gives_its_token(#[case] name: &str, #[case] heading: &str, #[case] setting: &str) {
    let Some(program) = telegraf::program() else {
        return;
    };
    let mut way = Way::of("telegraf", name);
    let directory = tempfile::tempdir().unwrap();
    let (mut process, token) = start(directory.path());
    let replacements = [
        (setting, setting.replace("any", &token)),
        ("127.0.0.1:7744", process.address().to_string()),
    ];
    let settings = settings_below("telegraf", heading, &replacements).swap_remove(0);
    telegraf::send(&program, directory.path(), &settings, &way.label());
    way.wait_for(&mut process, &known::line_samples(&way.label()));
    process.stop_cleanly();
}

#[test]
fn prometheus_gives_its_token() {
    let Some(program) = prometheus::program() else {
        return;
    };
    let mut way = Way::of("prometheus", "remote_write_2-token");
    let directory = tempfile::tempdir().unwrap();
    let (mut process, token) = start(directory.path());
    let replacements = [
        (
            "    queue_config:",
            lines_with("prometheus", &token) + "    queue_config:",
        ),
        ("127.0.0.1:7744", process.address().to_string()),
    ];
    let settings = settings_below("prometheus", "## Point it here", &replacements).swap_remove(0);
    let target = endpoint(prometheus::EXPOSED);
    let config = prometheus::config(&way.label(), target, &settings);
    let address = free_address();
    let _running = Prometheus::start(&program, directory.path(), &config, address);
    prometheus::wait_for_held(&mut way, &mut process, address);
    process.stop_cleanly();
}
