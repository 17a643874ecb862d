//! What judging one sample costs: all detectors, one series in cache and a million series in turn.

use std::hint::black_box;

use analytics::{DetectorConfig, SeriesDetectors};
use criterion::{Criterion, Throughput, criterion_group, criterion_main};

/// Values around a level, with no pattern that a branch predictor could learn.
fn values(count: usize) -> Vec<f64> {
    let mut state = 1u64;
    let mut uniform = move || {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (state >> 11) as f64 / (1u64 << 53) as f64
    };
    (0..count)
        .map(|_| 50.0 + (0..12).map(|_| uniform()).sum::<f64>())
        .collect()
}

fn detect(criterion: &mut Criterion) {
    let config = DetectorConfig::default();
    let values = values(1 << 16);
    let mut group = criterion.benchmark_group("detect");
    for series in [1, 1_000, 1_000_000] {
        // Each series is warmed up, so that the usual path is measured.
        let mut detectors = vec![SeriesDetectors::default(); series];
        let mut time = 0;
        for value in &values[..40] {
            time += 10_000_000;
            detectors.iter_mut().for_each(|detectors| {
                detectors.observe(&config, time, *value);
            });
        }
        group.throughput(Throughput::Elements(1));
        group.bench_function(format!("observe/{series}_series"), |bencher| {
            let mut next = 0;
            bencher.iter(|| {
                let slot = next % series;
                if slot == 0 {
                    time += 10_000_000;
                }
                let observation =
                    detectors[slot].observe(&config, time, black_box(values[next & 0xFFFF]));
                next += 1;
                observation
            });
        });
    }
    group.finish();
}

criterion_group!(benches, detect);
criterion_main!(benches);
