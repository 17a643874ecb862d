//! Hosts whose metrics say that they run a database are compared with each other, from when they say so.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use processors::{PartitionState, ProcessingConfig};
use schemas::time::{HOUR, MINUTE, SECOND};
use schemas::{
    Anomaly, AnomalyKind, BatchBuilder, Kind, Labels, Micros, NextOffset, Offset, SampleBatch,
};

const START: Micros = 500_000 * HOUR;
const HOSTS: u64 = 12;
/// The first of them run MySQL, whose exporter is started in this minute.
const DATABASES: u64 = 6;
const EXPORTED_FROM: i64 = 30;
/// In these minutes one database has five times as many threads and locks as it should.
const ODD: std::ops::Range<i64> = 320..350;
const ODD_HOST: u64 = 2;

const METRICS: [&str; 5] = [
    "mysql_threads_running",
    "mysql_locks_waiting",
    "mysql_queries",
    "mysql_buffer_pool_pages",
    "mysql_connections",
];

/// Noise in −1..1, the same each time.
fn noise(seed: u64) -> f64 {
    let mut mixed = seed.wrapping_add(1).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    mixed = (mixed ^ (mixed >> 29)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    (mixed ^ (mixed >> 32)) as f64 / u64::MAX as f64 * 2.0 - 1.0
}

fn batch(minute: i64, metrics: &[&str]) -> SampleBatch {
    let mut builder = BatchBuilder::default();
    for host in 0..HOSTS {
        let labels = Labels::try_new([("host.name", format!("h-{host}"))]).unwrap();
        let labels = builder.label_set(&labels);
        let seed = host * 1_000_003 + minute as u64 * 17;
        let load = 2.0 + (minute as f64 / 60.0).sin();
        let time = START + minute * MINUTE;
        for (at, metric) in ["cpu", "load"].iter().enumerate() {
            let metric = builder.metric(metric);
            let value = load + 0.1 * noise(seed + at as u64);
            builder.push(metric, labels, Kind::Gauge, time, value);
        }
        if host < DATABASES && minute >= EXPORTED_FROM {
            for (at, name) in metrics.iter().enumerate() {
                let odd = at < 2 && host == ODD_HOST && ODD.contains(&minute);
                let metric = builder.metric(name);
                let value =
                    load * (10.0 + noise(seed + 2 + at as u64)) * if odd { 5.0 } else { 1.0 };
                builder.push(metric, labels, Kind::Gauge, time, value);
            }
        }
    }
    builder.finish().unwrap()
}

/// What is told of resources, with these metrics of the databases; the state is restored in the middle.
fn events(metrics: &[&str]) -> Vec<Anomaly> {
    let config = ProcessingConfig {
        forecasting: None,
        ..ProcessingConfig::default()
    };
    let mut state = PartitionState::new(config.clone());
    let mut found = Vec::new();
    for minute in 0..ODD.end {
        let (offset, log_time) = (Offset(minute as u64), START + minute * MINUTE + SECOND);
        state.step(offset, log_time, &batch(minute, metrics));
        if minute == 200 {
            found.extend(state.pending().anomalies.iter().cloned());
            state = PartitionState::decode(&state.encode(), config.clone())
                .unwrap()
                .with_committed_until(NextOffset(minute as u64 + 1));
        }
    }
    found.extend(state.pending().anomalies.iter().cloned());
    found.retain(|event| event.kind == AnomalyKind::Resource);
    found
}

#[test]
fn a_database_is_compared_with_databases() {
    let told: Vec<String> = events(&METRICS)
        .into_iter()
        .map(|e| e.explanation)
        .collect();
    assert_eq!(told.len(), 1, "{told:#?}");
    assert!(
        told[0].starts_with("h-2 is unlike the 5 others (database mysql): mysql_"),
        "{told:#?}"
    );
}

#[test]
fn who_only_asks_a_database_is_what_it_was() {
    let told = events(&METRICS[..4]);
    let classes = told.iter().map(|event| event.explanation.as_str());
    assert!(
        classes
            .clone()
            .all(|told| told.contains("the 11 others (host)")),
        "{told:#?}"
    );
}
