//! The step of a partition: series resolved, duplicates looked for, five rollup levels, with and without detection; 1 k to 1 M series.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a bench that can't run stops"
)]

use std::hint::black_box;

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use processors::{PartitionState, ProcessingConfig};
use schemas::time::SECOND;
use schemas::{BatchBuilder, Kind, Labels, Micros, Offset, SampleBatch};

/// Metrics of a host, as in the TSBS devops set.
const METRICS: usize = 100;
/// Steps of 10 s that one measurement takes.
const STEPS: i64 = 6;

/// One scrape of all hosts: records of 50 hosts each.
fn scrape(hosts: usize, time: Micros) -> Vec<SampleBatch> {
    let names: Vec<String> = (0..METRICS)
        .map(|i| format!("system.metric.number_{i}"))
        .collect();
    let host_numbers: Vec<usize> = (0..hosts).collect();
    let records = host_numbers.chunks(50).map(|chunk| {
        let mut builder = BatchBuilder::default();
        for host in chunk {
            let tags = [
                ("host.name", format!("host_{host}")),
                ("region", format!("eu-central-{}", host % 3)),
                ("datacenter", format!("eu-central-{}b", host % 3)),
                ("rack", format!("{}", host % 100)),
                ("os", "Ubuntu24.04".to_owned()),
                ("arch", "x64".to_owned()),
                ("team", format!("team-{}", host % 7)),
                ("service", format!("{}", host % 20)),
                ("service_version", "1".to_owned()),
                ("service_environment", "production".to_owned()),
            ];
            let labels = builder.label_set(&Labels::try_new(tags).expect("valid"));
            for (i, name) in names.iter().enumerate() {
                let metric = builder.metric(name);
                let value = ((host * 31 + i * 17) as i64 + time / SECOND / 10) % 100;
                builder.push(metric, labels, Kind::Gauge, time, value as f64);
            }
        }
        builder.finish().expect("valid")
    });
    records.collect()
}

fn step(c: &mut Criterion) {
    let mut group = c.benchmark_group("step");
    group.sample_size(10);
    for (name, hosts) in [
        ("1k_series", 10),
        ("100k_series", 1_000),
        ("1M_series", 10_000),
    ] {
        for (detection, config) in [
            (
                "rollups",
                ProcessingConfig {
                    detection: None,
                    ..ProcessingConfig::default()
                },
            ),
            ("rollups+detectors", ProcessingConfig::default()),
        ] {
            let start = 1_767_225_600 * SECOND;
            // A minute of warm-up makes the series known and fills the lateness.
            let mut warm = PartitionState::new(config);
            let mut offset = 0;
            let mut take = |state: &mut PartitionState, scrape: &[SampleBatch], time: Micros| {
                for batch in scrape {
                    state.step(Offset(offset), time, batch);
                    offset += 1;
                }
            };
            for i in 0..14 {
                let time = start + i * 10 * SECOND;
                take(&mut warm, &scrape(hosts, time), time);
                warm.settle();
            }
            let scrapes: Vec<(Micros, Vec<SampleBatch>)> = (14..14 + STEPS)
                .map(|i| start + i * 10 * SECOND)
                .map(|time| (time, scrape(hosts, time)))
                .collect();
            group.throughput(Throughput::Elements(
                (hosts * METRICS) as u64 * STEPS as u64,
            ));
            group.bench_function(format!("{name}/{detection}"), |b| {
                b.iter_batched_ref(
                    || warm.clone(),
                    |state| {
                        for (time, scrape) in &scrapes {
                            take(state, scrape, *time);
                        }
                        black_box(state.pending_samples());
                    },
                    BatchSize::PerIteration,
                );
            });
        }
    }
    group.finish();
}

criterion_group!(benches, step);
criterion_main!(benches);
