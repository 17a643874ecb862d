//! What each operator of the step costs, in processor time per sample and in bytes per series, with all of them grown up: detectors with their seasons,
//! forests, siblings, forecasts, times to full, the ledger, what moved with what.
//!
//! A fleet lives for two and a half days at a scrape per half an hour, then at one per minute and at one per ten seconds, which is measured: with all
//! operators, and with one kind less in turn. `cargo bench -p benches --bench operators -- 1000 100000`: so many series, the first of them also for 16 days,
//! when all weekly profiles are there. Up to 10,000 series an hour is measured, beyond that ten minutes: what is done once an hour is bounded, and nothing
//! then beside so many samples.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a bench that can't run stops"
)]

use std::alloc::System;
use std::hint::black_box;

use benches::process::thread_cpu_ns;
use processors::{PartitionState, ProcessingConfig};
use schemas::time::{DAY, HOUR, MINUTE, SECOND};
use schemas::{BatchBuilder, Kind, Labels, Micros, Offset, SampleBatch};
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

const START: Micros = 20_000 * DAY;
/// Metrics of a host: a disk with its size, counters, what a forest looks at, and gauges.
const METRICS: usize = 100;
/// Hosts that share a record.
const HOSTS_OF_RECORD: usize = 50;
/// How far apart samples are in what is measured.
const STEP: Micros = 10 * SECOND;
/// The least of so many runs is told.
const RUNS: usize = 3;

fn main() {
    let sizes: Vec<usize> = std::env::args()
        .filter_map(|argument| argument.parse().ok())
        .collect();
    for (number, series) in sizes.iter().enumerate() {
        println!("{:>9} {:>9}  {series} series", "ns/sample", "B/series");
        for (name, config) in configurations() {
            let mut fleet = Fleet::new(series / METRICS, config);
            fleet.grow_up(60 * HOUR);
            fleet.measure(&format!("after 2.5 days, {name}"));
            if number == 0 {
                fleet.grow_up(13 * DAY + 8 * HOUR);
                fleet.measure(&format!("after 16 days, {name}"));
            }
        }
    }
}

/// The same operators, each run with one less than the run before.
fn configurations() -> [(&'static str, ProcessingConfig); 4] {
    let all = ProcessingConfig::default();
    let no_forecasts = ProcessingConfig {
        forecasting: None,
        ..all.clone()
    };
    let no_siblings = ProcessingConfig {
        peers: None,
        ..no_forecasts.clone()
    };
    let rollups = ProcessingConfig {
        detection: None,
        ..no_siblings.clone()
    };
    [
        ("all", all),
        ("without forecasts", no_forecasts),
        ("without siblings as well", no_siblings),
        ("rollups alone", rollups),
    ]
}

struct Fleet {
    hosts: usize,
    names: Vec<String>,
    state: PartitionState,
    time: Micros,
    offset: u64,
    random: u64,
}

impl Fleet {
    fn new(hosts: usize, config: ProcessingConfig) -> Self {
        let mut names: Vec<String> = [
            "system.cpu.utilization",
            "system.memory.usage",
            "system.load",
            "system.network.errors",
            "disk_used",
            "disk_total",
        ]
        .map(str::to_owned)
        .to_vec();
        names.extend((0..10).map(|i| format!("requests_{i}_total")));
        names.extend((names.len()..METRICS).map(|i| format!("app.metric.number_{i}")));
        Fleet {
            hosts,
            names,
            state: PartitionState::new(config),
            time: START,
            offset: 0,
            random: 1,
        }
    }

    /// Lives for so long, then for an hour and ten minutes as what comes after is measured.
    fn grow_up(&mut self, span: Micros) {
        self.live(span, 30 * MINUTE);
        self.live(HOUR, MINUTE);
        self.live(10 * MINUTE, STEP);
    }

    /// Lives for a while.
    fn live(&mut self, span: Micros, step: Micros) {
        let end = self.time + span;
        while self.time < end {
            for batch in self.scrape() {
                self.state.step(Offset(self.offset), self.time, &batch);
                self.offset += 1;
            }
            self.state.settle();
            self.time += step;
        }
    }

    /// One value of each series: a daily course with noise around it, a disk that fills, counters that count.
    fn scrape(&mut self) -> Vec<SampleBatch> {
        let day = (self.time % DAY) as f64 / DAY as f64;
        let course = (day * std::f64::consts::TAU).sin();
        let days = (self.time - START) as f64 / DAY as f64;
        let hosts: Vec<usize> = (0..self.hosts).collect();
        let mut records = Vec::new();
        for hosts in hosts.chunks(HOSTS_OF_RECORD) {
            let mut builder = BatchBuilder::default();
            for host in hosts {
                let tags = [
                    ("host.name", format!("host-{host}")),
                    ("region", format!("eu-central-{}", host % 3)),
                    ("service", format!("service-{}", host % 20)),
                ];
                let labels = builder.label_set(&Labels::try_new(tags).expect("valid"));
                for (number, name) in self.names.iter().enumerate() {
                    let metric = builder.metric(name);
                    self.random = self
                        .random
                        .wrapping_mul(6_364_136_223_846_793_005)
                        .wrapping_add(1_442_695_040_888_963_407);
                    let noise = (self.random >> 40) as f64 / (1u64 << 24) as f64;
                    let value = match number {
                        4 => 300.0 + 8.0 * days + noise,
                        5 => 1000.0,
                        6..16 => (days * 86_400.0 * 20.0 + 50.0 * noise).floor(),
                        _ => 50.0 + 20.0 * course + 10.0 * noise,
                    };
                    let kind = Kind::guess(name);
                    builder.push(metric, labels, kind, self.time, value);
                }
            }
            records.push(builder.finish().expect("valid"));
        }
        records
    }

    /// Prints what a sample costs from here on, and what the state takes.
    fn measure(&mut self, name: &str) {
        let series = self.state.directory().len();
        let span = if series <= 10_000 { HOUR } else { 10 * MINUTE };
        let begin = (self.time, self.offset);
        let scrapes: Vec<Vec<SampleBatch>> = (0..span / STEP)
            .map(|number| {
                self.time = begin.0 + number * STEP;
                self.scrape()
            })
            .collect();
        let mut least = u64::MAX;
        let mut bytes = 0;
        for _ in 0..RUNS {
            let region = Region::new(ALLOCATOR);
            let before = self.state.clone();
            let change = region.change();
            bytes = change.bytes_allocated - change.bytes_deallocated;
            (self.time, self.offset) = begin;
            let started = thread_cpu_ns();
            for batches in &scrapes {
                for batch in batches {
                    self.state.step(Offset(self.offset), self.time, batch);
                    self.offset += 1;
                }
                black_box(self.state.pending_samples());
                self.state.settle();
                self.time += STEP;
            }
            least = least.min(thread_cpu_ns() - started);
            self.state = before;
        }
        (self.time, self.offset) = begin;
        let per_sample = least as f64 / (scrapes.len() * series) as f64;
        let per_series = bytes as f64 / series as f64;
        println!("{per_sample:9.0} {per_series:9.0}  {name}");
    }
}
