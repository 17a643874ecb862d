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

/// One sample of each of 100 metrics for hosts `first..first + hosts`; a host has eight labels, and each metric two of its own.
fn record(first: usize, hosts: usize, random: &mut Random) -> Vec<u8> {
    let mut builder = BatchBuilder::default();
    for host in first..first + hosts {
        let name = format!("host_{host}");
        let own = [
            ("host.name", name.as_str()),
            ("region", ["eu-west-1", "us-east-1", "ap-south-1"][host % 3]),
            ("datacenter", ["a", "b", "c", "d"][host % 4]),
            ("rack", ["17", "42", "61", "88", "93"][host % 5]),
            ("os", "Ubuntu24.04"),
            ("arch", ["x64", "arm64"][host % 2]),
            ("team", ["SRE", "CHI", "NYC"][host / 7 % 3]),
            ("service", ["6", "11", "18"][host / 11 % 3]),
        ];
        for group in 0..10 {
            let (device, mode) = (
                format!("dev{group}"),
                ["user", "system", "idle", "read", "write"][group % 5],
            );
            let labels = Labels::try_new(
                own.into_iter()
                    .chain([("device", device.as_str()), ("mode", mode)]),
            )
            .unwrap();
            assert_eq!(labels.len(), 10);
            let set = builder.label_set(&labels);
            for number in 0..10 {
                let metric = builder.metric(&format!("system.group{group}.metric{number}"));
                // Of a hundred: 40 constant, 25 whole counters, 25 gauges with two digits, 10 doubles of noise.
                let (kind, value) = match group * 10 + number {
                    0..40 => (Kind::Gauge, [0.0, 1.0, 4096.0, 65_536.0][number % 4]),
                    40..65 => (Kind::Counter, random.below(10_000_000) as f64),
                    65..90 => (Kind::Gauge, random.below(10_000) as f64 / 100.0),
                    _ => (
                        Kind::Gauge,
                        random.below(1 << 53) as f64 / (1u64 << 53) as f64,
                    ),
                };
                builder.push(
                    metric,
                    set,
                    kind,
                    1_795_246_200_000_000 + (host % 1000) as i64 * 10_007,
                    value,
                );
            }
        }
    }
    builder.finish().unwrap().encode().unwrap()
}

#[test]
fn a_sample_takes_at_most_two_and_a_half_bytes_in_the_log() {
    const HOSTS: usize = 1000;
    for hosts_per_record in [1, 10, 50] {
        let mut random = Random::from_environment(7);
        let (mut batch, mut compressed) = (Vec::new(), 0);
        for first in (0..HOSTS).step_by(hosts_per_record) {
            batch.extend(record(first, hosts_per_record, &mut random));
            if batch.len() >= 1_000_000 || first + hosts_per_record == HOSTS {
                compressed += zstd::bulk::compress(&batch, 1).unwrap().len();
                batch.clear();
            }
        }
        let per_sample = compressed as f64 / (HOSTS * 100) as f64;
        println!("{hosts_per_record} hosts per record: {per_sample:.2} B/sample");
        assert!(
            per_sample <= 2.5,
            "records of {hosts_per_record} hosts take {per_sample:.2} bytes per sample"
        );
    }
}
