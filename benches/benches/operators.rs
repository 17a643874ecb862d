//! What each operator of the step costs, in processor time per sample and in bytes per series, with all of them grown up: detectors with their seasons,
//! forests, siblings, forecasts, times to full, the ledger, what moved with what.
//!
//! A fleet lives for two and a half days at a scrape per half an hour, then at one per minute and at one per ten seconds, which is measured: with all
//! operators, and with one kind less in turn. `cargo bench -p benches --bench operators -- 1000 100000 1000000`: so many series; of a small fleet also
//! after 16 days, when all weekly profiles are believed. What is measured goes on where the history ended, in the memory that it left. Up to 10,000 series an
//! hour is measured, beyond that ten minutes: what is done once an hour is bounded, and nothing then beside so many samples.
//!
//! From 300,000 series on the history is shorter ([`Course::LARGE`]), or a million would live for half an hour before anything is measured. Each has then
//! passed its warm-up and believes its daily profile, and its weekly one is being learned. What that leaves out: its own interval and its habits of changing
//! are still those of a slower series, and the forests have seen minutes, not a day.

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

/// How a fleet of some size lives, and how much of that is measured.
struct Course {
    /// Lived by so many scrapes that are so far apart, one stretch after the other.
    stretches: &'static [(Micros, Micros)],
    /// As `stretches`, if the fleet is measured a second time.
    later: &'static [(Micros, Micros)],
    /// What is measured at a time.
    span: Micros,
    /// The least of so many spans is told.
    runs: usize,
}

impl Course {
    const SMALL: Course = Course {
        stretches: &[
            (60 * HOUR, 30 * MINUTE),
            (HOUR, MINUTE),
            (10 * MINUTE, STEP),
        ],
        later: &[
            (13 * DAY + 8 * HOUR, 30 * MINUTE),
            (HOUR, MINUTE),
            (10 * MINUTE, STEP),
        ],
        span: HOUR,
        runs: 3,
    };
    const MIDDLE: Course = Course {
        later: &[],
        span: 10 * MINUTE,
        ..Course::SMALL
    };
    const LARGE: Course = Course {
        stretches: &[(60 * HOUR, HOUR), (5 * MINUTE, STEP)],
        later: &[],
        span: 5 * MINUTE,
        runs: 2,
    };

    fn of(series: usize) -> Self {
        match series {
            ..=10_000 => Course::SMALL,
            10_001..300_000 => Course::MIDDLE,
            _ => Course::LARGE,
        }
    }
}

fn main() {
    let sizes = std::env::args().filter_map(|argument| argument.parse::<usize>().ok());
    for series in sizes {
        println!("{:>9} {:>9}  {series} series", "ns/sample", "B/series");
        let course = Course::of(series);
        for (name, config) in configurations() {
            let mut fleet = Fleet::new(series / METRICS, config);
            fleet.live(course.stretches);
            fleet.measure(&course, &format!("after 2.5 days, {name}"));
            if !course.later.is_empty() {
                fleet.live(course.later);
                fleet.measure(&course, &format!("after 16 days, {name}"));
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

    /// Lives for a while, by stretches of scrapes that are so far apart.
    fn live(&mut self, stretches: &[(Micros, Micros)]) {
        for (span, step) in stretches {
            let end = self.time + span;
            while self.time < end {
                let records = self.scrape();
                self.step(&records);
                self.time += step;
            }
        }
    }

    /// Steps over the records of a scrape; a checkpoint then takes what there is.
    fn step(&mut self, records: &[SampleBatch]) {
        for batch in records {
            self.state.step(Offset(self.offset), self.time, batch);
            self.offset += 1;
        }
        black_box(self.state.pending_samples());
        self.state.settle();
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
    fn measure(&mut self, course: &Course, name: &str) {
        let series = self.state.directory().len();
        let region = Region::new(ALLOCATOR);
        let copy = self.state.clone();
        let change = region.change();
        drop(copy);
        let bytes = change.bytes_allocated - change.bytes_deallocated;
        let mut least = f64::INFINITY;
        for _ in 0..course.runs {
            let begin = self.time;
            let scrapes: Vec<Vec<SampleBatch>> = (0..course.span / STEP)
                .map(|number| {
                    self.time = begin + number * STEP;
                    self.scrape()
                })
                .collect();
            self.time = begin;
            let started = thread_cpu_ns();
            for records in &scrapes {
                self.step(records);
                self.time += STEP;
            }
            let spent = thread_cpu_ns() - started;
            least = least.min(spent as f64 / (scrapes.len() * series) as f64);
        }
        let per_series = bytes as f64 / series as f64;
        println!("{least:9.0} {per_series:9.0}  {name}");
    }
}
