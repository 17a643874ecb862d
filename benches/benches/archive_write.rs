//! Writing a checkpoint's samples to the archive: 100,000 series × 6 samples, encoded, hashed, written and synced. Prints rows/s and bytes/sample.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a bench that can't run stops"
)]

use std::collections::BTreeMap;
use std::hint::black_box;
use std::sync::Arc;
use std::time::Duration;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use schemas::time::SECOND;
use schemas::{Kind, Labels, NextOffset, SampleRows, Series, SeriesDirectory};
use sinks::compaction::{CompactionPolicy, plan};
use sinks::{Archive, FileName};

const HOSTS: u32 = 1_000;
const METRICS: u32 = 100;
const SAMPLES: u32 = 6;
/// 2026-11-21 00:00 UTC.
const START: i64 = 20_778 * 86_400 * SECOND;

/// 1,000 hosts × 100 metrics, ten labels each, as a fleet of agents sends them.
fn directory() -> SeriesDirectory {
    let series = |i: u32| {
        let host = i / METRICS;
        let labels = [
            ("host.name", format!("host_{host}")),
            ("service.name", format!("service_{}", host % 19)),
            ("region", format!("eu-central-{}", host % 3)),
            (
                "datacenter",
                format!("eu-central-{}{}", host % 3, ["a", "b"][host as usize % 2]),
            ),
            ("rack", format!("{}", host % 97)),
            ("os", "Ubuntu24.04LTS".to_owned()),
            ("arch", "x64".to_owned()),
            ("team", format!("team-{}", host % 7)),
            ("environment", "production".to_owned()),
            ("version", format!("{}", host % 5)),
        ];
        Arc::new(Series::new(
            &format!("system.metric_{:03}", i % METRICS),
            Labels::try_new(labels).expect("labels"),
            Kind::Gauge,
        ))
    };
    (0..HOSTS * METRICS).map(series).collect()
}

/// Integers that walk, as CPU percentages do; rows in log order: all series at each time.
fn rows(first: u32) -> SampleRows {
    let mut rows = SampleRows::default();
    for sample in first..first + SAMPLES {
        for series in 0..HOSTS * METRICS {
            let walk = (series.wrapping_mul(2_654_435_761) >> 16) % 100
                + (series ^ sample).count_ones() % 3;
            rows.push(
                series,
                START + i64::from(sample) * 10 * SECOND,
                f64::from(walk),
            );
        }
    }
    rows
}

fn name(sequence: u64, part: &str) -> FileName {
    FileName {
        partition: 0,
        start: NextOffset(sequence),
        end: NextOffset(sequence + 1),
        epoch: 1,
        part: part.to_owned(),
    }
}

fn archive_write(criterion: &mut Criterion) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("runtime");
    let place = tempfile::tempdir().expect("temporary directory");
    let archive = Archive::open(
        &format!("file://{}", place.path().display()),
        &BTreeMap::new(),
    )
    .expect("archive");
    let directory = directory();
    let total = u64::from(HOSTS * METRICS * SAMPLES);

    let mut files = Vec::new();
    for part in 0..4u32 {
        let written = runtime.block_on(archive.write_samples(
            &name(u64::from(part), "s"),
            &directory,
            rows(part * SAMPLES),
        ));
        files.extend(written.expect("write"));
    }
    let bytes = |files: &[schemas::ArchiveFile]| {
        files.iter().map(|file| file.size).sum::<u64>() as f64
            / files.iter().map(|file| file.rows).sum::<u64>() as f64
    };
    println!(
        "archive_write: {:.3} bytes/sample in a checkpoint of {total} rows",
        bytes(&files)
    );
    let compaction = plan(
        &files,
        &CompactionPolicy {
            files_max: 4,
            ..CompactionPolicy::default()
        },
        i64::MAX,
    )
    .remove(0);
    let merged = runtime
        .block_on(archive.compact(&compaction, &name(0, "c")))
        .expect("compact");
    println!(
        "archive_write: {:.3} bytes/sample after merging four",
        bytes(&merged)
    );

    let mut group = criterion.benchmark_group("archive_write");
    group
        .sample_size(10)
        .measurement_time(Duration::from_secs(20));
    let input = rows(0);
    let mut sequence = 100;
    group
        .throughput(Throughput::Elements(total))
        .bench_function("samples_100k_series", |bencher| {
            bencher.iter(|| {
                sequence += 1;
                let written = runtime
                    .block_on(archive.write_samples(
                        &name(sequence, "s"),
                        &directory,
                        input.clone(),
                    ))
                    .expect("write");
                runtime
                    .block_on(archive.delete_files(&[written[0].path.clone()]))
                    .expect("delete");
                black_box(written)
            });
        });
    group
        .throughput(Throughput::Elements(4 * total))
        .bench_function("compact_4_files", |bencher| {
            bencher.iter(|| {
                sequence += 1;
                let merged = runtime
                    .block_on(archive.compact(&compaction, &name(sequence, "c")))
                    .expect("compact");
                runtime
                    .block_on(archive.delete_files(&[merged[0].path.clone()]))
                    .expect("delete");
                black_box(merged)
            });
        });
    group.finish();
}

criterion_group!(benches, archive_write);
criterion_main!(benches);
