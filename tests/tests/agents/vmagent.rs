//! vmagent: what it scrapes of a known endpoint arrives by remote write, after it was refused its own protocol.

use std::process::Command;

use tests::agents::{Agent, WAY_LABEL, Way, program, settings_below};
use tests::captured;
use tests::http::endpoint;
use tests::process::free_address;
use tests::recorder::Recorder;
use tests::samples::Sample;

use super::launch;

/// What the endpoint exposes, with times of its own: each scrape brings the same samples.
const EXPOSED: &str = "# TYPE jobs_total counter\njobs_total{queue=\"a \\\"b\\\"\"} 9007199254740992 1780000000000\n\
    jobs_total{queue=\"büro\"} 0.5 1780000000001\n# TYPE heat gauge\nheat -1.25 1780000000000\n";

/// The samples of it.
fn exposed(way: &str, instance: &str) -> Vec<Sample> {
    let rows = [
        ("jobs_total", Some("a \"b\""), 0, 9_007_199_254_740_992.0),
        ("jobs_total", Some("büro"), 1, 0.5),
        ("heat", None, 0, -1.25),
    ];
    let sample = |(metric, queue, ms, value): (&str, Option<&str>, i64, f64)| {
        let target = [(WAY_LABEL, way), ("job", "known"), ("instance", instance)];
        let queue: Vec<(&str, &str)> = queue.map(|queue| ("queue", queue)).into_iter().collect();
        Sample::new(metric, 1_780_000_000_000_000 + ms * 1000, value)
            .with(&target)
            .with(&queue)
    };
    rows.into_iter().map(sample).collect()
}

#[test]
fn what_it_scrapes_arrives_by_remote_write() {
    let Some(program) = program(
        "vmagent",
        "TIDEWATCH_TEST_VMAGENT",
        "TIDEWATCH_REQUIRE_VMAGENT",
    ) else {
        return;
    };
    let mut way = Way::of("vmagent", "remote_write");
    let directory = tempfile::tempdir().unwrap();
    let mut process = launch(directory.path()).start_ready();
    let recorder = Recorder::start(process.address());
    let target = endpoint(EXPOSED).to_string();
    let scrape = directory.path().join("prometheus.yml");
    let config = format!(
        "global: {{scrape_interval: 1s}}\nscrape_configs:\n  - job_name: known\n    honor_timestamps: true\n    \
         static_configs: [{{targets: ['{target}'], labels: {{{WAY_LABEL}: {}}}}}]\n",
        way.label()
    );
    std::fs::write(&scrape, config).unwrap();
    // What it tells of its scrapes has the times of these.
    let of_scrapes = directory.path().join("relabel.yml");
    let rule = "- {action: drop, source_labels: [__name__], regex: 'up|scrape_.*'}\n";
    std::fs::write(&of_scrapes, rule).unwrap();
    let replacements = [
        ("127.0.0.1:7744", recorder.address().to_string()),
        ("prometheus.yml", scrape.display().to_string()),
    ];
    let line = settings_below("prometheus", "### vmagent", &replacements).swap_remove(0);
    let mut command = Command::new(program);
    command
        .args(line.split_whitespace().skip(1))
        .arg(format!(
            "-remoteWrite.relabelConfig={}",
            of_scrapes.display()
        ))
        .arg(format!("-httpListenAddr={}", free_address()))
        .arg("-remoteWrite.tmpDataPath")
        .arg(directory.path().join("buffer"));
    let agent = Agent::start(&mut command, directory.path());
    let expected = exposed(&way.label(), &target);
    way.wait_for(&mut process, &expected);
    assert!(
        agent.output().contains("Downgrading protocol"),
        "the page says that it offers its own protocol first\n{}",
        agent.output()
    );
    let sent = recorder.sent().pop().unwrap();
    captured::keep(&way.label(), "connection", &sent, &expected);
    drop(agent);
    process.stop_cleanly();
}
