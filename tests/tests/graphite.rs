//! The real collectd writes its measurements to the real program, and to its own files: both hold the same.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use tests::agents::Way;
use tests::process::{Launch, free_address, has_program};
use tests::recorder::Recorder;

/// How long collectd measures.
const RUN: Duration = Duration::from_secs(8);

/// Metric and seconds → value, rounded to the six decimals that collectd's files have.
type Samples = BTreeMap<(String, i64), String>;

fn rounded(value: f64) -> String {
    format!("{value:.6}")
}

/// What is in collectd's CSV files: `plugin-instance/type-instance-YYYY-MM-DD`, with a column per data source.
fn written(directory: &Path) -> Samples {
    let mut samples = Samples::new();
    for plugin in std::fs::read_dir(directory).unwrap() {
        let plugin = plugin.unwrap();
        for file in std::fs::read_dir(plugin.path()).unwrap() {
            let file = file.unwrap();
            let name = file.file_name().into_string().unwrap();
            let (kind, _day) = name.split_at(name.len() - "-2026-01-01".len());
            let text = std::fs::read_to_string(file.path()).unwrap();
            let mut lines = text.lines();
            let sources: Vec<&str> = lines.next().unwrap().split(',').skip(1).collect();
            for line in lines {
                let mut fields = line.split(',');
                let time: f64 = fields.next().unwrap().parse().unwrap();
                for (source, value) in sources.iter().zip(fields) {
                    let mut metric = format!("{}.{kind}", plugin.file_name().to_string_lossy());
                    if sources.len() > 1 {
                        metric = format!("{metric}.{source}");
                    }
                    let value: f64 = value.parse().unwrap();
                    // To the nearest second, as collectd does it for Graphite.
                    samples.insert((metric, time.round() as i64), rounded(value));
                }
            }
        }
    }
    samples
}

/// Our configuration with the lines at the top of a page.
fn our_settings(page: &str, title: &str, address: SocketAddr) -> String {
    let replacements = [("127.0.0.1:2003", address.to_string())];
    let blocks = tests::agents::settings_below(page, title, &replacements);
    format!("{}\n{}", tests::FAST_CONFIG, blocks[0])
}

#[test]
fn every_measurement_of_collectd_arrives() {
    let collectd = Path::new("/usr/sbin/collectd");
    if !collectd.exists() {
        tests::skip(
            "graphite",
            "the program `collectd` (Debian package collectd-core)",
            "TIDEWATCH_REQUIRE_COLLECTD",
        );
        return;
    }
    let mut way = Way::of("collectd", "write_graphite");
    // collectd writes no files below a directory that begins with a dot, as those of `tempdir` do.
    let directory = tempfile::Builder::new()
        .prefix("graphite")
        .tempdir()
        .unwrap();
    let address = free_address();
    let ours = our_settings("collectd", "# collectd", address);
    let launch = Launch::new(directory.path()).config(ours);
    let process = launch.start_ready();
    let recorder = Recorder::start(address);
    let settings = tests::agents::settings(
        "collectd",
        &[
            ("127.0.0.1", recorder.address().ip().to_string()),
            ("2003", recorder.address().port().to_string()),
        ],
    );
    let csv = directory.path().join("csv");
    let config = directory.path().join("collectd.conf");
    let text = format!(
        "Hostname \"web.one\"\nFQDNLookup false\nInterval 1\nBaseDir \"{base}\"\nPIDFile \"{base}/collectd.pid\"\n\
         LoadPlugin load\nLoadPlugin memory\nLoadPlugin cpu\nLoadPlugin interface\n\
         LoadPlugin csv\n<Plugin csv>\n  DataDir \"{csv}\"\n  StoreRates false\n</Plugin>\n{settings}",
        base = directory.path().display(),
        csv = csv.display(),
    );
    std::fs::write(&config, text).unwrap();
    let told = directory.path().join("collectd.log");
    let mut sender = Command::new(collectd)
        .args(["-f", "-C"])
        .arg(&config)
        .stdout(Stdio::null())
        .stderr(std::fs::File::create(&told).unwrap())
        .spawn()
        .unwrap();
    // Some seconds of real measurements, as long as they were to be.
    std::thread::sleep(RUN);
    kill_process(
        Pid::from_raw(i32::try_from(sender.id()).unwrap()).unwrap(),
        Signal::TERM,
    )
    .unwrap();
    sender.wait().unwrap();
    let first_lines: Vec<u8> = recorder.sent()[0]
        .split_inclusive(|byte| *byte == b'\n')
        .take(24)
        .flatten()
        .copied()
        .collect();
    tests::captured::keep_for_fuzzing("graphite", "collectd", &first_lines);
    assert!(
        csv.join("web.one").is_dir(),
        "collectd wrote nothing: {}",
        std::fs::read_to_string(&told).unwrap()
    );
    let expected = written(&csv.join("web.one"));
    assert!(
        expected.len() > 50,
        "collectd measured only {} values",
        expected.len()
    );
    let deadline = Instant::now() + Duration::from_secs(60);
    loop {
        let rows = process.sql(
            "SELECT metric, host, CAST(time AS BIGINT) / 1000000 AS seconds, value FROM samples WHERE value = value",
        );
        let found: Samples = rows
            .iter()
            .map(|row| {
                assert_eq!(row["host"], "web_one");
                let metric = row["metric"].as_str().unwrap().to_owned();
                let value = row["value"].as_f64().unwrap();
                ((metric, row["seconds"].as_i64().unwrap()), rounded(value))
            })
            .collect();
        if found == expected {
            way.has_arrived(&format!("{} samples", found.len()));
            break;
        }
        let missing: Vec<_> = expected
            .iter()
            .filter(|(key, value)| found.get(key) != Some(value))
            .take(5)
            .collect();
        let more: Vec<_> = found
            .keys()
            .filter(|key| !expected.contains_key(key))
            .take(5)
            .collect();
        assert!(
            Instant::now() < deadline,
            "{} were measured, {} arrived; missing or different: {missing:?}; more: {more:?}\n{}",
            expected.len(),
            found.len(),
            process.log()
        );
        std::thread::sleep(Duration::from_millis(200));
    }
    process.stop_cleanly();
}

/// The line that the page of Graphite shows for a shell.
#[test]
fn a_line_that_is_sent_by_hand_arrives() {
    if !has_program("bash") {
        tests::skip("graphite", "the program `bash`", "TIDEWATCH_REQUIRE_BASH");
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let address = free_address();
    let ours = our_settings("graphite", "# Graphite's plaintext", address);
    let mut process = Launch::new(directory.path()).config(ours).start_ready();
    let place = [("127.0.0.1/2003", address.to_string().replace(':', "/"))];
    let line = tests::agents::settings("graphite", &place);
    let sent = Command::new("bash").args(["-c", &line]).status().unwrap();
    assert!(sent.success(), "{line}: {sent}");
    let found = tests::samples::wait_until(&mut process, "host", "web1", |found| {
        found.is_empty().then(|| "one was sent".to_owned())
    });
    let [sample] = found.as_slice() else {
        panic!("{found:?}")
    };
    assert_eq!(
        (sample.metric.as_str(), f64::from_bits(sample.value_bits)),
        ("disk.used", 42.0)
    );
    process.stop_cleanly();
}
