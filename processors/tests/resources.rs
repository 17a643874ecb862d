//! A resource unlike its siblings is found, once, with the features that make it so; and the forests behind it follow from the samples alone.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use processors::{PartitionState, ProcessingConfig};
use schemas::time::{HOUR, MINUTE, SECOND};
use schemas::{
    Anomaly, AnomalyKind, BatchBuilder, Kind, Labels, Micros, NextOffset, Offset, SampleBatch,
};

const HOSTS: u64 = 12;
const START: Micros = 500_000 * HOUR;
const MINUTES: i64 = 200;
/// In these minutes the odd host reads its disk as no other does, at the usual load.
const ODD: std::ops::Range<i64> = 180..190;
const ODD_HOST: u64 = 7;

/// Noise in −1..1, the same each time.
fn noise(seed: u64) -> f64 {
    let mut mixed = seed.wrapping_add(1).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    mixed = (mixed ^ (mixed >> 29)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    (mixed ^ (mixed >> 32)) as f64 / u64::MAX as f64 * 2.0 - 1.0
}

/// What a host reports of a minute: metric, kind, value. Everything follows a load that all hosts share.
fn reported(host: u64, minute: i64) -> Vec<(&'static str, Kind, f64)> {
    let seed = host * 1_000_003 + minute as u64 * 17;
    let load = 2.0 + (minute as f64 / 60.0).sin() + 0.2 * noise(seed);
    // The counter has counted more from the second of these minutes on; what it sends, from then on, too.
    let odd = host == ODD_HOST && ODD.contains(&(minute - 1));
    // The counter's own rate is per minute: what it has counted so far is a sum over the minutes.
    let read = |minute: i64| {
        let odd = (minute.min(ODD.end) - ODD.start).max(0);
        let odd = if host == ODD_HOST { odd } else { 0 };
        600.0 * minute as f64 + 9_000.0 * odd as f64 + 30.0 * noise(seed)
    };
    vec![
        ("load", Kind::Gauge, load),
        (
            "cpu.utilization",
            Kind::Gauge,
            0.2 * load + 0.02 * noise(seed + 1),
        ),
        (
            "memory.used",
            Kind::Gauge,
            8e9 + 1e9 * load + 1e8 * noise(seed + 2),
        ),
        ("disk.read", Kind::Counter, read(minute)),
        (
            "net.sent",
            Kind::Gauge,
            100.0 * load + if odd { 150.0 } else { 0.0 } + 10.0 * noise(seed + 3),
        ),
    ]
}

fn batch(hosts: impl Iterator<Item = u64>, minute: i64) -> SampleBatch {
    let mut builder = BatchBuilder::default();
    for host in hosts {
        let name = format!("web-{host}");
        let labels = builder.label_set(&Labels::try_new([("host.name", name)]).unwrap());
        for (metric, kind, value) in reported(host, minute) {
            let metric = builder.metric(metric);
            builder.push(metric, labels, kind, START + minute * MINUTE, value);
        }
    }
    builder.finish().unwrap()
}

/// How the same samples come: hosts per record, which host first, and how often the state is saved and restored (records).
#[derive(Clone, Copy)]
struct Coming {
    /// The first host, and the one after the last.
    hosts: (u64, u64),
    hosts_per_record: usize,
    backwards: bool,
    restored_every: u64,
}

/// The events about resources.
fn events(coming: Coming) -> Vec<Anomaly> {
    let config = ProcessingConfig::default();
    let mut state = PartitionState::new(config.clone());
    let (mut found, mut offset) = (Vec::new(), 0);
    for minute in 0..MINUTES {
        let mut hosts: Vec<u64> = (coming.hosts.0..coming.hosts.1).collect();
        if coming.backwards {
            hosts.reverse();
        }
        for hosts in hosts.chunks(coming.hosts_per_record) {
            let log_time = START + minute * MINUTE + SECOND;
            state.step(
                Offset(offset),
                log_time,
                &batch(hosts.iter().copied(), minute),
            );
            offset += 1;
            if offset % coming.restored_every == 0 {
                found.extend(state.pending().anomalies.iter().cloned());
                state = PartitionState::decode(&state.encode(), config.clone())
                    .unwrap()
                    .with_committed_until(NextOffset(offset));
            }
        }
    }
    state.step_empty(Offset(offset), START + 10 * HOUR, false);
    found.extend(state.pending().anomalies.iter().cloned());
    found.retain(|event| event.kind == AnomalyKind::Resource);
    found
}

#[test]
fn the_odd_one_is_found_with_what_makes_it_odd() {
    let found = events(Coming {
        hosts: (0, HOSTS),
        hosts_per_record: 12,
        backwards: false,
        restored_every: u64::MAX,
    });
    let told: Vec<&str> = found
        .iter()
        .map(|event| event.explanation.as_str())
        .collect();
    assert_eq!(found.len(), 1, "{told:#?}");
    let event = &found[0];
    assert_eq!(event.labels.get("host.name"), Some("web-7"));
    assert!(
        event
            .explanation
            .starts_with("web-7 is unlike the 11 others (host): ")
            && event.explanation.contains("disk.read 1"),
        "{}",
        event.explanation
    );
    // What is planted, and nothing else, makes most of it.
    let mut planted: Vec<_> = event.contributions[..2].iter().collect();
    planted.sort_by(|a, b| a.feature.cmp(&b.feature));
    let features = [planted[0].feature.as_str(), planted[1].feature.as_str()];
    assert_eq!(features, ["disk.read", "net.sent"]);
    assert!(planted[0].value > 5.0 * planted[0].expected);
    assert!(planted[0].share + planted[1].share > 0.7);
    assert!(event.score > 1.0 && event.raw_score > event.upper);
    let voted: Vec<&str> = event.votes.iter().map(|v| v.detector.as_str()).collect();
    assert_eq!(voted, ["isolation_forest", "distance"]);
    let since = schemas::time::rfc3339(START + (ODD.start + 1) * MINUTE);
    let until = schemas::time::rfc3339(START + (ODD.start + 7) * MINUTE);
    assert!(since <= event.time && event.time <= until, "{}", event.time);
}

#[test]
fn without_siblings_there_is_no_odd_one() {
    let found = events(Coming {
        hosts: (ODD_HOST - 1, ODD_HOST + 2),
        hosts_per_record: 3,
        backwards: false,
        restored_every: u64::MAX,
    });
    assert!(found.is_empty(), "{found:#?}");
}

#[test]
fn c5_records_order_and_restarts_change_nothing() {
    let plain = Coming {
        hosts: (0, HOSTS),
        hosts_per_record: 12,
        backwards: false,
        restored_every: u64::MAX,
    };
    let expected = events(plain);
    assert!(!expected.is_empty());
    for coming in [
        Coming {
            restored_every: 7,
            ..plain
        },
        Coming {
            hosts_per_record: 5,
            ..plain
        },
        Coming {
            backwards: true,
            hosts_per_record: 1,
            ..plain
        },
    ] {
        let found = events(coming);
        assert_eq!(found, expected);
    }
}

#[test]
fn a_snapshot_of_forests_is_read_as_it_was_written() {
    let config = ProcessingConfig::default();
    let mut state = PartitionState::new(config.clone());
    // Ten minutes until features are chosen, thirty until each host has its place.
    for minute in 0..60 {
        let log_time = START + minute * MINUTE + SECOND;
        state.step(Offset(minute as u64), log_time, &batch(0..HOSTS, minute));
    }
    let bytes = state.encode();
    assert!(bytes.len() > 50_000, "no forest is in it: {}", bytes.len());
    let restored = PartitionState::decode(&bytes, config).unwrap();
    assert_eq!(restored.encode(), bytes);
}
