//! The record of samples as others see it: the reader printed in `docs/record-format.md` reads what we write, and the size is as stated.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::process::Command;

use schemas::{BatchBuilder, Kind, Labels, SeriesId};
use serde::Deserialize;
use tests::random::Random;

/// The Python page of the document.
fn reader() -> String {
    let document =
        std::fs::read_to_string(tests::repository().join("docs/record-format.md")).unwrap();
    let (_, after) = document.split_once("```python\n").unwrap();
    after.split_once("```").unwrap().0.to_owned()
}

#[derive(Debug, Deserialize, PartialEq)]
struct Printed {
    series_id: SeriesId,
    metric: String,
    labels: Labels,
    kind: Kind,
    time_us: i64,
    value: String,
}

#[test]
fn a_page_of_python_reads_a_record() {
    if !tests::audit::is_available("record_format") {
        return;
    }
    let label_sets = [
        Labels::empty(),
        Labels::try_new([("host.name", "web-1"), ("cpu", "0")]).unwrap(),
        Labels::try_new([("ключ", "значение"), ("quote", "\"\\\n"), ("z", "𝄞")]).unwrap(),
    ];
    let values = [
        0.5,
        -0.0,
        f64::NAN,
        f64::INFINITY,
        f64::NEG_INFINITY,
        5e-324,
        f64::MAX,
        0.1 + 0.2,
        123_456_789_012_345_680.0,
    ];
    let mut builder = BatchBuilder::default();
    let mut expected = Vec::new();
    for (i, value) in values.into_iter().enumerate() {
        for labels in &label_sets {
            let (name, kind) = if i % 2 == 0 {
                ("system.cpu.utilization", Kind::Gauge)
            } else {
                ("requests_total", Kind::Counter)
            };
            let time_us = 1_795_246_200_000_001 + i as i64 * 10_000_000;
            let (metric, set) = (builder.metric(name), builder.label_set(labels));
            builder.push(metric, set, kind, time_us, value);
            expected.push((
                SeriesId::of(name, labels),
                name.to_owned(),
                labels.clone(),
                kind,
                time_us,
                value,
            ));
        }
    }
    let directory = tempfile::tempdir().unwrap();
    let (script, record) = (
        directory.path().join("reader.py"),
        directory.path().join("record"),
    );
    std::fs::write(&script, reader()).unwrap();
    std::fs::write(&record, builder.finish().unwrap().encode().unwrap()).unwrap();
    let output = Command::new(tests::python::venv::interpreter().unwrap())
        .args([&script, &record])
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let lines = String::from_utf8(output.stdout).unwrap();
    let printed: Vec<Printed> = lines
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(printed.len(), expected.len());
    for (printed, (series_id, metric, labels, kind, time_us, value)) in
        printed.into_iter().zip(expected)
    {
        let read: f64 = printed.value.parse().unwrap();
        assert!(
            read.to_bits() == value.to_bits() || (read.is_nan() && value.is_nan()),
            "{} for {value}",
            printed.value
        );
        assert_eq!(
            printed,
            Printed {
                series_id,
                metric,
                labels,
                kind,
                time_us,
                value: printed.value.clone()
            }
        );
    }
}

#[test]
fn the_series_id_of_the_document_is_ours() {
    let document =
        std::fs::read_to_string(tests::repository().join("docs/record-format.md")).unwrap();
    let labels = Labels::try_new([("host.name", "web-1"), ("cpu", "0")]).unwrap();
    assert!(document.contains(&SeriesId::of("system.cpu.utilization", &labels).to_string()));
}

/// What the metrics of a host say.
#[derive(Debug, Clone, Copy)]
enum Values {
    /// Of a hundred: 40 constant, 60 whole numbers from 0 to 100.
    Usual,
    /// All whole numbers from 0 to 100, as of the hosts of the Time Series Benchmark Suite, but with no likeness between hosts.
    Whole,
    /// Of a hundred: 40 constant, 25 counters up to ten million, 25 gauges with two decimals, 10 doubles of noise.
    Mixed,
}

impl Values {
    fn of(self, metric: usize, random: &mut Random) -> (Kind, f64) {
        match (self, metric) {
            (Values::Usual | Values::Mixed, 0..40) => {
                (Kind::Gauge, [0.0, 1.0, 4096.0, 65_536.0][metric % 4])
            }
            (Values::Usual | Values::Whole, _) => (Kind::Gauge, random.below(101) as f64),
            (Values::Mixed, 40..65) => (Kind::Counter, random.below(10_000_000) as f64),
            (Values::Mixed, 65..90) => (Kind::Gauge, random.below(10_000) as f64 / 100.0),
            (Values::Mixed, _) => (
                Kind::Gauge,
                random.below(1 << 53) as f64 / (1u64 << 53) as f64,
            ),
        }
    }
}

/// One sample of each of 100 metrics for the hosts `first..first + hosts`. Ten tags name a host, as in the Time Series Benchmark Suite.
fn record(first: usize, hosts: usize, values: Values, random: &mut Random) -> Vec<u8> {
    let mut builder = BatchBuilder::default();
    for host in first..first + hosts {
        let name = format!("host_{host}");
        let tags = [
            ("hostname", name.as_str()),
            ("region", ["eu-west-1", "us-east-1", "ap-south-1"][host % 3]),
            ("datacenter", ["a", "b", "c", "d"][host % 4]),
            ("rack", ["17", "42", "61", "88", "93"][host % 5]),
            ("os", "Ubuntu24.04"),
            ("arch", ["x64", "arm64"][host % 2]),
            ("team", ["SRE", "CHI", "NYC"][host / 7 % 3]),
            ("service", ["6", "11", "18"][host / 11 % 3]),
            ("service_version", ["0", "1"][host / 13 % 2]),
            (
                "service_environment",
                ["production", "staging", "test"][host / 17 % 3],
            ),
        ];
        let set = builder.label_set(&Labels::try_new(tags).unwrap());
        for metric in 0..100 {
            let key = builder.metric(&format!(
                "system.group{}.metric{}",
                metric / 10,
                metric % 10
            ));
            let (kind, value) = values.of(metric, random);
            // Hosts are asked at different moments of a second.
            let time = 1_795_246_200_000_000 + (host % 100) as i64 * 10_007;
            builder.push(key, set, kind, time, value);
        }
    }
    builder.finish().unwrap().encode().unwrap()
}

/// Bytes per sample of 1,000 such hosts, in records of `hosts`, concatenated to 1 MB and compressed with zstd level 1.
fn bytes_per_sample(hosts: usize, values: Values) -> f64 {
    const HOSTS: usize = 1000;
    let mut random = Random::from_environment(7);
    let (mut batch, mut compressed) = (Vec::new(), 0);
    for first in (0..HOSTS).step_by(hosts) {
        batch.extend(record(first, hosts, values, &mut random));
        if batch.len() >= 1_000_000 || first + hosts == HOSTS {
            compressed += zstd::bulk::compress(&batch, 1).unwrap().len();
            batch.clear();
        }
    }
    compressed as f64 / (HOSTS * 100) as f64
}

/// What `docs/record-format.md` states for records of 1, 10 and 50 hosts. Only the first is held to 2.5: full doubles hardly compress.
const STATED: [(Values, [f64; 3]); 3] = [
    (Values::Usual, [2.01, 1.67, 1.51]),
    (Values::Whole, [2.71, 2.05, 1.89]),
    (Values::Mixed, [4.68, 3.67, 3.72]),
];

#[test]
fn a_sample_takes_at_most_two_and_a_half_bytes_in_the_log() {
    for hosts in [1, 10, 50] {
        let bytes = bytes_per_sample(hosts, Values::Usual);
        assert!(
            bytes <= 2.5,
            "records of {hosts} hosts take {bytes:.2} bytes per sample"
        );
    }
}

#[test]
fn the_sizes_in_the_document_are_those_measured() {
    for (values, stated) in STATED {
        for (hosts, stated) in [1, 10, 50].into_iter().zip(stated) {
            let bytes = bytes_per_sample(hosts, values);
            assert!(
                (bytes - stated).abs() <= 0.1 * stated,
                "{values:?} values, {hosts} hosts in a record: {bytes:.2} bytes per sample; the document says {stated}"
            );
        }
    }
}
