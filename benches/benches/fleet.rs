//! How fast simulated samples are made: through the door into encoded records, an hour of eight hosts at a time.

#![allow(clippy::unwrap_used, reason = "a bench that can't run stops")]

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use ingest::Batcher;
use ingest::collectors::fleet::Fleet;
use schemas::Window;
use schemas::time::{HOUR, MINUTE, SECOND};

fn fleet(criterion: &mut Criterion) {
    let mut fleet = Fleet::new(7, 8).unwrap();
    let mut door = Batcher::new(4, 64 << 20, usize::MAX);
    let mut start = 1_793_577_600 * SECOND;
    let mut group = criterion.benchmark_group("fleet");
    group.throughput(Throughput::Elements(fleet.series() as u64 * 60));
    group.bench_function("records/8_hosts", |bencher| {
        bencher.iter(|| {
            let span = Window {
                start,
                end: start + HOUR,
            };
            start = span.end;
            fleet.collect(span, MINUTE, &mut door).unwrap();
            door.finish().unwrap()
        });
    });
    group.finish();
}

criterion_group!(benches, fleet);
criterion_main!(benches);
