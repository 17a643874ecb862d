//! A series that leaves its siblings is told once, in the words of a person; and that follows from the samples alone.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use processors::{PartitionState, ProcessingConfig};
use schemas::time::{HOUR, MINUTE, SECOND};
use schemas::{
    Anomaly, AnomalyKind, BatchBuilder, Kind, Labels, Micros, NextOffset, Offset, SampleBatch,
};

const START: Micros = 500_000 * HOUR;
const MINUTES: i64 = 150;
/// From this minute on, one host is off: `web-3` in its gauge, `web-5` in its counter.
const OFF: i64 = 120;
/// The primary does three times as much as its replicas; five hosts and the primary are siblings.
const HOSTS: i64 = 6;

/// Noise in −1..1, the same each time.
fn noise(seed: i64) -> f64 {
    let mut mixed = (seed as u64)
        .wrapping_add(1)
        .wrapping_mul(0x9E37_79B9_7F4A_7C15);
    mixed = (mixed ^ (mixed >> 29)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    (mixed ^ (mixed >> 32)) as f64 / u64::MAX as f64 * 2.0 - 1.0
}

/// Three samples a minute of each host: a gauge whose level all share and change, a counter, and one metric that a single host has.
fn batch(hosts: impl Iterator<Item = i64>, minute: i64, off: bool) -> SampleBatch {
    let mut builder = BatchBuilder::default();
    for host in hosts {
        let labels = [
            ("host.name", format!("web-{host}")),
            ("core", "0".to_owned()),
        ];
        let labels = builder.label_set(&Labels::try_new(labels).unwrap());
        let (cpu, sent, own) = (
            builder.metric("cpu"),
            builder.metric("sent"),
            builder.metric(&format!("own-{host}")),
        );
        for part in 0..3 {
            let time = START + minute * MINUTE + part * 20 * SECOND;
            let level =
                40.0 + 10.0 * (minute as f64 / 60.0).sin() + noise(host * 7919 + minute * 3 + part);
            let is_off = |which| off && minute >= OFF && host == which;
            let primary = if host == 0 { 3.0 } else { 1.0 };
            let value = level * if is_off(3) { 2.0 } else { primary };
            builder.push(cpu, labels, Kind::Gauge, time, value);
            // 100 a second; 300 of the one that is off.
            let seconds = (minute * 60 + part * 20) as f64;
            let more = if is_off(5) {
                seconds - OFF as f64 * 60.0
            } else {
                0.0
            };
            let total = 100.0 * seconds + 200.0 * more + noise(host + minute);
            builder.push(sent, labels, Kind::Counter, time, total);
            builder.push(
                own,
                labels,
                Kind::Gauge,
                time,
                5.0 + 50.0 * (more / 60.0).min(1.0),
            );
        }
    }
    builder.finish().unwrap()
}

/// How the same samples come: hosts per record, and how often the state is saved and restored (records).
struct Coming {
    hosts_per_record: usize,
    restored_every: i64,
}

/// The events about peers, and the bytes of the state at the end.
fn events(coming: &Coming, off: bool) -> (Vec<Anomaly>, Vec<u8>) {
    let config = ProcessingConfig::default();
    let mut state = PartitionState::new(config.clone());
    let (mut found, mut offset) = (Vec::new(), 0_u64);
    for minute in 0..MINUTES {
        let hosts: Vec<i64> = (0..HOSTS).collect();
        let mut batches = hosts.chunks(coming.hosts_per_record).peekable();
        while let Some(hosts) = batches.next() {
            let samples = batch(hosts.iter().copied(), minute, off);
            // Offsets count hosts, so that they do not depend on the records either.
            offset += hosts.len() as u64;
            state.step(Offset(offset - 1), START + (minute + 1) * MINUTE, &samples);
            if batches.peek().is_none() && minute % coming.restored_every == 0 {
                found.extend(state.pending().anomalies.iter().cloned());
                state = PartitionState::decode(&state.encode(), config.clone())
                    .unwrap()
                    .with_committed_until(NextOffset(offset));
            }
        }
    }
    state.step_empty(Offset(offset), START + 10 * HOUR, false);
    found.extend(state.pending().anomalies.iter().cloned());
    found.retain(|event| event.kind == AnomalyKind::Peer);
    (found, state.encode())
}

const AT_ONCE: Coming = Coming {
    hosts_per_record: 6,
    restored_every: 1_000,
};

#[test]
fn the_one_that_leaves_its_siblings_is_told_once() {
    let (found, _) = events(&AT_ONCE, true);
    let sentences: Vec<&str> = found
        .iter()
        .map(|event| event.explanation.as_str())
        .collect();
    assert_eq!(found.len(), 2, "{sentences:#?}");
    let find = |metric: &str| found.iter().find(|event| event.metric == metric).unwrap();
    let (cpu, sent) = (find("cpu"), find("sent"));
    assert_eq!(cpu.labels.get("host.name"), Some("web-3"));
    assert!(
        cpu.explanation.starts_with("cpu (core=0) on web-3 is at ")
            && cpu.explanation.contains(", its 5 siblings are at "),
        "{sentences:#?}"
    );
    assert_eq!(sent.labels.get("host.name"), Some("web-5"));
    assert!(
        sent.explanation
            .starts_with("sent (core=0) on web-5 is at 300, its 5 siblings are at 100"),
        "{sentences:#?}"
    );
    for event in &found {
        assert!(event.score > 1.0 && event.completeness == 1.0, "{event:?}");
        // Five minutes apart, told at the end of the fifth: 08:00 + 120 min + 5 min, a minute later if the first was not clear.
        assert!(
            ["10:05:00.000000Z", "10:06:00.000000Z"]
                .iter()
                .any(|time| event.time.ends_with(time)),
            "{}",
            event.time
        );
    }
}

#[test]
fn a_primary_and_what_only_one_has_stay_quiet() {
    let (found, _) = events(&AT_ONCE, false);
    assert_eq!(found, []);
}

#[test]
fn the_same_however_records_are_cut_and_after_restarts() {
    let (expected, bytes) = events(&AT_ONCE, true);
    for coming in [
        Coming {
            hosts_per_record: 1,
            restored_every: 1_000,
        },
        Coming {
            hosts_per_record: 4,
            restored_every: 7,
        },
    ] {
        let (found, again) = events(&coming, true);
        assert_eq!(found, expected);
        assert_eq!(again, bytes);
    }
}
