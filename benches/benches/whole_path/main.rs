//! The whole path beside VictoriaMetrics: the same bodies over HTTP, CPU-seconds per million samples until they can be asked for.
//!
//! Ours: decode → log (fsynced) → dedup, five rollup levels, detectors → aggregate store → Parquet and the chain. The log clock follows the data
//! (10 s of data per scrape), so windows are sealed and scored as in live use. VictoriaMetrics: its default, storing alone.
//! CPU is user + system time of the server process, read from the kernel; the client is another process. Every run is counted back.
//!
//! `cargo bench -p benches --bench whole_path -- [hosts …]` (default 1000 and 10000 hosts of 10 metrics with 10 tags).

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a bench that can't run stops"
)]

mod peers;
mod serve;

use std::fmt::Write as _;
use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};
use std::time::Instant;

use benches::client::Client;
use benches::process::{cpu_seconds, peak_mb};
use peers::VictoriaMetrics;
use prost::Message;

/// Metrics of a host: the fields of the TSBS set `cpu-only`.
const FIELDS: [&str; 10] = [
    "usage_user",
    "usage_system",
    "usage_idle",
    "usage_nice",
    "usage_iowait",
    "usage_irq",
    "usage_softirq",
    "usage_steal",
    "usage_guest",
    "usage_guest_nice",
];
/// Seconds of data between two scrapes.
const STEP_S: i64 = 10;
/// Hosts whose samples travel in one request.
const HOSTS_PER_BODY: usize = 1_000;

/// One body to post and the data time at which it is posted, milliseconds.
type Body = (i64, Vec<u8>);

fn main() {
    let arguments: Vec<String> = std::env::args()
        .skip(1)
        .filter(|word| word != "--bench")
        .collect();
    if let [role, directory] = arguments.as_slice()
        && role == "serve"
    {
        return serve::run(directory);
    }
    let hosts: Vec<usize> = arguments
        .iter()
        .filter_map(|word| word.parse().ok())
        .collect();
    let hosts = if hosts.is_empty() {
        vec![1_000, 10_000]
    } else {
        hosts
    };
    println!(
        "{:<38} {:>9} {:>11} {:>14} {:>10} {:>10}",
        "system, protocol, series", "samples", "CPU-s", "CPU-s/M", "wall s", "peak MB"
    );
    for hosts in hosts {
        // About 3 million samples, and at least two minutes of data beyond the lateness, so that 1 m windows are sealed too.
        let scrapes = (300_000 / hosts).clamp(24, 300);
        for protocol in ["lines", "remote_write"] {
            let bodies = bodies(hosts, scrapes, protocol);
            let samples = hosts * FIELDS.len() * scrapes;
            ours(hosts, protocol, samples, &bodies);
            match VictoriaMetrics::start() {
                Ok(peer) => victoria_metrics(peer, hosts, protocol, samples, &bodies),
                Err(why) => println!("VictoriaMetrics is left out: {why}"),
            }
        }
    }
}

fn path(protocol: &str) -> &'static str {
    if protocol == "lines" {
        "/write?precision=ms"
    } else {
        "/api/v1/write"
    }
}

fn ours(hosts: usize, protocol: &str, samples: usize, bodies: &[Body]) {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let mut child = Command::new(std::env::current_exe().expect("this program has a path"))
        .arg("serve")
        .arg(directory.path())
        .stdout(Stdio::piped())
        .spawn()
        .expect("this program can be started");
    let mut line = String::new();
    BufReader::new(child.stdout.take().expect("piped"))
        .read_line(&mut line)
        .expect("the server says its address");
    let mut client = Client::connect(line.trim());
    let before = cpu_seconds(&child);
    let started = Instant::now();
    for (time_ms, body) in bodies {
        client.post(&format!("/clock/{time_ms}"), "text/plain", &[]);
        client.post(path(protocol), content_type(protocol), body);
    }
    let accepted = client.post("/finish", "text/plain", &[]);
    report(
        "tidewatch",
        hosts,
        protocol,
        samples,
        cpu_seconds(&child) - before,
        started,
        peak_mb(&child),
    );
    assert_eq!(
        accepted.trim(),
        samples.to_string(),
        "samples counted back from the chain"
    );
    let bytes = archive_bytes(&directory.path().join("archive/samples"));
    println!(
        "{:<38} {:.2} bytes per sample in the archive before compaction",
        "",
        bytes as f64 / samples as f64
    );
    child.kill().expect("it can be ended");
    child.wait().expect("it ends");
}

fn victoria_metrics(
    peer: VictoriaMetrics,
    hosts: usize,
    protocol: &str,
    samples: usize,
    bodies: &[Body],
) {
    let mut client = Client::connect(&peer.address);
    let before = cpu_seconds(&peer.child);
    let started = Instant::now();
    for (_, body) in bodies {
        client.post(path(protocol), content_type(protocol), body);
    }
    let counted = client.get("/internal/force_flush");
    assert!(counted.is_empty(), "flush: {counted}");
    report(
        "VictoriaMetrics 1.130.0",
        hosts,
        protocol,
        samples,
        cpu_seconds(&peer.child) - before,
        started,
        peak_mb(&peer.child),
    );
    let end_s = bodies.last().map_or(0, |(time_ms, _)| time_ms / 1000);
    let query = format!(
        "/api/v1/query?time={end_s}&query=sum(count_over_time(%7B__name__%3D~%22cpu_.%2A%22%7D%5B2h%5D))"
    );
    let answer = client.get(&query);
    assert!(
        answer.contains(&format!("\"{samples}\"")),
        "samples counted back: {answer}"
    );
}

fn content_type(protocol: &str) -> &'static str {
    if protocol == "lines" {
        "text/plain"
    } else {
        "application/x-protobuf"
    }
}

fn report(
    system: &str,
    hosts: usize,
    protocol: &str,
    samples: usize,
    cpu_s: f64,
    started: Instant,
    peak_mb: u64,
) {
    let name = format!("{system}, {protocol}, {}", hosts * FIELDS.len());
    let per_million = cpu_s / samples as f64 * 1e6;
    println!(
        "{name:<38} {samples:>9} {cpu_s:>11.2} {per_million:>14.3} {:>10.1} {peak_mb:>10}",
        started.elapsed().as_secs_f64()
    );
}

fn archive_bytes(directory: &std::path::Path) -> u64 {
    let entries = std::fs::read_dir(directory).into_iter().flatten().flatten();
    entries
        .map(|entry| {
            if entry.path().is_dir() {
                archive_bytes(&entry.path())
            } else {
                entry.metadata().map_or(0, |m| m.len())
            }
        })
        .sum()
}

fn tags(host: usize) -> [(&'static str, String); 10] {
    [
        ("hostname", format!("host_{host}")),
        ("region", format!("eu-central-{}", host % 3)),
        ("datacenter", format!("eu-central-{}b", host % 3)),
        ("rack", (host % 100).to_string()),
        ("os", "Ubuntu24.04".to_owned()),
        ("arch", "x64".to_owned()),
        ("team", format!("team-{}", host % 7)),
        ("service", (host % 20).to_string()),
        ("service_version", "1".to_owned()),
        ("service_environment", "production".to_owned()),
    ]
}

/// An integer between 0 and 100 that walks, as TSBS makes them: cheap to compute, the same in each run.
fn value(host: usize, field: usize, scrape: usize) -> i64 {
    let phase = (host * 31 + field * 17) % 100;
    let wobble = ((host * 7 + field * 13 + scrape * 29) % 5) as i64 - 2;
    (50.0 + 45.0 * ((phase + scrape) as f64 / 15.0).sin()) as i64 + wobble
}

fn bodies(hosts: usize, scrapes: usize, protocol: &str) -> Vec<Body> {
    let now_ms = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .expect("after 1970")
        .as_millis() as i64;
    let start_ms = now_ms / 1000 * 1000 - scrapes as i64 * STEP_S * 1000;
    let all: Vec<usize> = (0..hosts).collect();
    let mut bodies = Vec::new();
    for scrape in 0..scrapes {
        let time_ms = start_ms + scrape as i64 * STEP_S * 1000;
        // A remote-write request of Prometheus carries 2,000 samples by default.
        for chunk in all.chunks(if protocol == "lines" {
            HOSTS_PER_BODY
        } else {
            200
        }) {
            let body = if protocol == "lines" {
                lines(chunk, scrape, time_ms)
            } else {
                remote_write(chunk, scrape, time_ms)
            };
            bodies.push((time_ms, body));
        }
    }
    bodies
}

fn lines(hosts: &[usize], scrape: usize, time_ms: i64) -> Vec<u8> {
    let mut body = String::new();
    for host in hosts {
        body.push_str("cpu");
        for (key, text) in tags(*host) {
            write!(body, ",{key}={text}").expect("a string takes all");
        }
        for (i, field) in FIELDS.iter().enumerate() {
            write!(
                body,
                "{}{field}={}i",
                if i == 0 { ' ' } else { ',' },
                value(*host, i, scrape)
            )
            .expect("a string takes all");
        }
        writeln!(body, " {time_ms}").expect("a string takes all");
    }
    body.into_bytes()
}

#[derive(Message)]
struct WriteRequest {
    #[prost(message, repeated, tag = "1")]
    timeseries: Vec<TimeSeries>,
}

#[derive(Message)]
struct TimeSeries {
    #[prost(message, repeated, tag = "1")]
    labels: Vec<Label>,
    #[prost(message, repeated, tag = "2")]
    samples: Vec<Sample>,
}

#[derive(Message)]
struct Label {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(string, tag = "2")]
    value: String,
}

#[derive(Message)]
struct Sample {
    #[prost(double, tag = "1")]
    value: f64,
    #[prost(int64, tag = "2")]
    timestamp: i64,
}

fn remote_write(hosts: &[usize], scrape: usize, time_ms: i64) -> Vec<u8> {
    let label = |name: &str, value: String| Label {
        name: name.to_owned(),
        value,
    };
    let series = hosts.iter().flat_map(|host| {
        FIELDS.iter().enumerate().map(move |(i, field)| {
            let mut labels = vec![label("__name__", format!("cpu_{field}"))];
            labels.extend(tags(*host).map(|(key, text)| label(key, text)));
            labels.sort_by(|a, b| a.name.cmp(&b.name));
            TimeSeries {
                labels,
                samples: vec![Sample {
                    value: value(*host, i, scrape) as f64,
                    timestamp: time_ms,
                }],
            }
        })
    });
    let request = WriteRequest {
        timeseries: series.collect(),
    };
    snap::raw::Encoder::new()
        .compress_vec(&request.encode_to_vec())
        .expect("a request fits snappy")
}
