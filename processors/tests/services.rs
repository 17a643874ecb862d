//! What moved in other resources of a service is named with an anomaly, and what moved elsewhere is not.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use processors::{PartitionState, ProcessingConfig};
use schemas::time::{DAY, HOUR, MINUTE};
use schemas::{Anomaly, BatchBuilder, Kind, Labels, Micros, Offset};

const START: Micros = 20_000 * DAY;
const STEPS: i64 = 3 * DAY / MINUTE;
/// When the queue of the first host jumps; loads follow two minutes later.
const JUMP: i64 = STEPS - 2 * HOUR / MINUTE;

/// Host, its service, its metric.
const HOSTS: [(&str, &str, &str); 3] = [
    ("queue-1", "shop", "queue"),
    ("web-1", "shop", "load"),
    ("web-2", "cart", "load"),
];

fn noise(step: i64, salt: i64) -> f64 {
    let mixed = (step * 7_919 + salt * 104_729).wrapping_mul(0x9e37_79b9_7f4a_7c15_u64 as i64);
    (mixed as u64 >> 40) as f64 / (1u64 << 24) as f64
}

/// The events of a metric of a host, all hosts in one partition.
fn told(host: &str) -> Vec<Anomaly> {
    let mut state = PartitionState::new(ProcessingConfig::default());
    let mut told = Vec::new();
    for step in 0..STEPS {
        let time = START + step * MINUTE;
        let mut builder = BatchBuilder::default();
        for (salt, (host, service, metric)) in (0_i64..).zip(HOSTS) {
            let from = if metric == "queue" { JUMP } else { JUMP + 2 };
            let jump = if (from..JUMP + 5).contains(&step) {
                500.0
            } else {
                0.0
            };
            let labels = [("host.name", host), ("service.name", service)];
            let labels = Labels::try_new(labels).unwrap();
            let (key, labels) = (builder.metric(metric), builder.label_set(&labels));
            builder.push(
                key,
                labels,
                Kind::Gauge,
                time,
                5.0 + noise(step, salt) + jump,
            );
        }
        state.step(Offset(step as u64), time, &builder.finish().unwrap());
        told.extend(state.pending().anomalies.iter().cloned());
        state.settle();
    }
    told.retain(|event| event.labels.get("host.name") == Some(host));
    told
}

/// The hosts whose series an event of `host` after the jump names.
fn related_to(host: &str) -> Vec<String> {
    let events = told(host);
    let related: Vec<String> = events
        .iter()
        .flat_map(|event| &event.related)
        .filter_map(|related| related.labels.get("host.name").map(str::to_owned))
        .collect();
    assert!(!events.is_empty(), "{host} jumps");
    related
}

#[test]
fn a_host_of_the_same_service_is_named_and_one_of_another_is_not() {
    assert!(related_to("web-1").contains(&"queue-1".to_owned()));
    assert_eq!(related_to("web-2"), Vec::<String>::new());
}
